// Attention backward in bf16 on tensor cores. With P = exp(scale q k^T - lse), D = dout . o
// (attention_statistics_cuda.cu):
//   dv = P^T dout,   dS = P * (dout v^T - D),   dk = scale dS^T q,   dq = scale dS k.   Dao 2023, arXiv:2307.08691.
//
// Two kernels and no atomics, so bits depend on the shape alone: a block of the first owns keys and goes through the
// query rows of all heads that share them, a block of the second owns query rows and goes through their keys. S and
// dout v^T are computed in both: seven products instead of five, for determinism and for no fp32 dq in memory.
//
// A warp owns the rows (keys, or queries) it sums for, and computes the transposed scores in the first kernel: then
// what comes out of the first two products is, rounded to bf16, the left operand of the other two as it lies in
// registers, and probabilities never visit shared memory. What is walked over comes through two buffers.
#include <cmath>

#include "ops/attention/attention_interval.cuh"
#include "ops/attention/attention_launch.cuh"
#include "ops/attention/attention_tile_bf16.cuh"

namespace ftc::cuda {
namespace {

// Blocks of 16 rows a warp sums for: two where the sums fit the registers, as every fragment of the other side then
// serves twice. And the rows of the other side in a step.
template <int kDim>
constexpr int kKeyRowBlocks = kDim <= 64 ? 2 : 1;
template <int kDim>
constexpr int kKeyBlock = kAttentionWarps * 16 * kKeyRowBlocks<kDim>;
constexpr int kQueryStep = 32;

template <int kDim>
constexpr int kQueryRowBlocks = kDim <= 64 ? 2 : 1;
template <int kDim>
constexpr int kQueryBlock = kAttentionWarps * 16 * kQueryRowBlocks<kDim>;
constexpr int kKeyStep = 32;

// ---- dk, dv

// The query rows of one step.
template <int kDim>
struct QueryStage {
    unsigned char q[Tile<kDim>::bytes(kQueryStep)];
    unsigned char dout[Tile<kDim>::bytes(kQueryStep)];
    float lse[kQueryStep];
    float delta[kQueryStep];
};

template <int kDim>
struct KeyShared {
    unsigned char k[Tile<kDim>::bytes(kKeyBlock<kDim>)];
    unsigned char v[Tile<kDim>::bytes(kKeyBlock<kDim>)];
    QueryStage<kDim> stage[2];
};

struct BackwardInputs {
    const bf16* dout;
    const bf16* q;
    const bf16* k;
    const bf16* v;
    const float* lse;   // [heads][padded_rows], times log2(e)
    const float* delta; // [heads][padded_rows]
    int64_t padded_rows;
};

template <int kDim, bool kVector>
__device__ __forceinline__ void load_stage(QueryStage<kDim>& stage, const AttentionShape& s, const BackwardInputs& in,
                                           int head, int row) {
    const int64_t column = int64_t{head} * s.head_dim;
    load_tile<kDim, kQueryStep, kVector>(stage.q, in.q + row * s.q_row_stride + column, s.q_row_stride,
                                         s.query_rows - row, s.head_dim);
    load_tile<kDim, kQueryStep, kVector>(stage.dout, in.dout + row * s.do_row_stride + column, s.do_row_stride,
                                         s.query_rows - row, s.head_dim);
    const int thread = static_cast<int>(threadIdx.x);
    constexpr int kEach = kQueryStep / 4;
    if (thread < kEach)
        copy16_async(stage.lse + 4 * thread, in.lse + head * in.padded_rows + row + 4 * thread);
    else if (thread < 2 * kEach)
        copy16_async(stage.delta + 4 * (thread - kEach), in.delta + head * in.padded_rows + row + 4 * (thread - kEach));
}

// Scores (k q^T) that a query row does not see become -inf. Keys from `key`, query rows from `row`.
template <int kM, int kN>
__device__ __forceinline__ void mask_columns(const AttentionShape& s, float (&scores)[kM][kN][4], int row, int key) {
    const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int query = row + 8 * n + 2 * t + i;
            const int first = first_key(s, query) - key - g, last = last_key(s, query) - key - g;
#pragma unroll
            for (int m = 0; m < kM; ++m)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int at = 16 * m + 8 * half;
                    if (at < first || at > last) scores[m][n][2 * half + i] = -INFINITY;
                }
        }
}

