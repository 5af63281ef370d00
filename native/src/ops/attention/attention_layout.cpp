#include "ops/attention/attention_layout.h"

#include <algorithm>

namespace ftc {

namespace {

int64_t tiles_of(int64_t rows) {
    return (rows + kAttentionTile - 1) / kAttentionTile;
}

// Hands out one region after the other.
class Regions {
public:
    int64_t take(int64_t floats) {
        const int64_t begin = next_;
        next_ += (floats + 15) / 16 * 16;
        return begin;
    }
    int64_t total() const { return next_; }

private:
    int64_t next_ = 0;
};

} // namespace

AttentionForwardLayout attention_forward_layout(const ftc_attention_params& shape, int32_t threads) {
    AttentionForwardLayout l{};
    Regions regions;
    l.width = (shape.head_dim + 15) / 16 * 16;
    l.query_tiles = tiles_of(shape.query_rows);
    l.key_tiles = tiles_of(shape.first_query + shape.query_rows);
    l.k = regions.take(shape.key_value_heads * l.key_tiles * shape.head_dim * kAttentionTile);
    l.v = regions.take(shape.key_value_heads * l.key_tiles * kAttentionTile * l.width);
    l.thread_floats = kAttentionTile * (2 * l.width + kAttentionTile + 3);
    l.thread = regions.take(threads * l.thread_floats);
    l.floats = regions.total();
    return l;
}

AttentionDecodeLayout attention_decode_layout(const ftc_attention_params& shape, int32_t threads) {
    AttentionDecodeLayout l{};
    Regions regions;
    l.width = (shape.head_dim + 15) / 16 * 16;
    l.chunks = (shape.first_query + shape.query_rows + kDecodeKeys - 1) / kDecodeKeys;
    l.lines = shape.heads * shape.query_rows;
    l.q = regions.take(l.lines * l.width);
    l.partial = regions.take(l.chunks * l.lines * (l.width + 16));
    l.thread_floats = l.lines * kDecodeKeys;
    l.thread = regions.take(threads * l.thread_floats);
    l.floats = regions.total();
    return l;
}

int64_t attention_forward_floats(const ftc_attention_params& shape, int32_t threads) {
    ftc_attention_params decoding = shape;
    decoding.query_rows = std::min(shape.query_rows, kDecodeRows);
    decoding.first_query = shape.first_query + shape.query_rows - decoding.query_rows;
    const int64_t floats = attention_decode_layout(decoding, threads).floats;
    return shape.query_rows <= kDecodeRows ? floats : std::max(floats, attention_forward_layout(shape, threads).floats);
}

AttentionBackwardLayout attention_backward_layout(const ftc_attention_params& shape, int32_t threads) {
    constexpr int64_t kParts = 16;         // (head, chunk) pairs a shape offers at least, where it has the key tiles
    constexpr int64_t kPartsPerThread = 8; // an uneven rest then costs little
    AttentionBackwardLayout l{};
    Regions regions;
    const int64_t group = shape.heads / shape.key_value_heads;
    l.width = (shape.head_dim + 15) / 16 * 16;
    l.query_tiles = tiles_of(shape.query_rows);
    l.key_tiles = tiles_of(shape.first_query + shape.query_rows);
    const int64_t wanted_chunks = (kParts + shape.heads - 1) / shape.heads;
    const int64_t parts_of_head =
        group * wanted_chunks; // not the chunks there are: fewer keys must not need more memory
    l.chunks = std::clamp<int64_t>(wanted_chunks, 1, std::max<int64_t>(l.key_tiles, 1));
    l.wave = std::min<int64_t>((kPartsPerThread * threads + parts_of_head - 1) / parts_of_head, shape.key_value_heads);
    const int64_t heads = l.wave * group;
    const int64_t key_floats = l.key_tiles * kAttentionTile * l.width,
                  query_floats = l.query_tiles * kAttentionTile * l.width;
    l.k_transposed = regions.take(l.wave * l.key_tiles * shape.head_dim * kAttentionTile);
    l.v_transposed = regions.take(l.wave * l.key_tiles * shape.head_dim * kAttentionTile);
    l.k = regions.take(l.wave * key_floats);
    l.q = regions.take(heads * query_floats);
    l.dout = regions.take(heads * query_floats);
    l.lse = regions.take(heads * l.query_tiles * kAttentionTile);
    l.delta = regions.take(heads * l.query_tiles * kAttentionTile);
    l.dq = regions.take(heads * l.chunks * query_floats);
    l.dk = regions.take(heads * key_floats);
    l.dv = regions.take(heads * key_floats);
    l.thread_floats = 2 * kAttentionTile * kAttentionTile;
    l.thread = regions.take(threads * l.thread_floats);
    l.floats = regions.total();
    return l;
}

} // namespace ftc
