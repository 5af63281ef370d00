#include <math.h>

#include "core/rows.h"
#include "core/simd_dot.h"
#include "ops/attention/attention_layout.h"
#include "ops/attention/attention_parts.h"
#include "ops/attention/key_interval.h"
#include "ops/attention/pack.h"
#include "ops/attention/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kTile = kAttentionTile;

// A wave of key-value heads with its query heads, and where its tiles lie.
struct Wave {
    const AttentionBackwardArgs& a;
    const AttentionBackwardLayout& l;
    int64_t first_kv_head, kv_heads; // heads inside the wave count from 0
    int64_t group;

    int64_t heads() const { return kv_heads * group; }
    int64_t tile_floats() const { return kTile * l.width; }
    float* k_transposed(int64_t kv_head, int64_t tile) const {
        return a.workspace + l.k_transposed + (kv_head * l.key_tiles + tile) * a.shape.head_dim * kTile;
    }
    float* v_transposed(int64_t kv_head, int64_t tile) const {
        return a.workspace + l.v_transposed + (kv_head * l.key_tiles + tile) * a.shape.head_dim * kTile;
    }
    float* k(int64_t kv_head, int64_t tile) const {
        return a.workspace + l.k + (kv_head * l.key_tiles + tile) * tile_floats();
    }
    float* q(int64_t head, int64_t tile) const {
        return a.workspace + l.q + (head * l.query_tiles + tile) * tile_floats();
    }
    float* dout(int64_t head, int64_t tile) const {
        return a.workspace + l.dout + (head * l.query_tiles + tile) * tile_floats();
    }
    float* lse(int64_t head, int64_t tile) const { return a.workspace + l.lse + (head * l.query_tiles + tile) * kTile; }
    float* delta(int64_t head, int64_t tile) const {
        return a.workspace + l.delta + (head * l.query_tiles + tile) * kTile;
    }
    float* dq(int64_t head, int64_t chunk, int64_t tile) const {
        return a.workspace + l.dq + ((head * l.chunks + chunk) * l.query_tiles + tile) * tile_floats();
    }
    float* dk(int64_t head, int64_t tile) const {
        return a.workspace + l.dk + (head * l.key_tiles + tile) * tile_floats();
    }
    float* dv(int64_t head, int64_t tile) const {
        return a.workspace + l.dv + (head * l.key_tiles + tile) * tile_floats();
    }
};

template <class T>
void pack_keys(const Wave& w, int64_t kv_head, int64_t tile) {
    const ftc_attention_params& p = w.a.shape;
    const int64_t key = tile * kTile, column = (w.first_kv_head + kv_head) * p.head_dim;
    const int64_t rows = smaller(kTile, p.first_query + p.query_rows - key);
    const T* k = static_cast<const T*>(w.a.k) + key * p.k_row_stride + column;
    const T* v = static_cast<const T*>(w.a.v) + key * p.v_row_stride + column;
    pack_transposed(w.k_transposed(kv_head, tile), k, p.k_row_stride, rows, p.head_dim);
    pack_rows(w.k(kv_head, tile), k, p.k_row_stride, rows, p.head_dim, w.l.width, 1.0f);
    pack_transposed(w.v_transposed(kv_head, tile), v, p.v_row_stride, rows, p.head_dim);
}

template <class T>
void pack_queries(const Wave& w, int64_t head, int64_t tile) {
    const ftc_attention_params& p = w.a.shape;
    const int64_t row = tile * kTile, all_heads_head = w.first_kv_head * w.group + head,
                  column = all_heads_head * p.head_dim;
    const int64_t rows = smaller(kTile, p.query_rows - row);
    const T* q = static_cast<const T*>(w.a.q) + row * p.q_row_stride + column;
    const T* o = static_cast<const T*>(w.a.o) + row * p.o_row_stride + column;
    const T* dout = static_cast<const T*>(w.a.dout) + row * p.do_row_stride + column;
    pack_rows(w.q(head, tile), q, p.q_row_stride, rows, p.head_dim, w.l.width, p.scale);
    pack_rows(w.dout(head, tile), dout, p.do_row_stride, rows, p.head_dim, w.l.width, 1.0f);
    for (int64_t r = 0; r < kTile; ++r) {
        const bool real = r < rows;
        w.lse(head, tile)[r] = real ? w.a.lse[(row + r) * p.heads + all_heads_head] : INFINITY;
        w.delta(head, tile)[r] =
            real ? dot(dout + r * p.do_row_stride, o + r * p.o_row_stride, p.head_dim) : 0.0f;
    }
}

