#include <math.h>

#include "core/simd_dot.h"
#include "ops/attention/attention_layout.h"
#include "ops/attention/attention_parts.h"
#include "ops/attention/key_interval.h"
#include "ops/attention/pack.h"
#include "ops/attention/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// One chunk of keys for the query heads of one key-value head: o relative to the chunk's own maximum.
void chunk(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, int64_t kv_head, int64_t index, float* scores) {
    const ftc_attention_params& p = a.shape;
    const int64_t group = p.heads / p.key_value_heads, lines = group * p.query_rows;
    const int64_t begin = index * kDecodeKeys;
    const int64_t count = smaller(kDecodeKeys, p.first_query + p.query_rows - begin);
    const float* k = a.k + begin * p.k_row_stride + kv_head * p.head_dim;
    const float* v = a.v + begin * p.v_row_stride + kv_head * p.head_dim;
    const float* q = a.workspace + l.q + kv_head * lines * l.width; // lines: head of the group, then query row
    float* partial = a.workspace + l.partial + (kv_head * l.chunks + index) * lines * (l.width + 16);

    for (int64_t key = 0; key < count; ++key)
        for (int64_t line = 0; line < lines; ++line)
            scores[line * kDecodeKeys + key] = dot(q + line * l.width, k + key * p.k_row_stride, p.head_dim);

    for (int64_t line = 0; line < lines; ++line) {
        float* row = scores + line * kDecodeKeys;
        const KeyInterval interval = key_interval(p, a.key_begin, line % p.query_rows);
        f32x16 top = set(-INFINITY);
        for (int64_t i = 0; i < count; i += kLanes) {
            const f32x16 x = keep_inside(load(row + i), {interval.first, smaller(interval.last, begin + count - 1)}, begin, i, -INFINITY);
            store(x, row + i);
            top = max(x, top);
        }
        const float maximum = max_lane(top);
        const f32x16 base = set(maximum == -INFINITY ? 0.0f : maximum);
        f32x16 total = set(0.0f);
        for (int64_t i = 0; i < count; i += kLanes) {
            const f32x16 x = exp(sub(load(row + i), base));
            store(x, row + i);
            total = add(total, x);
        }
        float* out = partial + line * (l.width + 16);
        memset(out, 0, size_t(l.width) * sizeof(float));
        out[l.width] = maximum;
        out[l.width + 1] = sum(total);
    }
    for (int64_t key = 0; key < count; ++key) {
        const float* value = v + key * p.v_row_stride;
        for (int64_t line = 0; line < lines; ++line) {
            const f32x16 weight = set(scores[line * kDecodeKeys + key]);
            float* out = partial + line * (l.width + 16);
            int64_t i = 0;
            for (; i + kLanes <= p.head_dim; i += kLanes) store(fma(weight, load(value + i), load(out + i)), out + i);
            if (i < p.head_dim) store(fma(weight, load_partial(value + i, p.head_dim - i), load(out + i)), out + i);
        }
    }
}

// Chunks in their order, each brought to the common maximum.
void combine(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, int64_t head, int64_t row, int64_t first_chunk) {
    const ftc_attention_params& p = a.shape;
    const int64_t group = p.heads / p.key_value_heads, lines = group * p.query_rows;
    const int64_t kv_head = head / group, line = head % group * p.query_rows + row;
    const int64_t step = lines * (l.width + 16);
    const float* partial = a.workspace + l.partial + kv_head * l.chunks * step + line * (l.width + 16);
    float maximum = -INFINITY;
    for (int64_t c = first_chunk; c < l.chunks; ++c) {
        const float top = partial[c * step + l.width];
        maximum = top > maximum ? top : maximum;
    }
    const float base = maximum == -INFINITY ? 0.0f : maximum;
    float total = 0.0f;
    f32x16 o[16];
    for (int64_t i = 0; i < l.width; i += kLanes) o[i / kLanes] = set(0.0f);
    for (int64_t c = first_chunk; c < l.chunks; ++c) {
        const float* from = partial + c * step;
        alignas(64) float shrink[16];
        store(exp(set(from[l.width] - base)), shrink);
        total += from[l.width + 1] * shrink[0];
        for (int64_t i = 0; i < l.width; i += kLanes) o[i / kLanes] = fma(load(from + i), set(shrink[0]), o[i / kLanes]);
    }
    const bool empty = maximum == -INFINITY && total == 0.0f;
    float* out = a.o + row * p.o_row_stride + head * p.head_dim;
    for (int64_t i = 0; i < p.head_dim; i += kLanes)
        store_partial(div(o[i / kLanes], set(empty ? 1.0f : total)), out + i, smaller(kLanes, p.head_dim - i));
    if (a.lse != nullptr) a.lse[row * p.heads + head] = empty ? -INFINITY : maximum + logf(total);
}

} // namespace

void attention_decode(Pool& pool, const AttentionForwardArgs& a) {
    const ftc_attention_params& p = a.shape;
    const AttentionDecodeLayout l = attention_decode_layout(p, pool.threads());
    for (int64_t head = 0; head < p.heads; ++head)
        for (int64_t row = 0; row < p.query_rows; ++row) {
            float* q = a.workspace + l.q + (head * p.query_rows + row) * l.width;
            const float* from = a.q + row * p.q_row_stride + head * p.head_dim;
            for (int64_t i = 0; i < p.head_dim; i += kLanes)
                store(mul(load_partial(from + i, smaller(kLanes, p.head_dim - i)), set(p.scale)), q + i);
        }
    const int64_t first_chunk = smaller(key_interval(p, a.key_begin, 0).first / kDecodeKeys, l.chunks);
    const int64_t chunks = l.chunks - first_chunk;
    parallel_for(pool, p.key_value_heads * chunks, [&](int64_t part, int32_t thread) {
        chunk(a, l, part / chunks, first_chunk + part % chunks, a.workspace + l.thread + thread * l.thread_floats);
    });
    for (int64_t head = 0; head < p.heads; ++head)
        for (int64_t row = 0; row < p.query_rows; ++row) combine(a, l, head, row, first_chunk);
}

} // namespace ftc::FTC_ISA_NAMESPACE
