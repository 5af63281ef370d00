// Which keys a query row sees on the device: [key_begin[row], first_query + row], and how tiles lie to that. Both ends
// never decrease; where key_begin does nevertheless, results are wrong, every access stays in bounds, and the caller
// hears of it at synchronisation.
#pragma once

#include <cmath>

#include "cuda/late_error.cuh"
#include "ops/attention/attention_cuda.h"

namespace ftc::cuda {

// First key that a query row sees; a row past the last one counts as the last one.
__device__ __forceinline__ int first_key(const AttentionShape& s, int row) {
    if (s.key_begin == nullptr) return 0;
    const int begin = s.key_begin[min(row, s.query_rows - 1)];
    return begin < 0 ? 0 : begin;
}

__device__ __forceinline__ int last_key(const AttentionShape& s, int row) {
    return s.first_query + min(row, s.query_rows - 1);
}

// Tile starts, multiples of kKeys, that query rows [row, row + rows) need: [begin, end).
struct KeyTiles {
    int begin, end;
};
template <int kKeys>
__device__ __forceinline__ KeyTiles key_tiles(const AttentionShape& s, int row, int rows) {
    return {first_key(s, row) / kKeys * kKeys, last_key(s, row + rows - 1) + 1};
}

// How query rows [row, row + rows) see keys [key, key + keys).
struct Cover {
    bool any, all;
};
__device__ __forceinline__ Cover cover(const AttentionShape& s, int row, int rows, int key, int keys) {
    const int bottom = row + rows - 1;
    return {row < s.query_rows && key <= last_key(s, bottom) && key + keys > first_key(s, row),
            bottom < s.query_rows && key >= first_key(s, bottom) && key + keys - 1 <= last_key(s, row)};
}

// Scores of 16 kM query rows from `row` with 8 kN keys from `key`, as mma.sync lays them out: -inf where the row does
// not see the key.
template <int kM, int kN>
__device__ __forceinline__ void mask_rows(const AttentionShape& s, float (&scores)[kM][kN][4], int row, int key) {
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int at = row + 16 * m + 8 * half + g;
            const int first = first_key(s, at) - key - 2 * t, last = last_key(s, at) - key - 2 * t;
#pragma unroll
            for (int n = 0; n < kN; ++n)
#pragma unroll
                for (int i = 0; i < 2; ++i)
                    if (8 * n + i < first || 8 * n + i > last) scores[m][n][2 * half + i] = -INFINITY;
        }
}

// Tiles of kQueries query rows that see some of keys [key, key + keys): first index and number. The whole warp calls
// it; 32 tiles are looked at at a time, so that the loads of key_begin do not wait for each other.
struct QueryTiles {
    int first, count;
};
template <int kQueries>
__device__ __forceinline__ QueryTiles query_tiles(const AttentionShape& s, int key, int keys) {
    const int first = max(0, key - s.first_query) / kQueries;
    const int tiles = (s.query_rows + kQueries - 1) / kQueries;
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (s.key_begin == nullptr) return {first, max(0, tiles - first)};
    int count = 0;
    while (first + count < tiles) {
        const int tile = first + count + lane;
        const bool sees = tile < tiles && first_key(s, tile * kQueries) < key + keys;
        const int seen = __popc(__ballot_sync(kAllLanes, sees));
        count += seen;
        if (seen < 32) break;
    }
    return {first, count};
}

// Notes where key_begin goes back; threads [0, count) of the caller look at rows [row, row + count).
__device__ __forceinline__ void check_key_begin(const AttentionShape& s, LateErrorKind kind, int row) {
    if (s.key_begin == nullptr || row >= s.query_rows) return;
    const int begin = s.key_begin[row], smallest = row == 0 ? 0 : s.key_begin[row - 1];
    if (begin < smallest) record_late_error(s.late_error, kind, row, begin, smallest);
}

} // namespace ftc::cuda
