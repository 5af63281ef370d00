// int8 and affine groups: codes and scales against their definition, bit for bit, and the decoders against the value that
// ftc.h defines.
#include <algorithm>
#include <cmath>

#include "bf16_matrix.h"
#include "ops/quant/packed_weight.h"

namespace {

using namespace ftc::testing;

class Affine : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Isas, Affine, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

// ---- The definition of quantisation, written as ftc.h says it

struct Group {
    float scale, minimum;
    Vector<int32_t> codes;
};

float to_even(float x) {
    return std::nearbyint(x);
}

Group quantize_between(const float* x, int64_t count, float low, float high, int32_t bits) {
    const auto top = static_cast<float>((1 << bits) - 1);
    Group group{(high - low) / top, low, {}};
    if (!(group.scale > 0.0f)) group.scale = 1.0f;
    for (int64_t i = 0; i < count; i++)
        group.codes.push_back(
            static_cast<int32_t>(to_even(std::min(std::max((x[i] - group.minimum) / group.scale, 0.0f), top))));
    return group;
}

float squared_error(const float* x, const Group& group) {
    float sum[8] = {};
    for (size_t i = 0; i < group.codes.size(); i++) {
        const float error = std::fma(group.scale, static_cast<float>(group.codes[i]), group.minimum) - x[i];
        const float square = error * error;
        sum[i % 8] += square;
    }
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

Group quantize_group(const float* x, int64_t count, int32_t bits, bool search) {
    const float low = *std::min_element(x, x + count), high = *std::max_element(x, x + count);
    Group best = quantize_between(x, count, low, high, bits);
    if (!search) return best;
    const float half = (high - low) * 0.5f, middle = low + half;
    for (int i = 1; i <= 20; i++) {
        const float step = 0.02f * static_cast<float>(i);
        const float narrowed = half * (1.0f - step);
        const Group group = quantize_between(x, count, middle - narrowed, middle + narrowed, bits);
        if (squared_error(x, group) < squared_error(x, best)) best = group;
    }
    return best;
}

// Rows with padding, a constant group, one of values too near for a scale, one with an outlier.
Vector<float> hard_floats(int64_t rows, int64_t stride, int32_t group_size) {
    Vector<float> x = random_floats(rows * stride, 5);
    for (int32_t i = 0; i < group_size; i++) x[static_cast<size_t>(i)] = -0.375f;
    if (rows > 1)
        for (int32_t i = 0; i < group_size; i++) x[static_cast<size_t>(stride + i)] = i % 2 == 0 ? 0.0f : 1e-45f;
    x[static_cast<size_t>((rows - 1) * stride + group_size / 2)] = 19.0f;
    return x;
}

TEST_P(Affine, QuantizesToTheDefinition) {
    const Device device(GetParam(), 2);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 128}, {3, 384}, {7, 128}, {70, 256}})
        for (const int32_t bits : {4, 3, 2})
            for (const int32_t group_size : {32, 64, 128})
                for (const bool search : {false, true}) {
                    if (is_simulated() && rows == 70 && bits != 3) continue;
                    SCOPED_TRACE(::testing::Message() << rows << " x " << cols << ", " << bits << " bits, groups of "
                                                      << group_size << (search ? ", searched" : ""));
                    const int64_t stride = cols + (rows == 3 ? 5 : 0);
                    const Vector<float> x = hard_floats(rows, stride, group_size);
                    PackedWeight w;
                    make_affine(w, device, x, rows, cols, bits, group_size, search);
                    for (int64_t row = 0; row < rows; row++)
                        for (int64_t first = 0; first < cols; first += group_size) {
                            const Group group = quantize_group(x.data() + row * stride + first, group_size, bits, search);
                            const auto g = static_cast<size_t>((row * cols + first) / group_size);
                            ASSERT_EQ(w.scale[g], group.scale) << g;
                            ASSERT_EQ(w.minimum[g], group.minimum) << g;
                            for (int64_t i = 0; i < group_size; i++)
                                ASSERT_EQ(code_of(w, row, first + i), group.codes[static_cast<size_t>(i)])
                                    << row << ", " << first + i;
                        }
                }
}

