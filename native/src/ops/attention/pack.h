// Rows of one head copied into tiles of 64 rows.
#pragma once

#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

// y[64, width] = scale * x[rows, head_dim], zeros elsewhere.
template <class T>
FTC_INLINE void pack_rows(float* y, const T* x, int64_t x_stride, int64_t rows, int64_t head_dim, int64_t width,
                          float scale) {
    for (int64_t r = 0; r < rows; ++r) {
        int64_t i = 0;
        for (; i + kLanes <= head_dim; i += kLanes)
            store(mul(load(x + r * x_stride + i), set(scale)), y + r * width + i);
        if (i < head_dim) store(mul(load_partial(x + r * x_stride + i, head_dim - i), set(scale)), y + r * width + i);
    }
    memset(y + rows * width, 0, size_t((64 - rows) * width) * sizeof(float));
}

typedef float Quad __attribute__((vector_size(16)));
typedef uint16_t Halves __attribute__((vector_size(16)));

FTC_INLINE Quad load_quad(const float* p) {
    Quad y;
    memcpy(&y, p, sizeof y);
    return y;
}
FTC_INLINE Quad load_quad(const bf16* p) {
    Halves x = {};
    memcpy(&x, p, 4 * sizeof(bf16));
    return reinterpret_cast<Quad>(__builtin_shufflevector(Halves{}, x, 0, 8, 1, 9, 2, 10, 3, 11)); // zeros below each
}
FTC_INLINE float widen(float x) {
    return x;
}
FTC_INLINE float widen(bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

// y[0..3][0..3] = x[0..3][0..3] transposed.
template <class T>
FTC_INLINE void transpose_quads(float* y, int64_t y_stride, const T* x, int64_t x_stride) {
    Quad a[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) a[i] = load_quad(x + i * x_stride);
    const Quad low01 = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5),
               high01 = __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7);
    const Quad low23 = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5),
               high23 = __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
    const Quad out[4] = {
        __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
        __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) memcpy(y + i * y_stride, &out[i], sizeof(Quad));
}

// y[head_dim, 64] = x[rows, head_dim] transposed, zeros elsewhere.
template <class T>
FTC_INLINE void pack_transposed(float* y, const T* x, int64_t x_stride, int64_t rows, int64_t head_dim) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        int64_t i = 0;
        for (; i + 4 <= head_dim; i += 4) transpose_quads(y + i * 64 + r, 64, x + r * x_stride + i, x_stride);
        for (; i < head_dim; ++i)
            for (int64_t j = r; j < r + 4; ++j) y[i * 64 + j] = widen(x[j * x_stride + i]);
    }
    for (int64_t i = 0; i < head_dim; ++i) {
        for (int64_t j = r; j < rows; ++j) y[i * 64 + j] = widen(x[j * x_stride + i]);
        for (int64_t j = rows; j < 64; ++j) y[i * 64 + j] = 0.0f;
    }
}

} // namespace ftc::FTC_ISA_NAMESPACE
