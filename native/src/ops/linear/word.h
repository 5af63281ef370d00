// What a 32-bit word of a packed operand holds, and how words are multiplied: one fp32; on AVX512-BF16, whose units see
// bf16 activations alone, two neighbouring depths in bf16, the first in the low half, that one instruction multiplies
// and adds to an fp32 sum. Behind an odd depth the last half is zero.
#pragma once

#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if defined(FTC_ISA_avx512bf16)

constexpr int64_t kWordDepths = 2;

inline Vec multiply_words(Vec a, Vec b, Vec sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
inline NarrowVec multiply_words(NarrowVec a, NarrowVec b, NarrowVec sum) {
    return _mm256_dpbf16_ps(sum, reinterpret_cast<__m256bh>(a), reinterpret_cast<__m256bh>(b));
}

inline float word_of(uint16_t first, uint16_t second) {
    return __builtin_bit_cast(float, uint32_t{first} | uint32_t{second} << 16);
}

// Words of two vectors of bf16 depths: of columns 0..15 and of columns 16..31.
inline __m512i pair_low(__m512i first, __m512i second) {
    const __m512i lanes = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                                           37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(first, lanes, second);
}
inline __m512i pair_high(__m512i first, __m512i second) {
    const __m512i lanes = _mm512_set_epi16(63, 31, 62, 30, 61, 29, 60, 28, 59, 27, 58, 26, 57, 25, 56, 24, 55, 23, 54,
                                           22, 53, 21, 52, 20, 51, 19, 50, 18, 49, 17, 48, 16);
    return _mm512_permutex2var_epi16(first, lanes, second);
}

// Words of two depths of as many columns as a register has, in fp32, rounded.
inline Vec round_to_words(Vec first, Vec second) {
    const __m512i lanes = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(lanes, halves));
}

inline NarrowVec round_to_words(NarrowVec first, NarrowVec second) {
    const __m256i lanes = _mm256_set_epi16(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
    const __m256i halves = reinterpret_cast<__m256i>(_mm256_cvtne2ps_pbh(second, first));
    return _mm256_castsi256_ps(_mm256_permutexvar_epi16(lanes, halves));
}

// y = x rounded by the CPU, which takes subnormal numbers for zero, as its products do.
inline void round_run(uint16_t* y, const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32)
        _mm512_storeu_si512(y + i, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(load(x + i + kLanes), load(x + i))));
    for (; i < count; i += kLanes) {
        const int64_t left = count - i < kLanes ? count - i : kLanes;
        const __mmask16 mask = static_cast<__mmask16>((1U << left) - 1);
        const __m256i halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i)));
        _mm256_mask_storeu_epi16(y + i, mask, halves);
    }
}

#else

constexpr int64_t kWordDepths = 1;

template <class V>
V multiply_words(V a, V b, V sum) {
    return fma(a, b, sum);
}

#endif

// Words that hold so many depths.
constexpr int64_t words_of_depth(int64_t depth) {
    return (depth + kWordDepths - 1) / kWordDepths;
}

// A row of the row operand as words.
#if defined(FTC_ISA_avx512bf16)
inline void stage_words(float* words, const float* x, int64_t depth) {
    uint16_t* halves = reinterpret_cast<uint16_t*>(words);
    round_run(halves, x, depth);
    if (depth % 2 != 0) halves[depth] = 0;
}
inline void stage_words(float* words, const uint16_t* x, int64_t depth) {
    __builtin_memcpy(words, x, static_cast<size_t>(depth) * sizeof(uint16_t));
    if (depth % 2 != 0) reinterpret_cast<uint16_t*>(words)[depth] = 0;
}
#else
inline void stage_words(float* words, const float* x, int64_t depth) {
    __builtin_memcpy(words, x, static_cast<size_t>(depth) * sizeof(float));
}
inline void stage_words(float* words, const uint16_t* x, int64_t depth) {
    widen_row(words, x, depth);
}
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
