// Packing of the row operand A: one tile of rows, depth-major in words (word.h), so that the tile kernel reads it in order
// from L1.
#pragma once

#include <cstdint>

#include "ops/linear/word.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Words that packing may write past the tile.
constexpr int64_t kPackSlack = 2 * kLanes;

constexpr int kRowGroups = (kTileRows + kLanes - 1) / kLanes;

// Rows of the tile, the last one repeated so that whole registers of rows can be read.
template <class T>
struct TileRows {
    const T* row[kRowGroups * kLanes];
    TileRows(const T* a, int64_t stride, int rows) {
        for (int i = 0; i < kRowGroups * kLanes; i++) row[i] = a + (i < rows ? i : rows - 1) * stride;
    }
};

#if defined(FTC_ISA_avx512bf16)

// dst[w * width + i] = depths 2 w and 2 w + 1 of row i, rows <= kTileRows or kLanes, width >= rows. Stores whole registers: what overlaps into the next word is
// overwritten by it.
inline void pack_row_major(float* dst, int64_t width, const uint16_t* a, int64_t stride, int rows, int64_t depth) {
    const TileRows<uint16_t> halves(a, stride, rows);
    const float* row[kLanes];
    for (int i = 0; i < kLanes; i++) row[i] = reinterpret_cast<const float*>(halves.row[i]);
    int64_t w = 0;
    for (; w + 4 <= depth / 2; w += 4) {
        Vec quads[4];
        transpose_quads(quads, row, w);
        for (int d = 0; d < 4; d++) store(dst + (w + d) * width, quads[d]);
    }
    for (int64_t k = 2 * w; k < depth; k += 2)
        for (int i = 0; i < rows; i++)
            dst[k / 2 * width + i] = word_of(halves.row[i][k], k + 1 < depth ? halves.row[i][k + 1] : uint16_t{0});
}

inline void pack_row_major(float* dst, int64_t width, const float* a, int64_t stride, int rows, int64_t depth) {
    constexpr int64_t kStage = 128;
    uint16_t stage[kLanes][kStage];
    for (int64_t k = 0; k < depth; k += kStage) {
        const int64_t count = depth - k < kStage ? depth - k : kStage;
        for (int i = 0; i < rows; i++) round_run(stage[i], a + i * stride + k, count);
        pack_row_major(dst + k / 2 * width, width, stage[0], kStage, rows, count);
    }
}

// The first `rows` (at most sixteen) elements, scaled.
inline Vec load_depth(const float* a, __mmask16 rows, float scale) {
    return mul(broadcast(scale), _mm512_maskz_loadu_ps(rows, a));
}
inline Vec load_depth(const uint16_t* a, __mmask16 rows, float scale) {
    const __m256i half = _mm256_maskz_loadu_epi16(rows, a);
    return mul(broadcast(scale), _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)));
}

// dst[w * rows + i] = scale * a[k * stride + i] of k = 2 w and 2 w + 1.
template <class T>
void pack_depth_major(float* dst, const T* a, int64_t stride, int rows, int64_t depth, float scale) {
    const __mmask16 mask = static_cast<__mmask16>((1U << rows) - 1);
    int64_t k = 0;
    for (; k + 2 <= depth; k += 2)
        store(dst + k / 2 * rows,
              round_to_words(load_depth(a + k * stride, mask, scale), load_depth(a + (k + 1) * stride, mask, scale)));
    if (k < depth) store(dst + k / 2 * rows, round_to_words(load_depth(a + k * stride, mask, scale), zero()));
}

// The same of a[i * stride + k], for the few columns of an adapter.
inline void pack_scaled(float* dst, int64_t width, const float* a, int64_t stride, int rows, int64_t depth, float scale) {
    for (int64_t k = 0; k < depth; k += 2)
        for (int i = 0; i < rows; i++) {
            const float* x = a + i * stride + k;
            dst[k / 2 * width + i] = word_of(bf16_of(scale * x[0]), k + 1 < depth ? bf16_of(scale * x[1]) : uint16_t{0});
        }
}

#else

// dst[k * width + i] = a[i * stride + k], rows <= kTileRows or kLanes, width >= rows. Stores whole registers: what overlaps into the next k is overwritten by it.
inline void pack_row_major(float* dst, int64_t width, const float* a, int64_t stride, int rows, int64_t depth) {
    const TileRows<float> tile(a, stride, rows);
    const float* const* row = tile.row;
    const int groups = (rows + kLanes - 1) / kLanes;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        Vec quads[kRowGroups][4];
        for (int g = 0; g < groups; g++) transpose_quads(quads[g], row + g * kLanes, k);
        for (int d = 0; d < 4; d++)
            for (int g = 0; g < groups; g++) store(dst + (k + d) * width + g * kLanes, quads[g][d]);
    }
    for (; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * width + i] = row[i][k];
}

// The same of bf16: pairs are transposed as 32-bit words and widened afterwards.
inline void pack_row_major(float* dst, int64_t width, const uint16_t* a, int64_t stride, int rows, int64_t depth) {
    const TileRows<uint16_t> tile(a, stride, rows);
    const float* pairs[kRowGroups * kLanes];
    for (int i = 0; i < kRowGroups * kLanes; i++) pairs[i] = reinterpret_cast<const float*>(tile.row[i]);
    const int groups = (rows + kLanes - 1) / kLanes;
    int64_t k = 0;
    for (; k + 8 <= depth; k += 8) {
        Vec words[kRowGroups][4];
        for (int g = 0; g < groups; g++) transpose_quads(words[g], pairs + g * kLanes, k / 2);
        for (int d = 0; d < 4; d++) {
            float* to = dst + (k + 2 * d) * width;
            for (int g = 0; g < groups; g++) store(to + g * kLanes, first_bf16(words[g][d]));
            for (int g = 0; g < groups; g++) store(to + width + g * kLanes, second_bf16(words[g][d]));
        }
    }
    for (; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * width + i] = value_of(tile.row[i][k]);
}

// dst[k * rows + i] = scale * a[k * stride + i].
template <class T>
void pack_depth_major(float* dst, const T* a, int64_t stride, int rows, int64_t depth, float scale) {
    for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * rows + i] = scale * value_of(a[k * stride + i]);
}

// dst[k * width + i] = scale * a[i * stride + k], for the few columns of an adapter.
inline void pack_scaled(float* dst, int64_t width, const float* a, int64_t stride, int rows, int64_t depth, float scale) {
    for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * width + i] = scale * a[i * stride + k];
}

#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