TEST_P(Affine, AConstantGroupIsExact) {
    const Device device(GetParam());
    PackedWeight w;
    make_affine(w, device, Vector<float>(64, 0.1f), 1, 64, 2, 64, true);
    EXPECT_EQ(w.scale[0], 1.0f);
    EXPECT_EQ(w.minimum[0], 0.1f);
    EXPECT_EQ(w.codes, Vector<uint8_t>(16, 0));
    EXPECT_EQ(dequantize(w, device), Vector<float>(64, 0.1f));
}

// An outlier among small values: a narrower range loses the outlier and wins the others.
TEST_P(Affine, SearchLowersTheError) {
    const Device device(GetParam());
    const Vector<float> x = random_floats(128, 8);
    Vector<float> skewed = x;
    for (float& value : skewed) value = value * value * value;
    const auto error = [&](bool search) {
        PackedWeight w;
        make_affine(w, device, skewed, 1, 128, 2, 128, search);
        const Vector<float> y = dequantize(w, device);
        double sum = 0;
        for (size_t i = 0; i < y.size(); i++) sum += std::pow(static_cast<double>(y[i] - skewed[i]), 2);
        return sum;
    };
    EXPECT_LT(error(true), 0.9 * error(false));
}

TEST_P(Affine, Int8QuantizesToTheDefinition) {
    const Device device(GetParam(), 2);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 33}, {5, 172}, {2, 4096}, {257, 19}}) {
        const int64_t stride = cols + 3;
        Vector<float> x = random_floats(rows * stride, 6);
        for (int64_t k = 0; k < cols; k++) x[static_cast<size_t>((rows - 1) * stride + k)] = rows > 1 ? 0.0f : 0.5f;
        PackedWeight w;
        make_int8(w, device, x, rows, cols);
        for (int64_t row = 0; row < rows; row++) {
            float absmax = 0.0f;
            for (int64_t k = 0; k < cols; k++) absmax = std::max(absmax, std::abs(x[static_cast<size_t>(row * stride + k)]));
            const float scale = absmax / 127.0f;
            ASSERT_EQ(w.scale[static_cast<size_t>(row)], scale) << row;
            for (int64_t k = 0; k < cols; k++) {
                const float steps = scale > 0.0f ? x[static_cast<size_t>(row * stride + k)] / scale : 0.0f;
                ASSERT_EQ(code_of(w, row, k), static_cast<int32_t>(to_even(std::min(std::max(steps, -127.0f), 127.0f))))
                    << row << ", " << k;
            }
        }
    }
}

// Fast decoders against the definition, element by element, whole and from a row in the middle on.
TEST_P(Affine, DequantizesToTheDefinition) {
    const Device device(GetParam(), 2);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{5, 192}, {3, 160}, {300, 64}, {1, 32}, {31, 896}, {9, 4096}, {7, 13}, {4, 40}}) {
        for (const PackedFormat& format : packed_formats(cols)) {
            SCOPED_TRACE(::testing::Message() << rows << " x " << cols << ", " << format.bits << " bits, groups of "
                                              << format.group_size);
            PackedWeight w;
            make_packed(w, device, random_floats(rows * cols, 9), rows, cols, format);
            for (const int64_t from : {int64_t{0}, rows / 3}) {
                Matrix y(rows - from, cols, padding_of(cols, 3));
                ASSERT_EQ(device.wait(ftc_weight_dequantize(device, y.ptr(), FTC_F32, y.stride, &w, from, rows - from)),
                          FTC_OK)
                    << ftc_last_error_message();
                y.expect_padding_untouched("fp32");
                Bf16Matrix half(rows - from, cols, padding_of(cols, 3));
                ASSERT_EQ(
                    device.wait(ftc_weight_dequantize(device, half.ptr(), FTC_BF16, half.stride, &w, from, rows - from)),
                    FTC_OK)
                    << ftc_last_error_message();
                const Matrix rounded = half.widened();
                for (int64_t row = from; row < rows; row++)
                    for (int64_t col = 0; col < cols; col++) {
                        const float value = value_of(w, row, col);
                        ASSERT_EQ(y.at(row - from, col), value) << row << ", " << col;
                        ASSERT_EQ(rounded.at(row - from, col), rounded_to_bf16(value)) << row << ", " << col;
                    }
            }
        }
    }
}

