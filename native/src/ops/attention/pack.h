// Rows of one head copied into tiles of 64 rows.
#pragma once

#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

// y[64, width] = scale * x[rows, head_dim], zeros elsewhere.
FTC_INLINE void pack_rows(float* y, const float* x, int64_t x_stride, int64_t rows, int64_t head_dim, int64_t width, float scale) {
    for (int64_t r = 0; r < rows; ++r) {
        int64_t i = 0;
        for (; i + kLanes <= head_dim; i += kLanes) store(mul(load(x + r * x_stride + i), set(scale)), y + r * width + i);
        if (i < head_dim) store(mul(load_partial(x + r * x_stride + i, head_dim - i), set(scale)), y + r * width + i);
    }
    memset(y + rows * width, 0, size_t((64 - rows) * width) * sizeof(float));
}

// y[head_dim, 64] = x[rows, head_dim] transposed, zeros elsewhere.
FTC_INLINE void pack_transposed(float* y, const float* x, int64_t x_stride, int64_t rows, int64_t head_dim) {
    for (int64_t i = 0; i < head_dim; ++i) {
        for (int64_t r = 0; r < rows; ++r) y[i * 64 + r] = x[r * x_stride + i];
        for (int64_t r = rows; r < 64; ++r) y[i * 64 + r] = 0.0f;
    }
}

} // namespace ftc::FTC_ISA_NAMESPACE