// scores becomes the probabilities, gradient (so far dout . v) becomes that of the scaled scores.
// Of a tile that the row sees in part, groups of lanes behind its last key are zero without a look.
template <bool kMasked>
FTC_INLINE void softmax_gradient(float* scores, float* gradient, float lse, float delta, KeyInterval interval,
                                 int64_t key) {
    const int64_t seen = kMasked ? interval.last - key + 1 : kTile;
#pragma GCC unroll 4
    for (int64_t j = 0; j < kTile; j += kLanes) {
        if (kMasked && j >= seen) {
            store(set(0.0f), scores + j);
            store(set(0.0f), gradient + j);
            continue;
        }
        f32x16 p = exp(sub(load(scores + j), set(lse)));
        f32x16 d = mul(p, sub(load(gradient + j), set(delta)));
        if (kMasked) {
            p = keep_inside(p, interval, key, j, 0.0f);
            d = keep_inside(d, interval, key, j, 0.0f);
        }
        store(p, scores + j);
        store(d, gradient + j);
    }
}

// One query tile against one key tile: adds to dq, dk and dv.
void tile_pair(const Wave& w, int64_t head, int64_t chunk, int64_t query_tile, int64_t key_tile, float* scores,
               float* gradient) {
    const ftc_attention_params& p = w.a.shape;
    const int64_t row = query_tile * kTile, rows = smaller(kTile, p.query_rows - row), key = key_tile * kTile;
    const Cover cover = tile_cover(p, w.a.key_begin, row, rows, key);
    if (cover == Cover::none) return;
    const int64_t diagonal = p.first_query + row - key, kv_head = head / w.group, width = w.l.width;
    const float* q = w.q(head, query_tile);
    const float* dout = w.dout(head, query_tile);
    tile_scores(scores, q, width, w.k_transposed(kv_head, key_tile), rows, p.head_dim, diagonal);
    tile_scores(gradient, dout, width, w.v_transposed(kv_head, key_tile), rows, p.head_dim, diagonal);
    for (int64_t r = 0; r < rows; ++r) {
        const float lse = w.lse(head, query_tile)[r], delta = w.delta(head, query_tile)[r];
        const KeyInterval interval = key_interval(p, w.a.key_begin, row + r);
        if (cover == Cover::all)
            softmax_gradient<false>(scores + r * kTile, gradient + r * kTile, lse, delta, interval, key);
        else
            softmax_gradient<true>(scores + r * kTile, gradient + r * kTile, lse, delta, interval, key);
    }
    tile_weighted_columns(w.dv(head, key_tile), scores, dout, rows, width, diagonal);
    tile_weighted_columns(w.dk(head, key_tile), gradient, q, rows, width, diagonal);
    tile_weighted_rows(w.dq(head, chunk, query_tile), gradient, w.k(kv_head, key_tile), rows, width, diagonal,
                       {Start::accumulate, nullptr});
}

// Query tiles that reach a key tile under a plain causal mask: the measure of its work.
int64_t work_of(const Wave& w, int64_t key_tile) {
    const int64_t first = larger(0, key_tile - w.a.shape.first_query / kTile);
    return larger(1, w.l.query_tiles - first);
}

// First key tile of a chunk; chunks hold about the same work.
int64_t chunk_begin(const Wave& w, int64_t chunk) {
    int64_t total = 0;
    for (int64_t tile = 0; tile < w.l.key_tiles; ++tile) total += work_of(w, tile);
    int64_t done = 0, tile = 0;
    while (tile < w.l.key_tiles && done * w.l.chunks < total * chunk) done += work_of(w, tile++);
    return tile;
}

void head_chunk(const Wave& w, int64_t head, int64_t chunk, float* scratch) {
    const size_t tile_bytes = size_t(w.tile_floats()) * sizeof(float);
    memset(w.dq(head, chunk, 0), 0, size_t(w.l.query_tiles) * tile_bytes);
    const int64_t end = chunk + 1 == w.l.chunks ? w.l.key_tiles : chunk_begin(w, chunk + 1);
    for (int64_t key_tile = chunk_begin(w, chunk); key_tile < end; ++key_tile) {
        memset(w.dk(head, key_tile), 0, tile_bytes);
        memset(w.dv(head, key_tile), 0, tile_bytes);
        for (int64_t query_tile = 0; query_tile < w.l.query_tiles; ++query_tile)
            tile_pair(w, head, chunk, query_tile, key_tile, scratch, scratch + kTile * kTile);
    }
}

