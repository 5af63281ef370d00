// Dropout by counter on the device: Philox4x32-10 (Salmon et al. 2011), the bits ftc_linear_params promises.
#pragma once

#include "cuda/device.cuh"
#include "ops/linear/dropout.h"

namespace ftc::cuda {

// With the step from where it stands: once a thread, before the first kept_features.
__device__ __forceinline__ Dropout at_this_step(Dropout d) {
    if (d.step_value != nullptr) d.step = *d.step_value;
    return d;
}

// Bit i of the result: feature 8 * block + i of row m is kept.
__device__ __forceinline__ uint32_t kept_features(const Dropout& d, int64_t row, int64_t block) {
    uint32_t c0 = static_cast<uint32_t>(block), c1 = d.positions[row], c2 = d.samples[row], c3 = d.step;
    uint32_t k0 = d.key[0], k1 = d.key[1];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const uint32_t words[4] = {c0, c1, c2, c3};
    uint32_t kept = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const uint32_t number = (words[i / 2] >> (i % 2 * 16)) & 0xffffu;
        kept |= (number < d.threshold ? 0u : 1u) << i;
    }
    return kept;
}

// Zeroes the dropped ones of eight bf16 features.
__device__ __forceinline__ uint4 drop(uint4 features, uint32_t kept) {
    uint32_t* pairs = &features.x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const uint32_t low = (kept >> (2 * i)) & 1u, high = (kept >> (2 * i + 1)) & 1u;
        pairs[i] &= ((0u - low) & 0x0000ffffu) | ((0u - high) & 0xffff0000u);
    }
    return features;
}

} // namespace ftc::cuda
