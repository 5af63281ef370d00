// Y += mask * (scale V U^T) in bf16 with tensor cores, for what no border could take into the big product: 64 by 64 tiles
// of Y, read and written once.
#include "cuda/device.cuh"
#include "ops/linear/dropout.cuh"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;
constexpr int kSumStride = 64 + 4; // floats: eight rows of a fragment lie in different banks

__device__ __forceinline__ float element(const float* p, bool inside) {
    return inside ? *p : 0.0f;
}

// 64 lines of up to 64 ranks as a bf16 tile; ranks past `steps` groups of sixteen are not needed and left alone.
__device__ __forceinline__ void load_lines(bf16* tile, const float* source, int64_t line_stride, int32_t line_shift,
                                           int64_t rank_stride, int64_t line0, int64_t lines, int32_t rank0,
                                           int32_t rank, int steps, int thread) {
    const int chunks = steps * 2;
    for (int c = thread; c < kRows * chunks; c += kThreads) {
        // Along what lies together in memory.
        const int line = rank_stride == 1 ? c / chunks : c % kRows, chunk = rank_stride == 1 ? c % chunks : c / kRows;
        float value[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int j = rank0 + chunk * 8 + i;
            value[i] = element(source + ((line0 + line) >> line_shift) * line_stride + j * rank_stride,
                               line0 + line < lines && j < rank);
        }
        store16(tile + tile_offset(line, chunk),
                make_uint4(pack_bf16(value[0], value[1]), pack_bf16(value[2], value[3]), pack_bf16(value[4], value[5]),
                           pack_bf16(value[6], value[7])));
    }
}

__global__ void __launch_bounds__(kThreads) add_bf16(LoraAdd a, bool aligned) {
    __shared__ bf16 v_tile[kRows * kTileColumns];
    __shared__ bf16 u_tile[kRows * kTileColumns];
    __shared__ float sums[kRows * kSumStride];
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t row0 = int64_t{blockIdx.y} * kRows, col0 = int64_t{blockIdx.x} * kTileColumns;
    float sum[8][4] = {};
    for (int32_t rank0 = 0; rank0 < a.rank; rank0 += kTileColumns) {
        const int left = a.rank - rank0, steps = left >= kTileColumns ? kTileColumns / 16 : (left + 15) / 16;
        if (rank0 > 0) __syncthreads();
        load_lines(v_tile, a.v, a.rank, 0, 1, row0, a.rows, rank0, a.rank, steps, thread);
        load_lines(u_tile, a.u, a.column_stride, a.repeat_shift, a.rank_stride, col0, a.cols, rank0, a.rank, steps,
                   thread);
        __syncthreads();
        for (int step = 0; step < steps; ++step) {
            uint32_t left16[4];
            load_rows16(left16, v_tile, warp * 16, step, lane);
#pragma unroll
            for (int pair = 0; pair < 4; ++pair) {
                uint32_t right[2][2];
                load_columns_pair(right, u_tile, pair * 16, step, lane);
                mma_bf16(sum[2 * pair], left16, right[0]);
                mma_bf16(sum[2 * pair + 1], left16, right[1]);
            }
        }
    }
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; i += 2)
            *reinterpret_cast<float2*>(sums + (warp * 16 + lane / 4 + i / 2 * 8) * kSumStride + n * 8 + lane % 4 * 2) =
                make_float2(sum[n][i], sum[n][i + 1]);
    __syncthreads();
    const Dropout dropout = at_this_step(a.dropout);
    const float scale = a.dropout.threshold > 0 ? a.scale / a.dropout.keep : a.scale;
#pragma unroll
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
        const int c = thread + i * kThreads;
        const int64_t row = row0 + c / 8, col = col0 + c % 8 * 8;
        if (row >= a.rows || col >= a.cols) continue;
        const float* add = sums + c / 8 * kSumStride + c % 8 * 8;
        bf16* y = static_cast<bf16*>(a.y) + row * a.y_row_stride + col;
        uint32_t kept = 0xffu;
        if (a.dropout.threshold > 0) {
            const int64_t feature = col >> a.repeat_shift;
            kept = kept_features(dropout, row, feature / 8);
            if (a.repeat_shift > 0) kept = (kept >> (feature % 8) & 1u) != 0 ? 0xffu : 0u; // one group
        }
        if (aligned && col + 8 <= a.cols) {
            uint4 chunk = load16(y);
            uint32_t* pairs = &chunk.x;
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const float low = (kept >> (2 * e) & 1u) != 0 ? scale * add[2 * e] : 0.0f;
                const float high = (kept >> (2 * e + 1) & 1u) != 0 ? scale * add[2 * e + 1] : 0.0f;
                pairs[e] = pack_bf16(low_bf16(pairs[e]) + low, high_bf16(pairs[e]) + high);
            }
            store16(y, chunk);
        } else {
            for (int e = 0; e < 8 && col + e < a.cols; ++e)
                if ((kept >> e & 1u) != 0) y[e] = from_float<bf16>(to_float(y[e]) + scale * add[e]);
        }
    }
}

} // namespace

void lora_add_bf16(ftc_stream& stream, const LoraAdd& a) {
    const bool aligned = is_aligned16(a.y, a.y_row_stride, 2);
    constexpr int64_t kMostRows = int64_t{65535} * kRows;
    for (int64_t first = 0; first < a.rows; first += kMostRows) {
        LoraAdd part = a;
        part.y = static_cast<bf16*>(a.y) + first * a.y_row_stride;
        part.v = a.v + first * a.rank;
        part.rows = a.rows - first < kMostRows ? a.rows - first : kMostRows;
        part.dropout.samples = a.dropout.samples == nullptr ? nullptr : a.dropout.samples + first;
        part.dropout.positions = a.dropout.positions == nullptr ? nullptr : a.dropout.positions + first;
        const dim3 grid(static_cast<uint32_t>((a.cols + kTileColumns - 1) / kTileColumns),
                        static_cast<uint32_t>((part.rows + kRows - 1) / kRows));
        FTC_LAUNCH((add_bf16), grid, dim3(kThreads), 0, stream.handle, part, aligned);
    }
}

} // namespace ftc::cuda
