// Tiles that pack the next micropanel along with their multiply-adds. Where few tiles of rows read a micropanel,
// packing is a large part of a product, and it waits for memory while the multiply-adds do not; here each hides behind
// the other.
#pragma once

#include "ops/linear/natural_columns.h"
#include "ops/linear/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// kTileCols columns of natural rows, depths [row, row + depth), into the micropanel `to`.
struct NextPanel {
    const ftc_weight& weight;
    int64_t row, depth, column;
    float* to;
};

// Rows of the tile beside which a weight is packed. Beside more sums AVX-512 has no registers to decode in.
#if defined(FTC_ISA_avx512)
constexpr int kBesideRows = 12;
#else
constexpr int kBesideRows = kTileRows;
#endif

using RunTileBeside = void (*)(const Tile&, const NextPanel&);

// Rows ahead that memory is asked for: at the rate of a tile, the time it takes to answer. The L2 cache has room for 64
// rows that lie whole pages apart. At the end of a micropanel the rows are those of the one after it.
constexpr int64_t kAhead = 32;

template <int Rows, class Columns>
void run_tile_packing(const Tile& t, const NextPanel& next) {
    const Columns columns(next.weight, next.row, next.column);
    run_tile_beside<Rows, kTileVecs>(
        t, [&](int64_t w) __attribute__((always_inline)) {
            const int64_t k = w * kWordDepths, ahead = k + kAhead < next.depth ? k + kAhead : k + kAhead - next.depth;
            columns.prefetch(ahead, ahead > k ? 0 : kTileCols);
            Vec x[kTileVecs];
            columns.word(x, k, k + kWordDepths <= next.depth);
            for (int v = 0; v < kTileVecs; v++) store(next.to + w * kTileCols + v * kLanes, x[v]);
        });
}

template <template <int, int> class Reader>
RunTileBeside tile_packing(int rows) {
    using Columns = Reader<kTileVecs, 2>;
    constexpr RunTileBeside kTilesPacking[kBesideRows] = {
        run_tile_packing<1, Columns>,
        run_tile_packing<2, Columns>,
        run_tile_packing<3, Columns>,
        run_tile_packing<4, Columns>,
        run_tile_packing<5, Columns>,
        run_tile_packing<6, Columns>,
#if defined(FTC_ISA_neon) || defined(FTC_ISA_avx512)
        run_tile_packing<7, Columns>,
        run_tile_packing<8, Columns>,
#endif
#if defined(FTC_ISA_avx512)
        run_tile_packing<9, Columns>,
        run_tile_packing<10, Columns>,
        run_tile_packing<11, Columns>,
        run_tile_packing<12, Columns>,
#endif
    };
    return kTilesPacking[rows - 1];
}

// NULL where the weight's columns have to be packed ahead.
inline RunTileBeside choose_tile_packing(const ColumnSource& source, int rows) {
    if (source.transposed || !source.is_plain()) return nullptr;
    switch (source.weight.format) {
#if !defined(FTC_ISA_avx512bf16)
    case FTC_WEIGHT_F32:
        return tile_packing<NaturalF32>(rows);
#endif
    case FTC_WEIGHT_BF16:
        return tile_packing<NaturalBf16>(rows);
#if FTC_NF4_VECTORS && !defined(FTC_ISA_avx2) // looking up takes the ports of multiply-adds there
    case FTC_WEIGHT_NF4:
        return nf4_rows_aligned(source.weight) ? tile_packing<NaturalNf4>(rows) : nullptr;
#endif
    default:
        return nullptr;
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
