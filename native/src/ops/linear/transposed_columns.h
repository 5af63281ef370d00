// Columns of a transposed weight, which are its rows, as words (word.h) in registers, for every format.
//
//   step(w, v, use)   words w .. w + kStep - 1 of the columns in register v, handed to use(d, x) one by one
//   prefetch(w)       comes before kSteps of them
#pragma once

#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Rows of W that are read side by side, sixteen bytes of each at a step. The CPU loses track of so many streams, and in
// the L1 cache lines that are early push out those in use: every second step asks the L2 cache for its share of what is
// used 1 KiB later (best of 256, 512, 768, 1024 and 2048 bytes), at the end of the rows that of the next group.
template <int64_t Rows>
struct Streams {
    const char* first; // of the first row
    int64_t stride;    // bytes
    int64_t row_bytes;
    int64_t begin; // bytes of a row before the block

    Streams(const ftc_weight& w, int64_t row, int64_t depth, int64_t element_bytes)
        : first(static_cast<const char*>(w.data) + row * w.row_stride * element_bytes),
          stride(w.row_stride * element_bytes), row_bytes(w.cols * element_bytes), begin(depth * element_bytes) {}

    // The step that begins at `byte` of the block, of the rows of register v. bf16 is moved in pairs.
    template <class V>
    [[gnu::always_inline]] void transpose(V quads[4], int v, int64_t byte) const {
        const char* rows = first + v * lanes_of<V>() * stride + begin + byte;
        transpose_rows(quads, [&](int i) { return reinterpret_cast<const float*>(rows + i * stride); });
    }
    // Inlined by force: a function that only prefetches has no effect that g++ would keep a call for.
    [[gnu::always_inline]] void prefetch(int64_t byte) const {
        constexpr int64_t kChunk = 256, kAhead = 1024, kLine = 64, kSteps = 32, kRowsOfSteps = Rows * kSteps / kChunk;
        const int64_t ahead = begin + byte - byte % kChunk + kAhead;
        const char* rows = first + (ahead < row_bytes ? ahead : ahead - row_bytes + Rows * stride);
        rows += byte % kChunk / kSteps * kRowsOfSteps * stride;
        for (int64_t i = 0; i < kRowsOfSteps; i++)
            for (int64_t line = 0; line < kChunk; line += kLine) __builtin_prefetch(rows + i * stride + line, 0, 2);
    }
};

// How many registers of rows to read side by side, at most: rows that lie a multiple of pages, or of a large part of
// one, apart fall into few sets of the L1 cache, and where a set's eight ways are too few they evict one another before
// a line is used up (measured on rows of 16 KiB: 4 GFLOP/s with 32 rows, 13 with 8).
inline int64_t stream_registers(int64_t row_bytes, int64_t most) {
    constexpr int64_t kWays = 8, kPage = 4096;
    const int64_t power = row_bytes & -row_bytes;
    const int64_t rows = kWays * (power < kPage ? kPage / power : 1) / lanes_of<NarrowVec>();
    return rows < most ? (rows < 1 ? 1 : rows) : most;
}

#if defined(FTC_ISA_avx512bf16)

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

#else

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

#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
