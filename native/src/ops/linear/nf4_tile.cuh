// NF4 codes to numbers on the device: fp32 code times fp32 absmax, rounded once, as ftc.h defines the values.
#pragma once

#include "cuda/device.cuh"
#include "ftc.h"

namespace ftc::cuda {

// The sixteen values, one copy per bank: lane i reads copy i, so a warp looks up any codes without conflict.
constexpr int kCodeTableFloats = 16 * 32;

__device__ __forceinline__ void fill_code_table(float* table, const float* quant_map, int thread, int threads) {
    for (int i = thread; i < kCodeTableFloats; i += threads) table[i] = quant_map[i / 32];
}

__device__ __forceinline__ float code_value(const float* table, uint32_t code, int lane) {
    return table[code * 32 + static_cast<uint32_t>(lane)];
}

// What kernels need of a weight in NF4.
struct Nf4Source {
    const uint8_t* codes;
    const void* absmax;
    const float* nested_absmax; // or NULL
    const float* nested_map;
    float nested_offset;

    // map: nested_map, copied to shared memory.
    __device__ __forceinline__ float absmax_of(int64_t block, const float* map) const {
        if (nested_absmax == nullptr) return static_cast<const float*>(absmax)[block];
        const uint8_t code = static_cast<const uint8_t*>(absmax)[block];
        const float scaled = map[code] * nested_absmax[block / 256];
        return scaled + nested_offset;
    }
    __device__ __forceinline__ void copy_map(float* map, int thread, int threads) const {
        if (nested_absmax == nullptr) return;
        for (int i = thread; i < 256; i += threads) map[i] = nested_map[i];
    }
};

inline Nf4Source nf4_source(const ftc_weight& w) {
    return {static_cast<const uint8_t*>(w.data), w.absmax, w.nested_absmax, w.nested_map, w.nested_offset};
}

// Code i (0..7) of four packed bytes: even codes sit in the high nibble.
__device__ __forceinline__ uint32_t code_of(uint32_t word, int i) {
    return (word >> (i / 2 * 8 + (i % 2 == 0 ? 4 : 0))) & 15u;
}

// Eight codes as bf16.
__device__ __forceinline__ uint4 decode_eight(const float* table, uint32_t word, float absmax, int lane) {
    uint32_t pair[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
        pair[i] = pack_bf16(code_value(table, code_of(word, 2 * i), lane) * absmax,
                            code_value(table, code_of(word, 2 * i + 1), lane) * absmax);
    return make_uint4(pair[0], pair[1], pair[2], pair[3]);
}

} // namespace ftc::cuda
