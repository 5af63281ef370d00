// Launch geometry of kernels that treat the elements of a strided matrix one by one, `kCount` of a row to a thread:
//   columns (blockIdx.x * blockDim.x + threadIdx.x) * kCount
//   rows    blockIdx.y * blockDim.y + threadIdx.y, then every gridDim.y * blockDim.y
#pragma once

#include <cstdint>
#include <initializer_list>

#include "cuda/device.cuh"

namespace ftc::cuda {

constexpr int kRowGridThreads = 256;

struct RowGrid {
    dim3 grid, block;
};

inline RowGrid row_grid(int64_t rows, int64_t cols, int count) {
    const int64_t threads = (cols + count - 1) / count; // of a row
    unsigned x = 1;
    while (x < kRowGridThreads && x < threads) x *= 2;
    const unsigned y = kRowGridThreads / x;
    const int64_t row_blocks = (rows + y - 1) / y;
    return {.grid = dim3(static_cast<unsigned>((threads + x - 1) / x),
                         static_cast<unsigned>(row_blocks < 65535 ? row_blocks : 65535)),
            .block = dim3(x, y)};
}

// Whether every address lies on a multiple of `bytes`, NULL included.
inline bool all_aligned(std::initializer_list<const void*> addresses, int bytes = 16) {
    for (const void* address : addresses)
        if (reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) != 0) return false;
    return true;
}

// Whether every length is a multiple of `count`.
inline bool all_multiples(std::initializer_list<int64_t> lengths, int count) {
    for (const int64_t length : lengths)
        if (length % count != 0) return false;
    return true;
}

} // namespace ftc::cuda
