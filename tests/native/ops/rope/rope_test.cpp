#include "ops/rope/rope_reference.h"

#include "bf16_matrix.h"
#include "everywhere.h"

namespace ftc::testing {
namespace {

struct Shape {
    int64_t rows, heads, head_dim, rope_dim;
};

ftc_rope_params params_of(const Shape& s, int64_t stride, int64_t table_rows) {
    ftc_rope_params p{};
    p.struct_size = sizeof(p);
    p.rows = s.rows;
    p.heads = s.heads;
    p.head_dim = s.head_dim;
    p.rope_dim = s.rope_dim;
    p.row_stride = stride;
    p.table_rows = table_rows;
    return p;
}

class Rope : public ::testing::TestWithParam<Shape> {};

TEST_P(Rope, TurnsBothWays) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.head_dim;
    const Matrix x = Matrix::random(s.rows, width, padding_of(width, 5), 1);
    const Matrix cos = Matrix::random(11, s.rope_dim / 2, 0, 2), sin = Matrix::random(11, s.rope_dim / 2, 0, 3);
    Vector<int32_t> positions;
    for (int64_t r = 0; r < s.rows; ++r) positions.push_back(static_cast<int32_t>(r * 7 % 11));
    const ftc_rope_params p = params_of(s, x.stride, 11);
    for (const bool forward : {true, false}) {
        const auto exact = rope_reference<double>(x, positions, cos, sin, s.heads, s.head_dim, forward);
        const auto naive = rope_reference<float>(x, positions, cos, sin, s.heads, s.head_dim, forward);
        const auto results = run_everywhere([&](Device& device) {
            Matrix y = x;
            EXPECT_EQ((forward ? ftc_rope_forward : ftc_rope_backward)(device, y.ptr(), positions.data(), cos.ptr(),
                                                                       sin.ptr(), &p),
                      FTC_OK)
                << ftc_last_error_message();
            return Outputs{y};
        });
        for (const auto& [isa, out] : results)
            expect_accurate(out[0], naive, exact, isa + (forward ? " forward" : " backward"));
    }
}

TEST_P(Rope, Bf16TurnsBothWays) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.head_dim;
    const Bf16Matrix x = Bf16Matrix::random(s.rows, width, padding_of(width, 5), 1);
    const Matrix cos = Matrix::random(11, s.rope_dim / 2, 0, 2), sin = Matrix::random(11, s.rope_dim / 2, 0, 3);
    Vector<int32_t> positions;
    for (int64_t r = 0; r < s.rows; ++r) positions.push_back(static_cast<int32_t>(r * 7 % 11));
    ftc_rope_params p = params_of(s, x.stride, 11);
    p.dtype = FTC_BF16;
    const Matrix wide = x.widened();
    for (const bool forward : {true, false}) {
        const auto exact = rope_reference<double>(wide, positions, cos, sin, s.heads, s.head_dim, forward);
        const auto naive = rope_reference<float>(wide, positions, cos, sin, s.heads, s.head_dim, forward);
        const auto results = run_everywhere([&](Device& device) {
            Bf16Matrix y = x;
            EXPECT_EQ(device.wait((forward ? ftc_rope_forward : ftc_rope_backward)(device, y.ptr(), positions.data(),
                                                                                   cos.ptr(), sin.ptr(), &p)),
                      FTC_OK)
                << ftc_last_error_message();
            return Outputs{y.widened()};
        });
        for (const auto& [variant, out] : results)
            expect_accurate_bf16(out[0], naive, exact, variant + (forward ? " forward" : " backward"));
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Rope,
                         ::testing::Values(Shape{0, 1, 8, 8}, Shape{1, 1, 2, 2}, Shape{5, 3, 8, 8},
                                           Shape{257, 2, 64, 64}, Shape{13, 3, 80, 20}, Shape{7, 2, 128, 128},
                                           Shape{3, 1, 5, 0}, Shape{4, 2, 36, 34}, Shape{3, 70, 16, 16}));

TEST(Rope, ErrorsSayWhereAndWhat) {
    Device device;
    Vector<float> memory(8);
    float* x = memory.data();
    const Vector<int32_t> positions = {0, 4};
    ftc_rope_params p = params_of({2, 1, 4, 4}, 4, 4);
    EXPECT_EQ(device.wait(ftc_rope_forward(device, x, positions.data(), x, x, &p)), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_rope_forward: positions[1] is 4, expected it in [0, 4)");
    p.rope_dim = 3;
    EXPECT_EQ(device.wait(ftc_rope_backward(device, x, positions.data(), x, x, &p)), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_rope_backward: rope_dim is 3, expected an even number up to head_dim 4");
}

} // namespace
} // namespace ftc::testing
