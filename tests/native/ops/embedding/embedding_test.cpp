#include "bf16_matrix.h"
#include "everywhere.h"

namespace ftc::testing {
namespace {

ftc_embedding_params params_of(int64_t rows, int64_t y_stride, int64_t dweight_stride) {
    ftc_embedding_params p{};
    p.struct_size = sizeof(p);
    p.rows = rows;
    p.y_row_stride = y_stride;
    p.dweight_row_stride = dweight_stride;
    return p;
}

ftc_weight weight_of(const void* data, int32_t format, int64_t rows, int64_t cols, int64_t stride) {
    ftc_weight w{};
    w.struct_size = sizeof(w);
    w.format = format;
    w.rows = rows;
    w.cols = cols;
    w.row_stride = stride;
    w.data = data;
    return w;
}

Vector<int32_t> some_ids(int64_t rows, int32_t vocab_size) {
    Vector<int32_t> ids(size_t(rows) + 1);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * i * 7 % size_t(vocab_size));
    return ids;
}

class Embedding : public ::testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(Embedding, CopiesRowsAndAddsGradientsInOrder) {
    const auto [rows, cols] = GetParam();
    const int32_t vocab_size = 11;
    const Vector<int32_t> ids = some_ids(rows, vocab_size);
    const Matrix w = Matrix::random(vocab_size, cols, 3, 1), dy = Matrix::random(rows, cols, 1, 2);
    const Matrix dweight_before = Matrix::random(vocab_size, cols, 5, 3);
    Vector<uint16_t> halves(w.data.size());
    for (size_t i = 0; i < halves.size(); ++i) {
        uint32_t bits;
        std::memcpy(&bits, &w.data[i], sizeof(bits));
        halves[i] = static_cast<uint16_t>(bits >> 16);
    }
    Matrix expected = dweight_before;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t c = 0; c < cols; ++c) expected.at(ids[size_t(i)], c) += dy.at(i, c);

    run_everywhere([&](Device& device) {
        Matrix y(rows, cols, 2), from_bf16(rows, cols, 2), dweight = dweight_before;
        ftc_embedding_params p = params_of(rows, y.stride, dweight.stride);
        const ftc_weight f32 = weight_of(w.ptr(), FTC_WEIGHT_F32, vocab_size, cols, w.stride);
        const ftc_weight bf16 = weight_of(halves.data(), FTC_WEIGHT_BF16, vocab_size, cols, w.stride);
        EXPECT_EQ(ftc_embedding_forward(device, y.ptr(), ids.data(), &f32, &p), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_embedding_forward(device, from_bf16.ptr(), ids.data(), &bf16, &p), FTC_OK)
            << ftc_last_error_message();
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t c = 0; c < cols; ++c) {
                const float value = w.at(ids[size_t(i)], c);
                uint32_t bits;
                std::memcpy(&bits, &value, sizeof(bits));
                bits &= 0xffff0000u;
                float cut;
                std::memcpy(&cut, &bits, sizeof(cut));
                EXPECT_EQ(y.at(i, c), value);
                EXPECT_EQ(from_bf16.at(i, c), cut);
            }
        p.y_row_stride = dy.stride;
        EXPECT_EQ(ftc_embedding_backward(device, dweight.ptr(), dy.ptr(), ids.data(), vocab_size, cols, &p), FTC_OK);
        expect_same_bits({dweight}, {expected}, "dweight");
        return Outputs{y, from_bf16, dweight};
    });
}

