#include <math.h>

#include "core/scalar_math.h"
#include "ops/attention/attention.h"
#include "ops/attention/attention_layout.h"
#include "ops/attention/attention_parts.h"
#include "ops/attention/key_interval.h"
#include "ops/attention/pack.h"
#include "ops/attention/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

struct Scratch {
    float* q;       // [64][width], scaled
    float* scores;  // [64][64], then probabilities
    float* o;       // [64][width], not yet divided by the sum
    float* maximum; // [64]
    float* sum;     // [64]
    float* shrink;  // [64]: what the old o and sum are multiplied with when the maximum grows
};

Scratch scratch_of(const AttentionForwardArgs& a, const AttentionForwardLayout& l, int32_t thread) {
    float* p = a.workspace + l.thread + thread * l.thread_floats;
    Scratch s;
    s.q = p;
    s.scores = s.q + kAttentionTile * l.width;
    s.o = s.scores + kAttentionTile * kAttentionTile;
    s.maximum = s.o + kAttentionTile * l.width;
    s.sum = s.maximum + kAttentionTile;
    s.shrink = s.sum + kAttentionTile;
    return s;
}

// Softmax of one row of scores, carried on: the scores become probabilities relative to the largest one so far. Of a
// tile that the row sees in part, groups of lanes behind its last key are skipped.
template <bool kMasked>
FTC_INLINE void online_softmax(const Scratch& s, int64_t r, KeyInterval interval, int64_t key) {
    float* row = s.scores + r * kAttentionTile;
    const int64_t seen = kMasked ? smaller(kAttentionTile, larger(0, interval.last - key + 1)) : kAttentionTile;
    f32x16 x[4];
    f32x16 top = set(-INFINITY);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        if (kMasked && j * kLanes >= seen) continue;
        x[j] = load(row + j * kLanes);
        if (kMasked) x[j] = keep_inside(x[j], interval, key, j * kLanes, -INFINITY);
        top = max(x[j], top);
    }
    const float before = s.maximum[r], here = max_lane(top);
    const float maximum = here > before ? here : before;
    const float base = maximum == -INFINITY ? 0.0f : maximum; // nothing seen yet: every probability is exp(-inf) = 0
    f32x16 total = set(0.0f);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const bool skipped = kMasked && j * kLanes >= seen;
        const f32x16 p = skipped ? set(0.0f) : exp(sub(x[j], set(base)));
        store(p, row + j * kLanes);
        total = add(total, p);
    }
    s.maximum[r] = maximum;
    s.shrink[r] = before - base;
    s.sum[r] = sum(total);
}

// Adds one key tile to the o of a query tile.
void add_key_tile(const AttentionForwardArgs& a, const AttentionForwardLayout& l, const Scratch& s, float* sums,
                  int64_t kv_head, int64_t row, int64_t rows, int64_t key_tile) {
    const int64_t key = key_tile * kAttentionTile;
    const Cover cover = tile_cover(a.shape, a.key_begin, row, rows, key);
    if (cover == Cover::none) return;
    const int64_t diagonal = a.shape.first_query + row - key;
    const float* k = a.workspace + l.k + (kv_head * l.key_tiles + key_tile) * a.shape.head_dim * kAttentionTile;
    const float* v = a.workspace + l.v + (kv_head * l.key_tiles + key_tile) * kAttentionTile * l.width;
    tile_scores(s.scores, s.q, l.width, k, rows, a.shape.head_dim, diagonal);
    for (int64_t r = 0; r < rows; ++r) {
        const KeyInterval interval = key_interval(a.shape, a.key_begin, row + r);
        if (cover == Cover::all)
            online_softmax<false>(s, r, interval, key);
        else
            online_softmax<true>(s, r, interval, key);
    }
    for (int64_t r = 0; r < kAttentionTile; r += kLanes) {
        const f32x16 shrink = exp(load(s.shrink + r));
        store(shrink, s.shrink + r);
        store(fma(load(sums + r), shrink, load(s.sum + r)), sums + r);
    }
    tile_weighted_rows(s.o, s.scores, v, rows, l.width, diagonal, {Start::scale, s.shrink});
}

