// Codes on an ascending map of 256 values, as double quantisation and 8-bit optimiser states use them; bit-equal to
// map_code.h.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

// bitsandbytes multiplies by the reciprocal and guards an empty block so.
__device__ __forceinline__ float reciprocal(float absmax) {
    return 1.0f / (absmax < 1e-38f ? 1e-38f : absmax);
}

// NaN stays.
__device__ __forceinline__ float clamp_to_one(float x) {
    const float high = x > 1.0f ? 1.0f : x;
    return high < -1.0f ? -1.0f : high;
}

// |x| as an integer: NaN is the largest and stays visible.
__device__ __forceinline__ uint32_t magnitude(float x) {
    return __float_as_uint(x) & 0x7fffffffu;
}

// Number of midpoints, of 255, below x: the nearest value of the ascending map, the lower one on a tie.
__device__ __forceinline__ uint32_t nearest(const float* midpoints, float x) {
    uint32_t code = 0; // of the midpoints before `code`, all lie below x
#pragma unroll
    for (uint32_t step = 128; step > 0; step /= 2)
        if (midpoints[code + step - 1] < x) code += step;
    return code;
}

} // namespace ftc::cuda
