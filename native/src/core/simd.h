// Sixteen fp32 lanes, whatever the CPU: one AVX-512 register, two AVX2 registers or four registers of SSE2 or NEON.
//
// What is written on f32x16 gives the same bits on AVX2, AVX-512 and NEON: the lanes are the same sixteen everywhere
// and sums fold them in one order. The portable build has no fused multiply-add; there the last bits may differ.
//
// Only for units compiled once per ISA (FTC_ISA_NAMESPACE). Highway 1.0.3 has no SSE2 target, so the portable build
// uses the compiler's own 16-byte vectors, and NEON, which needs hardly more, does too.
#pragma once

#ifndef FTC_ISA_NAMESPACE
#error "core/simd.h belongs into units that are compiled once per ISA"
#endif

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#ifndef HWY_COMPILE_ONLY_STATIC
#define HWY_COMPILE_ONLY_STATIC
#endif
#ifndef HWY_DISABLE_PCLMUL_AES
#define HWY_DISABLE_PCLMUL_AES // -march levels lack AES; with it Highway would silently choose SSSE3
#endif
#include <hwy/highway.h>
#if defined(__AVX512F__)
static_assert(HWY_TARGET == HWY_AVX3, "this unit must be built for AVX-512 F, BW, DQ, VL");
#else
static_assert(HWY_TARGET == HWY_AVX2, "this unit must be built for AVX2, FMA, BMI, F16C");
#endif
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#else
#include <emmintrin.h>
#endif

#define FTC_INLINE static inline __attribute__((always_inline))

