#include "allocation_counter.h"
#include "ops/linear/linear_case.h"

namespace {

using namespace ftc::testing;

TEST(Allocation, LinearAllocatesNothing) {
    const Device device("", 2);
    const int64_t m = 40, n = 70, k = 90, rank = 4;
    Vector<float> x = random_floats(m * k, 1), y = random_floats(m * n, 2), w = random_floats(n * k, 3),
                       a = random_floats(rank * k, 4), b = random_floats(n * rank, 5), s(static_cast<size_t>(m * rank)),
                       da(a.size()), db(b.size()), dw(w.size());
    const ftc_weight weight = f32_weight(w.data(), n, k, k);
    ftc_lora_segment segment{};
    segment.struct_size = sizeof(segment);
    segment.rank = static_cast<int32_t>(rank);
    segment.row_end = m;
    segment.a = a.data();
    segment.b = b.data();
    segment.s = s.data();
    segment.da = da.data();
    segment.db = db.data();
    segment.scaling = 1.0f;
    ftc_linear_params params{};
    params.struct_size = sizeof(params);
    params.rows = m;
    params.x_row_stride = params.dx_row_stride = params.dweight_row_stride = k;
    params.y_row_stride = params.dy_row_stride = n;
    int64_t bytes = 0;
    const ftc_linear_workspace_params shape = workspace_shape(weight, m, rank);
    ASSERT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
    Vector<float> workspace(static_cast<size_t>(bytes / 4));

    const int64_t before = allocations();
    ftc_status status = FTC_OK;
    for (int i = 0; i < 3 && status == FTC_OK; i++) {
        status = ftc_linear_forward(device, y.data(), x.data(), &weight, nullptr, &segment, 1, &params,
                                    workspace.data(), bytes);
        if (status == FTC_OK)
            status = ftc_linear_backward(device, x.data(), dw.data(), nullptr, y.data(), x.data(), &weight, &segment, 1,
                                         &params, workspace.data(), bytes);
    }
    const int64_t after = allocations();
    EXPECT_EQ(status, FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(after, before);
    ::operator delete(::operator new(1));
    EXPECT_GT(allocations(), after); // the counter counts
}

} // namespace
