// Products of five to kDecodedRows rows of A with NF4 whose columns lie side by side (the backward of short sequences):
// columns are decoded in registers and multiplied with as many rows of A as there are registers for, so that nothing is
// packed. AVX-512 alone has enough. Tiles are two registers wide: of one alone, every multiply-add would have to load.
#pragma once

#include <array>
#include <utility>

#include "ops/linear/few_rows.h"
#include "ops/linear/pack_panel.h"
#include "ops/linear/store_tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if defined(FTC_ISA_avx512) && !defined(FTC_ISA_avx512bf16)
constexpr int64_t kNf4Block = 64;

constexpr int kDecodedTileRows = 12;
constexpr int64_t kDecodedRows = 6 * kDecodedTileRows;

// scratch_rows: of A and of the adapter's factor there is room for.
inline bool decodes_rows(const GemmArgs& args, int64_t scratch_rows) {
    const ftc_weight& w = args.b.weight;
    return args.rows > kFewRows && args.rows <= kDecodedRows && !args.b.transposed && w.format == FTC_WEIGHT_NF4 &&
           nf4_rows_aligned(w) && is_plain_product(args) && args.rows + kNf4Block <= scratch_rows;
}

// kTileCols columns of NF4: the codes of the first row, how far apart those of the next are, and every row's table,
// which absmax has been multiplied into.
struct Nf4Columns {
    const uint8_t* codes;
    int64_t row_bytes;
    const float* tables;
};

// words of the tile: depths of the columns.
template <int Rows>
void run_decoded_tile(const Tile& t, const Nf4Columns& columns) {
    constexpr int64_t kAhead = 48; // depths: what memory takes to answer
    Vec sum[Rows][kTileVecs];
    begin_tile(sum, t);
    const uint8_t* codes = columns.codes;
    const float* a = t.a;
#pragma GCC unroll 1
    for (int64_t k = 0; k < t.words; k++) {
        const bool ends = k + kAhead >= t.words; // then the next block is wanted
        __builtin_prefetch(codes + (kAhead - (ends ? t.words : 0)) * columns.row_bytes + (ends ? kNf4Block / 2 : 0));
        Vec x[kTileVecs];
        nf4_decode_shuffled(x, codes, nf4_table(columns.tables + k * 16));
        multiply_word(sum, a, x);
        codes += columns.row_bytes;
        a += Rows;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; i++) unshuffle_columns(sum[i]);
    finish_tile(sum, t);
}

using RunDecodedTile = void (*)(const Tile&, const Nf4Columns&);

// [rows - 1]
template <int... Rows>
constexpr auto decoded_tiles(std::integer_sequence<int, Rows...>) {
    return std::array<RunDecodedTile, sizeof...(Rows)>{run_decoded_tile<Rows + 1>...};
}
constexpr auto kDecodedTiles = decoded_tiles(std::make_integer_sequence<int, kDecodedTileRows>());

// The table times absmax of block number `first` and of those below it, `depth` altogether. The weight is a copy: of
// one elsewhere the compiler would read every field again after each store.
inline void scale_tables(float* tables, const ftc_weight w, int64_t first, int64_t depth) {
    const Nf4Table table = nf4_table(w.quant_map);
    const int64_t blocks_per_row = w.cols / kNf4Block;
    for (int64_t k = 0; k < depth; k++)
        store(tables + k * 16, nf4_scaled(table, nf4_absmax(w, first + k * blocks_per_row)));
}

struct DecodedScratch {
    float* a;      // tiles [depth, rows]
    float* factor; // micropanels of the adapter's factor for a block of columns, then tiles [rank, rows] of scaled s
};

// Rows [row_begin, row_end) of A with the columns of the block.
inline void decoded_block(const Block& block, const DecodedScratch& scratch, int64_t row_begin, int64_t row_end) {
    const ftc_weight& w = block.args.b.weight;
    const GemmAdapter* adapter = block.adapter();
    const int64_t rank = adapter != nullptr ? adapter->rank : 0;
    float* const s = scratch.factor + kNf4Block * rank;
    pack_tiles(scratch.a, s, block, row_begin, row_end, kDecodedTileRows);
    Tile tile{};
    tile.words = block.depth;
    tile.extra_words = rank;
    alignas(64) float tables[kMostWords * 16];
    const int64_t end = block.column + block.cols;
    for (int64_t begin = block.column, next; begin < end; begin = next) {
        next = smaller(end, begin / kNf4Block * kNf4Block + kNf4Block);
        const int64_t first = block.begin * w.cols + begin;
        scale_tables(tables, w, first / kNf4Block, block.depth);
        if (adapter != nullptr) pack_columns(scratch.factor, adapter->factor, begin, next - begin, 0, rank, rank);
        for_each_tile(row_begin, row_end, kDecodedTileRows, [&](int64_t row, int64_t rows) {
            tile.a = scratch.a + (row - row_begin) * block.depth;
            tile.extra_a = s + (row - row_begin) * rank;
            for (int64_t column = begin; column < next; column += kTileCols) {
                const int64_t j = column - begin;
                tile.extra_b = scratch.factor + j * rank;
                const Nf4Columns columns{static_cast<const uint8_t*>(w.data) + (first + j) / 2, w.cols / 2, tables};
                run_and_store(block, tile, row, column, rows, kTileCols, block.rounds() && block.last,
                              [&](const Tile& t) { kDecodedTiles[rows - 1](t, columns); });
            }
        });
    }
}
#else
struct DecodedScratch {
    float *a, *factor;
};
inline bool decodes_rows(const GemmArgs&, int64_t) {
    return false;
}
inline void decoded_block(const Block&, const DecodedScratch&, int64_t, int64_t) {}
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
