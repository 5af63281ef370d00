// The innermost product: a tile of C in registers, one sequential chain of multiply-adds per element.
#pragma once

#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// v = sum over depth of a b, then over extra_depth of extra_a extra_b, in this order and one chain;
// c = [c +] (v [+ bias]).
struct Tile {
    int64_t depth;
    const float* a; // [depth, rows of the tile]
    const float* b; // [depth, kTileCols], b_stride
    int64_t b_stride;
    int64_t extra_depth;
    const float* extra_a; // [extra_depth, rows of the tile]
    const float* extra_b; // [extra_depth, kTileCols]
    float* c;
    int64_t c_stride;
    const float* bias; // [kTileCols] or NULL
    bool add_to_c;
};

template <int Rows, int Vecs>
[[gnu::always_inline]] inline void multiply_add(Vec (&sum)[Rows][Vecs], int64_t depth, const float* a, const float* b,
                                                int64_t b_stride) {
#pragma GCC unroll 1
    for (int64_t k = 0; k < depth; k++) {
        Vec column[Vecs];
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) column[v] = load(b + v * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; i++) {
            const Vec x = broadcast(a[i]);
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[i][v] = fma(x, column[v], sum[i][v]);
        }
        a += Rows;
        b += b_stride;
    }
}

template <int Rows, int Vecs>
void run_tile(const Tile& t) {
    for (int i = 0; i < Rows; i++) __builtin_prefetch(t.c + i * t.c_stride, 1);
    Vec sum[Rows][Vecs];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) sum[i][v] = zero();
    multiply_add<Rows, Vecs>(sum, t.depth, t.a, t.b, t.b_stride);
    multiply_add<Rows, Vecs>(sum, t.extra_depth, t.extra_a, t.extra_b, kTileCols);
    if (t.bias != nullptr) {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[i][v] = add(sum[i][v], load(t.bias + v * kLanes));
    }
    if (t.add_to_c) {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[i][v] = add(load(t.c + i * t.c_stride + v * kLanes), sum[i][v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) store(t.c + i * t.c_stride + v * kLanes, sum[i][v]);
}

using RunTile = void (*)(const Tile&);

// [rows - 1][vectors - 1]
constexpr RunTile kTiles[kTileRows][kTileVecs] = {
    {run_tile<1, 1>, run_tile<1, 2>},   {run_tile<2, 1>, run_tile<2, 2>},   {run_tile<3, 1>, run_tile<3, 2>},
    {run_tile<4, 1>, run_tile<4, 2>},   {run_tile<5, 1>, run_tile<5, 2>},   {run_tile<6, 1>, run_tile<6, 2>},
#if defined(FTC_ISA_avx512)
    {run_tile<7, 1>, run_tile<7, 2>},   {run_tile<8, 1>, run_tile<8, 2>},   {run_tile<9, 1>, run_tile<9, 2>},
    {run_tile<10, 1>, run_tile<10, 2>}, {run_tile<11, 1>, run_tile<11, 2>}, {run_tile<12, 1>, run_tile<12, 2>},
    {run_tile<13, 1>, run_tile<13, 2>}, {run_tile<14, 1>, run_tile<14, 2>},
#endif
};

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