// One rounding: products and sums whose two roundings would differ, among them results that cancel and subnormal ones.
TEST_P(Affine, TheValueIsRoundedOnce) {
    const Device device(GetParam());
    PackedWeight w;
    const int64_t rows = 64;
    make_affine(w, device, random_floats(rows * 32, 9), rows, 32, 4, 32);
    int differ = 0;
    for (const float size : {1.0f, 1e-30f, 1e-38f, 1e20f}) {
        const Vector<float> noise = random_floats(2 * rows, 12);
        for (int64_t row = 0; row < rows; row++) {
            const auto i = static_cast<size_t>(row);
            w.scale[i] = std::abs(noise[i]) * size;
            w.minimum[i] = row % 3 == 0 ? -w.scale[i] * static_cast<float>(1 + row % 15) : noise[i + rows] * size;
            if (row % 5 == 0) w.minimum[i] = noise[i + rows] * 1e-9f * size;
        }
        const Vector<float> y = dequantize(w, device);
        for (int64_t row = 0; row < rows; row++)
            for (int64_t col = 0; col < 32; col++) {
                const float value = value_of(w, row, col);
                ASSERT_EQ(y[static_cast<size_t>(row * 32 + col)], value) << row << ", " << col << " of size " << size;
                volatile float product = w.scale[static_cast<size_t>(row)] * static_cast<float>(code_of(w, row, col));
                differ += product + w.minimum[static_cast<size_t>(row)] != value ? 1 : 0;
            }
    }
    EXPECT_GT(differ, 100);
}

TEST_P(Affine, MergeAddsTheAdapterToTheMinimum) {
    const Device device(GetParam(), 2);
    for (const auto& [rows, groups, rank] : {std::tuple<int64_t, int64_t, int32_t>{1, 1, 1}, {3, 37, 5}, {65, 12, 64}}) {
        Vector<float> minimum = random_floats(rows * groups, 1);
        const Vector<float> before = minimum, b = random_floats(rows * rank, 2), a = random_floats(rank * groups, 3);
        ASSERT_EQ(device.wait(ftc_affine_merge(device, minimum.data(), b.data(), a.data(), rows, groups, rank, 64, 0.3f)),
                  FTC_OK)
            << ftc_last_error_message();
        for (int64_t n = 0; n < rows; n++)
            for (int64_t g = 0; g < groups; g++) {
                double sum = 0.0;
                for (int64_t j = 0; j < rank; j++)
                    sum += static_cast<double>(b[static_cast<size_t>(n * rank + j)]) *
                           static_cast<double>(a[static_cast<size_t>(j * groups + g)]);
                const auto e = static_cast<size_t>(n * groups + g);
                const double factor = static_cast<double>(0.3f) / 64;
                ASSERT_EQ(minimum[e], static_cast<float>(static_cast<double>(before[e]) + factor * sum)) << n << ", " << g;
            }
    }
}

// ---- Refusals

