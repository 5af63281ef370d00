// Products of five to kDecodedRows rows of A with NF4 whose columns lie side by side (the backward of short sequences):
// one register of columns is decoded and multiplied with all rows of A at once, so that nothing is packed. AVX-512
// alone has the registers for it.
#pragma once

#include <array>
#include <utility>

#include "ops/linear/few_rows.h"
#include "ops/linear/gemm_block.h"
#include "ops/linear/pack_panel.h"
#include "ops/linear/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if defined(FTC_ISA_avx512) && !defined(FTC_ISA_avx512bf16)
constexpr int kDecodedRows = 24;

inline bool decodes_rows(const GemmArgs& args) {
    const ftc_weight& w = args.b.weight;
    return args.rows > kFewRows && args.rows <= kDecodedRows && !args.b.transposed && w.format == FTC_WEIGHT_NF4 &&
           nf4_rows_aligned(w) && is_plain_product(args);
}

// kLanes columns of NF4: the codes of the first row, how far apart those of the next are, and absmax of every row.
struct Nf4Columns {
    const uint8_t* codes;
    int64_t row_bytes;
    const float* tables;
};

// words of the tile: depths of the columns.
template <int Rows>
void run_decoded_tile(const Tile& t, const Nf4Columns& columns) {
    constexpr int64_t kAhead = 16;
    Vec sum[Rows][1];
    begin_tile(sum, t);
    const uint8_t* codes = columns.codes;
    const float* a = t.a;
#pragma GCC unroll 1
    for (int64_t k = 0; k < t.words; k++) {
        __builtin_prefetch(codes + kAhead * columns.row_bytes);
        const Vec x = nf4_decode_shuffled(codes, nf4_table(columns.tables + k * 16));
#pragma GCC unroll 24
        for (int i = 0; i < Rows; i++) sum[i][0] = fma(broadcast(a[i]), x, sum[i][0]);
        codes += columns.row_bytes;
        a += Rows;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; i++) sum[i][0] = nf4_unshuffle(sum[i][0]);
    finish_tile(sum, t);
}

using RunDecodedTile = void (*)(const Tile&, const Nf4Columns&);

// [rows - 1]
template <int... Rows>
constexpr auto decoded_tiles(std::integer_sequence<int, Rows...>) {
    return std::array<RunDecodedTile, sizeof...(Rows)>{run_decoded_tile<Rows + 1>...};
}
constexpr auto kDecodedTiles = decoded_tiles(std::make_integer_sequence<int, kDecodedRows>());

struct DecodedScratch {
    float* a;      // [depth, rows], then [rank, rows] of scaled s
    float* factor; // a micropanel of the adapter's factor
};

// Rows [row, row + rows) of A with the columns of the block.
inline void decoded_block(const Block& block, const DecodedScratch& scratch, int64_t row, int64_t rows) {
    const GemmArgs& args = block.args;
    const ftc_weight& w = args.b.weight;
    const GemmAdapter* adapter = block.last && args.adapter_count == 1 ? &args.adapters[0] : nullptr;
    if (args.a_dtype == FTC_F32)
        pack_panel(scratch.a, rows, static_cast<const float*>(args.a), block, row, rows);
    else
        pack_panel(scratch.a, rows, static_cast<const uint16_t*>(args.a), block, row, rows);
    Tile tile{};
    tile.words = block.depth;
    tile.a = scratch.a;
    if (adapter != nullptr) {
        float* const extra = scratch.a + round_up(rows * block.depth + kPackSlack, 16);
        pack_scaled(extra, rows, adapter->s + (row - adapter->row_begin) * adapter->rank, adapter->rank,
                    static_cast<int>(rows), adapter->rank, adapter->scaling);
        tile.extra_words = adapter->rank;
        tile.extra_a = extra;
    }
    tile.c_stride = block.sums.stride;
    tile.rounded_stride = args.c_stride;
    tile.add_to_c = !block.first || (args.add_to_c && !block.rounds());
    tile.add_to_rounded = args.add_to_c;
    alignas(64) float tables[kMostWords * 16]; // of the block of 64 columns
    const Nf4Table table = nf4_table(w.quant_map);
    for (int64_t j = 0; j < block.cols; j += kLanes) {
        const int64_t column = block.column + j, first = block.begin * w.cols + column;
        if (j == 0 || column % 64 == 0)
            for (int64_t k = 0; k < block.depth; k++)
                store(tables + k * 16, nf4_scaled(table, nf4_absmax(w, first / 64 + k * (w.cols / 64))));
        if (adapter != nullptr && j % kTileCols == 0)
            pack_columns(scratch.factor, adapter->factor, column, kTileCols, 0, adapter->rank, adapter->rank);
        tile.extra_b = scratch.factor + j % kTileCols;
        tile.c = block.sums.data != nullptr ? block.sums.at(row, column) : nullptr;
        tile.bias = block.first && args.bias != nullptr ? args.bias + column : nullptr;
        tile.rounded = block.rounds() && block.last ? block.rounded_at(row, column) : nullptr;
        const Nf4Columns columns{static_cast<const uint8_t*>(w.data) + first / 2, w.cols / 2, tables};
        kDecodedTiles[rows - 1](tile, columns);
    }
}
#else
struct DecodedScratch {
    float *a, *factor;
};
inline bool decodes_rows(const GemmArgs&) {
    return false;
}
inline void decoded_block(const Block&, const DecodedScratch&, int64_t, int64_t) {}
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
