// The innermost product of a few rows of A with rows of W as they lie: the rows of A are the lanes, W is broadcast word
// by word, and a tile of C comes out transposed. W is read once and never packed. The chain of every element is that of
// tile.h. Rows of NF4: broadcast_nf4.h.
#pragma once

#include "core/isa.h"
#include "ops/linear/gemm.h"
#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Columns of C, which are rows of W: where those lie whole pages apart, no more than eight fit into the ways of a set
// of the L1 cache. Sixteen rows of A in bf16 need twice as many chains to keep two units of 512 bits busy.
constexpr int kBroadcastCols = kWordDepths == 1 ? 8 : 16;

// Rows of A in units of a NarrowVec. AVX-512 has registers for four units beside the sums of all columns; with the
// sixteen of the others, three units go with half of the columns at a time.
constexpr int kUnit = lanes_of<NarrowVec>();
#if defined(FTC_ISA_avx512)
constexpr int kMostUnits = 4;
#else
constexpr int kMostUnits = 3;
#endif

struct Nf4Rows;

struct BroadcastTile {
    int64_t words;
    const float* a; // [words, units * kUnit]
    const float* b; // kBroadcastCols rows of words
    int64_t b_stride;
    bool prefetch; // W is read for the first time: what is 1 KiB further on, or in the next tile, goes to the L2 cache
    const Nf4Rows* nf4; // in place of b, or NULL; read where prefetch is set, kept for the next tiles
    int64_t cols;       // of C that are wanted, at most kNf4Cols
    int64_t extra_words;
    const float* extra_a;
    const float* extra_b;
    int64_t extra_b_stride;
    float* c; // [columns, units * kUnit]
};

// Inlined by force: a function that only prefetches has no effect that g++ would keep a call for.
template <int Cols>
[[gnu::always_inline]] inline void prefetch_rows(const BroadcastTile& t, const float* b, int64_t word) {
    constexpr int64_t kChunk = 64, kAhead = 256, kLine = 16, kRowsOfStep = Cols * kLine / kChunk;
    const int64_t ahead = word - word % kChunk + kAhead;
    const float* rows = b + (ahead < t.words ? ahead : ahead - t.words + kBroadcastCols * t.b_stride);
    rows += word % kChunk / kLine * kRowsOfStep * t.b_stride;
    for (int64_t i = 0; i < kRowsOfStep; i++)
        for (int64_t line = 0; line < kChunk; line += kLine) __builtin_prefetch(rows + i * t.b_stride + line, 0, 2);
}

// Cols columns by Vecs registers of rows of A.
template <class V, int Vecs, int Cols>
struct BroadcastSums {
    static constexpr int kWidth = lanes_of<V>(), kRows = Vecs * kWidth;
    V sum[Cols][Vecs];

    [[gnu::always_inline]] BroadcastSums() {
#pragma GCC unroll 16
        for (int j = 0; j < Cols; j++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[j][v] = zero<V>();
    }
    [[gnu::always_inline]] void add_word(const float* a, const float* b, int64_t stride) {
        V x[Vecs];
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) x[v] = load<V>(a + v * kWidth);
#pragma GCC unroll 16
        for (int j = 0; j < Cols; j++) {
            const V word = broadcast<V>(b[j * stride]);
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[j][v] = multiply_words(word, x[v], sum[j][v]);
        }
    }
    // The adapter's depth, then the tile of C.
    [[gnu::always_inline]] void finish(const BroadcastTile& t, int column) {
        const float* extra = t.extra_b + column * t.extra_b_stride;
        for (int64_t w = 0; w < t.extra_words; w++) add_word(t.extra_a + w * kRows, extra + w, t.extra_b_stride);
#pragma GCC unroll 16
        for (int j = 0; j < Cols; j++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) store(t.c + (column + j) * kRows + v * kWidth, sum[j][v]);
    }
};

template <class V, int Vecs, int Cols>
void run_broadcast_tile(const BroadcastTile& t) {
    constexpr int kRows = BroadcastSums<V, Vecs, Cols>::kRows, kStep = 16;
    for (int column = 0; column < kBroadcastCols; column += Cols) {
        BroadcastSums<V, Vecs, Cols> sums;
        const float* b = t.b + column * t.b_stride;
        int64_t w = 0;
        for (; w + kStep <= t.words; w += kStep) {
            if (t.prefetch) prefetch_rows<Cols>(t, b, w);
#pragma GCC unroll 4
            for (int i = 0; i < kStep; i++) sums.add_word(t.a + (w + i) * kRows, b + w + i, t.b_stride);
        }
        for (; w < t.words; w++) sums.add_word(t.a + w * kRows, b + w, t.b_stride);
        sums.finish(t, column);
    }
}

using RunBroadcastTile = void (*)(const BroadcastTile&);

// [units - 1]
#if defined(FTC_ISA_avx512)
// Where 512 bits are multiplied in two halves, sixteen rows of bf16 are faster in two registers (measured on Zen 4, 190
// against 150 GFLOP/s), and 24 rows in three; where they are not, halves are half as fast.
constexpr RunBroadcastTile kHalvedTiles[kMostUnits] = {
    run_broadcast_tile<NarrowVec, 1, 8>,
    kWordDepths == 1 ? run_broadcast_tile<Vec, 1, 8> : run_broadcast_tile<NarrowVec, 2, 8>,
    run_broadcast_tile<NarrowVec, 3, 8>, run_broadcast_tile<Vec, 2, 8>};
// No three units there (unit_step).
template <int Cols>
constexpr RunBroadcastTile kWideTiles[kMostUnits] = {
    run_broadcast_tile<NarrowVec, 1, Cols>, run_broadcast_tile<Vec, 1, Cols>, nullptr, run_broadcast_tile<Vec, 2, 8>};
inline const RunBroadcastTile* broadcast_tiles(int64_t row_bytes) {
    if (!has_wide_avx512()) return kHalvedTiles;
    return rows_side_by_side(row_bytes) < kBroadcastCols ? kWideTiles<8> : kWideTiles<kBroadcastCols>;
}
#else
constexpr RunBroadcastTile kBroadcastTiles[kMostUnits] = {run_broadcast_tile<Vec, 1, 8>, run_broadcast_tile<Vec, 2, 4>,
                                                          run_broadcast_tile<Vec, 3, 4>};
inline const RunBroadcastTile* broadcast_tiles(int64_t) {
    return kBroadcastTiles;
}
#endif

// Panels of `rows` rows of A take a multiple of so many units.
inline int64_t unit_step([[maybe_unused]] int64_t rows) {
#if defined(FTC_ISA_avx512)
    return rows > kUnit && has_wide_avx512() ? 2 : 1;
#else
    return 1;
#endif
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
