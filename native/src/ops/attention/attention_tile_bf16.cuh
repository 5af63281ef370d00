// Tiles of bf16 rows in shared memory and the tensor-core products on them, as all bf16 attention kernels use them.
//
// A tile holds rows of kDim columns (head_dim filled up with zeros), in 16-byte chunks. Chunk c of row r lies at chunk
// c ^ turn(r) of that row, so that the eight rows of one ldmatrix step, and the eight chunks of one 16-byte store step,
// meet all 32 banks once: with rows of a multiple of 128 bytes the row number turns three bits of the chunk; otherwise
// two neighbouring rows differ by 64 bytes already and every second row turns two bits.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

constexpr int kAttentionThreads = 128; // of all bf16 attention kernels
constexpr int kAttentionWarps = kAttentionThreads / 32;
constexpr float kLog2e = 1.4426950408889634f;

__device__ __forceinline__ int lane_index() {
    return static_cast<int>(threadIdx.x % 32);
}
__device__ __forceinline__ int warp_index() {
    return static_cast<int>(threadIdx.x / 32);
}

template <int kDim>
struct Tile {
    static_assert(kDim % 32 == 0);
    static constexpr int kChunks = kDim / 8;
    static constexpr bool kWide = kChunks % 8 == 0;

    __host__ __device__ static constexpr int bytes(int rows) { return rows * kDim * 2; }

    // Byte offset of chunk `chunk` of row `row`.
    __device__ __forceinline__ static int at(int row, int chunk) {
        const int turn = kWide ? row & 7 : (row >> 1) & 3;
        return (row * kChunks + (chunk ^ turn)) * 16;
    }
};

// Fills a tile of kRows rows from rows [0, rows) of x; rows and columns beyond are zeros. kVector: x and its rows are
// 16-byte aligned and the copies are asynchronous (the caller commits and waits); otherwise they are done on return.
template <int kDim, int kRows, bool kVector>
__device__ __forceinline__ void load_tile(unsigned char* tile, const bf16* x, int64_t row_stride, int rows,
                                          int head_dim) {
    constexpr int kChunks = Tile<kDim>::kChunks;
    static_assert(kRows * kChunks % kAttentionThreads == 0);
#pragma unroll 2 // all of them would keep an address each in registers
    for (int i = 0; i < kRows * kChunks / kAttentionThreads; ++i) {
        const int index = static_cast<int>(threadIdx.x) + i * kAttentionThreads;
        const int row = index / kChunks, chunk = index % kChunks;
        unsigned char* to = tile + Tile<kDim>::at(row, chunk);
        const bool inside = row < rows && chunk * 8 < head_dim;
        if constexpr (kVector) {
            const bf16* from = inside ? x + row * row_stride + chunk * 8 : x;
            copy16_async(to, from, inside ? 16 : 0);
        } else {
            uint32_t words[4] = {};
            if (inside) {
                const bf16* from = x + row * row_stride + chunk * 8;
#pragma unroll
                for (int j = 0; j < 8; ++j)
                    if (chunk * 8 + j < head_dim)
                        words[j / 2] |= static_cast<uint32_t>(__bfloat16_as_ushort(from[j])) << (j % 2 * 16);
            }
            store16(to, make_uint4(words[0], words[1], words[2], words[3]));
        }
    }
}

// Fragments of a 16x16 block: `a` of rows [row, row + 16) and columns [16 k, 16 k + 16) as the left operand.
template <int kDim>
__device__ __forceinline__ void load_left(uint32_t (&a)[4], const unsigned char* tile, int row, int k) {
    const int lane = lane_index();
    load_matrix_x4(a, tile + Tile<kDim>::at(row + lane % 16, (2 * k) ^ (lane / 16)));
}

// The transpose of rows [row, row + 16) and columns [16 k, 16 k + 16) as the right operand of two products, eight tile
// rows each.
template <int kDim>
__device__ __forceinline__ void load_right(uint32_t (&b)[4], const unsigned char* tile, int row, int k) {
    const int lane = lane_index();
    load_matrix_x4(b, tile + Tile<kDim>::at(row + lane / 16 * 8 + lane % 8, (2 * k) ^ (lane / 8 % 2)));
}

