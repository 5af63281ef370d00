// The skinny products of LoRA in fp32: the reference precision. Plain tiles in shared memory, one sequential chain of
// fused multiply-adds per element.
#include "cuda/device.cuh"
#include "ops/linear/dropout.cuh"
#include "ops/linear/lora_cuda.h"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kRows = 32;  // of the long matrix in a tile
constexpr int kDepth = 64; // columns of the long matrix in a tile
constexpr int kRanks = 16; // of a block

// X[row, col .. col + 7], zero outside, dropped features zero.
__device__ __forceinline__ void load_eight(float (&value)[8], const float* x, int64_t row_stride, int64_t row,
                                           int64_t rows, int64_t col, int64_t cols, const Dropout& dropout) {
    const bool inside = row < rows && col < cols;
    const uint32_t kept = inside && dropout.threshold > 0 ? kept_features(dropout, row, col / 8) : 0xffu;
#pragma unroll
    for (int i = 0; i < 8; ++i)
        value[i] = inside && col + i < cols && (kept >> i & 1u) != 0 ? x[row * row_stride + col + i] : 0.0f;
}

struct Long {
    const float* x;
    int64_t row_stride;
    int64_t rows, cols;
    Dropout dropout;
};

// s[m, j] = scale / keep * sum_k drop(x)[m, k] u[j * rank_stride + k * column_stride]; grid: row tiles, rank groups.
__global__ void __launch_bounds__(kThreads) down_f32(float* s, float* tail, int64_t tail_row_stride, float tail_scale,
                                                     Long in, const float* u, int64_t rank_stride, int64_t column_stride,
                                                     int32_t rank, float scale) {
    __shared__ float x[kRows][kDepth + 1];
    __shared__ float w[kRanks][kDepth + 1];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t row0 = int64_t{blockIdx.x} * kRows;
    const int rank0 = static_cast<int>(blockIdx.y) * kRanks;
    const int m = thread / 8, j = thread % 8; // two ranks, j and j + 8
    in.dropout = at_this_step(in.dropout);
    float sum[2] = {0.0f, 0.0f};
    for (int64_t col0 = 0; col0 < in.cols; col0 += kDepth) {
        float value[8];
        load_eight(value, in.x, in.row_stride, row0 + m, in.rows, col0 + j * 8, in.cols, in.dropout);
#pragma unroll
        for (int i = 0; i < 8; ++i) x[m][j * 8 + i] = value[i];
#pragma unroll
        for (int i = 0; i < kRanks * kDepth / kThreads; ++i) {
            const int e = thread + i * kThreads, r = e / kDepth, k = e % kDepth;
            const bool inside = rank0 + r < rank && col0 + k < in.cols;
            w[r][k] = inside ? u[(rank0 + r) * rank_stride + (col0 + k) * column_stride] : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < kDepth; ++k) {
            sum[0] = fmaf(x[m][k], w[j][k], sum[0]);
            sum[1] = fmaf(x[m][k], w[j + 8][k], sum[1]);
        }
        __syncthreads();
    }
    const float keep = in.dropout.threshold > 0 ? in.dropout.keep : 1.0f;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int r = rank0 + j + 8 * i;
        if (row0 + m >= in.rows || r >= rank) continue;
        const float value = scale * sum[i] / keep;
        s[(row0 + m) * rank + r] = value;
        if (tail != nullptr) tail[(row0 + m) * tail_row_stride + r] = tail_scale * value;
    }
}

// out[c * column_stride + j * rank_stride] += scale / keep * sum_m drop(x)[m, c] v[m, j]; grid: column tiles, rank groups.
__global__ void __launch_bounds__(kThreads) transposed_f32(float* out, int64_t rank_stride, int64_t column_stride,
                                                           Long in, const float* v, int32_t rank, float scale) {
    __shared__ float x[kRows][kDepth + 1];
    __shared__ float w[kRows][kRanks + 1];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t col0 = int64_t{blockIdx.x} * kDepth;
    const int rank0 = static_cast<int>(blockIdx.y) * kRanks;
    const int c = thread % kDepth, group = thread / kDepth; // four ranks, group * 4 ..
    in.dropout = at_this_step(in.dropout);
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int64_t row0 = 0; row0 < in.rows; row0 += kRows) {
        float value[8];
        load_eight(value, in.x, in.row_stride, row0 + thread / 8, in.rows, col0 + thread % 8 * 8, in.cols, in.dropout);
#pragma unroll
        for (int i = 0; i < 8; ++i) x[thread / 8][thread % 8 * 8 + i] = value[i];
#pragma unroll
        for (int i = 0; i < kRows * kRanks / kThreads; ++i) {
            const int e = thread + i * kThreads, m = e / kRanks, j = e % kRanks;
            w[m][j] = row0 + m < in.rows && rank0 + j < rank ? v[(row0 + m) * rank + rank0 + j] : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int m = 0; m < kRows; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[i] = fmaf(x[m][c], w[m][group * 4 + i], sum[i]);
        __syncthreads();
    }
    const float keep = in.dropout.threshold > 0 ? in.dropout.keep : 1.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int j = rank0 + group * 4 + i;
        if (col0 + c >= in.cols || j >= rank) continue;
        float& target = out[(col0 + c) * column_stride + j * rank_stride];
        target = target + scale * sum[i] / keep;
    }
}

