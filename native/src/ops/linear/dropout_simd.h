// Applies dropout to runs of features, a register of Philox counters at a time.
#pragma once

#include "ops/linear/dropout.h"
#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if defined(FTC_ISA_avx512)

using Words = __m512i;
inline Words words_of(uint32_t x) {
    return _mm512_set1_epi32(static_cast<int32_t>(x));
}
inline Words load_words(const uint32_t* p) {
    return _mm512_loadu_si512(p);
}
inline void store_words(void* p, Words v) {
    _mm512_storeu_si512(p, v);
}
inline Words exclusive_or(Words a, Words b, Words c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}
inline Words interleave_low(Words a, Words b) {
    return _mm512_unpacklo_epi32(a, b);
}
inline Words interleave_high(Words a, Words b) {
    return _mm512_unpackhi_epi32(a, b);
}
inline Words interleave_low_pairs(Words a, Words b) {
    return _mm512_unpacklo_epi64(a, b);
}
inline Words interleave_high_pairs(Words a, Words b) {
    return _mm512_unpackhi_epi64(a, b);
}
// The 64-bit product of each lane with m, as high and low words.
inline void multiply_wide(Words x, Words m, Words* high, Words* low) {
    const Words even = _mm512_mul_epu32(x, m);
    const Words odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), m);
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

#elif defined(FTC_ISA_avx2)