namespace ftc::FTC_ISA_NAMESPACE {

// One operation per line: these are tables.
// clang-format off

constexpr int64_t kLanes = 16;

// ---- One register ------------------------------------------------------------------------------------------------

#if defined(__AVX2__)

namespace hn = hwy::HWY_NAMESPACE;
using RegisterTag = hn::CappedTag<float, 16>;
using Register = hn::Vec<RegisterTag>;
using IntegerTag = hn::RebindToSigned<RegisterTag>;
constexpr int kRegisters = int(16 / hn::MaxLanes(RegisterTag()));

FTC_INLINE Register reg_set(float a) { return hn::Set(RegisterTag(), a); }
FTC_INLINE Register reg_load(const float* p) { return hn::LoadU(RegisterTag(), p); }
FTC_INLINE void reg_store(Register a, float* p) { hn::StoreU(a, RegisterTag(), p); }
FTC_INLINE Register reg_add(Register a, Register b) { return hn::Add(a, b); }
FTC_INLINE Register reg_sub(Register a, Register b) { return hn::Sub(a, b); }
FTC_INLINE Register reg_mul(Register a, Register b) { return hn::Mul(a, b); }
FTC_INLINE Register reg_div(Register a, Register b) { return hn::Div(a, b); }
FTC_INLINE Register reg_fma(Register a, Register b, Register c) { return hn::MulAdd(a, b, c); }
FTC_INLINE Register reg_fnma(Register a, Register b, Register c) { return hn::NegMulAdd(a, b, c); }
FTC_INLINE Register reg_sqrt(Register a) { return hn::Sqrt(a); }
FTC_INLINE Register reg_max(Register a, Register b) { return hn::Max(a, b); }
FTC_INLINE Register reg_min(Register a, Register b) { return hn::Min(a, b); }
FTC_INLINE Register reg_select_less(Register a, Register b, Register x, Register y) {
    return hn::IfThenElse(hn::Lt(a, b), x, y);
}
// p * 2^n, where t = 1.5 * 2^23 + n: the low bits of t are n, moved into p's exponent.
FTC_INLINE Register reg_scale_exponent(Register p, Register t) {
    const IntegerTag di;
    const auto shifted = hn::ShiftLeft<23>(hn::BitCast(di, t));
    return hn::BitCast(RegisterTag(), hn::Add(hn::BitCast(di, p), shifted));
}
FTC_INLINE Register reg_load_partial(const float* p, int64_t count) {
    const RegisterTag d;
    return hn::MaskedLoad(hn::FirstN(d, size_t(count)), d, p);
}
FTC_INLINE void reg_store_partial(Register a, float* p, int64_t count) {
    const RegisterTag d;
    hn::BlendedStore(a, hn::FirstN(d, size_t(count)), d, p);
}
// Sixteen lanes to one: lane i with i + 8, then i + 4, i + 2, i + 1.
template <class Combine>
FTC_INLINE float fold(const Register (&r)[kRegisters], const Combine& combine) {
    const hn::Full128<float> d4;
#if defined(__AVX512F__)
    const hn::Full256<float> d8;
    const auto v8 = combine(hn::LowerHalf(d8, r[0]), hn::UpperHalf(d8, r[0]));
#else
    const auto v8 = combine(r[0], r[1]);
#endif
    const auto v4 = combine(hn::LowerHalf(d4, v8), hn::UpperHalf(d4, v8));
    const auto v2 = combine(v4, hn::Shuffle1032(v4));
    return hn::GetLane(combine(v2, hn::Shuffle2301(v2)));
}
#define FTC_FOLD(registers, op)                                                                                        \
    fold(registers, [](auto low, auto high) __attribute__((always_inline)) { return hn::op(low, high); })

#else

typedef float Register __attribute__((vector_size(16)));
typedef int32_t IntegerRegister __attribute__((vector_size(16)));
constexpr int kRegisters = 4;

FTC_INLINE Register reg_set(float a) { return Register{a, a, a, a}; }
FTC_INLINE Register reg_load(const float* p) {
    Register a;
    memcpy(&a, p, sizeof a);
    return a;
}
FTC_INLINE void reg_store(Register a, float* p) { memcpy(p, &a, sizeof a); }
FTC_INLINE Register reg_add(Register a, Register b) { return a + b; }
FTC_INLINE Register reg_sub(Register a, Register b) { return a - b; }
FTC_INLINE Register reg_mul(Register a, Register b) { return a * b; }
FTC_INLINE Register reg_div(Register a, Register b) { return a / b; }
#if defined(__ARM_NEON)
FTC_INLINE Register reg_fma(Register a, Register b, Register c) { return vfmaq_f32(c, a, b); }
FTC_INLINE Register reg_fnma(Register a, Register b, Register c) { return vfmsq_f32(c, a, b); }
FTC_INLINE Register reg_sqrt(Register a) { return vsqrtq_f32(a); }
#else
FTC_INLINE Register reg_fma(Register a, Register b, Register c) { return a * b + c; }
FTC_INLINE Register reg_fnma(Register a, Register b, Register c) { return c - a * b; }
FTC_INLINE Register reg_sqrt(Register a) {
    return Register{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
#endif
FTC_INLINE Register reg_max(Register a, Register b) { return a > b ? a : b; }
FTC_INLINE Register reg_min(Register a, Register b) { return a < b ? a : b; }
FTC_INLINE Register reg_select_less(Register a, Register b, Register x, Register y) { return a < b ? x : y; }
FTC_INLINE Register reg_scale_exponent(Register p, Register t) {
    return reinterpret_cast<Register>(reinterpret_cast<IntegerRegister>(p) +
                                      (reinterpret_cast<IntegerRegister>(t) << 23));
}
FTC_INLINE Register reg_load_partial(const float* p, int64_t count) {
    Register a = {0.0f, 0.0f, 0.0f, 0.0f};
    memcpy(&a, p, size_t(count < 4 ? count : 4) * sizeof(float));
    return a;
}
FTC_INLINE void reg_store_partial(Register a, float* p, int64_t count) {
    memcpy(p, &a, size_t(count < 4 ? count : 4) * sizeof(float));
}

#endif

// ---- Sixteen lanes -----------------------------------------------------------------------------------------------

struct f32x16 {
    Register r[kRegisters];
};

#define FTC_LANES_OP(expression)                                                                                       \
    f32x16 out_;                                                                                                       \
    _Pragma("GCC unroll 4") for (int i = 0; i < kRegisters; ++i) out_.r[i] = (expression);                             \
    return out_

constexpr int64_t kRegisterLanes = kLanes / kRegisters;

FTC_INLINE f32x16 set(float a) { FTC_LANES_OP(reg_set(a)); }
FTC_INLINE f32x16 load(const float* p) { FTC_LANES_OP(reg_load(p + i * kRegisterLanes)); }
FTC_INLINE f32x16 add(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_add(a.r[i], b.r[i])); }
FTC_INLINE f32x16 sub(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_sub(a.r[i], b.r[i])); }
FTC_INLINE f32x16 mul(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_mul(a.r[i], b.r[i])); }
FTC_INLINE f32x16 div(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_div(a.r[i], b.r[i])); }
// a * b + c, rounded once (twice in the portable build).
FTC_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { FTC_LANES_OP(reg_fma(a.r[i], b.r[i], c.r[i])); }
// c - a * b, rounded once (twice in the portable build).
FTC_INLINE f32x16 fnma(f32x16 a, f32x16 b, f32x16 c) { FTC_LANES_OP(reg_fnma(a.r[i], b.r[i], c.r[i])); }
FTC_INLINE f32x16 sqrt(f32x16 a) { FTC_LANES_OP(reg_sqrt(a.r[i])); }
// Per lane: a < b ? x : y; y where a or b is NaN.
FTC_INLINE f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
    FTC_LANES_OP(reg_select_less(a.r[i], b.r[i], x.r[i], y.r[i]));
}
// Per lane the larger, the smaller; b where one of them is NaN.
FTC_INLINE f32x16 max(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_max(a.r[i], b.r[i])); }
FTC_INLINE f32x16 min(f32x16 a, f32x16 b) { FTC_LANES_OP(reg_min(a.r[i], b.r[i])); }

