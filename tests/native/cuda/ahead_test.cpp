// A weight that the caller dequantises ahead, in the background, gives the bits of the packed one that the linear layer
// dequantises itself.
#include <cstring>

#include "bf16_matrix.h"
#include "ops/quant/nf4_weight.h"
#include "testing.h"

namespace {

using namespace ftc::testing;

constexpr int64_t kRows = 24, kIn = 128, kOut = 96, kRank = 8, kBorder = 8;
constexpr int64_t kXStride = kIn + kBorder, kYStride = kOut + kBorder;

struct Results {
    Vector<uint16_t> y, dx;
    Vector<float> da, db;
};

Vector<uint16_t> random_bf16(int64_t rows, int64_t row_stride, uint64_t seed) {
    Vector<uint16_t> bits;
    for (const float value : random_floats(rows * row_stride, seed)) bits.push_back(bf16_bits(value));
    return bits;
}

Results run(const Device& device, const ftc_weight& weight, float dropout) {
    Results r;
    Vector<uint16_t> x = random_bf16(kRows, kXStride, 1), dy = random_bf16(kRows, kYStride, 2);
    const Vector<float> a = random_floats(kRank * kIn, 3), b = random_floats(kOut * kRank, 4);
    Vector<float> s(kRows * kRank);
    Vector<uint32_t> names(kRows);
    for (uint32_t i = 0; i < kRows; i++) names[i] = i;
    r.y.resize(kRows * kYStride);
    r.dx.resize(kRows * kXStride);
    r.da.resize(kRank * kIn);
    r.db.resize(kOut * kRank);
    ftc_lora_segment segment{};
    segment.struct_size = sizeof(segment);
    segment.rank = kRank;
    segment.row_end = kRows;
    segment.a = a.data();
    segment.b = b.data();
    segment.s = s.data();
    segment.da = r.da.data();
    segment.db = r.db.data();
    segment.scaling = 0.5f;
    segment.dropout_probability = dropout;
    ftc_linear_params params{};
    params.struct_size = sizeof(params);
    params.dtype = FTC_BF16;
    params.rows = kRows;
    params.x_row_stride = params.dx_row_stride = kXStride;
    params.y_row_stride = params.dy_row_stride = kYStride;
    params.x_border = params.dy_border = kBorder;
    params.dropout_samples = params.dropout_positions = names.data();
    ftc_linear_workspace_params shape{};
    shape.struct_size = sizeof(shape);
    shape.dtype = FTC_BF16;
    shape.weight_format = weight.format;
    shape.border = kBorder;
    shape.rows = kRows;
    shape.in_features = kIn;
    shape.out_features = kOut;
    shape.rank = kRank;
    int64_t bytes = 0;
    EXPECT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK) << ftc_last_error_message();
    Vector<char> workspace(static_cast<size_t>(bytes) + 256);
    char* aligned = workspace.data() + (256 - reinterpret_cast<uintptr_t>(workspace.data()) % 256) % 256;
    EXPECT_EQ(ftc_linear_forward(device, r.y.data(), x.data(), &weight, nullptr, &segment, 1, &params, aligned, bytes),
              FTC_OK)
        << ftc_last_error_message();
    EXPECT_EQ(ftc_linear_backward(device, r.dx.data(), nullptr, nullptr, dy.data(), x.data(), &weight, &segment, 1,
                                  &params, aligned, bytes),
              FTC_OK)
        << ftc_last_error_message();
    EXPECT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
    return r;
}

TEST(Ahead, AWeightDequantisedAheadGivesTheSameBits) {
    for (const std::string& variant : variants())
        for (const float dropout : {0.0f, 0.25f}) {
            SCOPED_TRACE(variant);
            const Device device(variant);
            int64_t packed_rows = 0; // all of them dequantised
            ASSERT_EQ(ftc_linear_tune(device, &packed_rows), FTC_OK) << ftc_last_error_message();
            const Nf4Weight packed(device, random_floats(kOut * kIn, 5), kOut, kIn, true);
            const Results expected = run(device, *packed.operator&(), dropout);

            ftc_stream* background = nullptr;
            ftc_event* ready = nullptr;
            ASSERT_EQ(ftc_stream_create_background(&background, device.context(), 25), FTC_OK)
                << ftc_last_error_message();
            ASSERT_EQ(ftc_event_create(&ready, device.context()), FTC_OK) << ftc_last_error_message();
            ftc_linear_layout layout{};
            layout.struct_size = sizeof(layout);
            ASSERT_EQ(ftc_linear_get_layout(device.context(), kIn, kOut, kRank, FTC_BF16, &layout), FTC_OK);
            Vector<uint16_t> dense(static_cast<size_t>((kOut + layout.border) * layout.weight_row_stride));
            ASSERT_EQ(
                ftc_weight_dequantize(background, dense.data(), FTC_BF16, layout.weight_row_stride, &packed, 0, kOut),
                FTC_OK)
                << ftc_last_error_message();
            ASSERT_EQ(ftc_event_record(ready, background), FTC_OK);
            ASSERT_EQ(ftc_stream_wait_event(device, ready), FTC_OK);
            ftc_weight wide{};
            wide.struct_size = sizeof(wide);
            wide.format = FTC_WEIGHT_BF16;
            wide.rows = kOut;
            wide.cols = kIn;
            wide.row_stride = layout.weight_row_stride;
            wide.border = layout.border;
            wide.data = dense.data();
            const Results actual = run(device, wide, dropout);
            for (int64_t row = 0; row < kRows; row++) {
                EXPECT_EQ(std::memcmp(&actual.y[row * kYStride], &expected.y[row * kYStride], kOut * 2), 0)
                    << "y, row " << row;
                EXPECT_EQ(std::memcmp(&actual.dx[row * kXStride], &expected.dx[row * kXStride], kIn * 2), 0)
                    << "dx, row " << row;
            }
            EXPECT_EQ(actual.da, expected.da);
            EXPECT_EQ(actual.db, expected.db);
            ftc_stream_destroy(background);
            ftc_event_destroy(ready);
        }
}

} // namespace
