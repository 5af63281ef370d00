// Columns of a weight that lie side by side in its rows, as words (word.h) in registers, for every format.
//
//   word(x, k, has_second)   the word that begins at depth k of Vecs registers of columns, shuffled where
//                            shuffles_columns says so; even k; has_second: of two depths there is the second
//   kShort                   packed rows, of which a cache line holds many columns
//   prefetch(k, j)           the same j columns further on, to the L1 cache (Nearness 3) or the L2 cache (2)
#pragma once

#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if FTC_NF4_VECTORS
// Columns of NF4 that lie in one block of each row; rows are whole blocks.
template <int Nearness>
struct NaturalBlocks {
    static constexpr bool kShort = true;
    const ftc_weight& w;
    const uint8_t* codes; // of the first row
    int64_t row_bytes, block, row_blocks;
    Nf4Table table;
    NaturalBlocks(const ftc_weight& weight, int64_t row, int64_t column)
        : w(weight), codes(static_cast<const uint8_t*>(w.data) + (row * w.cols + column) / 2), row_bytes(w.cols / 2),
          block((row * w.cols + column) / 64), row_blocks(w.cols / 64), table(nf4_table(w.quant_map)) {}
    [[gnu::always_inline]] const uint8_t* codes_of(int64_t k) const { return codes + k * row_bytes; }
    [[gnu::always_inline]] int64_t block_of(int64_t k) const { return block + k * row_blocks; }
    [[gnu::always_inline]] void prefetch_row(int64_t k, int64_t j) const {
        __builtin_prefetch(codes_of(k) + j / 2, 0, Nearness);
    }
};
#endif

#if defined(FTC_ISA_avx512bf16)

template <int Vecs, int Nearness>
struct NaturalBf16 {
    static constexpr bool kShort = false;
    const ftc_weight& w;
    int64_t first_row, column;
    NaturalBf16(const ftc_weight& weight, int64_t row, int64_t first_column)
        : w(weight), first_row(row), column(first_column) {}
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool has_second) const {
        const uint16_t* from = bf16_row(w, first_row + k) + column;
#pragma GCC unroll 2
        for (int half = 0; half < Vecs / 2; half++) {
            const uint16_t* p = from + half * 2 * kLanes;
            const __m512i first = _mm512_loadu_si512(p);
            const __m512i second = has_second ? _mm512_loadu_si512(p + w.row_stride) : _mm512_setzero_si512();
            x[2 * half] = _mm512_castsi512_ps(pair_low(first, second));
            x[2 * half + 1] = _mm512_castsi512_ps(pair_high(first, second));
        }
    }
    [[gnu::always_inline]] void prefetch(int64_t k, int64_t j) const {
        for (int64_t row = 0; row < 2; row++) {
            const uint16_t* from = bf16_row(w, first_row + k + row) + column + j;
#pragma GCC unroll 2
            for (int half = 0; half < Vecs / 2; half++) __builtin_prefetch(from + half * 2 * kLanes, 0, Nearness);
        }
    }
};

template <int Vecs, int Nearness>
struct NaturalNf4 : NaturalBlocks<Nearness> {
    using NaturalBlocks<Nearness>::NaturalBlocks;
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool has_second) const {
        const uint8_t* first = this->codes_of(k);
        const uint8_t* second = this->codes_of(has_second ? k + 1 : k);
        const Nf4TwoRows rows(this->w, this->table, this->block_of(k), has_second);
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) x[v] = rows.word(first + v * kLanes / 2, second + v * kLanes / 2);
    }
    [[gnu::always_inline]] void prefetch(int64_t k, int64_t j) const {
        this->prefetch_row(k, j);
        this->prefetch_row(k + 1, j);
    }
};