class AffineErrors : public ::testing::Test {
protected:
    AffineErrors() {
        params_.struct_size = sizeof(params_);
        params_.bits = 4;
        params_.rows = 1;
        params_.cols = params_.x_row_stride = 64;
        params_.group_size = 32;
        make_affine(weight_, device_, Vector<float>(64, 1.0f), 1, 64, 4, 32);
    }
    void expect_quantize_refused(const char* message) {
        EXPECT_EQ(ftc_affine_quantize(device_, weight_.codes.data(), weight_.scale.data(), weight_.minimum.data(),
                                      x_.data(), &params_),
                  FTC_ERROR_INVALID_ARGUMENT);
        EXPECT_STREQ(ftc_last_error_message(), message);
    }
    void expect_weight_refused(const char* message) {
        EXPECT_EQ(ftc_weight_dequantize(device_, x_.data(), FTC_F32, 64, &weight_.weight, 0, 1),
                  FTC_ERROR_INVALID_ARGUMENT);
        EXPECT_STREQ(ftc_last_error_message(), message);
    }

    Device device_;
    Vector<float> x_ = Vector<float>(64, 1.0f);
    ftc_affine_quantize_params params_{};
    PackedWeight weight_;
};

TEST_F(AffineErrors, Quantize) {
    params_.bits = 5;
    expect_quantize_refused("ftc_affine_quantize: params->bits is 5, expected 4, 3 or 2");
    params_.bits = 4;
    params_.group_size = 48;
    expect_quantize_refused("ftc_affine_quantize: params->group_size is 48, expected 32, 64 or 128");
    params_.group_size = 128;
    expect_quantize_refused("ftc_affine_quantize: params->cols is 64, expected a multiple of group_size 128");
    params_.group_size = 32;
    params_.search = 2;
    expect_quantize_refused("ftc_affine_quantize: params->search is 2, expected 0 or 1");
    params_.search = 0;
    params_.x_row_stride = 63;
    expect_quantize_refused("ftc_affine_quantize: params->x_row_stride is 63, expected >= 64");
}

TEST_F(AffineErrors, Weight) {
    weight_.weight.bits = 8;
    expect_weight_refused("ftc_weight_dequantize: weight->bits is 8, expected 4, 3 or 2");
    weight_.weight.bits = 3;
    weight_.weight.group_size = 16;
    expect_weight_refused("ftc_weight_dequantize: weight->group_size is 16, expected 32, 64 or 128");
    weight_.weight.group_size = 64;
    weight_.weight.cols = 96;
    expect_weight_refused("ftc_weight_dequantize: weight->cols is 96, expected a multiple of group_size 64");
    weight_.weight.cols = 64;
    weight_.weight.minimum = nullptr;
    expect_weight_refused("ftc_weight_dequantize: weight->minimum is NULL, expected a pointer");
    weight_.weight.format = FTC_WEIGHT_INT8;
    weight_.weight.scale = nullptr;
    expect_weight_refused("ftc_weight_dequantize: weight->scale is NULL, expected a pointer");
}

TEST_F(AffineErrors, Merge) {
    EXPECT_EQ(ftc_affine_merge(device_, x_.data(), x_.data(), x_.data(), 1, 1, 0, 32, 1.0f), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_affine_merge: rank is 0, expected > 0");
    EXPECT_EQ(ftc_affine_merge(device_, x_.data(), x_.data(), x_.data(), 1, 1, 1, 33, 1.0f), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_affine_merge: group_size is 33, expected 32, 64 or 128");
    EXPECT_EQ(ftc_affine_merge(device_, x_.data(), x_.data(), x_.data(), 1, 1, 1, 32, NAN), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_affine_merge: scaling is nan, expected a finite number");
}

TEST_F(AffineErrors, Int8) {
    EXPECT_EQ(ftc_int8_quantize(device_, nullptr, x_.data(), x_.data(), 1, 4, 4), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_int8_quantize: codes is NULL, expected a pointer");
    EXPECT_EQ(ftc_int8_quantize(device_, nullptr, x_.data(), x_.data(), 1, 0, 4), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_int8_quantize: cols is 0, expected > 0");
}

} // namespace
