// Inputs and outputs of the kernels of ptx_conformance.
#pragma once

#include "cuda/device.cuh"
#include "ptx/conformance.h"

namespace ftc::ptx {

// Numbers that differ in every lane and bit position: splitmix32.
__device__ __forceinline__ uint32_t mixed(uint32_t x) {
    x += 0x9e3779b9u;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}
// A whole number in [-8, 8).
__device__ __forceinline__ float whole(uint32_t x) {
    return static_cast<float>(static_cast<int>(mixed(x) % 16u) - 8);
}
// In [-1, 1).
__device__ __forceinline__ float fraction(uint32_t x) {
    return static_cast<float>(static_cast<int>(mixed(x) >> 8)) * 0x1p-23f - 1.0f;
}
__device__ __forceinline__ void put(uint32_t* out, int word, uint32_t value) {
    out[threadIdx.x * kWords + word] = value;
}

#define FTC_CASE(kernel, threads, tolerance)                                                                           \
    {#kernel, threads, tolerance, [](uint32_t* out, const uint4* in) { FTC_LAUNCH((kernel), 1, threads, 0, nullptr, out, in); }}

} // namespace ftc::ptx