// y[head_dim] = scale * sum of `count` rows, `step` floats apart, in their order.
template <class T>
void sum_rows(T* y, const float* x, int64_t step, int64_t count, int64_t head_dim, float scale) {
    for (int64_t i = 0; i < head_dim; i += kLanes) {
        f32x16 s = load(x + i);
        for (int64_t c = 1; c < count; ++c) s = add(s, load(x + c * step + i));
        store_group(mul(s, set(scale)), y + i, smaller(kLanes, head_dim - i));
    }
}

template <class T>
void write_dq(const Wave& w, int64_t row) {
    const ftc_attention_params& p = w.a.shape;
    T* dq = static_cast<T*>(w.a.dq) + row * p.dq_row_stride + w.first_kv_head * w.group * p.head_dim;
    for (int64_t head = 0; head < w.heads(); ++head)
        sum_rows(dq + head * p.head_dim,
                 w.dq(head, 0, row / kTile) + row % kTile * w.l.width, w.l.query_tiles * w.tile_floats(), w.l.chunks,
                 p.head_dim, p.scale);
}

template <class T>
void write_dk_dv(const Wave& w, int64_t row) {
    const ftc_attention_params& p = w.a.shape;
    const bool seen = row < p.first_query + p.query_rows;
    for (int64_t kv_head = 0; kv_head < w.kv_heads; ++kv_head) {
        const int64_t column = (w.first_kv_head + kv_head) * p.head_dim;
        T* dk = static_cast<T*>(w.a.dk) + row * p.dk_row_stride + column;
        T* dv = static_cast<T*>(w.a.dv) + row * p.dv_row_stride + column;
        if (!seen) {
            memset(dk, 0, size_t(p.head_dim) * sizeof(T));
            memset(dv, 0, size_t(p.head_dim) * sizeof(T));
            continue;
        }
        const int64_t at = row % kTile * w.l.width, step = w.l.key_tiles * w.tile_floats();
        sum_rows(dk, w.dk(kv_head * w.group, row / kTile) + at, step, w.group, p.head_dim, 1.0f);
        sum_rows(dv, w.dv(kv_head * w.group, row / kTile) + at, step, w.group, p.head_dim, 1.0f);
    }
}

template <class T>
void run_wave(Pool& pool, const Wave& w) {
    const AttentionBackwardLayout& l = w.l;
    const ftc_attention_params& p = w.a.shape;
    const int64_t key_parts = w.kv_heads * l.key_tiles;
    parallel_for(pool, key_parts + w.heads() * l.query_tiles, [&](int64_t part, int32_t) {
        if (part < key_parts)
            pack_keys<T>(w, part / l.key_tiles, part % l.key_tiles);
        else
            pack_queries<T>(w, (part - key_parts) / l.query_tiles, (part - key_parts) % l.query_tiles);
    });
    parallel_for(pool, w.heads() * l.chunks, [&](int64_t part, int32_t thread) {
        head_chunk(w, part / l.chunks, part % l.chunks, w.a.workspace + l.thread + thread * l.thread_floats);
    });
    for_each_row(pool, p.query_rows, w.heads() * l.width * l.chunks, [&](int64_t row) { write_dq<T>(w, row); });
    for_each_row(pool, p.key_rows, 2 * w.heads() * l.width, [&](int64_t row) { write_dk_dv<T>(w, row); });
}

template <class T>
void backward(Pool& pool, const AttentionBackwardArgs& a) {
    const AttentionBackwardLayout l = attention_backward_layout(a.shape, pool.threads());
    for (int64_t kv_head = 0; kv_head < a.shape.key_value_heads; kv_head += l.wave)
        run_wave<T>(pool, {a, l, kv_head, smaller(l.wave, a.shape.key_value_heads - kv_head),
                           a.shape.heads / a.shape.key_value_heads});
}

} // namespace

void attention_backward(Pool& pool, const AttentionBackwardArgs& a) {
    a.shape.dtype == FTC_BF16 ? backward<bf16>(pool, a) : backward<float>(pool, a);
}

} // namespace ftc::FTC_ISA_NAMESPACE