using Words = __m256i;
inline Words words_of(uint32_t x) {
    return _mm256_set1_epi32(static_cast<int32_t>(x));
}
inline Words load_words(const uint32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_words(void* p, Words v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}
inline Words exclusive_or(Words a, Words b, Words c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}
inline Words interleave_low(Words a, Words b) {
    return _mm256_unpacklo_epi32(a, b);
}
inline Words interleave_high(Words a, Words b) {
    return _mm256_unpackhi_epi32(a, b);
}
inline Words interleave_low_pairs(Words a, Words b) {
    return _mm256_unpacklo_epi64(a, b);
}
inline Words interleave_high_pairs(Words a, Words b) {
    return _mm256_unpackhi_epi64(a, b);
}
inline void multiply_wide(Words x, Words m, Words* high, Words* low) {
    const Words even = _mm256_mul_epu32(x, m);
    const Words odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

#elif defined(FTC_ISA_neon)

using Words = uint32x4_t;
inline Words words_of(uint32_t x) {
    return vdupq_n_u32(x);
}
inline Words load_words(const uint32_t* p) {
    return vld1q_u32(p);
}
inline void store_words(void* p, Words v) {
    vst1q_u16(static_cast<uint16_t*>(p), vreinterpretq_u16_u32(v));
}
inline Words exclusive_or(Words a, Words b, Words c) {
    return veorq_u32(veorq_u32(a, b), c);
}
inline Words interleave_low(Words a, Words b) {
    return vzip1q_u32(a, b);
}
inline Words interleave_high(Words a, Words b) {
    return vzip2q_u32(a, b);
}
inline Words interleave_low_pairs(Words a, Words b) {
    return vreinterpretq_u32_u64(vzip1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
}
inline Words interleave_high_pairs(Words a, Words b) {
    return vreinterpretq_u32_u64(vzip2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
}
inline void multiply_wide(Words x, Words m, Words* high, Words* low) {
    const uint64x2_t first = vmull_u32(vget_low_u32(x), vget_low_u32(m));
    const uint64x2_t second = vmull_high_u32(x, m);
    *high = vuzp2q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(second));
    *low = vuzp1q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(second));
}

#else

using Words = __m128i;
inline Words words_of(uint32_t x) {
    return _mm_set1_epi32(static_cast<int32_t>(x));
}
inline Words load_words(const uint32_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline void store_words(void* p, Words v) {
    _mm_storeu_si128(static_cast<__m128i*>(p), v);
}
inline Words exclusive_or(Words a, Words b, Words c) {
    return _mm_xor_si128(_mm_xor_si128(a, b), c);
}
inline Words interleave_low(Words a, Words b) {
    return _mm_unpacklo_epi32(a, b);
}
inline Words interleave_high(Words a, Words b) {
    return _mm_unpackhi_epi32(a, b);
}
inline Words interleave_low_pairs(Words a, Words b) {
    return _mm_unpacklo_epi64(a, b);
}
inline Words interleave_high_pairs(Words a, Words b) {
    return _mm_unpackhi_epi64(a, b);
}
inline void multiply_wide(Words x, Words m, Words* high, Words* low) {
    const Words odd_lanes = _mm_set_epi32(-1, 0, -1, 0);
    const Words even = _mm_mul_epu32(x, m);
    const Words odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), m);
    *high = _mm_or_si128(_mm_srli_epi64(even, 32), _mm_and_si128(odd, odd_lanes));
    *low = _mm_or_si128(_mm_andnot_si128(odd_lanes, even), _mm_slli_epi64(odd, 32));
}

#endif

constexpr int kDropoutFeatures = 8 * kLanes; // of one register of counters

inline Words add_words(Words a, uint32_t b) {
#if defined(FTC_ISA_avx512)
    return _mm512_add_epi32(a, words_of(b));
#elif defined(FTC_ISA_avx2)
    return _mm256_add_epi32(a, words_of(b));
#elif defined(FTC_ISA_neon)
    return vaddq_u32(a, words_of(b));
#else
    return _mm_add_epi32(a, words_of(b));
#endif
}

// numbers[f] of features 8 * group + f, f in [0, kDropoutFeatures), of row `row`. Philox4x32-10, Salmon et al. 2011.
inline void philox_numbers(uint16_t numbers[kDropoutFeatures], const Dropout& d, int64_t row, uint32_t group) {
    // Lane 4q + j gets counter j * kLanes / 4 + q, so that transposing inside 128-bit lanes leaves features in order.
    uint32_t offsets[kLanes];
    for (uint32_t lane = 0; lane < kLanes; lane++) offsets[lane] = lane % 4 * (kLanes / 4) + lane / 4;
    Words c0 = add_words(load_words(offsets), group);
    Words c1 = words_of(d.positions[row]);
    Words c2 = words_of(d.samples[row]);
    Words c3 = words_of(d.step);
    const Words m0 = words_of(0xD2511F53U), m1 = words_of(0xCD9E8D57U);
    Words key0 = words_of(d.key[0]), key1 = words_of(d.key[1]);
    for (int round = 0; round < 10; round++) {
        Words high0, low0, high1, low1;
        multiply_wide(c0, m0, &high0, &low0);
        multiply_wide(c2, m1, &high1, &low1);
        c0 = exclusive_or(high1, c1, key0);
        c2 = exclusive_or(high0, c3, key1);
        c1 = low1;
        c3 = low0;
        key0 = add_words(key0, 0x9E3779B9U);
        key1 = add_words(key1, 0xBB67AE85U);
    }
    const Words low01 = interleave_low(c0, c1), high01 = interleave_high(c0, c1);
    const Words low23 = interleave_low(c2, c3), high23 = interleave_high(c2, c3);
    store_words(numbers + 0 * 2 * kLanes, interleave_low_pairs(low01, low23));
    store_words(numbers + 1 * 2 * kLanes, interleave_high_pairs(low01, low23));
    store_words(numbers + 2 * 2 * kLanes, interleave_low_pairs(high01, high23));
    store_words(numbers + 3 * 2 * kLanes, interleave_high_pairs(high01, high23));
}

// y[j] = dropout of x[j], feature first + j of row `row`; first % 8 == 0. Add: y[j] += it.
template <bool Add, class T>
inline void apply_dropout(float* y, const T* x, int64_t count, const Dropout& d, int64_t row, int64_t first) {
    uint16_t numbers[kDropoutFeatures];
    for (int64_t begin = 0; begin < count; begin += kDropoutFeatures) {
        philox_numbers(numbers, d, row, static_cast<uint32_t>((first + begin) / 8));
        const int64_t end = count - begin < kDropoutFeatures ? count - begin : kDropoutFeatures;
        for (int64_t j = 0; j < end; j++) {
            const float scaled = value_of(x[begin + j]) / d.keep;
            const float kept = numbers[j] < d.threshold ? 0.0f : scaled;
            y[begin + j] = Add ? y[begin + j] + kept : kept;
        }
    }
}

// y[j] += dropout of x[j], where `repeat` features, from first + j on, have one number: that of their group.
inline void add_dropped_groups(float* y, const float* x, int64_t count, const Dropout& d, int64_t row, int64_t first,
                               int32_t repeat) {
    static_assert(kDropoutFeatures >= 8); // groups from a multiple of eight on: more than count features can have
    const int64_t begin = first / repeat / 8 * 8;
    uint16_t numbers[kDropoutFeatures];
    philox_numbers(numbers, d, row, static_cast<uint32_t>(begin / 8));
    for (int64_t j = 0; j < count; j++) {
        const float scaled = x[j] / d.keep;
        y[j] = y[j] + (numbers[(first + j) / repeat - begin] < d.threshold ? 0.0f : scaled);
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
