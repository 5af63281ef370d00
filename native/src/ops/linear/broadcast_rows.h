// Products of five to kBroadcastRows rows of A with a transposed weight that lies in words already, or in NF4 (the
// forward of short sequences): packing W would take a large part of the time, so its rows are broadcast as they lie or
// as their codes say (broadcast_tile.h, broadcast_nf4.h).
#pragma once

#include "ops/linear/broadcast_nf4.h"
#include "ops/linear/few_rows.h"
#include "ops/linear/gemm_block.h"
#include "ops/linear/pack_panel.h"
#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

constexpr int kMostCols = kNf4Cols > kBroadcastCols ? kNf4Cols : kBroadcastCols;

// Measured: 1.1 to 1.4 times as fast as packing at 64 rows, 1.02 to 1.14 times at 128, no faster from 256 on.
constexpr int64_t kBroadcastRows = 128;

// Rows of A that panels of `rows` rows have room for.
inline int64_t padded_rows(int64_t rows) {
    return round_up(rows, unit_step(rows) * kUnit);
}

// rows: of A that are taken at once; scratch_rows: of A and of the adapter's factor there is room for.
inline bool broadcasts_rows(const GemmArgs& args, int64_t rows, int64_t scratch_rows) {
    constexpr int32_t kFormat = kWordDepths == 1 ? FTC_WEIGHT_F32 : FTC_WEIGHT_BF16;
    const ftc_weight& w = args.b.weight;
    const bool words = w.format == kFormat && args.depth % kWordDepths == 0 && w.row_stride % kWordDepths == 0;
    const bool nf4 =
        broadcasts_nf4(rows) && w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w) && args.block_depth % 64 == 0;
    return args.rows > kFewRows && args.rows <= kBroadcastRows && args.b.transposed && is_plain_product(args) &&
           (words || nf4) && padded_rows(args.rows) + kMostCols <= scratch_rows;
}

struct BroadcastScratch {
    float* a; // words of the rows of A in a block of depth, panel after panel
    float* b; // words of kBroadcastCols rows of W, or Nf4Rows::values: room for 2 kTileRows rows of words
    float* s; // scaled rows of S, then words of kMostCols rows of the adapter's factor
};

// Rows [row, row + rows) of A with the columns of the block.
struct Panel {
    int64_t row;
    int64_t offset; // rows of the panels before
    int64_t rows, units;

    int64_t width() const { return units * kUnit; }
};

// `rows` rows of A from row_begin on in panels of even height.
template <class Use>
void for_each_panel(int64_t row_begin, int64_t rows, int64_t most_units, const Use& use) {
    const int64_t step = unit_step(rows), units = padded_rows(rows) / kUnit;
    int64_t panels = divide_up(units, most_units);
    for (int64_t unit = 0; unit < units; panels--) {
        const int64_t count = round_up(divide_up(units - unit, panels), step), offset = unit * kUnit;
        use(Panel{row_begin + offset, offset, smaller(count * kUnit, rows - offset), count});
        unit += count;
    }
}

// Words of `cols` rows of W from `row` on, the last one repeated where there are fewer.
inline void stage_weight(float* dst, int64_t stride, const ftc_weight& w, int64_t row, int64_t rows, int64_t cols,
                         int64_t begin, int64_t depth) {
    for (int64_t j = 0; j < cols; j++) weight_words(dst + j * stride, w, row + smaller(j, rows - 1), begin, depth);
}

// The block's part of kNf4Cols rows of NF4 from `row` on, the last one repeated where there are fewer.
inline void find_rows(Nf4Rows* of, float* values, const ftc_weight& w, int64_t row, int64_t rows, int64_t begin,
                      int64_t depth) {
    of->quant_map = w.quant_map;
    of->next = row + 2 * kNf4Cols <= w.rows ? kNf4Cols * w.cols / 2 : 0;
    of->values = values;
    for (int64_t j = 0; j < kNf4Cols; j++) {
        const int64_t e = (row + smaller(j, rows - 1)) * w.cols + begin;
        of->codes[j] = static_cast<const uint8_t*>(w.data) + e / 2;
        of->absmax[j] = static_cast<const float*>(w.absmax) + e / 64;
        if (w.nested_absmax == nullptr) continue;
        of->absmax[j] = of->nested[j];
        nf4_nested_run(of->nested[j], w, e / 64, depth / 64);
    }
}

