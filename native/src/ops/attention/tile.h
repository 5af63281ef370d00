// Products of 64-row tiles in fp32. Every element is one chain of fused multiply-adds over the depth, so that the
// vector width changes nothing. Rows of B and C are whole groups of sixteen lanes.
#pragma once

#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

// Rows and sixteen-lane columns held in registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 6, kTileColumns = 4;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kTileColumns = 1;
#else
constexpr int kTileRows = 2, kTileColumns = 1;
#endif

enum class Start { zero, accumulate, scale };

// What a tile starts from: nothing, C, or C with row r multiplied by scale[r].
struct From {
    Start start;
    const float* scale;
};

// A as a row-major matrix: element (row, k) at data[row * stride + k]; or by columns: data[k * stride + row].
struct Left {
    const float* data;
    int64_t stride;
};

// C[kRows, 16 * kColumns] = start + A[kRows, depth] B[depth, 16 * kColumns].
template <int kRows, int kColumns, bool kByColumns>
FTC_INLINE void tile(Left a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t depth, From from) {
    f32x16 sums[kRows][kColumns];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j) sums[r][j] = set(0.0f);
    if (from.start != Start::zero) {
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
            for (int j = 0; j < kColumns; ++j) sums[r][j] = load(c + r * c_stride + j * kLanes);
        if (from.start == Start::scale) {
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
                for (int j = 0; j < kColumns; ++j) sums[r][j] = mul(sums[r][j], set(from.scale[r]));
        }
    }
#pragma GCC unroll 1
    for (int64_t k = 0; k < depth; ++k) {
        f32x16 right[kColumns];
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j) right[j] = load(b + k * b_stride + j * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
            const f32x16 left = set(kByColumns ? a.data[k * a.stride + r] : a.data[r * a.stride + k]);
#pragma GCC unroll 4
            for (int j = 0; j < kColumns; ++j) sums[r][j] = fma(left, right[j], sums[r][j]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j) store(sums[r][j], c + r * c_stride + j * kLanes);
}

// The same over any number of columns that is a multiple of sixteen.
template <int kRows, bool kByColumns>
void tile_columns(Left a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t columns, int64_t depth,
                  From from) {
    int64_t j = 0;
    if constexpr (kTileColumns > 1) {
        for (; j + 4 * kLanes <= columns; j += 4 * kLanes)
            tile<kRows, 4, kByColumns>(a, b + j, b_stride, c + j, c_stride, depth, from);
        for (; j + 2 * kLanes <= columns; j += 2 * kLanes)
            tile<kRows, 2, kByColumns>(a, b + j, b_stride, c + j, c_stride, depth, from);
    }
    for (; j < columns; j += kLanes) tile<kRows, 1, kByColumns>(a, b + j, b_stride, c + j, c_stride, depth, from);
}

// The same for 1..kTileRows rows.
template <bool kByColumns>
FTC_INLINE void tile_rows(int64_t rows, Left a, const float* b, int64_t b_stride, float* c, int64_t c_stride,
                          int64_t columns, int64_t depth, From from) {
    static_assert(kTileRows <= 6);
    switch (rows) {
    case 1:
        return tile_columns<1, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
    case 2:
        return tile_columns<2, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
    default:
        break;
    }
    if constexpr (kTileRows > 2) {
        switch (rows) {
        case 3:
            return tile_columns<3, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
        case 4:
            return tile_columns<4, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
        case 5:
            return tile_columns<5, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
        default:
            return tile_columns<6, kByColumns>(a, b, b_stride, c, c_stride, columns, depth, from);
        }
    }
}

FTC_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
FTC_INLINE int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

// In the three products below, row r of the 64x64 tile has no key beyond column r + diagonal, and what lies there is
// skipped.

// scores[rows, 64] = A[rows, depth] B[depth, 64]; skipped columns keep what they held.
FTC_INLINE void tile_scores(float* scores, const float* a, int64_t a_stride, const float* b, int64_t rows,
                            int64_t depth, int64_t diagonal) {
    for (int64_t r = 0; r < rows; r += kTileRows) {
        const int64_t count = smaller(kTileRows, rows - r);
        const int64_t columns = smaller(64, (r + count + diagonal + kLanes - 1) / kLanes * kLanes);
        if (columns <= 0) continue;
        tile_rows<false>(count, {a + r * a_stride, a_stride}, b, 64, scores + r * 64, 64, columns, depth,
                         {Start::zero, nullptr});
    }
}

// c[rows, width] = start + P[rows, 64] B[64, width].
FTC_INLINE void tile_weighted_rows(float* c, const float* p, const float* b, int64_t rows, int64_t width,
                                   int64_t diagonal, From from) {
    for (int64_t r = 0; r < rows; r += kTileRows) {
        const int64_t count = smaller(kTileRows, rows - r);
        const int64_t depth = larger(0, smaller(64, r + count + diagonal));
        const From mine = {from.start, from.scale == nullptr ? nullptr : from.scale + r};
        tile_rows<false>(count, {p + r * 64, 64}, b, width, c + r * width, width, width, depth, mine);
    }
}

// c[64, width] += P[rows, 64]^T B[rows, width].
FTC_INLINE void tile_weighted_columns(float* c, const float* p, const float* b, int64_t rows, int64_t width,
                                      int64_t diagonal) {
    for (int64_t key = 0; key < 64; key += kTileRows) {
        const int64_t count = smaller(kTileRows, 64 - key);
        const int64_t first = larger(0, key - diagonal); /* earlier rows do not reach this key */
        if (first >= rows) continue;
        tile_rows<true>(count, {p + first * 64 + key, 64}, b + first * width, width, c + key * width, width, width,
                        rows - first, {Start::accumulate, nullptr});
    }
}

} // namespace ftc::FTC_ISA_NAMESPACE
