// The two products that attention in fp32 is made of, over tiles of 64 rows, for a block of 256 threads. Thread (y, x)
// of 16 x 16 owns rows y + 16 i and columns x + 16 j of a 64x64 tile of scores, i and j in 0..3; of sums over kDim
// columns it owns rows y + 16 i and columns 4 x + 64 j .. + 3.
//
// Shared rows are read 16 bytes at a time along the sum. Their strides (36 and 80 floats) put what 8 neighbouring
// threads read, or 32 write, into different banks.
#pragma once

#include "cuda/device.cuh"
#include "ops/attention/attention_interval.cuh"

namespace ftc::cuda {

constexpr int kTile = 64;
constexpr int kTileThreads = 256;
constexpr int kPanel = 32; // columns of one step of tile_scores
constexpr int kPanelStride = kPanel + 4;
constexpr int kWeightStride = kTile + 16;

struct TileShared {
    alignas(16) float left[kTile * kPanelStride]; // also rows of the right side of weighted_rows, kDim at a time
    alignas(16) float right[kTile * kPanelStride];
    alignas(16) float weights[kTile * kWeightStride];
};

// Rows of a matrix in global memory: [0, rows) of them exist, `cols` columns; aligned: 16 bytes at a time.
struct Rows {
    const float* x;
    int64_t row_stride;
    int rows, cols;
    bool aligned;
};

__device__ __forceinline__ float4 load_four(const Rows& m, int row, int col) {
    if (row >= m.rows || col >= m.cols) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float* x = m.x + row * m.row_stride + col;
    if (m.aligned) return *reinterpret_cast<const float4*>(x);
    return make_float4(x[0], col + 1 < m.cols ? x[1] : 0.0f, col + 2 < m.cols ? x[2] : 0.0f,
                       col + 3 < m.cols ? x[3] : 0.0f);
}

__device__ __forceinline__ float fma_four(const float4& a, const float4& b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// scores[i][j] = left row y + 16 i times right row x + 16 j, over their columns in order. Barriers inside; the shared
// tiles are free again only after the caller's next barrier.
__device__ __forceinline__ void score_tile(float (&scores)[4][4], TileShared& shared, const Rows& left,
                                           const Rows& right) {
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) scores[i][j] = 0.0f;
    for (int col = 0; col < left.cols; col += kPanel) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kTile * kPanel / 4 / kTileThreads; ++i) {
            const int at = thread + i * kTileThreads, row = at / (kPanel / 4), c = at % (kPanel / 4) * 4;
            *reinterpret_cast<float4*>(shared.left + row * kPanelStride + c) = load_four(left, row, col + c);
            *reinterpret_cast<float4*>(shared.right + row * kPanelStride + c) = load_four(right, row, col + c);
        }
        __syncthreads();
#pragma unroll 2
        for (int c = 0; c < kPanel; c += 4) {
            float4 a[4], b[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                a[i] = *reinterpret_cast<const float4*>(shared.left + (y + 16 * i) * kPanelStride + c);
                b[i] = *reinterpret_cast<const float4*>(shared.right + (x + 16 * i) * kPanelStride + c);
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) scores[i][j] = fma_four(a[i], b[j], scores[i][j]);
        }
    }
}

// Puts a tile of scores where weighted_rows reads them.
__device__ __forceinline__ void store_weights(TileShared& shared, const float (&scores)[4][4]) {
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) shared.weights[(y + 16 * i) * kWeightStride + x + 16 * j] = scores[i][j];
}

// sums[i][j] += weights of row y + 16 i times the 64 rows of `right`, columns 4 x + 64 j .. + 3, in the rows' order.
template <int kDim>
__device__ __forceinline__ void add_weighted_rows(float4 (&sums)[4][kDim / 64], TileShared& shared, const Rows& right) {
    constexpr int kRows =
        4096 / kDim < kTile ? 4096 / kDim : kTile; // at a time: 16 KiB, in the place of left and right
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
    float* panel = shared.left;
    static_assert(kRows * kDim <= 2 * kTile * kPanelStride);
    for (int first = 0; first < kTile; first += kRows) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kRows * kDim / 4 / kTileThreads; ++i) {
            const int at = thread + i * kTileThreads, row = at / (kDim / 4), c = at % (kDim / 4) * 4;
            *reinterpret_cast<float4*>(panel + row * kDim + c) = load_four(right, first + row, c);
        }
        __syncthreads();
#pragma unroll 1
        for (int row = 0; row < kRows; row += 4) {
            float4 w[4];
#pragma unroll
            for (int i = 0; i < 4; ++i)
                w[i] = *reinterpret_cast<const float4*>(shared.weights + (y + 16 * i) * kWeightStride + first + row);
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int j = 0; j < kDim / 64; ++j) {
                    const float4 v = *reinterpret_cast<const float4*>(panel + (row + r) * kDim + 4 * x + 64 * j);
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const float weight = r == 0 ? w[i].x : r == 1 ? w[i].y : r == 2 ? w[i].z : w[i].w;
                        float4& sum = sums[i][j];
                        sum.x = fmaf(weight, v.x, sum.x);
                        sum.y = fmaf(weight, v.y, sum.y);
                        sum.z = fmaf(weight, v.z, sum.z);
                        sum.w = fmaf(weight, v.w, sum.w);
                    }
                }
        }
    }
}

// Writes the thread's rows of sums, times a factor each, as far as rows [0, rows) and columns [0, cols) go.
template <int kDim>
__device__ __forceinline__ void store_sums(float* y_all, int64_t row_stride, int rows, int cols, bool aligned,
                                           const float4 (&sums)[4][kDim / 64], const float (&factor)[4]) {
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < kDim / 64; ++j) {
            const int row = y + 16 * i, col = 4 * x + 64 * j;
            if (row >= rows || col >= cols) continue;
            const float4& s = sums[i][j];
            const float v[4] = {s.x * factor[i], s.y * factor[i], s.z * factor[i], s.w * factor[i]};
            float* to = y_all + row * row_stride + col;
            if (aligned) {
                *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
            } else {
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    if (col + c < cols) to[c] = v[c];
            }
        }
}

template <int kDim>
__device__ __forceinline__ void clear(float4 (&sums)[4][kDim / 64]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < kDim / 64; ++j) sums[i][j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// Over the 16 threads that share a row, the same bits in each.
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
    return x;
}
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
    return x;
}

// Runs body<kDim>() for the smallest width that holds head_dim.
template <class Body>
void for_f32_head_dim(int head_dim, Body&& body) {
    if (head_dim <= 64) return body.template operator()<64>();
    if (head_dim <= 128) return body.template operator()<128>();
    return body.template operator()<256>();
}

} // namespace ftc::cuda