// clang-format on

FTC_INLINE void store(f32x16 a, float* p) {
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) reg_store(a.r[i], p + i * kRegisterLanes);
}

// The first `count` (0..16) elements; the other lanes are 0 and their memory is not touched.
FTC_INLINE f32x16 load_partial(const float* p, int64_t count) {
    f32x16 y;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) {
        const int64_t rest = count - i * kRegisterLanes;
        y.r[i] = rest > 0 ? reg_load_partial(p + i * kRegisterLanes, rest) : reg_set(0.0f);
    }
    return y;
}
FTC_INLINE void store_partial(f32x16 a, float* p, int64_t count) {
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) {
        const int64_t rest = count - i * kRegisterLanes;
        if (rest > 0) reg_store_partial(a.r[i], p + i * kRegisterLanes, rest);
    }
}

// ---- bf16 in memory, fp32 in registers ---------------------------------------------------------------------------

// The upper half of an fp32. Loads widen it; stores round to nearest even, and make every NaN 0xffff.
struct bf16 {
    uint16_t bits;
};

#if defined(__AVX512F__)

FTC_INLINE f32x16 widen_bf16(__m256i x) {
    return {{Register{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))}}};
}
FTC_INLINE __m256i narrow_bf16(f32x16 a) {
    const __m512i bits = _mm512_castps_si512(a.r[0].raw);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(a.r[0].raw, a.r[0].raw, _CMP_UNORD_Q);
    const __m512i kept = _mm512_mask_blend_epi32(nan, rounded, _mm512_set1_epi32(-1));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16));
}
FTC_INLINE f32x16 load(const bf16* p) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
FTC_INLINE void store(f32x16 a, bf16* p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(a));
}
FTC_INLINE f32x16 load_partial(const bf16* p, int64_t count) {
    return widen_bf16(_mm256_maskz_loadu_epi16(__mmask16((1u << count) - 1), p));
}
FTC_INLINE void store_partial(f32x16 a, bf16* p, int64_t count) {
    _mm256_mask_storeu_epi16(p, __mmask16((1u << count) - 1), narrow_bf16(a));
}

#elif defined(__AVX2__)

// The rounded bits, in the lower half of each lane.
FTC_INLINE __m256i reg_round_bf16(Register a) {
    const __m256i bits = _mm256_castps_si256(a.raw);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.raw, a.raw, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_or_si256(rounded, nan), 16);
}
FTC_INLINE f32x16 load(const bf16* p) {
    f32x16 y;
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p) + i);
        y.r[i] = Register{_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16))};
    }
    return y;
}
FTC_INLINE void store(f32x16 a, bf16* p) {
    // Low 0-3, high 0-3, low 4-7, high 4-7.
    const __m256i quarters = _mm256_packus_epi32(reg_round_bf16(a.r[0]), reg_round_bf16(a.r[1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(quarters, 0xd8));
}

#elif defined(__ARM_NEON)

FTC_INLINE uint16x4_t reg_round_bf16(Register a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    return vshrn_n_u32(vornq_u32(rounded, vceqq_f32(a, a)), 16); // NaN is not equal to itself
}
FTC_INLINE f32x16 load(const bf16* p) {
    f32x16 y;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) y.r[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p[4 * i].bits), 16));
    return y;
}
FTC_INLINE void store(f32x16 a, bf16* p) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) vst1_u16(&p[4 * i].bits, reg_round_bf16(a.r[i]));
}

#else