// Any other format, a row of columns at a time.
template <int Vecs, int Nearness>
struct NaturalDecoded {
    static constexpr bool kShort = true;
    const ftc_weight& w;
    int64_t first_row, column;
    NaturalDecoded(const ftc_weight& weight, int64_t row, int64_t first_column)
        : w(weight), first_row(row), column(first_column) {}
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool has_second) const {
        constexpr int64_t kCount = Vecs * kLanes;
        uint16_t stage[2][kCount] = {};
        read_bf16(stage[0], w, first_row + k, column, kCount);
        if (has_second) read_bf16(stage[1], w, first_row + k + 1, column, kCount);
        for (int half = 0; half < Vecs / 2; half++) {
            const __m512i first = _mm512_loadu_si512(stage[0] + half * 2 * kLanes);
            const __m512i second = _mm512_loadu_si512(stage[1] + half * 2 * kLanes);
            x[2 * half] = _mm512_castsi512_ps(pair_low(first, second));
            x[2 * half + 1] = _mm512_castsi512_ps(pair_high(first, second));
        }
    }
    void prefetch(int64_t, int64_t) const {}
};
template <int Vecs, int Nearness>
using NaturalF32 = NaturalDecoded<Vecs, Nearness>;

#else

template <int Vecs, int Nearness>
struct NaturalF32 {
    static constexpr bool kShort = false;
    const float* base;
    int64_t stride;
    NaturalF32(const ftc_weight& w, int64_t row, int64_t column)
        : base(static_cast<const float*>(w.data) + row * w.row_stride + column), stride(w.row_stride) {}
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool) const {
        const float* from = base + k * stride;
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            x[v] = load(from + v * kLanes);
        }
    }
    [[gnu::always_inline]] void prefetch(int64_t k, int64_t j) const {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) __builtin_prefetch(base + k * stride + j + v * kLanes, 0, Nearness);
    }
};

template <int Vecs, int Nearness>
struct NaturalBf16 {
    static constexpr bool kShort = false;
    const uint16_t* base;
    int64_t stride;
    NaturalBf16(const ftc_weight& w, int64_t row, int64_t column)
        : base(static_cast<const uint16_t*>(w.data) + row * w.row_stride + column), stride(w.row_stride) {}
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool) const {
        const uint16_t* from = base + k * stride;
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) x[v] = widen_bf16(from + v * kLanes);
    }
    [[gnu::always_inline]] void prefetch(int64_t k, int64_t j) const {
        __builtin_prefetch(base + k * stride + j, 0, Nearness);
        __builtin_prefetch(base + k * stride + j + Vecs * kLanes - 1, 0, Nearness);
    }
};

#if FTC_NF4_VECTORS
template <int Vecs, int Nearness>
struct NaturalNf4 : NaturalBlocks<Nearness> {
    using NaturalBlocks<Nearness>::NaturalBlocks;
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool) const {
        const uint8_t* from = this->codes_of(k);
        const float absmax = nf4_absmax(this->w, this->block_of(k));
#if defined(FTC_ISA_avx512)
        const Nf4Table scaled = nf4_scaled(this->table, absmax);
#pragma GCC unroll 2
        for (int half = 0; half < Vecs / 2; half++)
            nf4_decode_shuffled(x + half * 2, from + half * kTileCols / 2, scaled);
#else
        nf4_look_up_columns<Vecs>(x, this->table, from);
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; v++) x[v] = mul(x[v], broadcast(absmax));
#endif
    }
    [[gnu::always_inline]] void prefetch(int64_t k, int64_t j) const {
        this->prefetch_row(k, j);
    }
};
#endif

// Any packed format, decoded a row of columns at a time.
template <int Vecs, int Nearness>
struct NaturalDecoded {
    static constexpr bool kShort = true;
    const ftc_weight& w;
    int64_t first_row, column;
    NaturalDecoded(const ftc_weight& weight, int64_t row, int64_t first_column)
        : w(weight), first_row(row), column(first_column) {}
    [[gnu::always_inline]] void word(Vec x[Vecs], int64_t k, bool) const {
        float stage[Vecs * kLanes];
        decode_row(stage, w, first_row + k, column, Vecs * kLanes);
        for (int v = 0; v < Vecs; v++) x[v] = load(stage + v * kLanes);
    }
    void prefetch(int64_t, int64_t) const {}
};

#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