// Rows [row, row + 16) and columns [16 n, 16 n + 16) as they stand as the right operand of two products, eight tile
// columns each.
template <int kDim>
__device__ __forceinline__ void load_right_standing(uint32_t (&b)[4], const unsigned char* tile, int row, int n) {
    const int lane = lane_index();
    load_matrix_x4_transposed(b, tile + Tile<kDim>::at(row + lane % 16, (2 * n) ^ (lane / 16)));
}

// scores[m][n] = rows [left_row + 16 m, + 16) of `left` times rows [8 n, + 8) of `right`, transposed; over all columns.
template <int kDim, int kM, int kN>
__device__ __forceinline__ void tile_scores(float (&scores)[kM][kN][4], const unsigned char* left, int left_row,
                                            const unsigned char* right) {
    static_assert(kN % 2 == 0);
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) scores[m][n][i] = 0.0f;
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
        uint32_t a[kM][4];
#pragma unroll
        for (int m = 0; m < kM; ++m) load_left<kDim>(a[m], left, left_row + 16 * m, k);
#pragma unroll
        for (int n = 0; n < kN; n += 2) {
            uint32_t both[4];
            load_right<kDim>(both, right, 8 * n, k);
            const uint32_t b0[2] = {both[0], both[1]}, b1[2] = {both[2], both[3]};
#pragma unroll
            for (int m = 0; m < kM; ++m) {
                mma_bf16(scores[m][n], a[m], b0);
                mma_bf16(scores[m][n + 1], a[m], b1);
            }
        }
    }
}

// sums[m][n] += weights, 16 rows a block as tile_scores left them and rounded to bf16 here, times the 8 kN rows of
// `right`.
template <int kDim, int kM, int kN>
__device__ __forceinline__ void tile_weighted_rows(float (&sums)[kM][kDim / 8][4], const float (&weights)[kM][kN][4],
                                                   const unsigned char* right) {
#pragma unroll
    for (int k = 0; k < kN / 2; ++k) {
        uint32_t a[kM][4];
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float(&w)[4] = weights[m][2 * k + half];
                a[m][2 * half] = pack_bf16(w[0], w[1]);
                a[m][2 * half + 1] = pack_bf16(w[2], w[3]);
            }
#pragma unroll
        for (int n = 0; n < kDim / 8; n += 2) {
            uint32_t both[4];
            load_right_standing<kDim>(both, right, 16 * k, n / 2);
            const uint32_t b0[2] = {both[0], both[1]}, b1[2] = {both[2], both[3]};
#pragma unroll
            for (int m = 0; m < kM; ++m) {
                mma_bf16(sums[m][n], a[m], b0);
                mma_bf16(sums[m][n + 1], a[m], b1);
            }
        }
    }
}

// Writes the warp's 16 kM rows of sums, rounded to bf16: tile row `row` on, of which those below `rows` exist, to y
// (tile row 0). `tile` is shared memory that nobody but this warp uses at those rows.
template <int kDim, int kM, bool kVector>
__device__ __forceinline__ void store_rows(bf16* y, int64_t row_stride, int rows, int head_dim,
                                           const float (&sums)[kM][kDim / 8][4], unsigned char* tile, int row) {
    const int lane = lane_index(), g = lane / 4, t = lane % 4;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int n = 0; n < kDim / 8; ++n) {
                const uint32_t pair = pack_bf16(sums[m][n][2 * half], sums[m][n][2 * half + 1]);
                const int at = Tile<kDim>::at(row + 16 * m + 8 * half + g, n) + 4 * t;
                *reinterpret_cast<uint32_t*>(tile + at) = pair;
            }
    __syncwarp();
    constexpr int kChunks = Tile<kDim>::kChunks;
#pragma unroll
    for (int i = 0; i < kM * kChunks / 2; ++i) {
        const int index = lane + 32 * i;
        const int at = row + index / kChunks, chunk = index % kChunks;
        if (at >= rows || chunk * 8 >= head_dim) continue;
        const uint4 words = load16(tile + Tile<kDim>::at(at, chunk));
        bf16* to = y + at * row_stride + chunk * 8;
        if constexpr (kVector) {
            store16(to, words);
        } else {
            const uint32_t word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
            for (int j = 0; j < 8; ++j)
                if (chunk * 8 + j < head_dim)
                    to[j] = __ushort_as_bfloat16(static_cast<unsigned short>(word[j / 2] >> (j % 2 * 16)));
        }
    }
}

} // namespace ftc::cuda
