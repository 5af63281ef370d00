// Affine and int8 codes to numbers on the device, as ftc.h defines the values.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

// log2 of the columns of a group.
inline int32_t group_shift(int32_t group_size) {
    return group_size == 32 ? 5 : group_size == 64 ? 6 : 7;
}

// A code below 2^23 as a float: bits of 2^23 + code, minus 2^23. Conversions of integers run at a quarter of the speed.
__device__ __forceinline__ float small_float(uint32_t code) {
    return __uint_as_float(0x4b000000u | code) - 8388608.0f;
}
// A byte that holds an int8.
__device__ __forceinline__ float int8_float(uint32_t byte) {
    return __uint_as_float(0x4b000000u | (byte ^ 128u)) - 8388736.0f;
}

// The bits of kCount codes from code `at` on (a multiple of kCount) of a string of bits in words. kCount codes fill a word
// at most.
template <int kBits, int kCount>
__device__ __forceinline__ uint32_t affine_bits(const uint32_t* words, int at) {
    static_assert(kBits * kCount <= 32);
    const int bit = at * kBits, shift = bit % 32;
    uint32_t low = words[bit / 32] >> shift;
    if constexpr (32 % (kBits * kCount) != 0)
        if (shift + kBits * kCount > 32) low |= words[bit / 32 + 1] << (32 - shift);
    return low;
}

// v[i] = value of the i-th code of `bits`.
template <int kBits, int kCount>
__device__ __forceinline__ void decode_affine(float (&v)[kCount], uint32_t bits, float scale, float minimum) {
#pragma unroll
    for (int i = 0; i < kCount; i++)
        v[i] = fmaf(scale, small_float(bits >> (i * kBits) & ((1u << kBits) - 1)), minimum);
}

// v[i] = value of the i-th int8 code; words is aligned to kCount bytes.
template <int kCount>
__device__ __forceinline__ void decode_int8(float (&v)[kCount], const uint32_t* words, float scale) {
    static_assert(kCount == 4 || kCount == 8);
    uint32_t word[kCount / 4];
    if constexpr (kCount == 8) {
        const uint2 two = *reinterpret_cast<const uint2*>(words);
        word[0] = two.x;
        word[1] = two.y;
    } else {
        word[0] = words[0];
    }
#pragma unroll
    for (int i = 0; i < kCount; i++) v[i] = int8_float(word[i / 4] >> (i % 4 * 8) & 255u) * scale;
}

} // namespace ftc::cuda