// scores (k q^T, unscaled) become P^T, gradient (v dout^T) becomes dS^T.
template <int kM, int kN>
__device__ __forceinline__ void gradient_of_columns(float (&scores)[kM][kN][4], float (&gradient)[kM][kN][4],
                                                    const float* lse, const float* delta, float scale_log2) {
    const int t = lane_index() % 4;
#pragma unroll
    for (int n = 0; n < kN; ++n) {
        const float2 row_lse = *reinterpret_cast<const float2*>(lse + 8 * n + 2 * t);
        const float2 row_delta = *reinterpret_cast<const float2*>(delta + 8 * n + 2 * t);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float p = exp2_fast(fmaf(scores[m][n][i], scale_log2, i % 2 == 0 ? -row_lse.x : -row_lse.y));
                scores[m][n][i] = p;
                gradient[m][n][i] = p * (gradient[m][n][i] - (i % 2 == 0 ? row_delta.x : row_delta.y));
            }
    }
}

// Grid: key tiles (the ones that most rows see first), key-value heads.
template <int kDim, bool kVector>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_backward_keys_kernel(AttentionShape s, bf16* dk, bf16* dv, BackwardInputs in) {
    FTC_DYNAMIC_SHARED(shared);
    KeyShared<kDim>& tiles = *reinterpret_cast<KeyShared<kDim>*>(shared);
    constexpr int kM = kKeyRowBlocks<kDim>, kKeys = kKeyBlock<kDim>;
    const int kv_head = static_cast<int>(blockIdx.y);
    const int block_key = static_cast<int>(blockIdx.x) * kKeys, warp_key = warp_index() * 16 * kM;
    const int64_t column = int64_t{kv_head} * s.head_dim;
    const float scale_log2 = s.scale * kLog2e;

    float dk_sums[kM][kDim / 8][4], dv_sums[kM][kDim / 8][4];
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) dk_sums[m][n][i] = dv_sums[m][n][i] = 0.0f;

    const QueryTiles queries = query_tiles<kQueryStep>(s, block_key, kKeys);
    const int steps = queries.count * s.group;
    load_tile<kDim, kKeys, kVector>(tiles.k, in.k + block_key * s.k_row_stride + column, s.k_row_stride,
                                    s.key_rows - block_key, s.head_dim);
    load_tile<kDim, kKeys, kVector>(tiles.v, in.v + block_key * s.v_row_stride + column, s.v_row_stride,
                                    s.key_rows - block_key, s.head_dim);
    int head = kv_head * s.group, tile = queries.first; // of the step that is loaded next
    const auto load_next = [&](int stage) {
        load_stage<kDim, kVector>(tiles.stage[stage], s, in, head, tile * kQueryStep);
        if (++tile == queries.first + queries.count) {
            tile = queries.first;
            ++head;
        }
    };
    if (steps > 0) load_next(0);
    copy_async_commit();

    int row = queries.first * kQueryStep;
    for (int step = 0; step < steps; ++step) {
        copy_async_wait<0>();
        __syncthreads(); // this step has come; nobody reads the one before any more
        if (step + 1 < steps) load_next((step + 1) % 2);
        copy_async_commit();
        const QueryStage<kDim>& stage = tiles.stage[step % 2];
        const Cover seen = cover(s, row, kQueryStep, block_key + warp_key, 16 * kM);
        if (seen.any) {
            float scores[kM][kQueryStep / 8][4], gradient[kM][kQueryStep / 8][4];
            tile_scores<kDim>(scores, tiles.k, warp_key, stage.q);
            if (!seen.all) mask_columns(s, scores, row, block_key + warp_key);
            tile_scores<kDim>(gradient, tiles.v, warp_key, stage.dout);
            gradient_of_columns(scores, gradient, stage.lse, stage.delta, scale_log2);
            tile_weighted_rows<kDim>(dv_sums, scores, stage.dout);
            tile_weighted_rows<kDim>(dk_sums, gradient, stage.q);
        }
        row += kQueryStep;
        if (row == (queries.first + queries.count) * kQueryStep) row = queries.first * kQueryStep;
    }
    copy_async_wait<0>();
    __syncthreads(); // k and v rows come with the copies of all warps; from here on a warp uses rows of its own
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) dk_sums[m][n][i] *= s.scale;
    store_rows<kDim, kM, kVector>(dk + block_key * s.dk_row_stride + column, s.dk_row_stride, s.key_rows - block_key,
                                  s.head_dim, dk_sums, tiles.k, warp_key);
    store_rows<kDim, kM, kVector>(dv + block_key * s.dv_row_stride + column, s.dv_row_stride, s.key_rows - block_key,
                                  s.head_dim, dv_sums, tiles.v, warp_key);
}