TEST_P(Embedding, Bf16CopiesRowsAndAddsGradientsInOrder) {
    const auto [rows, cols] = GetParam();
    const int32_t vocab_size = 11;
    const int64_t padding = padding_of(cols, 3);
    const Vector<int32_t> ids = some_ids(rows, vocab_size);
    const Matrix w = Matrix::random(vocab_size, cols, padding, 1);
    const Bf16Matrix halves = Bf16Matrix::rounded(w, padding), dy = Bf16Matrix::random(rows, cols, padding, 2);
    const Matrix rounded = halves.widened(), wide_dy = dy.widened();
    const Matrix dweight_before = Matrix::random(vocab_size, cols, 5, 3);
    Matrix expected = dweight_before;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t c = 0; c < cols; ++c) expected.at(ids[size_t(i)], c) += wide_dy.at(i, c);
    run_everywhere([&](Device& device) {
        Bf16Matrix y(rows, cols, padding), from_bf16(rows, cols, padding);
        Matrix dweight = dweight_before;
        ftc_embedding_params p = params_of(rows, y.stride, dweight.stride);
        p.dtype = FTC_BF16;
        const ftc_weight f32 = weight_of(w.ptr(), FTC_WEIGHT_F32, vocab_size, cols, w.stride);
        const ftc_weight bf16 = weight_of(halves.ptr(), FTC_WEIGHT_BF16, vocab_size, cols, halves.stride);
        EXPECT_EQ(device.wait(ftc_embedding_forward(device, y.ptr(), ids.data(), &f32, &p)), FTC_OK)
            << ftc_last_error_message();
        EXPECT_EQ(device.wait(ftc_embedding_forward(device, from_bf16.ptr(), ids.data(), &bf16, &p)), FTC_OK)
            << ftc_last_error_message();
        const Matrix wide_y = y.widened(), wide_from_bf16 = from_bf16.widened();
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t c = 0; c < cols; ++c) {
                EXPECT_EQ(wide_y.at(i, c), rounded.at(ids[size_t(i)], c));
                EXPECT_EQ(wide_from_bf16.at(i, c), rounded.at(ids[size_t(i)], c));
            }
        EXPECT_EQ(
            device.wait(ftc_embedding_backward(device, dweight.ptr(), dy.ptr(), ids.data(), vocab_size, cols, &p)),
            FTC_OK)
            << ftc_last_error_message();
        expect_same_bits({dweight}, {expected}, "dweight");
        return Outputs{wide_y, wide_from_bf16, dweight};
    });
}

INSTANTIATE_TEST_SUITE_P(Shapes, Embedding,
                         ::testing::Values(std::pair{0, 8}, std::pair{1, 1}, std::pair{13, 17}, std::pair{40, 257},
                                           std::pair{700, 130}, std::pair{9, 1040}));

TEST(Embedding, Bf16RoundsEveryKindOfNumber) {
    // Ties, the largest numbers, infinities, subnormals and NaNs whose upper half alone would be none.
    const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x7f7fffff, 0xff7f7fff, 0x7f800000,
                             0xff800000, 0x00000001, 0x80008000, 0x00018000, 0x7f800001, 0x7fffffff, 0xffffffff,
                             0xff800001, 0x80000000, 0x7fc00000};
    const int64_t cols = std::size(bits);
    Matrix w(1, cols, 3);
    for (int64_t c = 0; c < cols; ++c) std::memcpy(&w.at(0, c), &bits[c], sizeof(float));
    const Vector<int32_t> ids = {0};
    run_everywhere([&](Device& device) {
        Bf16Matrix y(1, cols, 3);
        ftc_embedding_params p = params_of(1, y.stride, 0);
        p.dtype = FTC_BF16;
        const ftc_weight f32 = weight_of(w.ptr(), FTC_WEIGHT_F32, 1, cols, w.stride);
        EXPECT_EQ(device.wait(ftc_embedding_forward(device, y.ptr(), ids.data(), &f32, &p)), FTC_OK)
            << ftc_last_error_message();
        for (int64_t c = 0; c < cols; ++c) {
            const uint16_t half = y.data[size_t(c)];
            if (std::isnan(w.at(0, c)))
                EXPECT_TRUE(std::isnan(bf16_value(half))) << std::hex << bits[c];
            else
                EXPECT_EQ(half, bf16_bits(w.at(0, c))) << std::hex << bits[c];
        }
        return Outputs{};
    });
}

TEST(Embedding, ErrorsSayWhereAndWhat) {
    Device device;
    Vector<float> memory(12);
    float* x = memory.data();
    const Vector<int32_t> ids = {0, 1, 2};
    const ftc_embedding_params p = params_of(3, 4, 4);
    ftc_weight w = weight_of(x, FTC_WEIGHT_F32, 2, 4, 4);
    EXPECT_EQ(device.wait(ftc_embedding_forward(device, x, ids.data(), &w, &p)), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_embedding_forward: ids[2] is 2, expected it in [0, 2)");
    EXPECT_EQ(device.wait(ftc_embedding_backward(device, x, x, ids.data(), 2, 4, &p)), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_embedding_backward: ids[2] is 2, expected it in [0, 2)");
    w.format = FTC_WEIGHT_NF4;
    w.absmax = w.quant_map = x;
    w.block_size = 64;
    EXPECT_EQ(device.wait(ftc_embedding_forward(device, x, ids.data(), &w, &p)), FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_embedding_forward: weight->format is FTC_WEIGHT_NF4, expected FTC_WEIGHT_F32 or FTC_WEIGHT_BF16");
}

} // namespace
} // namespace ftc::testing
