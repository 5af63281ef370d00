// The 16-bit floating types, bit for bit as the device converts them: round to nearest even, one NaN.
#pragma once

#include <cstdint>
#include <cstring>

#include "simt/types.h"

namespace simt {

namespace detail {

inline uint16_t bf16_bits(float x) {
    uint32_t u = __builtin_bit_cast(uint32_t, x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    u += 0x7fffu + ((u >> 16) & 1u);
    return static_cast<uint16_t>(u >> 16);
}
inline float bf16_value(uint16_t bits) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}
inline uint16_t f16_bits(float x) {
    if (x != x) return 0x7fff;
    return __builtin_bit_cast(uint16_t, static_cast<_Float16>(x));
}
inline float f16_value(uint16_t bits) {
    return static_cast<float>(__builtin_bit_cast(_Float16, bits));
}

} // namespace detail

struct bf16 {
    uint16_t bits;
    bf16() = default;
    explicit bf16(float x) : bits(detail::bf16_bits(x)) {}
    operator float() const { return detail::bf16_value(bits); }
};

struct f16 {
    uint16_t bits;
    f16() = default;
    explicit f16(float x) : bits(detail::f16_bits(x)) {}
    operator float() const { return detail::f16_value(bits); }
};

struct __attribute__((aligned(4))) bf16x2 {
    bf16 x, y;
    SIMT_WHOLE_COPY(bf16x2, detail::Bytes4)
    bf16x2(bf16 low, bf16 high) : x(low), y(high) {}
};

struct __attribute__((aligned(4))) f16x2 {
    f16 x, y;
    SIMT_WHOLE_COPY(f16x2, detail::Bytes4)
    f16x2(f16 low, f16 high) : x(low), y(high) {}
};

} // namespace simt

using __nv_bfloat16 = simt::bf16;
using __nv_bfloat162 = simt::bf16x2;
using __half = simt::f16;
using __half2 = simt::f16x2;

inline float __bfloat162float(simt::bf16 x) {
    return simt::detail::bf16_value(x.bits);
}
inline simt::bf16 __float2bfloat16_rn(float x) {
    return simt::bf16(x);
}
inline simt::bf16 __float2bfloat16(float x) {
    return simt::bf16(x);
}
inline simt::bf16 __ushort_as_bfloat16(unsigned short bits) {
    return __builtin_bit_cast(simt::bf16, bits);
}
inline unsigned short __bfloat16_as_ushort(simt::bf16 x) {
    return x.bits;
}
inline simt::bf16x2 __floats2bfloat162_rn(float low, float high) {
    return simt::bf16x2(simt::bf16(low), simt::bf16(high));
}
inline float2 __bfloat1622float2(simt::bf16x2 x) {
    return float2(x.x, x.y);
}
inline float __half2float(simt::f16 x) {
    return simt::detail::f16_value(x.bits);
}
inline simt::f16 __float2half_rn(float x) {
    return simt::f16(x);
}
inline simt::f16 __float2half(float x) {
    return simt::f16(x);
}
inline simt::f16 __ushort_as_half(unsigned short bits) {
    return __builtin_bit_cast(simt::f16, bits);
}
inline unsigned short __half_as_ushort(simt::f16 x) {
    return x.bits;
}
inline float2 __half22float2(simt::f16x2 x) {
    return float2(x.x, x.y);
}
