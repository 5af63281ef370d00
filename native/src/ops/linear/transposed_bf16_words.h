// transposed_columns.h where a word is two bf16 depths.
#pragma once

#include "ops/linear/transposed_columns.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

template <int64_t Group>
struct TransposedBf16 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 4, kSteps = 2;
    Streams<Group> rows;
    TransposedBf16(const ftc_weight& weight, int64_t column, int64_t begin) : rows(weight, column, begin, 2) {}
    [[gnu::always_inline]] void prefetch(int64_t w) const { rows.prefetch(4 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register words[4];
        rows.transpose(words, v, 4 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(d, words[d]);
    }
};

template <int64_t Group>
struct TransposedF32 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 2, kSteps = 2;
    Streams<Group> rows;
    TransposedF32(const ftc_weight& weight, int64_t column, int64_t begin) : rows(weight, column, begin, 4) {}
    [[gnu::always_inline]] void prefetch(int64_t w) const { rows.prefetch(8 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register quads[4];
        rows.transpose(quads, v, 8 * w);
        use(0, round_to_words(quads[0], quads[1]));
        use(1, round_to_words(quads[2], quads[3]));
    }
};

// Whole blocks of 64; a step is one block.
struct TransposedNf4 {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 32, kSteps = 1;
    const ftc_weight& weight;
    int64_t column, begin;
    const float* rows[kTileCols]; // bytes, moved as words
    Nf4Table table;
    TransposedNf4(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth), table(nf4_table(w.quant_map)) {
        for (int i = 0; i < kTileCols; i++)
            rows[i] = reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) +
                                                     ((column + i) * w.cols + begin) / 2);
    }
    [[gnu::always_inline]] void prefetch(int64_t w) const {
        if (w % 64 == 0)
            for (int i = 0; i < kTileCols; i++) __builtin_prefetch(rows[i] + w / 4 + 64);
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        const int64_t blocks_per_row = weight.cols / 64;
        float lanes[kLanes];
        for (int i = 0; i < kLanes; i++)
            lanes[i] = nf4_absmax(weight, (column + v * kLanes + i) * blocks_per_row + (begin + 2 * w) / 64);
        const Vec absmax = load(lanes);
        for (int half = 0; half < 2; half++) {
            Vec words[4];
            transpose_quads(words, rows + v * kLanes, w / 4 + half * 4);
#pragma GCC unroll 4
            for (int d = 0; d < 4; d++) {
                const Codes codes = as_codes(words[d]);
                const int64_t to = half * 16 + d * 4;
                use(to + 0, nf4_words<4, 0>(table, codes, absmax));
                use(to + 1, nf4_words<12, 8>(table, codes, absmax));
                use(to + 2, nf4_words<20, 16>(table, codes, absmax));
                use(to + 3, nf4_words<28, 24>(table, codes, absmax));
            }
        }
    }
};

// Any other format: kStep words of every row rounded, then transposed.
struct TransposedDecoded {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 16, kSteps = 1;
    const ftc_weight& weight;
    int64_t column, begin;
    TransposedDecoded(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth) {}
    [[gnu::always_inline]] void prefetch(int64_t) const {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        uint16_t stage[kLanes][2 * kStep];
        for (int i = 0; i < kLanes; i++) read_bf16(stage[i], weight, column + v * kLanes + i, begin + 2 * w, 2 * kStep);
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec words[4];
            transpose_quads(words, reinterpret_cast<const float*>(stage[0]) + d, kStep);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(d + j, words[j]);
        }
    }
};

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
