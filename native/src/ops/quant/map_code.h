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

// Codes of a block and, as what it returns, its absmax. The code of x[i] / absmax is the number of midpoints below it:
// the nearest value of the ascending map, the lower one on a tie. Sixteen searches go side by side, and without
// branches, as which way they go is chance.
inline float encode_block(uint8_t* codes, const Midpoints& midpoints, const float* x, int64_t count) {
    constexpr int64_t kTogether = 16;
    const float absmax = largest_magnitude(x, count), scale = reciprocal(absmax);
    for (int64_t first = 0; first < count; first += kTogether) {
        const int64_t some = count - first < kTogether ? count - first : kTogether;
        float values[kTogether] = {};
        uint32_t found[kTogether] = {}; // of the midpoints before, all lie below the value
        for (int64_t i = 0; i < some; i++) values[i] = clamp_to_one(x[first + i] * scale);
        for (uint32_t step = 128; step > 0; step /= 2)
            for (int64_t i = 0; i < kTogether; i++)
                found[i] += static_cast<uint32_t>(midpoints[found[i] + step - 1] < values[i]) * step;
        for (int64_t i = 0; i < some; i++) codes[first + i] = static_cast<uint8_t>(found[i]);
    }
    return absmax;
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
