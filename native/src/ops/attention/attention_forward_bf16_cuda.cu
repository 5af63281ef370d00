// Attention forward in bf16 on tensor cores: o = softmax(scale q k^T) v over key intervals, lse kept for the backward.
// Dao 2023, arXiv:2307.08691 (online softmax, query tile outermost).
//
// A block owns 128 query rows of one head, a warp 32 of them: every fragment of k and v that it takes out of shared
// memory serves two 16-row products, so that shared memory feeds tensor cores at half its rate. The keys of a step come
// through one buffer for k and one for v: while the scores of k are computed v is under way, while rows of v are
// weighed the next k. That leaves room for two blocks on a multiprocessor of sm_86 and 89 at head_dim 128 (48 KiB
// each).
//
// Scores are fp32; probabilities are rounded to bf16 for the product with v, their sum is not. exp is exp2 with log2(e)
// folded into the scale. Rows see key tiles in ascending order whatever the query tile, so that bits of a row depend on
// its own keys alone: tiles that only other rows of its query tile see leave it as it was.
#include <cmath>

#include "ops/attention/attention_interval.cuh"
#include "ops/attention/attention_launch.cuh"
#include "ops/attention/attention_tile_bf16.cuh"

namespace ftc::cuda {
namespace {

constexpr int kRowBlocks = 2; // of 16 query rows, a warp; blocks of columns and keys are 8 wide
constexpr int kQueries = kAttentionWarps * 16 * kRowBlocks;

// Keys of a step: as many as scores, next to o, fit the registers.
template <int kDim>
constexpr int kKeys = kDim <= 64 ? 64 : 32;

template <int kDim>
constexpr int kSharedBytes = Tile<kDim>::bytes(kQueries + 2 * kKeys<kDim>);

// One row's running state: the largest score, and this thread's share of the sum of exp.
struct Softmax {
    float maximum[kRowBlocks][2];
    float sum[kRowBlocks][2];
};

// Scores become probabilities relative to the row's largest score so far; sums of earlier ones are brought to it.
template <int kColumnBlocks, int kKeyBlocks>
__device__ __forceinline__ void online_softmax(float (&scores)[kRowBlocks][kKeyBlocks][4], Softmax& state,
                                               float (&o)[kRowBlocks][kColumnBlocks][4], float scale_log2) {
#pragma unroll
    for (int m = 0; m < kRowBlocks; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float top = state.maximum[m][half];
#pragma unroll
            for (int n = 0; n < kKeyBlocks; ++n)
                top = fmaxf(top, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
            top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
            top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
            const float base = top == -INFINITY ? 0.0f : top * scale_log2; // nothing seen yet: exp2(-inf) = 0
            const float shrink = exp2_fast(fmaf(state.maximum[m][half], scale_log2, -base));
            state.maximum[m][half] = top;
            float sum = state.sum[m][half] * shrink;
#pragma unroll
            for (int n = 0; n < kKeyBlocks; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float& p = scores[m][n][2 * half + i];
                    p = exp2_fast(fmaf(p, scale_log2, -base));
                    sum += p;
                }
            state.sum[m][half] = sum;
            if (__all_sync(kAllLanes, shrink == 1.0f)) continue; // the usual case once a few tiles have been seen
#pragma unroll
            for (int n = 0; n < kColumnBlocks; ++n) {
                o[m][n][2 * half] *= shrink;
                o[m][n][2 * half + 1] *= shrink;
            }
        }
}

// Divides by the sums and writes lse. A row without keys has o = 0 and lse = -inf.
template <int kDim>
__device__ __forceinline__ void finish(const AttentionShape& s, float* lse, const Softmax& state,
                                       float (&o)[kRowBlocks][kDim / 8][4], int head, int row) {
    const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int m = 0; m < kRowBlocks; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float sum = state.sum[m][half];
            sum += __shfl_xor_sync(kAllLanes, sum, 1);
            sum += __shfl_xor_sync(kAllLanes, sum, 2);
            const bool empty = state.maximum[m][half] == -INFINITY && sum == 0.0f;
            const float factor = empty ? 0.0f : 1.0f / sum;
#pragma unroll
            for (int n = 0; n < kDim / 8; ++n) {
                o[m][n][2 * half] *= factor;
                o[m][n][2 * half + 1] *= factor;
            }
            const int at = row + 16 * m + 8 * half + g;
            if (lse != nullptr && t == 0 && at < s.query_rows)
                lse[int64_t{at} * s.heads + head] =
                    empty ? -INFINITY : fmaf(state.maximum[m][half], s.scale, logf(sum));
        }
}

// Grid: query tiles, the ones with the most keys first; heads.
template <int kDim, bool kVector>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_forward_bf16_kernel(AttentionShape s, bf16* o_all, float* lse, const bf16* q, const bf16* k,
                                  const bf16* v) {
    FTC_DYNAMIC_SHARED(shared);
    unsigned char* q_tile = shared;
    unsigned char* k_tile = q_tile + Tile<kDim>::bytes(kQueries);
    unsigned char* v_tile = k_tile + Tile<kDim>::bytes(kKeys<kDim>);
    constexpr int kStep = kKeys<kDim>;
    const int head = static_cast<int>(blockIdx.y), kv_head = head / s.group;
    const int block_row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries;
    const int warp_row = warp_index() * 16 * kRowBlocks, row = block_row + warp_row;
    const float scale_log2 = s.scale * kLog2e;
    if (head == 0) check_key_begin(s, kLateAttentionForwardKeyBegin, block_row + static_cast<int>(threadIdx.x));

    q += block_row * s.q_row_stride + int64_t{head} * s.head_dim;
    k += int64_t{kv_head} * s.head_dim;
    v += int64_t{kv_head} * s.head_dim;
    const KeyTiles tiles = key_tiles<kStep>(s, block_row, kQueries);
    load_tile<kDim, kQueries, kVector>(q_tile, q, s.q_row_stride, s.query_rows - block_row, s.head_dim);
    if (tiles.begin < tiles.end)
        load_tile<kDim, kStep, kVector>(k_tile, k + tiles.begin * s.k_row_stride, s.k_row_stride,
                                        s.key_rows - tiles.begin, s.head_dim);
    copy_async_commit();

    Softmax state;
    float o[kRowBlocks][kDim / 8][4];
#pragma unroll
    for (int m = 0; m < kRowBlocks; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            state.maximum[m][half] = -INFINITY;
            state.sum[m][half] = 0.0f;
        }
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) o[m][n][i] = 0.0f;
    }

