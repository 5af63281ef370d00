// One register of fp32 lanes at the width of the instruction set, and the few raw operations that GEMM tiles, packing
// and NF4 decoding need. Elementwise kernels use core/simd.h instead.
#pragma once

#if defined(FTC_ISA_neon)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstdint>

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// A tile of C is kTileRows x kTileCols: as many accumulators as the register file holds beside the operands.
#if defined(FTC_ISA_avx512)
using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 14;
#elif defined(FTC_ISA_avx2)
using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;
#elif defined(FTC_ISA_neon)
using Vec = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileRows = 8;
#else
using Vec = __m128;
constexpr int kLanes = 4;
constexpr int kTileRows = 6;
#endif
constexpr int kTileVecs = 2;
constexpr int kTileCols = kTileVecs * kLanes;

#if defined(FTC_ISA_avx512)

inline Vec zero() {
    return _mm512_setzero_ps();
}
inline Vec load(const float* p) {
    return _mm512_loadu_ps(p);
}
inline void store(float* p, Vec v) {
    _mm512_storeu_ps(p, v);
}
inline Vec broadcast(float x) {
    return _mm512_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm512_add_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm512_mul_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
inline Vec unpack_low(Vec a, Vec b) {
    return _mm512_unpacklo_ps(a, b);
}
inline Vec unpack_high(Vec a, Vec b) {
    return _mm512_unpackhi_ps(a, b);
}
inline Vec unpack_low_pairs(Vec a, Vec b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
inline Vec unpack_high_pairs(Vec a, Vec b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
// Four floats from each of rows[0], rows[4], rows[8], rows[12].
inline Vec load_quads(const float* const* rows, int64_t k) {
    Vec v = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + k));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[4] + k), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(rows[8] + k), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(rows[12] + k), 3);
}
inline Vec widen_bf16(const uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
// The first and the second bf16 of each 32-bit lane.
inline Vec first_bf16(Vec pair) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16));
}
inline Vec second_bf16(Vec pair) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, Vec v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i high = _mm512_srli_epi32(bits, 16);
    const __m512i half = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __m512i result = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(result));
}

#elif defined(FTC_ISA_avx2)

inline Vec zero() {
    return _mm256_setzero_ps();
}
inline Vec load(const float* p) {
    return _mm256_loadu_ps(p);
}
inline void store(float* p, Vec v) {
    _mm256_storeu_ps(p, v);
}
inline Vec broadcast(float x) {
    return _mm256_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm256_add_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm256_mul_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
inline Vec unpack_low(Vec a, Vec b) {
    return _mm256_unpacklo_ps(a, b);
}
inline Vec unpack_high(Vec a, Vec b) {
    return _mm256_unpackhi_ps(a, b);
}
inline Vec unpack_low_pairs(Vec a, Vec b) {
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
inline Vec unpack_high_pairs(Vec a, Vec b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
// Four floats from each of rows[0], rows[4].
inline Vec load_quads(const float* const* rows, int64_t k) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + k)), _mm_loadu_ps(rows[4] + k), 1);
}
inline Vec widen_bf16(const uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline Vec first_bf16(Vec pair) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pair), 16));
}
inline Vec second_bf16(Vec pair) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_castps_si256(pair), _mm256_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, Vec v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i result = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), _mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    const __m256i words = _mm256_srai_epi32(result, 16); // packing saturates, so the sign has to stay
    const __m256i halves = _mm256_permute4x64_epi64(_mm256_packs_epi32(words, words), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(halves));
}

#elif defined(FTC_ISA_neon)

inline Vec zero() {
    return vdupq_n_f32(0.0f);
}
inline Vec load(const float* p) {
    return vld1q_f32(p);
}
inline void store(float* p, Vec v) {
    vst1q_f32(p, v);
}
inline Vec broadcast(float x) {
    return vdupq_n_f32(x);
}
inline Vec add(Vec a, Vec b) {
    return vaddq_f32(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return vmulq_f32(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return vfmaq_f32(c, a, b);
}
inline Vec unpack_low(Vec a, Vec b) {
    return vzip1q_f32(a, b);
}
inline Vec unpack_high(Vec a, Vec b) {
    return vzip2q_f32(a, b);
}
inline Vec unpack_low_pairs(Vec a, Vec b) {
    return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
inline Vec unpack_high_pairs(Vec a, Vec b) {
    return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
inline Vec load_quads(const float* const* rows, int64_t k) {
    return vld1q_f32(rows[0] + k);
}
inline Vec widen_bf16(const uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
inline Vec first_bf16(Vec pair) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pair), 16));
}
inline Vec second_bf16(Vec pair) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pair), vdupq_n_u32(0xffff0000U)));
}
inline void store_bf16(uint16_t* p, Vec v) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16)); // NaN is not equal to itself
}

