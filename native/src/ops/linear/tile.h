// The innermost product: a tile of C in registers, one sequential chain of multiply-adds per element.
#pragma once

#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// v = sum over words of a b, then over extra_words of extra_a extra_b, in this order and one chain;
// c = [c +] (v [+ bias]), or rounded = bf16 of [rounded +] that.
struct Tile {
    int64_t words;
    const float* a; // [words, rows of the tile]
    const float* b; // [words, kTileCols], b_stride
    int64_t b_stride;
    const uint16_t* b_rows; // AVX512-BF16, tiles of two vectors: where not NULL, B in place of b as it is,
    int64_t depth;          // bf16 [depth, kTileCols], b_stride
    bool shuffled;          // the columns of b, as shuffles_columns says
    int64_t extra_words;
    const float* extra_a; // [extra_words, rows of the tile]
    const float* extra_b; // [extra_words, kTileCols]
    float* c;
    int64_t c_stride;
    const float* bias; // [kTileCols] or NULL
    bool add_to_c;
    bool add_to_rounded;
    uint16_t* rounded; // or NULL: then c is written
    int64_t rounded_stride;
};

// One word of every row of A with one word of the columns.
template <int Rows, int Vecs>
[[gnu::always_inline]] inline void multiply_word(Vec (&sum)[Rows][Vecs], const float* a, const Vec (&column)[Vecs]) {
#pragma GCC unroll 24
    for (int i = 0; i < Rows; i++) {
        const Vec x = broadcast(a[i]);
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) sum[i][v] = multiply_words(x, column[v], sum[i][v]);
    }
}

// beside(k) is done along with the multiply-adds of word k.
template <int Rows, int Vecs, class Beside>
[[gnu::always_inline]] inline void multiply_add(Vec (&sum)[Rows][Vecs], int64_t words, const float* a, const float* b,
                                                int64_t b_stride, const Beside& beside) {
#pragma GCC unroll 1
    for (int64_t k = 0; k < words; k++) {
        beside(k);
        Vec column[Vecs];
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) column[v] = load(b + v * kLanes);
        multiply_word(sum, a, column);
        a += Rows;
        b += b_stride;
    }
}

#if defined(FTC_ISA_avx512bf16)
// The same with words made of two rows of B at a time.
template <int Rows>
[[gnu::always_inline]] inline void multiply_add_rows(Vec (&sum)[Rows][kTileVecs], const Tile& t) {
    const float* a = t.a;
    const uint16_t* b = t.b_rows;
#pragma GCC unroll 1
    for (int64_t k = 0; k < t.depth; k += 2) {
        const __m512i first = _mm512_loadu_si512(b);
        const __m512i second = k + 1 < t.depth ? _mm512_loadu_si512(b + t.b_stride) : _mm512_setzero_si512();
        const Vec column[kTileVecs] = {_mm512_castsi512_ps(pair_low(first, second)),
                                       _mm512_castsi512_ps(pair_high(first, second))};
        multiply_word(sum, a, column);
        a += Rows;
        b += 2 * t.b_stride;
    }
}
#endif

template <int Rows, int Vecs>
[[gnu::always_inline]] inline void begin_tile(Vec (&sum)[Rows][Vecs], const Tile& t) {
    if (t.rounded == nullptr)
        for (int i = 0; i < Rows; i++) __builtin_prefetch(t.c + i * t.c_stride, 1);
    else
        for (int i = 0; i < Rows; i++) __builtin_prefetch(t.rounded + i * t.rounded_stride, 1);
#pragma GCC unroll 24
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) sum[i][v] = zero();
}

// What follows the depth of B.
template <int Rows, int Vecs>
[[gnu::always_inline]] inline void finish_tile(Vec (&sum)[Rows][Vecs], const Tile& t) {
    multiply_add<Rows, Vecs>(sum, t.extra_words, t.extra_a, t.extra_b, kTileCols, [](int64_t) {});
    if (t.bias != nullptr) {
#pragma GCC unroll 24
        for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[i][v] = add(sum[i][v], load(t.bias + v * kLanes));
    }
    if (t.add_to_c) {
#pragma GCC unroll 24
        for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) sum[i][v] = add(load(t.c + i * t.c_stride + v * kLanes), sum[i][v]);
    }
    if (t.rounded == nullptr) {
#pragma GCC unroll 24
        for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < Vecs; v++) store(t.c + i * t.c_stride + v * kLanes, sum[i][v]);
        return;
    }
#pragma GCC unroll 24
    for (int i = 0; i < Rows; i++) {
        uint16_t* rounded = t.rounded + i * t.rounded_stride;
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) {
            const Vec x = t.add_to_rounded ? add(widen_bf16(rounded + v * kLanes), sum[i][v]) : sum[i][v];
            store_bf16(rounded + v * kLanes, x);
        }
    }
}

template <int Rows, int Vecs, class Beside>
[[gnu::always_inline]] inline void run_tile_beside(const Tile& t, const Beside& beside) {
    Vec sum[Rows][Vecs];
    begin_tile(sum, t);
#if defined(FTC_ISA_avx512bf16)
    if constexpr (Vecs == kTileVecs)
        if (t.b_rows != nullptr) multiply_add_rows<Rows>(sum, t);
#endif
    multiply_add<Rows, Vecs>(sum, t.words, t.a, t.b, t.b_stride, beside);
    if (t.shuffled) {
#pragma GCC unroll 16
        for (int i = 0; i < Rows; i++) unshuffle_columns(sum[i]);
    }
    finish_tile(sum, t);
}

template <int Rows, int Vecs>
void run_tile(const Tile& t) {
    run_tile_beside<Rows, Vecs>(t, [](int64_t) {});
}

using RunTile = void (*)(const Tile&);

// [rows - 1][vectors - 1]
constexpr RunTile kTiles[kTileRows][kTileVecs] = {
    {run_tile<1, 1>, run_tile<1, 2>},   {run_tile<2, 1>, run_tile<2, 2>},   {run_tile<3, 1>, run_tile<3, 2>},
    {run_tile<4, 1>, run_tile<4, 2>},   {run_tile<5, 1>, run_tile<5, 2>},   {run_tile<6, 1>, run_tile<6, 2>},
#if defined(FTC_ISA_neon) || defined(FTC_ISA_avx512)
    {run_tile<7, 1>, run_tile<7, 2>},   {run_tile<8, 1>, run_tile<8, 2>},
#endif
#if defined(FTC_ISA_avx512)
    {run_tile<9, 1>, run_tile<9, 2>},   {run_tile<10, 1>, run_tile<10, 2>}, {run_tile<11, 1>, run_tile<11, 2>},
    {run_tile<12, 1>, run_tile<12, 2>}, {run_tile<13, 1>, run_tile<13, 2>}, {run_tile<14, 1>, run_tile<14, 2>},
#endif
};

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
