// One register of fp32 lanes at the width of the instruction set, and the few raw operations that GEMM tiles, packing
// and NF4 decoding need. Elementwise kernels use core/simd.h instead.
#pragma once

#include <immintrin.h>

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

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
