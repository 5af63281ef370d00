// transposed_columns.h where a word is one fp32.
#pragma once

#include "ops/linear/transposed_columns.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

template <int64_t Group>
struct TransposedF32 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 4, kSteps = 2;
    Streams<Group> rows;
    TransposedF32(const ftc_weight& w, int64_t column, int64_t begin) : rows(w, column, begin, 4) {}
    [[gnu::always_inline]] void prefetch(int64_t w) const { rows.prefetch(4 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register quads[4];
        rows.transpose(quads, v, 4 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(d, quads[d]);
    }
};

template <int64_t Group>
struct TransposedBf16 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 8, kSteps = 2;
    Streams<Group> rows;
    TransposedBf16(const ftc_weight& w, int64_t column, int64_t begin) : rows(w, column, begin, 2) {}
    [[gnu::always_inline]] void prefetch(int64_t w) const { rows.prefetch(2 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register pairs[4];
        rows.transpose(pairs, v, 2 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) {
            use(2 * d, first_bf16(pairs[d]));
            use(2 * d + 1, second_bf16(pairs[d]));
        }
    }
};

#if FTC_NF4_VECTORS
// Whole blocks of 64; a step is one block.
struct TransposedNf4 {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 64, kSteps = 1;
    const ftc_weight& w;
    int64_t column, begin;
    const float* rows[kTileCols]; // bytes, moved as words
    Nf4Table table;
    TransposedNf4(const ftc_weight& weight, int64_t first_column, int64_t first_depth)
        : w(weight), column(first_column), begin(first_depth), table(nf4_table(weight.quant_map)) {
        for (int i = 0; i < kTileCols; i++)
            rows[i] = reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) +
                                                     ((column + i) * w.cols + begin) / 2);
    }
    [[gnu::always_inline]] void prefetch(int64_t k) const {
        if (k % 128 == 0)
            for (int i = 0; i < kTileCols; i++) __builtin_prefetch(rows[i] + k / 8 + 64);
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        const int64_t blocks_per_row = w.cols / 64;
        float lanes[kLanes];
        for (int i = 0; i < kLanes; i++)
            lanes[i] = nf4_absmax(w, (column + v * kLanes + i) * blocks_per_row + (begin + k) / 64);
        const Vec absmax = load(lanes);
        for (int half = 0; half < 2; half++) {
            Vec words[4];
            transpose_quads(words, rows + v * kLanes, k / 8 + half * 4);
#pragma GCC unroll 4
            for (int d = 0; d < 4; d++) {
                const Codes codes = as_codes(words[d]);
                const int64_t to = half * 32 + d * 8;
                use(to + 0, mul(nf4_look_up(table, shift_right<4>(codes)), absmax));
                use(to + 1, mul(nf4_look_up(table, shift_right<0>(codes)), absmax));
                use(to + 2, mul(nf4_look_up(table, shift_right<12>(codes)), absmax));
                use(to + 3, mul(nf4_look_up(table, shift_right<8>(codes)), absmax));
                use(to + 4, mul(nf4_look_up(table, shift_right<20>(codes)), absmax));
                use(to + 5, mul(nf4_look_up(table, shift_right<16>(codes)), absmax));
                use(to + 6, mul(nf4_look_up(table, shift_right<28>(codes)), absmax));
                use(to + 7, mul(nf4_look_up(table, shift_right<24>(codes)), absmax));
            }
        }
    }
};
#endif

// Any packed format: kStep depths of every row decoded, then transposed.
struct TransposedDecoded {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 32, kSteps = 1;
    const ftc_weight& w;
    int64_t column, begin;
    TransposedDecoded(const ftc_weight& weight, int64_t first_column, int64_t first_depth)
        : w(weight), column(first_column), begin(first_depth) {}
    [[gnu::always_inline]] void prefetch(int64_t) const {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        float stage[kLanes][kStep];
        for (int i = 0; i < kLanes; i++) decode_row(stage[i], w, column + v * kLanes + i, begin + k, kStep);
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec quads[4];
            transpose_quads(quads, stage[0] + d, kStep);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(d + j, quads[j]);
        }
    }
};

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
