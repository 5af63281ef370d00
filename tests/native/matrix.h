// A strided matrix for tests: random content, and padding behind every row that must stay as it was.
#pragma once

#include <gtest/gtest.h>

#include "testing.h"

namespace ftc::testing {

struct Matrix {
    static constexpr float kPadding = 777.0f;

    int64_t rows = 0, cols = 0, stride = 0;
    Vector<float> data;

    Matrix() = default;
    // Padding after every row, the last one included.
    Matrix(int64_t row_count, int64_t col_count, int64_t padding = 0)
        : rows(row_count), cols(col_count), stride(col_count + padding),
          data(static_cast<size_t>(row_count * (col_count + padding)), kPadding) {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) at(r, c) = 0.0f;
    }

    static Matrix random(int64_t rows, int64_t cols, int64_t padding, uint64_t seed, float scale = 1.0f) {
        Matrix m(rows, cols, padding);
        const Vector<float> values = random_floats(rows * cols, seed);
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) m.at(r, c) = scale * values[static_cast<size_t>(r * cols + c)];
        return m;
    }

    float& at(int64_t r, int64_t c) { return data[static_cast<size_t>(r * stride + c)]; }
    float at(int64_t r, int64_t c) const { return data[static_cast<size_t>(r * stride + c)]; }
    float* ptr() { return data.data(); }
    const float* ptr() const { return data.data(); }

    void expect_padding_untouched(const std::string& what) const {
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = cols; c < stride; ++c) ASSERT_EQ(at(r, c), kPadding) << what << " padding of row " << r;
    }
};

} // namespace ftc::testing
