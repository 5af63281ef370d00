// Affine codes to fp32 a register at a time, bit-equal to affine_value().
#pragma once

#include "ops/linear/vector.h"
#include "ops/quant/affine_value.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Eight neighbouring codes fill `Bits` bytes.
template <int Bits>
inline uint32_t affine_eight(const uint8_t* bytes) {
    uint32_t word = 0;
    if constexpr (Bits == 3)
        word = bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16;
    else
        __builtin_memcpy(&word, bytes, Bits);
    return word;
}

// y[0..7] = eight codes, y[0..31] = thirty-two, all of one group.
template <int Bits>
inline void affine_decode_eight(float* y, const uint8_t* bytes, float scale, float minimum) {
    const uint32_t word = affine_eight<Bits>(bytes);
#if defined(FTC_ISA_portable) || defined(FTC_ISA_neon)
    for (int i = 0; i < 8; i++) y[i] = affine_value(scale, word >> (Bits * i) & ((1U << Bits) - 1), minimum);
#else
    const __m256i shifts = _mm256_setr_epi32(0, Bits, 2 * Bits, 3 * Bits, 4 * Bits, 5 * Bits, 6 * Bits, 7 * Bits);
    const __m256i codes = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int32_t>(word)), shifts),
                                           _mm256_set1_epi32((1 << Bits) - 1));
    _mm256_storeu_ps(y, _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(codes), _mm256_set1_ps(minimum)));
#endif
}

template <int Bits>
inline void affine_decode_unit(float* y, const uint8_t* bytes, float scale, float minimum) {
#if defined(FTC_ISA_avx512)
    const __m512i shifts = _mm512_setr_epi32(0, Bits, 2 * Bits, 3 * Bits, 4 * Bits, 5 * Bits, 6 * Bits, 7 * Bits, 0,
                                             Bits, 2 * Bits, 3 * Bits, 4 * Bits, 5 * Bits, 6 * Bits, 7 * Bits);
    for (int half = 0; half < 2; half++) {
        const auto low = static_cast<int32_t>(affine_eight<Bits>(bytes + 2 * half * Bits));
        const auto high = static_cast<int32_t>(affine_eight<Bits>(bytes + (2 * half + 1) * Bits));
        const __m512i words = _mm512_mask_set1_epi32(_mm512_set1_epi32(low), 0xff00, high);
        const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(words, shifts), _mm512_set1_epi32((1 << Bits) - 1));
        store(y + half * 16, fma(broadcast(scale), _mm512_cvtepi32_ps(codes), broadcast(minimum)));
    }
#else
    for (int i = 0; i < 4; i++) affine_decode_eight<Bits>(y + i * 8, bytes + i * Bits, scale, minimum);
#endif
}

// y[i] = element (row, col + i).
template <int Bits>
inline void affine_decode_row(float* y, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    const uint8_t* codes = static_cast<const uint8_t*>(w.data) + row * (w.cols / 8 * Bits);
    const float* scale = w.scale + row * (w.cols / w.group_size);
    const float* minimum = w.minimum + row * (w.cols / w.group_size);
    for (const int64_t end = col + count; col < end;) {
        const int64_t group = col / w.group_size;
        int64_t run = 1;
        if (col % 32 == 0 && end - col >= 32) {
            run = 32;
            affine_decode_unit<Bits>(y, codes + col / 8 * Bits, scale[group], minimum[group]);
        } else if (col % 8 == 0 && end - col >= 8) {
            run = 8;
            affine_decode_eight<Bits>(y, codes + col / 8 * Bits, scale[group], minimum[group]);
        } else {
            *y = affine_value(scale[group], affine_code<Bits>(codes, col), minimum[group]);
        }
        y += run;
        col += run;
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