// ---- dq

template <int kDim>
struct KeyStage {
    unsigned char k[Tile<kDim>::bytes(kKeyStep)];
    unsigned char v[Tile<kDim>::bytes(kKeyStep)];
};

template <int kDim>
struct QueryShared {
    unsigned char q[Tile<kDim>::bytes(kQueryBlock<kDim>)];
    unsigned char dout[Tile<kDim>::bytes(kQueryBlock<kDim>)];
    KeyStage<kDim> stage[2];
};

// scores (q k^T, unscaled) and gradient (dout v^T): gradient becomes dS.
template <int kM, int kN>
__device__ __forceinline__ void gradient_of_rows(const float (&scores)[kM][kN][4], float (&gradient)[kM][kN][4],
                                                 const float (&lse)[kM][2], const float (&delta)[kM][2],
                                                 float scale_log2) {
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kN; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float p = exp2_fast(fmaf(scores[m][n][i], scale_log2, -lse[m][i / 2]));
                gradient[m][n][i] = p * (gradient[m][n][i] - delta[m][i / 2]);
            }
}

// Grid: query tiles, the ones with the most keys first; heads.
template <int kDim, bool kVector>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_backward_queries_kernel(AttentionShape s, bf16* dq, BackwardInputs in) {
    FTC_DYNAMIC_SHARED(shared);
    QueryShared<kDim>& tiles = *reinterpret_cast<QueryShared<kDim>*>(shared);
    constexpr int kM = kQueryRowBlocks<kDim>, kQueries = kQueryBlock<kDim>;
    const int head = static_cast<int>(blockIdx.y);
    const int block_row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kQueries, warp_row = warp_index() * 16 * kM;
    const int row = block_row + warp_row;
    const int64_t column = int64_t{head} * s.head_dim, key_column = int64_t{head / s.group} * s.head_dim;
    const float scale_log2 = s.scale * kLog2e;

    float sums[kM][kDim / 8][4], lse[kM][2], delta[kM][2];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t at = head * in.padded_rows + row + 16 * m + 8 * half + lane_index() / 4;
            lse[m][half] = in.lse[at];
            delta[m][half] = in.delta[at];
        }
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[m][n][i] = 0.0f;
    }

    const KeyTiles keys = key_tiles<kKeyStep>(s, block_row, kQueries);
    load_tile<kDim, kQueries, kVector>(tiles.q, in.q + block_row * s.q_row_stride + column, s.q_row_stride,
                                       s.query_rows - block_row, s.head_dim);
    load_tile<kDim, kQueries, kVector>(tiles.dout, in.dout + block_row * s.do_row_stride + column, s.do_row_stride,
                                       s.query_rows - block_row, s.head_dim);
    const auto load_keys = [&](int stage, int key) {
        load_tile<kDim, kKeyStep, kVector>(tiles.stage[stage].k, in.k + key * s.k_row_stride + key_column,
                                           s.k_row_stride, s.key_rows - key, s.head_dim);
        load_tile<kDim, kKeyStep, kVector>(tiles.stage[stage].v, in.v + key * s.v_row_stride + key_column,
                                           s.v_row_stride, s.key_rows - key, s.head_dim);
    };
    if (keys.begin < keys.end) load_keys(0, keys.begin);
    copy_async_commit();

    int at = 0; // the stage of this step
    for (int key = keys.begin; key < keys.end; key += kKeyStep, at ^= 1) {
        copy_async_wait<0>();
        __syncthreads(); // this step has come; nobody reads the one before any more
        if (key + kKeyStep < keys.end) load_keys(at ^ 1, key + kKeyStep);
        copy_async_commit();
        const Cover seen = cover(s, row, 16 * kM, key, kKeyStep);
        if (!seen.any) continue;
        float scores[kM][kKeyStep / 8][4], gradient[kM][kKeyStep / 8][4];
        tile_scores<kDim>(scores, tiles.q, warp_row, tiles.stage[at].k);
        if (!seen.all) mask_rows(s, scores, row, key);
        tile_scores<kDim>(gradient, tiles.dout, warp_row, tiles.stage[at].v);
        gradient_of_rows(scores, gradient, lse, delta, scale_log2);
        tile_weighted_rows<kDim>(sums, gradient, tiles.stage[at].k);
    }
    copy_async_wait<0>();
    __syncthreads(); // q rows come with the copies of all warps; from here on a warp uses rows of its own
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[m][n][i] *= s.scale;
    store_rows<kDim, kM, kVector>(dq + block_row * s.dq_row_stride + column, s.dq_row_stride, s.query_rows - block_row,
                                  s.head_dim, sums, tiles.q, warp_row);
}

