// Attention backward in fp32: the two kernels of attention_backward_bf16_cuda.cu, with every product an fmaf.
#include <cmath>

#include "ops/attention/attention_launch.cuh"
#include "ops/attention/attention_tile_f32.cuh"

namespace ftc::cuda {
namespace {

struct BackwardInputs {
    const float* dout;
    const float* q;
    const float* k;
    const float* v;
    const float* lse;   // [heads][padded_rows]
    const float* delta; // [heads][padded_rows]
    int64_t padded_rows;
    bool aligned;
};

// Whether a query row sees a key.
__device__ __forceinline__ bool sees(const AttentionShape& s, int row, int key) {
    return row < s.query_rows && key >= first_key(s, row) && key <= last_key(s, row);
}

// Grid: key tiles (the ones that most rows see first), key-value heads.
template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_backward_keys_f32_kernel(AttentionShape s, float* dk, float* dv, BackwardInputs in) {
    __shared__ TileShared shared;
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
    const int kv_head = static_cast<int>(blockIdx.y), key = static_cast<int>(blockIdx.x) * kTile;
    const int64_t key_column = int64_t{kv_head} * s.head_dim;
    const Rows keys{in.k + key * s.k_row_stride + key_column, s.k_row_stride, s.key_rows - key, s.head_dim, in.aligned};
    const Rows values{in.v + key * s.v_row_stride + key_column, s.v_row_stride, s.key_rows - key, s.head_dim,
                      in.aligned};
    float4 dk_sums[4][kDim / 64], dv_sums[4][kDim / 64];
    clear<kDim>(dk_sums);
    clear<kDim>(dv_sums);
    const QueryTiles tiles = query_tiles<kTile>(s, key, kTile);
    for (int head = kv_head * s.group; head < (kv_head + 1) * s.group; ++head)
        for (int row = tiles.first * kTile; row < (tiles.first + tiles.count) * kTile; row += kTile) {
            const int64_t column = int64_t{head} * s.head_dim;
            const Rows queries{in.q + row * s.q_row_stride + column, s.q_row_stride, s.query_rows - row, s.head_dim,
                               in.aligned};
            const Rows gradients{in.dout + row * s.do_row_stride + column, s.do_row_stride, s.query_rows - row,
                                 s.head_dim, in.aligned};
            float p[4][4], ds[4][4];
            score_tile(p, shared, keys, queries);
            score_tile(ds, shared, values, gradients);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int query = row + x + 16 * j;
                const float lse = in.lse[head * in.padded_rows + query],
                            delta = in.delta[head * in.padded_rows + query];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    p[i][j] = sees(s, query, key + y + 16 * i) ? expf(p[i][j] * s.scale - lse) : 0.0f;
                    ds[i][j] = p[i][j] * (ds[i][j] - delta);
                }
            }
            store_weights(shared, p);
            add_weighted_rows<kDim>(dv_sums, shared, gradients);
            store_weights(shared, ds);
            add_weighted_rows<kDim>(dk_sums, shared, queries);
        }
    const float scale[4] = {s.scale, s.scale, s.scale, s.scale}, one[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_sums<kDim>(dk + key * s.dk_row_stride + key_column, s.dk_row_stride, s.key_rows - key, s.head_dim, in.aligned,
                     dk_sums, scale);
    store_sums<kDim>(dv + key * s.dv_row_stride + key_column, s.dv_row_stride, s.key_rows - key, s.head_dim, in.aligned,
                     dv_sums, one);
}

// Grid: query tiles, the ones with the most keys first; heads.
template <int kDim>
__global__ void __launch_bounds__(kTileThreads, 1)
    attention_backward_queries_f32_kernel(AttentionShape s, float* dq, BackwardInputs in) {
    __shared__ TileShared shared;
    const int thread = static_cast<int>(threadIdx.x), y = thread / 16, x = thread % 16;
    const int head = static_cast<int>(blockIdx.y), row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kTile;
    const int64_t column = int64_t{head} * s.head_dim, key_column = int64_t{head / s.group} * s.head_dim;
    const Rows queries{in.q + row * s.q_row_stride + column, s.q_row_stride, s.query_rows - row, s.head_dim,
                       in.aligned};
    const Rows gradients{in.dout + row * s.do_row_stride + column, s.do_row_stride, s.query_rows - row, s.head_dim,
                         in.aligned};
    float4 sums[4][kDim / 64];
    clear<kDim>(sums);
    const KeyTiles tiles = key_tiles<kTile>(s, row, kTile);
    for (int key = tiles.begin; key < tiles.end; key += kTile) {
        const Rows keys{in.k + key * s.k_row_stride + key_column, s.k_row_stride, s.key_rows - key, s.head_dim,
                        in.aligned};
        const Rows values{in.v + key * s.v_row_stride + key_column, s.v_row_stride, s.key_rows - key, s.head_dim,
                          in.aligned};
        float p[4][4], ds[4][4];
        score_tile(p, shared, queries, keys);
        score_tile(ds, shared, gradients, values);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int query = row + y + 16 * i;
            const float lse = in.lse[head * in.padded_rows + query], delta = in.delta[head * in.padded_rows + query];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const float probability = sees(s, query, key + x + 16 * j) ? expf(p[i][j] * s.scale - lse) : 0.0f;
                ds[i][j] = probability * (ds[i][j] - delta);
            }
        }
        store_weights(shared, ds);
        add_weighted_rows<kDim>(sums, shared, keys);
    }
    const float scale[4] = {s.scale, s.scale, s.scale, s.scale};
    store_sums<kDim>(dq + row * s.dq_row_stride + column, s.dq_row_stride, s.query_rows - row, s.head_dim, in.aligned,
                     sums, scale);
}

} // namespace

void attention_backward_f32(cudaStream_t stream, const AttentionBackward& c) {
    const AttentionShape& s = c.shape;
    const auto aligned = [&](const void* p, int64_t row_stride) {
        return rows_are_aligned(p, row_stride, s.head_dim, 4);
    };
    const int64_t padded = statistics_rows(s.query_rows);
    const BackwardInputs in{static_cast<const float*>(c.dout),
                            static_cast<const float*>(c.q),
                            static_cast<const float*>(c.k),
                            static_cast<const float*>(c.v),
                            c.workspace,
                            c.workspace + s.heads * padded,
                            padded,
                            aligned(c.dq, s.dq_row_stride) && aligned(c.dk, s.dk_row_stride) &&
                                aligned(c.dv, s.dv_row_stride) && aligned(c.dout, s.do_row_stride) &&
                                aligned(c.q, s.q_row_stride) && aligned(c.k, s.k_row_stride) &&
                                aligned(c.v, s.v_row_stride)};
    const auto blocks = [](int rows) { return static_cast<unsigned>((rows + kTile - 1) / kTile); };
    for_f32_head_dim(s.head_dim, [&]<int kDim>() {
        FTC_LAUNCH((attention_backward_keys_f32_kernel<kDim>),
                   dim3(blocks(s.key_rows), static_cast<unsigned>(s.key_value_heads)), kTileThreads, 0, stream, s,
                   static_cast<float*>(c.dk), static_cast<float*>(c.dv), in);
        if (s.query_rows == 0) return;
        FTC_LAUNCH((attention_backward_queries_f32_kernel<kDim>),
                   dim3(blocks(s.query_rows), static_cast<unsigned>(s.heads)), kTileThreads, 0, stream, s,
                   static_cast<float*>(c.dq), in);
    });
}

} // namespace ftc::cuda
