#include <math.h>

#include "core/scalar_math.h"
#include "ops/attention/attention_layout.h"
#include "ops/attention/attention_parts.h"
#include "ops/attention/key_interval.h"
#include "ops/attention/pack.h"
#include "ops/attention/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kKeyStep = 4; // keys whose values join an output row between one load and one store of it

// The keys [begin, end) one part goes through, and its scores.
struct Chunk {
    int64_t begin, end;
    float* scores;  // [lines][kDecodeKeys]; score of key `begin` first
    float* partial; // [lines][width + 16]
};

// scores[line + i] = q[line + i] . k for kLines lines that share a key-value head.
template <int kLines, class T>
FTC_INLINE void score_lines(float* scores, const float* q, int64_t width, const T* k, int64_t head_dim) {
    f32x16 sums[kLines];
#pragma GCC unroll 4
    for (int i = 0; i < kLines; ++i) sums[i] = set(0.0f);
    for_each_group(
        head_dim, FTC_GROUP(int64_t c, int64_t n) {
            const f32x16 key = load_group(k + c, n);
#pragma GCC unroll 4
            for (int i = 0; i < kLines; ++i) sums[i] = fma(load(q + i * width + c), key, sums[i]);
        });
#pragma GCC unroll 4
    for (int i = 0; i < kLines; ++i) scores[i * kDecodeKeys] = sum(sums[i]);
}

template <class T>
void score_keys(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, const Chunk& c) {
    const ftc_attention_params& p = a.shape;
    const int64_t lines_of_head = l.lines / p.key_value_heads;
    const float* q = a.workspace + l.q;
    for (int64_t key = c.begin; key < c.end; ++key) {
        for (int64_t kv_head = 0; kv_head < p.key_value_heads; ++kv_head) {
            const T* k = static_cast<const T*>(a.k) + key * p.k_row_stride + kv_head * p.head_dim;
            const int64_t end = (kv_head + 1) * lines_of_head;
            int64_t line = end - lines_of_head;
            for (; line + 4 <= end; line += 4)
                score_lines<4>(c.scores + line * kDecodeKeys + key - c.begin, q + line * l.width, l.width, k,
                               p.head_dim);
            for (; line < end; ++line)
                score_lines<1>(c.scores + line * kDecodeKeys + key - c.begin, q + line * l.width, l.width, k,
                               p.head_dim);
        }
    }
}

// Scores become probabilities relative to the line's largest score in the chunk; keys the row does not see become 0.
void softmax_lines(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, const Chunk& c) {
    const int64_t count = c.end - c.begin;
    for (int64_t line = 0; line < l.lines; ++line) {
        float* row = c.scores + line * kDecodeKeys;
        KeyInterval interval = key_interval(a.shape, a.key_begin, line % a.shape.query_rows);
        interval.last = smaller(interval.last, c.end - 1);
        f32x16 top = set(-INFINITY);
        for (int64_t i = 0; i < count; i += kLanes) {
            const f32x16 x = keep_inside(load(row + i), interval, c.begin, i, -INFINITY);
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
        float* out = c.partial + line * (l.width + 16);
        memset(out, 0, size_t(l.width) * sizeof(float));
        out[l.width] = maximum;
        out[l.width + 1] = sum(total);
    }
}

// o += weights[0..kKeys) of the values of kKeys keys.
template <int kKeys, class T>
FTC_INLINE void add_values(float* o, const float* weights, const T* v, int64_t v_stride, int64_t head_dim) {
    for_each_group(
        head_dim, FTC_GROUP(int64_t c, int64_t n) {
            f32x16 total = load(o + c);
#pragma GCC unroll 4
            for (int j = 0; j < kKeys; ++j) total = fma(set(weights[j]), load_group(v + j * v_stride + c, n), total);
            store(total, o + c);
        });
}

template <class T>
void weigh_values(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, const Chunk& c) {
    const ftc_attention_params& p = a.shape;
    const int64_t lines_of_head = l.lines / p.key_value_heads;
    int64_t key = c.begin;
    const auto step = [&]<int kKeys>() __attribute__((always_inline)) {
        const T* v = static_cast<const T*>(a.v) + key * p.v_row_stride;
        for (int64_t line = 0; line < l.lines; ++line)
            add_values<kKeys>(c.partial + line * (l.width + 16), c.scores + line * kDecodeKeys + key - c.begin,
                              v + line / lines_of_head * p.head_dim, p.v_row_stride, p.head_dim);
    };
    for (; key + kKeyStep <= c.end; key += kKeyStep) step.template operator()<kKeyStep>();
    for (; key < c.end; ++key) step.template operator()<1>();
}

// Chunks in their order, each brought to the common maximum.
template <class T>
void combine(const AttentionForwardArgs& a, const AttentionDecodeLayout& l, int64_t line, int64_t first_chunk) {
    const ftc_attention_params& p = a.shape;
    const int64_t head = line / p.query_rows, row = line % p.query_rows;
    const int64_t step = l.lines * (l.width + 16);
    const float* partial = a.workspace + l.partial + line * (l.width + 16);
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
        for (int64_t i = 0; i < l.width; i += kLanes)
            o[i / kLanes] = fma(load(from + i), set(shrink[0]), o[i / kLanes]);
    }
    const bool empty = maximum == -INFINITY && total == 0.0f;
    T* out = static_cast<T*>(a.o) + row * p.o_row_stride + head * p.head_dim;
    for (int64_t i = 0; i < p.head_dim; i += kLanes)
        store_group(div(o[i / kLanes], set(empty ? 1.0f : total)), out + i, smaller(kLanes, p.head_dim - i));
    if (a.lse != nullptr)
        a.lse[row * p.heads + head] =
            empty ? -INFINITY : maximum + static_cast<float>(natural_log(static_cast<double>(total)));
}

template <class T>
void decode(Pool& pool, const AttentionForwardArgs& a) {
    const ftc_attention_params& p = a.shape;
    const AttentionDecodeLayout l = attention_decode_layout(p, pool.threads());
    for (int64_t line = 0; line < l.lines; ++line) {
        const T* q =
            static_cast<const T*>(a.q) + line % p.query_rows * p.q_row_stride + line / p.query_rows * p.head_dim;
        for (int64_t i = 0; i < p.head_dim; i += kLanes)
            store(mul(load_group(q + i, smaller(kLanes, p.head_dim - i)), set(p.scale)),
                  a.workspace + l.q + line * l.width + i);
    }
    const int64_t first_key = key_interval(p, a.key_begin, 0).first;
    const int64_t first_chunk = smaller(first_key / kDecodeKeys, l.chunks);
    parallel_for(pool, l.chunks - first_chunk, [&](int64_t part, int32_t thread) {
        const int64_t index = first_chunk + part, begin = index * kDecodeKeys;
        const Chunk c = {begin, smaller(begin + kDecodeKeys, p.first_query + p.query_rows),
                         a.workspace + l.thread + thread * l.thread_floats,
                         a.workspace + l.partial + index * l.lines * (l.width + 16)};
        score_keys<T>(a, l, c);
        softmax_lines(a, l, c);
        weigh_values<T>(a, l, c);
    });
    parallel_for(pool, l.lines, [&](int64_t line, int32_t) { combine<T>(a, l, line, first_chunk); });
}

} // namespace

void attention_decode(Pool& pool, const AttentionForwardArgs& a) {
    a.shape.dtype == FTC_BF16 ? decode<bf16>(pool, a) : decode<float>(pool, a);
}

} // namespace ftc::FTC_ISA_NAMESPACE
