// Registers of fp32 lanes, and the few raw operations that GEMM tiles, packing and NF4 decoding need: Vec at the width
// of the instruction set, NarrowVec of at most 256 bits. Elementwise kernels use core/simd.h instead.
#pragma once

#if defined(FTC_ISA_neon)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Zen 4 shuffles two NarrowVec in the time of one 512-bit register and inserts quarters into it for free, so
// transposing is faster there; and up to eight rows fill no wider one. A tile of C is kTileRows x kTileCols: as many
// accumulators as the register file holds beside the operands.
#if defined(FTC_ISA_avx512)
using Vec = __m512;
using NarrowVec = __m256;
constexpr int kLanes = 16;
constexpr int kTileRows = 14;
#elif defined(FTC_ISA_avx2)
using Vec = __m256;
using NarrowVec = Vec;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;
#elif defined(FTC_ISA_neon)
using Vec = float32x4_t;
using NarrowVec = Vec;
constexpr int kLanes = 4;
constexpr int kTileRows = 8;
#else
using Vec = __m128;
using NarrowVec = Vec;
constexpr int kLanes = 4;
constexpr int kTileRows = 6;
#endif
constexpr int kTileVecs = 2;
constexpr int kTileCols = kTileVecs * kLanes;

template <class V>
constexpr int lanes_of() {
    return sizeof(V) / sizeof(float);
}

template <class V = Vec>
V zero();
template <class V = Vec>
V load(const float* p);
template <class V = Vec>
V broadcast(float x);
template <class V = Vec>
V widen_bf16(const uint16_t* p);
// Four floats from each of the addresses, one 128-bit lane each.
template <class V>
V load_quads(const float* const* quads);

#if defined(FTC_ISA_avx512)

template <>
inline __m512 zero<__m512>() {
    return _mm512_setzero_ps();
}
template <>
inline __m512 load<__m512>(const float* p) {
    return _mm512_loadu_ps(p);
}
inline void store(float* p, __m512 v) {
    _mm512_storeu_ps(p, v);
}
template <>
inline __m512 broadcast<__m512>(float x) {
    return _mm512_set1_ps(x);
}
inline __m512 add(__m512 a, __m512 b) {
    return _mm512_add_ps(a, b);
}
inline __m512 mul(__m512 a, __m512 b) {
    return _mm512_mul_ps(a, b);
}
inline __m512 fma(__m512 a, __m512 b, __m512 c) {
    return _mm512_fmadd_ps(a, b, c);
}
inline __m512 unpack_low(__m512 a, __m512 b) {
    return _mm512_unpacklo_ps(a, b);
}
inline __m512 unpack_high(__m512 a, __m512 b) {
    return _mm512_unpackhi_ps(a, b);
}
inline __m512 unpack_low_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
inline __m512 unpack_high_pairs(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
template <>
inline __m512 load_quads<__m512>(const float* const* quads) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(quads[0]));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(quads[1]), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(quads[2]), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(quads[3]), 3);
}
template <>
inline __m512 widen_bf16<__m512>(const uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
// The first and the second bf16 of each 32-bit lane.
inline __m512 first_bf16(__m512 pair) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16));
}
inline __m512 second_bf16(__m512 pair) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(pair), _mm512_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, __m512 v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i high = _mm512_srli_epi32(bits, 16);
    const __m512i half = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __m512i result = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(result));
}

#endif
#if defined(FTC_ISA_avx512) || defined(FTC_ISA_avx2)

