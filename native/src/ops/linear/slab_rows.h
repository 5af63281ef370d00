// Products of a few tiles of rows of A with NF4 on AVX2. A slab of W, a block's depth of so many columns, is decoded,
// and all rows of A are multiplied with it before the next one is. Looking values up takes the ports that multiply-adds
// take, so that doing one beside the other gains nothing; that nothing decoded leaves the L2 cache does.
#pragma once

#include "ops/linear/few_rows.h"
#include "ops/linear/pack_nf4_rows.h"
#include "ops/linear/pack_panel.h"
#include "ops/linear/store_tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

struct SlabScratch {
    float* a;      // tiles [depth, rows], then micropanels of a slab
    float* factor; // micropanels of the adapter's factor for a slab, then tiles [rank, rows] of scaled s
};

#if defined(FTC_ISA_avx2)
// Measured: the whole depth, 72 KiB at most, is 1.02 to 1.08 times as fast as 192 depths in the L1 cache, whose sums
// had to be put aside.
constexpr int64_t kSlabColumns = 32, kSlabRows = 128;

// scratch_rows: of A and of the adapter's factor there is room for.
inline bool takes_slabs(const GemmArgs& args, int64_t scratch_rows) {
    const ftc_weight& w = args.b.weight;
    return args.rows > kFewRows && args.rows <= kSlabRows && w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w) &&
           is_plain_product(args) && (!args.b.transposed || args.block_depth % 64 == 0) &&
           args.rows + kSlabColumns <= scratch_rows;
}

// Depths [begin, begin + depths) and columns [column, column + columns), at most kSlabColumns, into micropanels
// [depths, kTileCols].
struct Slab {
    int64_t begin, depths, column, columns;

    int64_t panel() const { return depths * kTileCols; }
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
            store(to + slab.panel(), mul(x[2], absmax));
            store(to + slab.panel() + kLanes, mul(x[3], absmax));
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
        pack_nf4_rows(to + j / kTileCols * slab.panel() + j % kTileCols, w, slab.column + j,
                      smaller(kLanes, slab.columns - j), slab.begin, slab.depths);
}

// Rows [row_begin, row_end) of A with the columns of the block.
inline void slab_block(const Block& block, const SlabScratch& scratch, int64_t row_begin, int64_t row_end) {
    const GemmArgs& args = block.args;
    const ftc_weight& w = args.b.weight;
    const GemmAdapter* adapter = block.adapter();
    const int64_t rank = adapter != nullptr ? adapter->rank : 0;
    float* const s = scratch.factor + kSlabColumns * rank;
    float* const decoded = scratch.a + (row_end - row_begin) * block.depth;
    pack_tiles(scratch.a, s, block, row_begin, row_end, kTileRows);
    const auto multiply_slab = [&](const Slab& slab) {
        if (adapter != nullptr) pack_columns(scratch.factor, adapter->factor, slab.column, slab.columns, 0, rank, rank);
        for_each_tile(row_begin, row_end, kTileRows, [&](int64_t row, int64_t rows) {
            Tile tile{};
            tile.a = scratch.a + (row - row_begin) * slab.depths;
            tile.words = slab.depths;
            tile.b = decoded;
            tile.b_stride = kTileCols;
            tile.shuffled = shuffles_columns(w, args.b.transposed);
            tile.extra_words = rank;
            tile.extra_a = s + (row - row_begin) * rank;
            tile.extra_b = scratch.factor;
            for (int64_t j = 0; j < slab.columns; j += kTileCols) {
                const int64_t cols = smaller(kTileCols, slab.columns - j);
                run_and_store(block, tile, row, slab.column + j, rows, cols, block.rounds() && block.last,
                              kTiles[rows - 1][cols > kLanes ? 1 : 0]);
                tile.b += slab.panel();
                tile.extra_b += rank * kTileCols;
            }
        });
    };
    // Slabs side by side share cache lines of W where it is natural: the next line is asked for with the first of them.
    constexpr int64_t kLineColumns = 128;
    const int64_t end = block.column + block.cols;
    for (int64_t column = block.column, next; column < end; column = next) {
        next = smaller(end, column / kSlabColumns * kSlabColumns + kSlabColumns);
        const Slab slab{block.begin, block.depth, column, next - column};
        if (args.b.transposed) {
            decode_transposed_slab(decoded, slab, w);
        } else {
            const int64_t line = column / kLineColumns * kLineColumns + kLineColumns;
            const uint8_t* soon = static_cast<const uint8_t*>(w.data) + (block.begin * w.cols + line) / 2;
            const bool first = column == block.column || column % kLineColumns == 0;
            decode_natural_slab(decoded, slab, w, first && line < end ? soon : nullptr);
        }
        multiply_slab(slab);
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