template <int kDim, bool kVector>
void launch(cudaStream_t stream, const AttentionBackward& c) {
    const AttentionShape& s = c.shape;
    const int64_t padded = statistics_rows(s.query_rows);
    static_assert(kStatisticsRows % kQueryBlock<kDim> == 0 && kStatisticsRows % kQueryStep == 0);
    const BackwardInputs in{static_cast<const bf16*>(c.dout),
                            static_cast<const bf16*>(c.q),
                            static_cast<const bf16*>(c.k),
                            static_cast<const bf16*>(c.v),
                            c.workspace,
                            c.workspace + s.heads * padded,
                            padded};
    const auto blocks = [](int rows, int each) { return static_cast<unsigned>((rows + each - 1) / each); };

    constexpr int kKeyBytes = sizeof(KeyShared<kDim>), kQueryBytes = sizeof(QueryShared<kDim>);
    allow_shared_bytes(attention_backward_keys_kernel<kDim, kVector>, kKeyBytes);
    FTC_LAUNCH((attention_backward_keys_kernel<kDim, kVector>),
               dim3(blocks(s.key_rows, kKeyBlock<kDim>), static_cast<unsigned>(s.key_value_heads)), kAttentionThreads,
               kKeyBytes, stream, s, static_cast<bf16*>(c.dk), static_cast<bf16*>(c.dv), in);
    if (s.query_rows == 0) return;
    allow_shared_bytes(attention_backward_queries_kernel<kDim, kVector>, kQueryBytes);
    FTC_LAUNCH((attention_backward_queries_kernel<kDim, kVector>),
               dim3(blocks(s.query_rows, kQueryBlock<kDim>), static_cast<unsigned>(s.heads)), kAttentionThreads,
               kQueryBytes, stream, s, static_cast<bf16*>(c.dq), in);
}

} // namespace

void attention_backward_bf16(cudaStream_t stream, const AttentionBackward& c) {
    const AttentionShape& s = c.shape;
    const auto aligned = [&](const void* p, int64_t row_stride) {
        return rows_are_aligned(p, row_stride, s.head_dim, 2);
    };
    if (!(aligned(c.dq, s.dq_row_stride) && aligned(c.dk, s.dk_row_stride) && aligned(c.dv, s.dv_row_stride) &&
          aligned(c.dout, s.do_row_stride) && aligned(c.q, s.q_row_stride) && aligned(c.k, s.k_row_stride) &&
          aligned(c.v, s.v_row_stride)))
        return launch<128, false>(stream, c);
    for_head_dim(s.head_dim, [&]<int kDim>() { launch<kDim, true>(stream, c); });
}

} // namespace ftc::cuda