// `count` neighbouring elements of C, at most a unit, from the sums of the block.
inline void finish_run(const Block& block, int64_t row, int64_t column, int64_t count, NarrowVec x) {
    const GemmArgs& args = block.args;
    const bool add_to_sum = !block.first || (args.add_to_c && !block.rounds());
    const bool finish = block.rounds() && block.last;
    float* sum = block.sums.data != nullptr ? block.sums.at(row, column) : nullptr;
    uint16_t* c = finish ? block.rounded_at(row, column) : nullptr;
    if (count == kUnit) {
        if (add_to_sum) x = add(load<NarrowVec>(sum), x);
        if (finish)
            store_bf16(c, args.add_to_c ? add(widen_bf16<NarrowVec>(c), x) : x);
        else
            store(sum, x);
        return;
    }
    float lanes[kUnit];
    store(lanes, x);
    for (int64_t j = 0; j < count; j++) {
        const float value = add_to_sum ? sum[j] + lanes[j] : lanes[j];
        if (finish)
            c[j] = bf16_of(args.add_to_c ? value_of(c[j]) + value : value);
        else
            sum[j] = value;
    }
}

// Columns [column, column + count) of the panel's rows from their sums [kMostCols, width].
inline void finish_tile(const Block& block, const Panel& panel, const float* tile, int64_t column, int64_t count) {
    const bool with_bias = block.first && block.args.bias != nullptr;
    for (int64_t part = 0; part < count; part += kUnit) {
        const int64_t valid = smaller(kUnit, count - part), from = column + part;
        float bias[kUnit] = {};
        for (int64_t j = 0; with_bias && j < valid; j++) bias[j] = block.args.bias[from + j];
        for (int64_t i = 0; i < panel.rows; i += 4) {
            NarrowVec rows[4];
            transpose_quads(rows, tile + part * panel.width() + i, panel.width());
            for (int64_t d = 0; d < smaller(4, panel.rows - i); d++)
                finish_run(block, panel.row + i + d, from, valid,
                           with_bias ? add(rows[d], load<NarrowVec>(bias)) : rows[d]);
        }
    }
}

// Rows [row_begin, row_end) of A with the columns of the block.
inline void broadcast_block(const Block& block, const BroadcastScratch& scratch, int64_t row_begin, int64_t row_end) {
    const GemmArgs& args = block.args;
    const ftc_weight& w = args.b.weight;
    const GemmAdapter* adapter = block.adapter();
    const bool nf4 = w.format == FTC_WEIGHT_NF4;
    const int64_t words = words_of_depth(block.depth),
                  extra_words = adapter != nullptr ? words_of_depth(adapter->rank) : 0;
    const int64_t rows = row_end - row_begin;
    const int64_t most_units = nf4 ? kMostNf4Units : kMostUnits;
    for_each_panel(row_begin, rows, most_units, [&](const Panel& panel) {
        pack_panel(scratch.a + panel.offset * words, panel.width(), block, panel.row, panel.rows);
    });
    if (adapter != nullptr)
        for_each_panel(row_begin, rows, most_units, [&](const Panel& panel) {
            pack_scaled(scratch.s + panel.offset * extra_words, panel.width(),
                        adapter->s + (panel.row - adapter->row_begin) * adapter->rank, adapter->rank,
                        static_cast<int>(panel.rows), adapter->rank, adapter->scaling);
        });
    float* const factor = scratch.s + padded_rows(rows) * extra_words;
    const RunBroadcastTile* const tiles = broadcast_tiles(w.row_stride * 4 / kWordDepths);
    Nf4Rows rows_of_nf4;
    const int64_t step = nf4 ? kNf4Cols : kBroadcastCols;
    for (int64_t j = 0; j < block.cols; j += step) {
        const int64_t column = block.column + j, count = smaller(step, block.cols - j);
        BroadcastTile tile{};
        tile.words = words;
        tile.cols = count;
        tile.prefetch = nf4 || count == kBroadcastCols;
        if (nf4) {
            find_rows(&rows_of_nf4, scratch.b, w, column, count, block.begin, block.depth);
            tile.nf4 = &rows_of_nf4;
        } else if (count < kBroadcastCols) {
            stage_weight(scratch.b, words, w, column, count, step, block.begin, block.depth);
            tile.b = scratch.b;
            tile.b_stride = words;
        } else {
            tile.b = static_cast<const float*>(w.data) + (column * w.row_stride + block.begin) / kWordDepths;
            tile.b_stride = w.row_stride / kWordDepths;
        }
        tile.extra_words = extra_words;
        tile.extra_b = factor;
        tile.extra_b_stride = extra_words;
        if (adapter != nullptr)
            stage_weight(factor, extra_words, adapter->factor.weight, column, count, step, 0, adapter->rank);
        for_each_panel(row_begin, rows, most_units, [&](const Panel& panel) {
            alignas(64) float sums[kMostCols * kMostUnits * kUnit];
            tile.a = scratch.a + panel.offset * words;
            tile.extra_a = scratch.s + panel.offset * extra_words;
            tile.c = sums;
            (nf4 ? kBroadcastTilesNf4 : tiles)[panel.units - 1](tile);
            tile.prefetch = false;
            finish_tile(block, panel, sums, column, count);
        });
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
