// Codes on an ascending map of 256 values, as double quantisation and 8-bit optimiser states use them.
#pragma once

#include <cstdint>

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// max |x|, compared as bits: NaN is the largest and stays visible.
inline float largest_magnitude(const float* x, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = __builtin_bit_cast(uint32_t, x[i]) & 0x7fffffffU;
        largest = bits > largest ? bits : largest;
    }
    return __builtin_bit_cast(float, largest);
}

// bitsandbytes multiplies by the reciprocal and guards an empty block so.
inline float reciprocal(float absmax) {
    return 1.0f / (absmax < 1e-38f ? 1e-38f : absmax);
}

inline float clamp_to_one(float x) {
    const float high = x > 1.0f ? 1.0f : x;
    return high < -1.0f ? -1.0f : high;
}

using Midpoints = float[255];

inline void midpoints_of(Midpoints& midpoints, const float* map) {
    for (int i = 0; i < 255; i++) midpoints[i] = (map[i] + map[i + 1]) / 2.0f;
}

// Number of midpoints below x: the nearest value of the ascending map, the lower one on a tie.
inline uint8_t nearest(const Midpoints& midpoints, float x) {
    int32_t low = 0, high = 255; // the answer lies in [low, high]
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (midpoints[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return static_cast<uint8_t>(low);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
