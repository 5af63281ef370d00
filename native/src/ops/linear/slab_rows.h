// Products of a few tiles of rows of A with NF4 on AVX2. A slab of W, so many depths of so many columns, is decoded
// into the L1 cache, and all rows of A are multiplied with it there before the next one is. Looking values up takes the
// ports that multiply-adds take, so that doing one beside the other gains nothing; that nothing decoded leaves the L1
// cache does.
#pragma once

#include "ops/linear/few_rows.h"
#include "ops/linear/pack_nf4_rows.h"
#include "ops/linear/pack_panel.h"
#include "ops/linear/store_tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

struct SlabScratch {
    float* a;      // tiles [depth, rows]
    float* factor; // micropanels of the adapter's factor for a slab, then tiles [rank, rows] of scaled s
};

#if defined(FTC_ISA_avx2)
constexpr int64_t kSlabColumns = 32, kSlabDepths = 192, kSlabPanel = kSlabDepths * kTileCols; // 24 KiB
constexpr int64_t kSlabRows = 128;

// scratch_rows: of A and of the adapter's factor there is room for.
inline bool takes_slabs(const GemmArgs& args, int64_t scratch_rows) {
    const ftc_weight& w = args.b.weight;
    return args.rows > kFewRows && args.rows <= kSlabRows && w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w) &&
           is_plain_product(args) && (!args.b.transposed || args.block_depth % 64 == 0) &&
           args.rows + kSlabColumns <= scratch_rows;
}

// Depths [begin, begin + depths) and columns [column, column + columns), at most kSlabColumns, into micropanels
// [kSlabDepths, kTileCols].
struct Slab {
    int64_t begin, depths, column, columns;
};

// Columns side by side, shuffled as shuffles_columns says, in one block of 64. soon: codes that are wanted in the L2
// cache, a row for each depth, or NULL.
inline void decode_natural_slab(float* to, const Slab& slab, const ftc_weight& w, const uint8_t* soon) {
    const Nf4Table table = nf4_table(w.quant_map);
    const int64_t first = slab.begin * w.cols + slab.column, row_bytes = w.cols / 2;
    const uint8_t* codes = static_cast<const uint8_t*>(w.data) + first / 2;
    const auto absmax_of = [&](int64_t k) { return broadcast(nf4_absmax(w, (first + k * w.cols) / 64)); };
    Vec x[4];
    if (slab.columns == kSlabColumns) {
        for (int64_t k = 0; k < slab.depths; k++, codes += row_bytes, to += kTileCols) {
            if (soon != nullptr) __builtin_prefetch(soon + k * row_bytes, 0, 2);
            nf4_look_up_columns<4>(x, table, codes);
            const Vec absmax = absmax_of(k);
            store(to, mul(x[0], absmax));
            store(to + kLanes, mul(x[1], absmax));
            store(to + kSlabPanel, mul(x[2], absmax));
            store(to + kSlabPanel + kLanes, mul(x[3], absmax));
        }
        return;
    }
    for (int64_t k = 0; k < slab.depths; k += 2, codes += 2 * row_bytes, to += 2 * kTileCols) {
        const int64_t next = k + 1 < slab.depths ? 1 : 0;
        nf4_decode_shuffled(x, table, nf4_both_halves(codes, codes + next * row_bytes));
        const Vec absmax = absmax_of(k), absmax_of_next = absmax_of(k + next);
        store(to, mul(x[0], absmax));
        store(to + kLanes, mul(x[1], absmax));
        store(to + kTileCols, mul(x[2], absmax_of_next));
        store(to + kTileCols + kLanes, mul(x[3], absmax_of_next));
    }
}

// Columns that are rows of W; asks for the same depths of the next slab's.
inline void decode_transposed_slab(float* to, const Slab& slab, const ftc_weight& w) {
    constexpr int64_t kLineCodes = 128;
    for (int64_t row = slab.column + kSlabColumns; row < smaller(w.rows, slab.column + 2 * kSlabColumns); row++)
        for (int64_t k = 0; k < slab.depths; k += kLineCodes)
            __builtin_prefetch(static_cast<const uint8_t*>(w.data) + (row * w.cols + slab.begin + k) / 2, 0, 2);
    for (int64_t j = 0; j < slab.columns; j += kLanes)
        pack_nf4_rows(to + j / kTileCols * kSlabPanel + j % kTileCols, w, slab.column + j,
                      smaller(kLanes, slab.columns - j), slab.begin, slab.depths);
}