// The rounded bits, in the lower half of each lane, whose upper half is their sign: for a pack that saturates.
FTC_INLINE __m128i reg_round_bf16(Register a) {
    const __m128i bits = _mm_castps_si128(a);
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    const __m128i rounded = _mm_add_epi32(_mm_add_epi32(bits, _mm_set1_epi32(0x7fff)), odd);
    const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(a, a));
    return _mm_srai_epi32(_mm_or_si128(rounded, nan), 16);
}
FTC_INLINE f32x16 load(const bf16* p) {
    f32x16 y;
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p) + i), zero = _mm_setzero_si128();
        y.r[2 * i] = _mm_castsi128_ps(_mm_unpacklo_epi16(zero, x));
        y.r[2 * i + 1] = _mm_castsi128_ps(_mm_unpackhi_epi16(zero, x));
    }
    return y;
}
FTC_INLINE void store(f32x16 a, bf16* p) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p) + i,
                         _mm_packs_epi32(reg_round_bf16(a.r[2 * i]), reg_round_bf16(a.r[2 * i + 1])));
}

#endif

#if !defined(__AVX512F__)
FTC_INLINE f32x16 load_partial(const bf16* p, int64_t count) {
    bf16 all[kLanes] = {};
    memcpy(all, p, size_t(count) * sizeof(bf16));
    return load(all);
}
FTC_INLINE void store_partial(f32x16 a, bf16* p, int64_t count) {
    bf16 all[kLanes];
    store(a, all);
    memcpy(p, all, size_t(count) * sizeof(bf16));
}
#endif

// ---- Arrays of either element type -------------------------------------------------------------------------------

// Whole groups and the rest of a loop alike: count is kLanes or fewer.
template <class T>
FTC_INLINE f32x16 load_group(const T* p, int64_t count) {
    return count == kLanes ? load(p) : load_partial(p, count);
}
template <class T>
FTC_INLINE void store_group(f32x16 a, T* p, int64_t count) {
    if (count == kLanes)
        store(a, p);
    else
        store_partial(a, p, count);
}

// Calls body(i, n) for the groups of an array: n = kLanes, at the end perhaps fewer. Inlined twice, so that n is known
// in the loop.
template <class Body>
FTC_INLINE void for_each_group(int64_t count, const Body& body) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
    if (i < count) body(i, count - i);
}
#define FTC_GROUP(...) [&](__VA_ARGS__) __attribute__((always_inline))

// 0, 1, ..., 15.
FTC_INLINE f32x16 lane_numbers() {
    alignas(64) static constexpr float kNumbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(kNumbers);
}

// Sum of the lanes, always in the same order.
FTC_INLINE float sum(f32x16 a) {
#if defined(__AVX2__)
    return FTC_FOLD(a.r, Add);
#else
    const Register v = (a.r[0] + a.r[2]) + (a.r[1] + a.r[3]);
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// Largest lane; NaN lanes may be passed over.
FTC_INLINE float max_lane(f32x16 a) {
#if defined(__AVX2__)
    return FTC_FOLD(a.r, Max);
#else
    const Register v = reg_max(reg_max(a.r[0], a.r[2]), reg_max(a.r[1], a.r[3]));
    const float low = v[0] > v[2] ? v[0] : v[2], high = v[1] > v[3] ? v[1] : v[3];
    return low > high ? low : high;
#endif
}

// e^x: at most 1.3 ulp off; 0 below -87.3 (where fp32 would turn subnormal), infinity above ln(FLT_MAX), NaN stays NaN.
// x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 is split in two so that n * high is exact.
FTC_INLINE f32x16 exp(f32x16 x) {
    const f32x16 rounder = set(12582912.0f); // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const f32x16 lowest = set(-87.3f);
    const f32x16 highest = set(88.722839f);  // ln(FLT_MAX)
    const f32x16 too_high = set(88.722847f); // the next number
    const f32x16 clamped = max(min(x, highest), lowest);
    const f32x16 t = fma(clamped, set(1.44269504f), rounder);
    const f32x16 n = sub(t, rounder);
    const f32x16 r = fnma(n, set(-2.12194440e-4f), fnma(n, set(0.693359375f), clamped));
    f32x16 p = set(1.98756915e-4f);
    p = fma(p, r, set(1.39819995e-3f));
    p = fma(p, r, set(8.33345191e-3f));
    p = fma(p, r, set(4.16657959e-2f));
    p = fma(p, r, set(1.66666655e-1f));
    p = fma(p, r, set(5.00000012e-1f));
    p = add(fma(p, mul(r, r), r), set(1.0f));
    f32x16 y;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) y.r[i] = reg_scale_exponent(p.r[i], t.r[i]);
    y = select_less(x, lowest, set(0.0f), y);
    return select_less(x, too_high, y, mul(x, set(__builtin_inff()))); // the product is infinity or NaN
}

#undef FTC_LANES_OP
#undef FTC_FOLD

} // namespace ftc::FTC_ISA_NAMESPACE