template <class T>
void query_tile(const AttentionForwardArgs& a, const AttentionForwardLayout& l, const Scratch& s, int64_t head,
                int64_t tile_index) {
    const ftc_attention_params& p = a.shape;
    const int64_t kv_head = head / (p.heads / p.key_value_heads);
    const int64_t row = tile_index * kAttentionTile;
    const int64_t rows = smaller(kAttentionTile, p.query_rows - row);
    alignas(64) float sums[kAttentionTile] = {};
    const T* q = static_cast<const T*>(a.q) + row * p.q_row_stride + head * p.head_dim;
    pack_rows(s.q, q, p.q_row_stride, rows, p.head_dim, l.width, p.scale);
    memset(s.o, 0, size_t(kAttentionTile * l.width) * sizeof(float));
    for (int64_t r = 0; r < kAttentionTile; ++r) {
        s.maximum[r] = -INFINITY;
        s.shrink[r] = 0.0f;
        s.sum[r] = 0.0f;
    }
    const int64_t first = key_interval(p, a.key_begin, row).first / kAttentionTile;
    const int64_t last = (p.first_query + row + rows - 1) / kAttentionTile;
    for (int64_t key_tile = first; key_tile <= last; ++key_tile)
        add_key_tile(a, l, s, sums, kv_head, row, rows, key_tile);
    for (int64_t r = 0; r < rows; ++r) {
        T* o = static_cast<T*>(a.o) + (row + r) * p.o_row_stride + head * p.head_dim;
        const bool empty = s.maximum[r] == -INFINITY && sums[r] == 0.0f;
        const f32x16 divisor = set(empty ? 1.0f : sums[r]);
        for (int64_t i = 0; i < p.head_dim; i += kLanes)
            store_group(div(load(s.o + r * l.width + i), divisor), o + i, smaller(kLanes, p.head_dim - i));
        if (a.lse != nullptr)
            a.lse[(row + r) * p.heads + head] =
                empty ? -INFINITY : s.maximum[r] + static_cast<float>(natural_log(static_cast<double>(sums[r])));
    }
}

template <class T>
void forward(Pool& pool, const AttentionForwardArgs& a) {
    const ftc_attention_params& p = a.shape;
    const AttentionForwardLayout l = attention_forward_layout(p, pool.threads());
    const int64_t key_end = p.first_query + p.query_rows;
    const int64_t first_tile = key_interval(p, a.key_begin, 0).first / kAttentionTile;
    const int64_t used_tiles = larger(0, l.key_tiles - first_tile);
    parallel_for(pool, p.key_value_heads * used_tiles, [&](int64_t part, int32_t) {
        const int64_t head = part / used_tiles, key_tile = first_tile + part % used_tiles,
                      key = key_tile * kAttentionTile;
        const int64_t rows = smaller(kAttentionTile, key_end - key), slot = head * l.key_tiles + key_tile;
        const T* k = static_cast<const T*>(a.k) + key * p.k_row_stride + head * p.head_dim;
        const T* v = static_cast<const T*>(a.v) + key * p.v_row_stride + head * p.head_dim;
        pack_transposed(a.workspace + l.k + slot * p.head_dim * kAttentionTile, k, p.k_row_stride, rows, p.head_dim);
        pack_rows(a.workspace + l.v + slot * kAttentionTile * l.width, v, p.v_row_stride, rows, p.head_dim, l.width,
                  1.0f);
    });
    parallel_for(pool, p.heads * l.query_tiles, [&](int64_t part, int32_t thread) {
        // Early tiles see few keys, late ones many: alternating keeps the threads' shares alike.
        const int64_t i = part % l.query_tiles;
        const int64_t tile_index = i % 2 == 0 ? i / 2 : l.query_tiles - 1 - i / 2;
        query_tile<T>(a, l, scratch_of(a, l, thread), part / l.query_tiles, tile_index);
    });
}

} // namespace

void attention_forward(Pool& pool, const AttentionForwardArgs& a) {
    if (a.shape.query_rows <= kDecodeRows) return attention_decode(pool, a);
    a.shape.dtype == FTC_BF16 ? forward<bf16>(pool, a) : forward<float>(pool, a);
}

} // namespace ftc::FTC_ISA_NAMESPACE