// Rows [row_begin, row_end) of A with the columns of the block.
inline void slab_block(const Block& block, const SlabScratch& scratch, int64_t row_begin, int64_t row_end) {
    const GemmArgs& args = block.args;
    const ftc_weight& w = args.b.weight;
    const GemmAdapter* adapter = block.adapter();
    const int64_t rank = adapter != nullptr ? adapter->rank : 0;
    float* const s = scratch.factor + kSlabColumns * rank;
    pack_tiles(scratch.a, s, block, row_begin, row_end, kTileRows);
    // Slabs side by side that share cache lines of W follow one another.
    constexpr int64_t kLineColumns = 128;
    const int64_t group = args.b.transposed ? kSlabColumns : kLineColumns;
    alignas(64) float decoded[kSlabDepths * kSlabColumns], sums[kSlabRows * kLineColumns];
    const int64_t rows_of_a = row_end - row_begin, end = block.column + block.cols;
    // All rows with a slab; their sums, [rows, kSlabColumns] in tiles, are kept unless it is the last of the block.
    const auto multiply_slab = [&](const Slab& slab, float* kept) {
        const int64_t depth = slab.begin - block.begin;
        const bool last = depth + slab.depths == block.depth;
        if (last && adapter != nullptr)
            pack_columns(scratch.factor, adapter->factor, slab.column, slab.columns, 0, rank, rank);
        for_each_tile(row_begin, row_end, kTileRows, [&](int64_t row, int64_t rows) {
            float* so_far = kept + (row - row_begin) * kSlabColumns;
            Tile tile{};
            tile.a = scratch.a + (row - row_begin) * block.depth + depth * rows;
            tile.words = slab.depths;
            tile.b = decoded;
            tile.b_stride = kTileCols;
            tile.shuffled = shuffles_columns(w, args.b.transposed);
            tile.extra_words = last ? rank : 0;
            tile.extra_a = s + (row - row_begin) * rank;
            tile.extra_b = scratch.factor;
            for (int64_t j = 0; j < slab.columns; j += kTileCols, so_far += rows * kTileCols) {
                const int64_t cols = smaller(kTileCols, slab.columns - j);
                const RunTile run = kTiles[rows - 1][cols > kLanes ? 1 : 0];
                tile.resumed = depth > 0 ? so_far : nullptr;
                tile.paused = last ? nullptr : so_far;
                if (last)
                    run_and_store(block, tile, row, slab.column + j, rows, cols, block.rounds() && block.last, run);
                else
                    run(tile);
                tile.b += kSlabPanel;
                tile.extra_b += rank * kTileCols;
            }
        });
    };
    for (int64_t begin = block.column, next; begin < end; begin = next) {
        next = smaller(end, begin / group * group + group);
        for (int64_t depth = 0; depth < block.depth; depth += kSlabDepths) {
            const int64_t depths = smaller(kSlabDepths, block.depth - depth), after = depth + kSlabDepths;
            const bool goes_on = after < block.depth;
            const uint8_t* soon = static_cast<const uint8_t*>(w.data) +
                                  ((block.begin + (goes_on ? after : 0)) * w.cols + (goes_on ? begin : next)) / 2;
            float* kept = sums;
            for (int64_t column = begin, slab_end; column < next; column = slab_end) {
                slab_end = smaller(next, column / kSlabColumns * kSlabColumns + kSlabColumns);
                const Slab slab{block.begin + depth, depths, column, slab_end - column};
                if (args.b.transposed)
                    decode_transposed_slab(decoded, slab, w);
                else
                    decode_natural_slab(decoded, slab, w, column == begin ? soon : nullptr);
                multiply_slab(slab, kept);
                kept += rows_of_a * kSlabColumns;
            }
        }
    }
}
#else
inline bool takes_slabs(const GemmArgs&, int64_t) {
    return false;
}
inline void slab_block(const Block&, const SlabScratch&, int64_t, int64_t) {}
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
