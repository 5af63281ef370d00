// Consecutive elements of one type as floats, moved 8 or 16 bytes at a time where addresses allow it.
// A kernel has two shapes: `kVectorOf<T>` elements a thread (16 bytes; bases and strides are multiples of 16 bytes),
// and one element a thread for everything else.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

template <class T>
inline constexpr int kVectorOf = 16 / static_cast<int>(sizeof(T));

// The 32-bit words that hold kCount elements of T.
template <class T, int kCount>
struct Words {
    static_assert(kCount * sizeof(T) % 4 == 0);
    static constexpr int kWords = kCount * static_cast<int>(sizeof(T)) / 4;
    uint32_t at[kWords];
};

__device__ __forceinline__ void unpack_word(float (&v)[1], uint32_t word, float) {
    v[0] = __uint_as_float(word);
}
__device__ __forceinline__ void unpack_word(float (&v)[2], uint32_t word, bf16) {
    v[0] = low_bf16(word);
    v[1] = high_bf16(word);
}
__device__ __forceinline__ void unpack_word(float (&v)[2], uint32_t word, f16) {
    f16 half[2];
    memcpy(half, &word, 4);
    v[0] = to_float(half[0]);
    v[1] = to_float(half[1]);
}

__device__ __forceinline__ uint32_t pack_word(const float (&v)[1], float) {
    return __float_as_uint(v[0]);
}
__device__ __forceinline__ uint32_t pack_word(const float (&v)[2], bf16) {
    return pack_bf16(v[0], v[1]);
}
__device__ __forceinline__ uint32_t pack_word(const float (&v)[2], f16) {
    const f16 half[2] = {from_float<f16>(v[0]), from_float<f16>(v[1])};
    uint32_t word;
    memcpy(&word, half, 4);
    return word;
}

template <class T, int kCount>
__device__ __forceinline__ void unpack(float (&v)[kCount], const Words<T, kCount>& words) {
    constexpr int kEach = 4 / sizeof(T);
#pragma unroll
    for (int w = 0; w < Words<T, kCount>::kWords; w++) {
        float some[kEach];
        unpack_word(some, words.at[w], T{});
#pragma unroll
        for (int i = 0; i < kEach; i++) v[w * kEach + i] = some[i];
    }
}

template <class T, int kCount>
__device__ __forceinline__ void pack(Words<T, kCount>& words, const float (&v)[kCount]) {
    constexpr int kEach = 4 / sizeof(T);
#pragma unroll
    for (int w = 0; w < Words<T, kCount>::kWords; w++) {
        float some[kEach];
#pragma unroll
        for (int i = 0; i < kEach; i++) some[i] = v[w * kEach + i];
        words.at[w] = pack_word(some, T{});
    }
}

// p is aligned to the words' bytes, or to 16 when there are more.
template <bool kStreaming = false, class T, int kCount>
__device__ __forceinline__ void load_words(Words<T, kCount>& words, const T* p) {
    constexpr int kWords = Words<T, kCount>::kWords;
    if constexpr (kWords == 2) {
        const uint2 two = load8_global(p);
        words.at[0] = two.x;
        words.at[1] = two.y;
    } else {
        static_assert(kWords % 4 == 0);
#pragma unroll
        for (int w = 0; w < kWords; w += 4) {
            const uint4 four = kStreaming ? load16_streaming(reinterpret_cast<const uint32_t*>(p) + w)
                                          : load16_global(reinterpret_cast<const uint32_t*>(p) + w);
            words.at[w] = four.x;
            words.at[w + 1] = four.y;
            words.at[w + 2] = four.z;
            words.at[w + 3] = four.w;
        }
    }
}

template <class T, int kCount>
__device__ __forceinline__ void store_words(T* p, const Words<T, kCount>& words) {
    constexpr int kWords = Words<T, kCount>::kWords;
    if constexpr (kWords == 2) {
        store8_global(p, make_uint2(words.at[0], words.at[1]));
    } else {
        static_assert(kWords % 4 == 0);
#pragma unroll
        for (int w = 0; w < kWords; w += 4)
            store16_global(reinterpret_cast<uint32_t*>(p) + w,
                           make_uint4(words.at[w], words.at[w + 1], words.at[w + 2], words.at[w + 3]));
    }
}

template <int kCount, bool kStreaming = false, class T>
__device__ __forceinline__ void load_values(float (&v)[kCount], const T* p) {
    if constexpr (kCount == 1) {
        v[0] = to_float(*p);
    } else {
        Words<T, kCount> words;
        load_words<kStreaming>(words, p);
        unpack(v, words);
    }
}

template <int kCount, class T>
__device__ __forceinline__ void store_values(T* p, const float (&v)[kCount]) {
    if constexpr (kCount == 1) {
        *p = from_float<T>(v[0]);
    } else {
        Words<T, kCount> words;
        pack(words, v);
        store_words(p, words);
    }
}

} // namespace ftc::cuda
