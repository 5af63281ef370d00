// Value of one affine element, the plain way: the definition the fast decoders are bit-equal to.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

// scale * code + minimum, rounded once.
[[gnu::always_inline]] inline float affine_value(float scale, uint32_t code, float minimum) {
#if defined(FTC_ISA_portable)
    // Without an FMA instruction: the product is exact in double; the sum is rounded to odd there, so that rounding it to
    // fp32 comes out as if it were exact. Boldo & Melquiond 2008, "Emulation of FMA and correctly rounded sums".
    const double product = static_cast<double>(scale) * code, addend = minimum;
    const double sum = product + addend;
    const double part = sum - product;
    const double rest = (product - (sum - part)) + (addend - part);
    int64_t bits = __builtin_bit_cast(int64_t, sum);
    if ((rest > 0.0 || rest < 0.0) && (bits & 1) == 0) bits += (rest > 0.0) == (sum > 0.0) ? 1 : -1;
    return static_cast<float>(__builtin_bit_cast(double, bits));
#else
    return __builtin_fmaf(scale, static_cast<float>(code), minimum);
#endif
}

// Code `col` of a row of codes: a string of bits, lowest first.
template <int Bits>
[[gnu::always_inline]] inline uint32_t affine_code(const uint8_t* codes, int64_t col) {
    const int64_t bit = col * Bits;
    const uint32_t low = codes[bit / 8];
    const uint32_t high = bit % 8 + Bits > 8 ? codes[bit / 8 + 1] : 0U;
    return (low | high << 8) >> (bit % 8) & ((1U << Bits) - 1);
}

} // namespace ftc::FTC_ISA_NAMESPACE