// y[m, c] += mask * scale / keep * sum_j v[m, j] u(c, j); grid: column tiles, row tiles; a thread has eight columns.
__global__ void __launch_bounds__(kThreads) add_f32(LoraAdd a) {
    __shared__ float v[kRows][kRanks + 1];
    __shared__ float u[kRanks][kDepth + 1];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t col0 = int64_t{blockIdx.x} * kDepth, row0 = int64_t{blockIdx.y} * kRows;
    const int m = thread / 8, c = thread % 8; // columns c, c + 8, ... (no two lanes in one bank)
    a.dropout = at_this_step(a.dropout);
    float sum[8] = {};
    for (int rank0 = 0; rank0 < a.rank; rank0 += kRanks) {
#pragma unroll
        for (int i = 0; i < kRows * kRanks / kThreads; ++i) {
            const int e = thread + i * kThreads, r = e / kRanks, j = e % kRanks;
            v[r][j] = row0 + r < a.rows && rank0 + j < a.rank ? a.v[(row0 + r) * a.rank + rank0 + j] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < kRanks * kDepth / kThreads; ++i) {
            const int e = thread + i * kThreads, j = e / kDepth, k = e % kDepth;
            const bool inside = rank0 + j < a.rank && col0 + k < a.cols;
            u[j][k] = inside ? a.u[((col0 + k) >> a.repeat_shift) * a.column_stride + (rank0 + j) * a.rank_stride] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < kRanks; ++j)
#pragma unroll
            for (int i = 0; i < 8; ++i) sum[i] = fmaf(v[m][j], u[j][c + 8 * i], sum[i]);
        __syncthreads();
    }
    const int64_t row = row0 + m;
    if (row >= a.rows) return;
    const float keep = a.dropout.threshold > 0 ? a.dropout.keep : 1.0f;
    float* y = static_cast<float*>(a.y) + row * a.y_row_stride;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int64_t col = col0 + c + 8 * i;
        if (col >= a.cols) continue;
        const int64_t feature = col >> a.repeat_shift;
        if (a.dropout.threshold > 0 && (kept_features(a.dropout, row, feature / 8) >> (feature % 8) & 1u) == 0) continue;
        y[col] = y[col] + a.scale * sum[i] / keep;
    }
}

uint32_t tiles(int64_t count, int64_t tile) {
    return static_cast<uint32_t>((count + tile - 1) / tile);
}

} // namespace

void lora_down_f32(ftc_stream& stream, const LoraDown& a) {
    const Long in{static_cast<const float*>(a.x), a.x_row_stride, a.rows, a.k, a.dropout};
    FTC_LAUNCH((down_f32), dim3(tiles(a.rows, kRows), tiles(a.rank, kRanks)), dim3(kThreads), 0, stream.handle, a.s,
               static_cast<float*>(a.tail.data), a.tail.row_stride, a.tail.scale, in, a.a, a.k, int64_t{1}, a.rank, 1.0f);
}

void lora_up_backward_f32(ftc_stream& stream, const LoraUpBackward& a) {
    const Long in{static_cast<const float*>(a.dy), a.dy_row_stride, a.rows, a.n, Dropout{}};
    FTC_LAUNCH((down_f32), dim3(tiles(a.rows, kRows), tiles(a.rank, kRanks)), dim3(kThreads), 0, stream.handle, a.ds,
               static_cast<float*>(a.tail.data), a.tail.row_stride, a.tail.scale, in, a.b, int64_t{1},
               static_cast<int64_t>(a.rank), a.rank, a.scaling);
    if (a.db == nullptr) return;
    FTC_LAUNCH((transposed_f32), dim3(tiles(a.n, kDepth), tiles(a.rank, kRanks)), dim3(kThreads), 0, stream.handle, a.db,
               int64_t{1}, static_cast<int64_t>(a.rank), in, a.s, a.rank, a.scaling);
}

void lora_down_backward_f32(ftc_stream& stream, const LoraDownBackward& a) {
    const Long in{static_cast<const float*>(a.x), a.x_row_stride, a.rows, a.k, a.dropout};
    FTC_LAUNCH((transposed_f32), dim3(tiles(a.k, kDepth), tiles(a.rank, kRanks)), dim3(kThreads), 0, stream.handle, a.da,
               a.k, int64_t{1}, in, a.ds, a.rank, 1.0f);
}

void lora_add_f32(ftc_stream& stream, const LoraAdd& a) {
    const uint32_t row_tiles = tiles(a.rows, kRows);
    for (uint32_t first = 0; first < row_tiles; first += 65535) {
        LoraAdd part = a;
        const int64_t skipped = int64_t{first} * kRows;
        part.y = static_cast<float*>(a.y) + skipped * a.y_row_stride;
        part.v = a.v + skipped * a.rank;
        part.rows = a.rows - skipped;
        part.dropout.samples = a.dropout.samples == nullptr ? nullptr : a.dropout.samples + skipped;
        part.dropout.positions = a.dropout.positions == nullptr ? nullptr : a.dropout.positions + skipped;
        const uint32_t count = row_tiles - first < 65535 ? row_tiles - first : 65535;
        FTC_LAUNCH((add_f32), dim3(tiles(a.cols, kDepth), count), dim3(kThreads), 0, stream.handle, part);
    }
}

} // namespace ftc::cuda
