// Arithmetic intrinsics. The correctly rounded ones are plain operators (compile with -ffp-contract=off); the fast ones
// are computed more exactly than the device does, and counted as special-function operations.
#pragma once

#include <math.h>

#include <bit>
#include <climits>
#include <cstdint>

#include "simt/types.h"

namespace simt::detail {
void count_special() noexcept; // one operation of the special-function unit by the current thread
}

inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}
inline float __fsqrt_rn(float a) {
    return __builtin_sqrtf(a);
}
inline float __frcp_rn(float a) {
    return 1.0f / a;
}
inline float __frsqrt_rn(float a) {
    return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(a)));
}
inline double __dadd_rn(double a, double b) {
    return a + b;
}
inline double __dmul_rn(double a, double b) {
    return a * b;
}

inline float rsqrtf(float a) {
    simt::detail::count_special();
    return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(a)));
}
inline float __expf(float a) {
    simt::detail::count_special();
    return ::expf(a);
}
inline float __exp2f(float a) {
    simt::detail::count_special();
    return ::exp2f(a);
}
inline float __logf(float a) {
    simt::detail::count_special();
    return ::logf(a);
}
inline float __log2f(float a) {
    simt::detail::count_special();
    return ::log2f(a);
}
inline float __sinf(float a) {
    simt::detail::count_special();
    return ::sinf(a);
}
inline float __cosf(float a) {
    simt::detail::count_special();
    return ::cosf(a);
}
inline void __sincosf(float a, float* sine, float* cosine) {
    simt::detail::count_special();
    simt::detail::count_special();
    *sine = ::sinf(a);
    *cosine = ::cosf(a);
}
inline float __tanhf(float a) {
    simt::detail::count_special();
    return ::tanhf(a);
}
inline float __fdividef(float a, float b) {
    simt::detail::count_special();
    return a / b;
}
inline float __saturatef(float a) {
    return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f;
}

inline unsigned int __float_as_uint(float a) {
    return __builtin_bit_cast(unsigned int, a);
}
inline int __float_as_int(float a) {
    return __builtin_bit_cast(int, a);
}
inline float __uint_as_float(unsigned int a) {
    return __builtin_bit_cast(float, a);
}
inline float __int_as_float(int a) {
    return __builtin_bit_cast(float, a);
}
inline long long __double_as_longlong(double a) {
    return __builtin_bit_cast(long long, a);
}
inline double __longlong_as_double(long long a) {
    return __builtin_bit_cast(double, a);
}

// Conversions saturate, and NaN becomes 0, as on the device.
inline int __float2int_rn(float a) {
    if (a != a) return 0;
    if (a >= 2147483648.0f) return INT_MAX;
    if (a <= -2147483648.0f) return INT_MIN;
    return static_cast<int>(__builtin_rintf(a));
}
inline int __float2int_rz(float a) {
    if (a != a) return 0;
    if (a >= 2147483648.0f) return INT_MAX;
    if (a <= -2147483648.0f) return INT_MIN;
    return static_cast<int>(a);
}
inline int __float2int_rd(float a) {
    return __float2int_rz(__builtin_floorf(a));
}
inline int __float2int_ru(float a) {
    return __float2int_rz(__builtin_ceilf(a));
}
inline unsigned int __float2uint_rn(float a) {
    if (!(a > 0.0f)) return 0;
    if (a >= 4294967296.0f) return UINT_MAX;
    return static_cast<unsigned int>(__builtin_rintf(a));
}
inline unsigned int __float2uint_rz(float a) {
    if (!(a > 0.0f)) return 0;
    if (a >= 4294967296.0f) return UINT_MAX;
    return static_cast<unsigned int>(a);
}
inline float __int2float_rn(int a) {
    return static_cast<float>(a);
}
inline float __uint2float_rn(unsigned int a) {
    return static_cast<float>(a);
}

inline unsigned int __umulhi(unsigned int a, unsigned int b) {
    return static_cast<unsigned int>((static_cast<uint64_t>(a) * b) >> 32);
}
inline int __mulhi(int a, int b) {
    return static_cast<int>((static_cast<int64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned int a) {
    return std::popcount(a);
}
inline int __popcll(unsigned long long a) {
    return std::popcount(a);
}
inline int __clz(int a) {
    return std::countl_zero(static_cast<unsigned int>(a));
}
inline int __clzll(long long a) {
    return std::countl_zero(static_cast<unsigned long long>(a));
}
inline int __ffs(int a) {
    return __builtin_ffs(a);
}
inline int __ffsll(long long a) {
    return __builtin_ffsll(a);
}
inline unsigned int __brev(unsigned int a) {
    unsigned int reversed = 0;
    for (int i = 0; i < 32; ++i) reversed |= ((a >> i) & 1u) << (31 - i);
    return reversed;
}
// Byte i of the result is byte (selector >> 4 i) & 7 of b:a, or its sign eight times when bit 3 is set.
inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selector) {
    const uint64_t bytes = (static_cast<uint64_t>(b) << 32) | a;
    unsigned int result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned int pick = (selector >> (4 * i)) & 0xfu;
        unsigned int byte = static_cast<unsigned int>(bytes >> (8 * (pick & 7u))) & 0xffu;
        if (pick & 8u) byte = (byte & 0x80u) ? 0xffu : 0u;
        result |= byte << (8 * i);
    }
    return result;
}
inline unsigned int __funnelshift_l(unsigned int low, unsigned int high, unsigned int shift) {
    const uint64_t both = (static_cast<uint64_t>(high) << 32) | low;
    return static_cast<unsigned int>((both << (shift & 31u)) >> 32);
}
inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int shift) {
    const uint64_t both = (static_cast<uint64_t>(high) << 32) | low;
    return static_cast<unsigned int>(both >> (shift & 31u));
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    return c;
}

#define SIMT_MIN_MAX(type)                                                                                             \
    constexpr type min(type a, type b) {                                                                               \
        return b < a ? b : a;                                                                                          \
    }                                                                                                                  \
    constexpr type max(type a, type b) {                                                                               \
        return a < b ? b : a;                                                                                          \
    }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned int)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX
inline float min(float a, float b) {
    return ::fminf(a, b);
}
inline float max(float a, float b) {
    return ::fmaxf(a, b);
}
inline double min(double a, double b) {
    return ::fmin(a, b);
}
inline double max(double a, double b) {
    return ::fmax(a, b);
}
