// Sums over the lanes of a warp and the warps of a block, in an order that depends on nothing but their number: every
// thread gets the same bits.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

// Over groups of kLanes neighbouring lanes (a power of two up to 32); all 32 lanes call it.
template <int kLanes = 32>
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
    return x;
}

template <int kLanes = 32>
__device__ __forceinline__ uint32_t warp_max(uint32_t x) {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
        const uint32_t other = __shfl_xor_sync(kAllLanes, x, distance);
        x = x > other ? x : other;
    }
    return x;
}

// Over the kThreads threads of a block. `slots` is shared memory, [kThreads / 32]; the next call must use other slots,
// or come after a barrier.
template <int kThreads>
__device__ __forceinline__ float block_sum(float x, float* slots) {
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = slots[0];
#pragma unroll
    for (int warp = 1; warp < kThreads / 32; warp++) sum += slots[warp];
    return sum;
}

} // namespace ftc::cuda
