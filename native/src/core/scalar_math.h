// Functions that every C library rounds in its own way, with the same bits on every system and instruction set instead:
// a training run amplifies a last bit. Multiplications and additions alone, and no contraction (cmake/isa.cmake).
#pragma once

#include <cstdint>

namespace ftc {

// ln x, at most 2 ulp off; -infinity of 0, NaN below. x = 2^e m with m in [1/sqrt 2, sqrt 2), ln m = 2 artanh((m - 1) /
// (m + 1)).
[[gnu::always_inline]] static inline double natural_log(double x) {
    if (!(x > 0.0)) return x < 0.0 || x != x ? __builtin_nan("") : -__builtin_inf();
    if (x > 1.7976931348623157e308) return x;
    int64_t exponent = 0;
    if (x < 2.2250738585072014e-308) { // subnormal
        x *= 18014398509481984.0;      // 2^54
        exponent = -54;
    }
    const int64_t bits = __builtin_bit_cast(int64_t, x);
    // What lies above 1/sqrt 2 counts for the next power of two.
    const int64_t shifted = bits - 0x3fe6a09e667f3bcdLL;
    const int64_t power = shifted >> 52;
    exponent += power;
    const double m = __builtin_bit_cast(double, bits - power * (1LL << 52));
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 23.0;
    p = p * z + 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    const double e = static_cast<double>(exponent);
    // ln 2 in two parts, of which the first times e is exact.
    return e * 6.93147180369123816490e-01 + (2.0 * s + (2.0 * s * z * p + e * 1.90821492927058770002e-10));
}

// base^exponent, exponent >= 0, by squaring: at most 2 exponent ulp off.
[[gnu::always_inline]] static inline double integer_power(double base, int64_t exponent) {
    double result = 1.0;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if ((exponent & 1) != 0) result *= base;
    return result;
}

} // namespace ftc
