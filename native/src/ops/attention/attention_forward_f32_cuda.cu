// Attention forward in fp32, for runs whose numbers must be comparable with the CPU's: online softmax over key tiles of
// 64, as in attention_forward_bf16_cuda.cu, with every product an fmaf.
#include <cmath>

#include "ops/attention/attention_launch.cuh"
#include "ops/attention/attention_tile_f32.cuh"

namespace ftc::cuda {
namespace {

// Scores become probabilities relative to the row's largest so far; what is summed already is brought to it.
template <int kDim>
__device__ __forceinline__ void online_softmax(const AttentionShape& s, float (&scores)[4][4], float (&maximum)[4],
                                               float (&total)[4], float4 (&sums)[4][kDim / 64], int row, int key) {
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int at = row + y + 16 * i, first = first_key(s, at), last = last_key(s, at);
        float top = maximum[i];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int column = key + x + 16 * j;
            scores[i][j] = column < first || column > last ? -INFINITY : scores[i][j] * s.scale;
            top = fmaxf(top, scores[i][j]);
        }
        top = row_max(top);
        const float base = top == -INFINITY ? 0.0f : top; // nothing seen yet: every probability is exp(-inf) = 0
        const float shrink = expf(maximum[i] - base);
        maximum[i] = top;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            scores[i][j] = expf(scores[i][j] - base);
            sum += scores[i][j];
        }
        total[i] = fmaf(total[i], shrink, row_sum(sum));
#pragma unroll
        for (int j = 0; j < kDim / 64; ++j) {
            sums[i][j].x *= shrink;
            sums[i][j].y *= shrink;
            sums[i][j].z *= shrink;
            sums[i][j].w *= shrink;
        }
    }
}

// Grid: query tiles, the ones with the most keys first; heads.
template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_forward_f32_kernel(AttentionShape s, float* o, float* lse, const float* q, const float* k, const float* v,
                                 bool aligned) {
    __shared__ TileShared shared;
    const int head = static_cast<int>(blockIdx.y);
    const int row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kTile;
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
    const int64_t column = int64_t{head} * s.head_dim, key_column = int64_t{head / s.group} * s.head_dim;
    if (head == 0 && thread < kTile) check_key_begin(s, kLateAttentionForwardKeyBegin, row + thread);

    const Rows queries{q + row * s.q_row_stride + column, s.q_row_stride, s.query_rows - row, s.head_dim, aligned};
    float maximum[4], total[4];
    float4 sums[4][kDim / 64];
    clear<kDim>(sums);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        maximum[i] = -INFINITY;
        total[i] = 0.0f;
    }
    const KeyTiles keys = key_tiles<kTile>(s, row, kTile);
    for (int key = keys.begin; key < keys.end; key += kTile) {
        const Rows keys_here{k + key * s.k_row_stride + key_column, s.k_row_stride, s.key_rows - key, s.head_dim,
                             aligned};
        const Rows values{v + key * s.v_row_stride + key_column, s.v_row_stride, s.key_rows - key, s.head_dim, aligned};
        float scores[4][4];
        score_tile(scores, shared, queries, keys_here);
        online_softmax<kDim>(s, scores, maximum, total, sums, row, key);
        store_weights(shared, scores);
        add_weighted_rows<kDim>(sums, shared, values);
    }
    float factor[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const bool empty = maximum[i] == -INFINITY && total[i] == 0.0f;
        factor[i] = empty ? 0.0f : 1.0f / total[i];
        const int at = row + y + 16 * i;
        if (lse != nullptr && x == 0 && at < s.query_rows)
            lse[int64_t{at} * s.heads + head] = empty ? -INFINITY : maximum[i] + logf(total[i]);
    }
    store_sums<kDim>(o + row * s.o_row_stride + column, s.o_row_stride, s.query_rows - row, s.head_dim, aligned, sums,
                     factor);
}

} // namespace

void attention_forward_f32(cudaStream_t stream, const AttentionForward& c) {
    const AttentionShape& s = c.shape;
    const bool aligned =
        rows_are_aligned(c.o, s.o_row_stride, s.head_dim, 4) && rows_are_aligned(c.q, s.q_row_stride, s.head_dim, 4) &&
        rows_are_aligned(c.k, s.k_row_stride, s.head_dim, 4) && rows_are_aligned(c.v, s.v_row_stride, s.head_dim, 4);
    const dim3 grid(static_cast<unsigned>((s.query_rows + kTile - 1) / kTile), static_cast<unsigned>(s.heads));
    for_f32_head_dim(s.head_dim, [&]<int kDim>() {
        FTC_LAUNCH((attention_forward_f32_kernel<kDim>), grid, kTileThreads, 0, stream, s, static_cast<float*>(c.o),
                   c.lse, static_cast<const float*>(c.q), static_cast<const float*>(c.k),
                   static_cast<const float*>(c.v), aligned);
    });
}

} // namespace ftc::cuda
