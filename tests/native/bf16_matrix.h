// A strided bf16 matrix for tests of ops that compute on bf16 activations, and how such results are held against a
// reference.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "matrix.h"

namespace ftc::testing {

inline uint16_t bf16_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fc0;
    return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline float bf16_value(uint16_t half) {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

inline float rounded_to_bf16(float x) {
    return bf16_value(bf16_bits(x));
}

// Padding behind the rows of a matrix: rows of whole 16-byte vectors keep their rows on such, so that kernels take the
// path of vectors; others get `odd`.
inline int64_t padding_of(int64_t cols, int64_t odd) {
    return cols % 8 == 0 ? 8 : odd;
}

struct Bf16Matrix {
    static constexpr uint16_t kPadding = 0x7777;

    int64_t rows = 0, cols = 0, stride = 0;
    Vector<uint16_t> data;

    Bf16Matrix(int64_t row_count, int64_t col_count, int64_t padding)
        : rows(row_count), cols(col_count), stride(col_count + padding),
          data(static_cast<size_t>(row_count * (col_count + padding)), kPadding) {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) data[static_cast<size_t>(r * stride + c)] = 0;
    }

    static Bf16Matrix rounded(const Matrix& m, int64_t padding) {
        Bf16Matrix half(m.rows, m.cols, padding);
        for (int64_t r = 0; r < m.rows; ++r)
            for (int64_t c = 0; c < m.cols; ++c)
                half.data[static_cast<size_t>(r * half.stride + c)] = bf16_bits(m.at(r, c));
        return half;
    }
    static Bf16Matrix random(int64_t rows, int64_t cols, int64_t padding, uint64_t seed, float scale = 1.0f) {
        return rounded(Matrix::random(rows, cols, 0, seed, scale), padding);
    }

    uint16_t* ptr() { return data.data(); }
    const uint16_t* ptr() const { return data.data(); }

    // The same numbers in fp32, dense; sees that the padding is as it was.
    Matrix widened() const {
        Matrix wide(rows, cols);
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t c = 0; c < cols; ++c) wide.at(r, c) = bf16_value(data[static_cast<size_t>(r * stride + c)]);
            for (int64_t c = cols; c < stride; ++c)
                EXPECT_EQ(data[static_cast<size_t>(r * stride + c)], kPadding) << "padding of row " << r;
        }
        return wide;
    }
};

// Half the distance of neighbouring bf16 numbers around x.
inline double half_ulp_bf16(double x) {
    const double smallest = std::ldexp(1.0, -126);
    return std::ldexp(1.0, std::ilogb(std::max(std::abs(x), smallest)) - 8);
}

// An element may be wrong by half an ulp of its own, for the final rounding, plus twice the largest error of the naive
// fp32 computation. exact and naive are dense [rows, cols].
inline void expect_accurate_bf16(const Matrix& actual, const Vector<float>& naive,
                                 const Vector<double>& exact, const std::string& what) {
    ASSERT_EQ(exact.size(), static_cast<size_t>(actual.rows * actual.cols)) << what;
    ASSERT_EQ(naive.size(), exact.size()) << what;
    double naive_error = 0.0;
    for (size_t i = 0; i < exact.size(); ++i)
        naive_error = std::max(naive_error, std::abs(static_cast<double>(naive[i]) - exact[i]));
    for (int64_t r = 0; r < actual.rows; ++r)
        for (int64_t c = 0; c < actual.cols; ++c) {
            const double expected = exact[static_cast<size_t>(r * actual.cols + c)];
            const double value = static_cast<double>(actual.at(r, c));
            // The ulp of what the result may be before it is rounded.
            const double allowed = half_ulp_bf16(std::abs(expected) + 2 * naive_error) + 2 * naive_error;
            ASSERT_LE(std::abs(value - expected), allowed)
                << what << " at " << r << ", " << c << " is " << value << ", expected " << expected;
        }
}

} // namespace ftc::testing
