// Tiles of bf16 in shared memory: rows of 64 elements in chunks of 16 bytes, the chunks of a row permuted by its number,
// so that eight rows of one column of chunks lie in eight different bank groups (ldmatrix meets no conflict).
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

constexpr int kTileColumns = 64;

// Element offset of chunk `chunk` (0..7) of row `row`.
__device__ __forceinline__ int tile_offset(int row, int chunk) {
    return row * kTileColumns + ((chunk ^ (row & 7)) << 3);
}

// A bf16 matrix in global memory, as a tile is cut from it. `aligned`: base and row stride are multiples of 16 bytes.
struct TileSource {
    const bf16* data;
    int64_t row_stride;
    int64_t rows, cols;
    bool aligned;
};

inline bool is_aligned16(const void* p, int64_t row_stride, int64_t element_bytes) {
    return (reinterpret_cast<uintptr_t>(p) | static_cast<uint64_t>(row_stride * element_bytes)) % 16 == 0;
}

// Eight elements from (row, col) on, zero outside the matrix, by plain loads.
__device__ __forceinline__ uint4 load_chunk(const TileSource& s, int64_t row, int64_t col) {
    uint4 chunk = make_uint4(0, 0, 0, 0);
    if (row >= s.rows || col >= s.cols) return chunk;
    const bf16* p = s.data + row * s.row_stride + col;
    if (s.aligned && col + 8 <= s.cols) return load16(p);
    float value[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) value[i] = col + i < s.cols ? to_float(p[i]) : 0.0f;
    chunk.x = pack_bf16(value[0], value[1]);
    chunk.y = pack_bf16(value[2], value[3]);
    chunk.z = pack_bf16(value[4], value[5]);
    chunk.w = pack_bf16(value[6], value[7]);
    return chunk;
}

// The chunk to shared memory, asynchronously where alignment allows.
__device__ __forceinline__ void load_chunk_async(bf16* shared, const TileSource& s, int64_t row, int64_t col) {
    if (!s.aligned) {
        store16(shared, load_chunk(s, row, col));
        return;
    }
    const int64_t left = row < s.rows ? s.cols - col : 0;
    const int bytes = left >= 8 ? 16 : left > 0 ? static_cast<int>(left) * 2 : 0;
    copy16_async(shared, bytes > 0 ? s.data + row * s.row_stride + col : s.data, bytes);
}

// Rows [row, row + Rows) and columns [col, col + 64) into a tile, by Threads threads.
template <int Rows, int Threads>
__device__ __forceinline__ void load_tile_async(bf16* tile, const TileSource& s, int64_t row, int64_t col, int thread) {
    static_assert(Rows * 8 % Threads == 0);
#pragma unroll
    for (int i = 0; i < Rows * 8 / Threads; ++i) {
        const int c = thread + i * Threads;
        load_chunk_async(tile + tile_offset(c / 8, c % 8), s, row + c / 8, col + c % 8 * 8);
    }
}

// Fragments of mma.m16n8k16 (device.cuh) from a tile. Row operand: rows [row, row + 16) by columns [16 k, 16 k + 16).
__device__ __forceinline__ void load_rows16(uint32_t (&a)[4], const bf16* tile, int row, int k, int lane) {
    load_matrix_x4(a, tile + tile_offset(row + lane % 16, 2 * k + lane / 16));
}
// Row operand of the tile's transpose: rows are the tile's columns [16 c, 16 c + 16), its columns the tile's rows
// [row, row + 16).
__device__ __forceinline__ void load_columns16(uint32_t (&a)[4], const bf16* tile, int row, int c, int lane) {
    load_matrix_x4_transposed(a, tile + tile_offset(row + lane / 16 * 8 + lane % 8, 2 * c + lane / 8 % 2));
}
// Column operands of two neighbouring n-tiles from a tile that holds [n, k]: n in [row, row + 16), k in [16 k, + 16).
__device__ __forceinline__ void load_columns_pair(uint32_t (&b)[2][2], const bf16* tile, int row, int k, int lane) {
    uint32_t r[4];
    load_matrix_x4(r, tile + tile_offset(row + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
}
// The same from a tile that holds [k, n]: k in [row, row + 16), n in [16 n, 16 n + 16).
__device__ __forceinline__ void load_columns_pair_transposed(uint32_t (&b)[2][2], const bf16* tile, int row, int n,
                                                             int lane) {
    uint32_t r[4];
    load_matrix_x4_transposed(r, tile + tile_offset(row + lane % 16, 2 * n + lane / 16));
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
}

__device__ __forceinline__ bool is_aligned8(const float* p) {
    return reinterpret_cast<uintptr_t>(p) % 8 == 0;
}

// Elements j and j + 1 of a line of `count` floats; one access where they lie together.
__device__ __forceinline__ void store_pair(float* line, int j, int count, float2 value) {
    if (j + 1 < count && is_aligned8(line + j)) {
        *reinterpret_cast<float2*>(line + j) = value;
        return;
    }
    line[j] = value.x;
    if (j + 1 < count) line[j + 1] = value.y;
}
__device__ __forceinline__ float2 load_pair(const float* line, int j, int count) {
    if (j + 1 < count && is_aligned8(line + j)) return *reinterpret_cast<const float2*>(line + j);
    return make_float2(j < count ? line[j] : 0.0f, j + 1 < count ? line[j + 1] : 0.0f);
}

// A narrow operand [k, Rank] of bf16 in shared memory, rows padded so that ldmatrix meets no conflict.
template <int Rank>
struct Narrow {
    static constexpr int kStride = Rank + 8;
    // Column operands of n in [16 n, 16 n + 16), k in [row, row + 16).
    static __device__ __forceinline__ void load_columns_pair(uint32_t (&b)[2][2], const bf16* rows, int row, int n,
                                                             int lane) {
        uint32_t r[4];
        load_matrix_x4_transposed(r, rows + (row + lane % 16) * kStride + 16 * n + lane / 16 * 8);
        b[0][0] = r[0];
        b[0][1] = r[1];
        b[1][0] = r[2];
        b[1][1] = r[3];
    }
};

} // namespace ftc::cuda