template <>
inline __m256 zero<__m256>() {
    return _mm256_setzero_ps();
}
template <>
inline __m256 load<__m256>(const float* p) {
    return _mm256_loadu_ps(p);
}
inline void store(float* p, __m256 v) {
    _mm256_storeu_ps(p, v);
}
template <>
inline __m256 broadcast<__m256>(float x) {
    return _mm256_set1_ps(x);
}
inline __m256 add(__m256 a, __m256 b) {
    return _mm256_add_ps(a, b);
}
inline __m256 mul(__m256 a, __m256 b) {
    return _mm256_mul_ps(a, b);
}
inline __m256 fma(__m256 a, __m256 b, __m256 c) {
    return _mm256_fmadd_ps(a, b, c);
}
inline __m256 unpack_low(__m256 a, __m256 b) {
    return _mm256_unpacklo_ps(a, b);
}
inline __m256 unpack_high(__m256 a, __m256 b) {
    return _mm256_unpackhi_ps(a, b);
}
inline __m256 unpack_low_pairs(__m256 a, __m256 b) {
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
inline __m256 unpack_high_pairs(__m256 a, __m256 b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
template <>
inline __m256 load_quads<__m256>(const float* const* quads) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(quads[0])), _mm_loadu_ps(quads[1]), 1);
}
template <>
inline __m256 widen_bf16<__m256>(const uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline __m256 first_bf16(__m256 pair) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pair), 16));
}
inline __m256 second_bf16(__m256 pair) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_castps_si256(pair), _mm256_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, __m256 v) {
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

template <>
inline Vec zero<Vec>() {
    return vdupq_n_f32(0.0f);
}
template <>
inline Vec load<Vec>(const float* p) {
    return vld1q_f32(p);
}
inline void store(float* p, Vec v) {
    vst1q_f32(p, v);
}
template <>
inline Vec broadcast<Vec>(float x) {
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
template <>
inline Vec load_quads<Vec>(const float* const* quads) {
    return vld1q_f32(quads[0]);
}
template <>
inline Vec widen_bf16<Vec>(const uint16_t* p) {
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

template <>
inline __m128 zero<__m128>() {
    return _mm_setzero_ps();
}
template <>
inline __m128 load<__m128>(const float* p) {
    return _mm_loadu_ps(p);
}
inline void store(float* p, __m128 v) {
    _mm_storeu_ps(p, v);
}
template <>
inline __m128 broadcast<__m128>(float x) {
    return _mm_set1_ps(x);
}
inline __m128 add(__m128 a, __m128 b) {
    return _mm_add_ps(a, b);
}
inline __m128 mul(__m128 a, __m128 b) {
    return _mm_mul_ps(a, b);
}
inline __m128 fma(__m128 a, __m128 b, __m128 c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
} // SSE2 has no FMA: two roundings
inline __m128 unpack_low(__m128 a, __m128 b) {
    return _mm_unpacklo_ps(a, b);
}
inline __m128 unpack_high(__m128 a, __m128 b) {
    return _mm_unpackhi_ps(a, b);
}
inline __m128 unpack_low_pairs(__m128 a, __m128 b) {
    return _mm_movelh_ps(a, b);
}
inline __m128 unpack_high_pairs(__m128 a, __m128 b) {
    return _mm_movehl_ps(b, a);
}
template <>
inline __m128 load_quads<__m128>(const float* const* quads) {
    return _mm_loadu_ps(quads[0]);
}
template <>
inline __m128 widen_bf16<__m128>(const uint16_t* p) {
    const __m128i half = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), half));
}
inline __m128 first_bf16(__m128 pair) {
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(pair), 16));
}
inline __m128 second_bf16(__m128 pair) {
    return _mm_castsi128_ps(_mm_and_si128(_mm_castps_si128(pair), _mm_set1_epi32(static_cast<int32_t>(0xffff0000U))));
}
inline void store_bf16(uint16_t* p, __m128 v) {
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

// out[d] lane i = row(i)[d], for d in 0..3 and every lane: load_quads puts row 4q + i into 128-bit lane q of vector i,
// so a 4x4 transpose inside the lanes finishes the job.
template <class V, class Row>
[[gnu::always_inline]] inline void transpose_rows(V out[4], const Row& row) {
    constexpr int kQuads = lanes_of<V>() / 4;
    V in[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const float* quads[kQuads];
        for (int q = 0; q < kQuads; q++) quads[q] = row(4 * q + i);
        in[i] = load_quads<V>(quads);
    }
    const V low01 = unpack_low(in[0], in[1]), high01 = unpack_high(in[0], in[1]);
    const V low23 = unpack_low(in[2], in[3]), high23 = unpack_high(in[2], in[3]);
    out[0] = unpack_low_pairs(low01, low23);
    out[1] = unpack_high_pairs(low01, low23);
    out[2] = unpack_low_pairs(high01, high23);
    out[3] = unpack_high_pairs(high01, high23);
}

// The same of rows[i] + k, and of p + i * stride.
template <class V>
[[gnu::always_inline]] inline void transpose_quads(V out[4], const float* const* rows, int64_t k) {
    transpose_rows(out, [&](int i) { return rows[i] + k; });
}
template <class V>
[[gnu::always_inline]] inline void transpose_quads(V out[4], const float* p, int64_t stride) {
    transpose_rows(out, [&](int i) { return p + i * stride; });
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
