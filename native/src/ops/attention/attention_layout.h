// Where everything lies in the workspace of attention: offsets in floats, every one a multiple of 16.
//
// Keys, values and queries are copied into tiles of 64 rows, filled up with zeros: columns to a multiple of 16
// (`width`), rows to 64. So the tile kernels meet no edge and no stride that maps many rows onto one cache set.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc {

constexpr int64_t kAttentionTile = 64;
constexpr int64_t kDecodeRows = 8;   // up to here the rows read keys and values in place
constexpr int64_t kDecodeKeys = 128; // keys one part of decoding goes through

struct AttentionForwardLayout {
    int64_t width; // head_dim rounded up to 16
    int64_t query_tiles;
    int64_t key_tiles; // of keys [0, first_query + query_rows)
    int64_t k;         // [key_value_heads][key_tiles][head_dim][64]: transposed
    int64_t v;         // [key_value_heads][key_tiles][64][width]
    int64_t thread;    // per thread: q [64][width], scores [64][64], o [64][width], three rows of 64 numbers
    int64_t thread_floats;
    int64_t floats; // in all
};

AttentionForwardLayout attention_forward_layout(const ftc_attention_params& shape, int32_t threads);

// Decoding: all heads over kDecodeKeys keys at a time, so that memory is read row by row; combined afterwards. A line
// is a query head with a query row: head * query_rows + row.
struct AttentionDecodeLayout {
    int64_t width;
    int64_t chunks; // of keys
    int64_t lines;
    int64_t q;       // [lines][width]: scaled
    int64_t partial; // [chunks][lines][width + 16]: o, then maximum and sum
    int64_t thread;  // per thread: scores [lines][kDecodeKeys]
    int64_t thread_floats;
    int64_t floats;
};

AttentionDecodeLayout attention_decode_layout(const ftc_attention_params& shape, int32_t threads);

// Floats of workspace for either of the two. Enough for fewer rows and keys as well: a trainer plans for its largest
// batch.
int64_t attention_forward_floats(const ftc_attention_params& shape, int32_t threads);

// A wave is as many key-value heads as keep the threads busy; the workspace holds one wave. A head's key tiles are
// split into `chunks` of equal work, each with its own dq: their number depends on the shape alone, so the sums do not
// depend on threads. Fewer rows or keys never need more floats.
struct AttentionBackwardLayout {
    int64_t width;
    int64_t query_tiles;
    int64_t key_tiles;
    int64_t wave; // key-value heads
    int64_t chunks;
    int64_t k_transposed; // [wave][key_tiles][head_dim][64]
    int64_t v_transposed;
    int64_t k;     // [wave][key_tiles][64][width]
    int64_t q;     // [wave heads][query_tiles][64][width]: scaled
    int64_t dout;  // [wave heads][query_tiles][64][width]
    int64_t lse;   // [wave heads][query_tiles][64]
    int64_t delta; // [wave heads][query_tiles][64]: dout . o
    int64_t dq;    // [wave heads][chunks][query_tiles][64][width]
    int64_t dk;    // [wave heads][key_tiles][64][width]
    int64_t dv;
    int64_t thread; // per thread: probabilities [64][64], their gradient [64][64]
    int64_t thread_floats;
    int64_t floats;
};

AttentionBackwardLayout attention_backward_layout(const ftc_attention_params& shape, int32_t threads);

} // namespace ftc