#else

inline Vec zero() {
    return _mm_setzero_ps();
}
inline Vec load(const float* p) {
    return _mm_loadu_ps(p);
}
inline void store(float* p, Vec v) {
    _mm_storeu_ps(p, v);
}
inline Vec broadcast(float x) {
    return _mm_set1_ps(x);
}
inline Vec add(Vec a, Vec b) {
    return _mm_add_ps(a, b);
}
inline Vec mul(Vec a, Vec b) {
    return _mm_mul_ps(a, b);
}
inline Vec fma(Vec a, Vec b, Vec c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
} // SSE2 has no FMA: two roundings
inline Vec unpack_low(Vec a, Vec b) {
    return _mm_unpacklo_ps(a, b);
}
inline Vec unpack_high(Vec a, Vec b) {
    return _mm_unpackhi_ps(a, b);
}
inline Vec unpack_low_pairs(Vec a, Vec b) {
    return _mm_movelh_ps(a, b);
}
inline Vec unpack_high_pairs(Vec a, Vec b) {
    return _mm_movehl_ps(b, a);
}
inline Vec load_quads(const float* const* rows, int64_t k) {
    return _mm_loadu_ps(rows[0] + k);
}
inline Vec widen_bf16(const uint16_t* p) {
    const __m128i half = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), half));
}
inline Vec first_bf16(Vec pair) {
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(pair), 16));
}
inline Vec second_bf16(Vec pair) {
    return _mm_castsi128_ps(_mm_and_si128(_mm_castps_si128(pair), _mm_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, Vec v) {
    const __m128i bits = _mm_castps_si128(v);
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    const __m128i rounded = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
    const __m128i quiet = _mm_or_si128(bits, _mm_set1_epi32(0x400000));
    const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(v, v));
    const __m128i result = _mm_or_si128(_mm_and_si128(nan, quiet), _mm_andnot_si128(nan, rounded));
    const __m128i words = _mm_srai_epi32(result, 16); // packing saturates, so the sign has to stay
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(words, words));
}

#endif

// out[d] lane i = rows[i][k + d], for d in 0..3 and i in 0..kLanes-1: load_quads puts row 4q + i into 128-bit lane q of
// vector i, so a 4x4 transpose inside the lanes finishes the job.
inline void transpose_quads(Vec out[4], const float* const* rows, int64_t k) {
    const Vec v0 = load_quads(rows + 0, k);
    const Vec v1 = load_quads(rows + 1, k);
    const Vec v2 = load_quads(rows + 2, k);
    const Vec v3 = load_quads(rows + 3, k);
    const Vec low01 = unpack_low(v0, v1), high01 = unpack_high(v0, v1);
    const Vec low23 = unpack_low(v2, v3), high23 = unpack_high(v2, v3);
    out[0] = unpack_low_pairs(low01, low23);
    out[1] = unpack_high_pairs(low01, low23);
    out[2] = unpack_low_pairs(high01, high23);
    out[3] = unpack_high_pairs(high01, high23);
}

// Elements of either type as fp32, and fp32 rounded to bf16 (to nearest even, NaN stays NaN).
inline float value_of(float x) {
    return x;
}
inline float value_of(uint16_t x) {
    return __builtin_bit_cast(float, uint32_t{x} << 16);
}
inline uint16_t bf16_of(float x) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);
    return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline void widen_row(float* y, const uint16_t* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(y + i, widen_bf16(x + i));
    for (; i < count; i++) y[i] = value_of(x[i]);
}
inline void round_row(uint16_t* y, const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store_bf16(y + i, load(x + i));
    for (; i < count; i++) y[i] = bf16_of(x[i]);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