    for (int key = tiles.begin; key < tiles.end; key += kStep) {
        copy_async_wait<0>();
        __syncthreads(); // k has come; nobody reads the v before any more
        load_tile<kDim, kStep, kVector>(v_tile, v + key * s.v_row_stride, s.v_row_stride, s.key_rows - key, s.head_dim);
        copy_async_commit();
        const Cover seen = cover(s, row, 16 * kRowBlocks, key, kStep);
        float scores[kRowBlocks][kStep / 8][4];
        if (seen.any) tile_scores<kDim>(scores, q_tile, warp_row, k_tile);
        copy_async_wait<0>();
        __syncthreads(); // v has come; nobody reads this k any more
        if (key + kStep < tiles.end)
            load_tile<kDim, kStep, kVector>(k_tile, k + (key + kStep) * s.k_row_stride, s.k_row_stride,
                                            s.key_rows - key - kStep, s.head_dim);
        copy_async_commit();
        if (!seen.any) continue;
        if (!seen.all) mask_rows(s, scores, row, key);
        online_softmax(scores, state, o, scale_log2);
        tile_weighted_rows<kDim>(o, scores, v_tile);
    }
    copy_async_wait<0>();
    finish<kDim>(s, lse, state, o, head, row);
    // A warp reads q rows of its own only, so they can make way for its o; rows of q come with the copies of all warps.
    __syncthreads();
    store_rows<kDim, kRowBlocks, kVector>(o_all + block_row * s.o_row_stride + int64_t{head} * s.head_dim,
                                          s.o_row_stride, s.query_rows - block_row, s.head_dim, o, q_tile, warp_row);
}

template <int kDim, bool kVector>
void launch(cudaStream_t stream, const AttentionForward& c) {
    const AttentionShape& s = c.shape;
    const dim3 grid(static_cast<unsigned>((s.query_rows + kQueries - 1) / kQueries), static_cast<unsigned>(s.heads));
    allow_shared_bytes(attention_forward_bf16_kernel<kDim, kVector>, kSharedBytes<kDim>);
    FTC_LAUNCH((attention_forward_bf16_kernel<kDim, kVector>), grid, kAttentionThreads, kSharedBytes<kDim>, stream, s,
               static_cast<bf16*>(c.o), c.lse, static_cast<const bf16*>(c.q), static_cast<const bf16*>(c.k),
               static_cast<const bf16*>(c.v));
}

} // namespace

void attention_forward_bf16(cudaStream_t stream, const AttentionForward& c) {
    const AttentionShape& s = c.shape;
    const bool aligned =
        rows_are_aligned(c.o, s.o_row_stride, s.head_dim, 2) && rows_are_aligned(c.q, s.q_row_stride, s.head_dim, 2) &&
        rows_are_aligned(c.k, s.k_row_stride, s.head_dim, 2) && rows_are_aligned(c.v, s.v_row_stride, s.head_dim, 2);
    if (!aligned) return launch<128, false>(stream, c);
    for_head_dim(s.head_dim, [&]<int kDim>() { launch<kDim, true>(stream, c); });
}

} // namespace ftc::cuda
