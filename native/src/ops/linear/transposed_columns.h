// Columns of a transposed weight, which are its rows, as words (word.h) in registers, for every format.
//
//   step(w, v, use)   words w .. w + kStep - 1 of the columns in registers v .. v + kTogether - 1, handed to use(i, d,
//   x)
//                     one by one: the word of depth w + d in register v + i
//   prepare(w)        comes before kSteps of them: asks for, or copies, what is needed soon
#pragma once

#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Rows of W that are read side by side, sixteen bytes of each at a step. The CPU loses track of so many streams: every
// second step asks the L1 cache for its share of what is used 512 bytes later, at the end of the rows that of the next
// group. Measured on Zen 5, 512 best of 512, 768 and 1024 bytes; on Zen 4 the L2 cache, 1024 bytes ahead, was no worse.
template <int64_t Rows>
struct Streams {
    const char* first; // of the first row
    int64_t stride;    // bytes
    int64_t row_bytes;
    int64_t begin; // bytes of a row before the block
    bool asks;     // ahead

    Streams(const ftc_weight& w, int64_t row, int64_t depth, int64_t element_bytes)
        : first(static_cast<const char*>(w.data) + row * w.row_stride * element_bytes),
          stride(w.row_stride * element_bytes), row_bytes(w.cols * element_bytes), begin(depth * element_bytes),
          asks(asks_ahead(w)) {}

    // The step that begins at `byte` of the block, of the rows of register v. bf16 is moved in pairs.
    template <class V>
    [[gnu::always_inline]] void transpose(V quads[4], int v, int64_t byte) const {
        const char* rows = first + v * lanes_of<V>() * stride + begin + byte;
        transpose_rows(quads, [&](int i) { return reinterpret_cast<const float*>(rows + i * stride); });
    }
    // Inlined by force: a function that only prefetches has no effect that g++ would keep a call for.
    [[gnu::always_inline]] void prefetch(int64_t byte) const {
        if (!asks) return;
        constexpr int64_t kChunk = 256, kAhead = 512, kLine = 64, kSteps = 32, kRowsOfSteps = Rows * kSteps / kChunk;
        const int64_t ahead = begin + byte - byte % kChunk + kAhead;
        const char* rows = first + (ahead < row_bytes ? ahead : ahead - row_bytes + Rows * stride);
        rows += byte % kChunk / kSteps * kRowsOfSteps * stride;
        for (int64_t i = 0; i < kRowsOfSteps; i++)
            for (int64_t line = 0; line < kChunk; line += kLine) __builtin_prefetch(rows + i * stride + line, 0, 3);
    }
};

// How many registers of rows to read side by side, at most: more evict one another before a line is used up (measured
// on rows of 16 KiB: 4 GFLOP/s with 32 rows, 13 with 8).
inline int64_t stream_registers(int64_t row_bytes, int64_t most) {
    const int64_t rows = rows_side_by_side(row_bytes) / lanes_of<NarrowVec>();
    return rows < most ? (rows < 1 ? 1 : rows) : most;
}

#if defined(FTC_ISA_avx512bf16)

template <int64_t Group>
struct TransposedBf16 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 4, kSteps = 2;
    static constexpr int kTogether = 1;
    Streams<Group> rows;
    TransposedBf16(const ftc_weight& weight, int64_t column, int64_t begin) : rows(weight, column, begin, 2) {}
    [[gnu::always_inline]] void prepare(int64_t w) const { rows.prefetch(4 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register words[4];
        rows.transpose(words, v, 4 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(0, d, words[d]);
    }
};

template <int64_t Group>
struct TransposedF32 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 2, kSteps = 2;
    static constexpr int kTogether = 1;
    Streams<Group> rows;
    TransposedF32(const ftc_weight& weight, int64_t column, int64_t begin) : rows(weight, column, begin, 4) {}
    [[gnu::always_inline]] void prepare(int64_t w) const { rows.prefetch(8 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register quads[4];
        rows.transpose(quads, v, 8 * w);
        use(0, 0, round_to_words(quads[0], quads[1]));
        use(0, 1, round_to_words(quads[2], quads[3]));
    }
};

// Any other format: kStep words of every row rounded, then transposed.
struct TransposedDecoded {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 16, kSteps = 1;
    static constexpr int kTogether = 1;
    const ftc_weight& weight;
    int64_t column, begin;
    TransposedDecoded(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth) {}
    [[gnu::always_inline]] void prepare(int64_t) const {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        uint16_t stage[kLanes][2 * kStep];
        for (int i = 0; i < kLanes; i++) read_bf16(stage[i], weight, column + v * kLanes + i, begin + 2 * w, 2 * kStep);
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec words[4];
            transpose_quads(words, reinterpret_cast<const float*>(stage[0]) + d, kStep);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(0, d + j, words[j]);
        }
    }
};

#else

template <int64_t Group>
struct TransposedF32 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 4, kSteps = 2;
    static constexpr int kTogether = 1;
    Streams<Group> rows;
    TransposedF32(const ftc_weight& w, int64_t column, int64_t begin) : rows(w, column, begin, 4) {}
    [[gnu::always_inline]] void prepare(int64_t w) const { rows.prefetch(4 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register quads[4];
        rows.transpose(quads, v, 4 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(0, d, quads[d]);
    }
};

template <int64_t Group>
struct TransposedBf16 {
    using Register = NarrowVec;
    static constexpr int64_t kGroup = Group, kStep = 8, kSteps = 2;
    static constexpr int kTogether = 1;
    Streams<Group> rows;
    TransposedBf16(const ftc_weight& w, int64_t column, int64_t begin) : rows(w, column, begin, 2) {}
    [[gnu::always_inline]] void prepare(int64_t w) const { rows.prefetch(2 * w); }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        Register pairs[4];
        rows.transpose(pairs, v, 2 * w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) {
            use(0, 2 * d, first_bf16(pairs[d]));
            use(0, 2 * d + 1, second_bf16(pairs[d]));
        }
    }
};

// Any packed format: kStep depths of every row decoded, then transposed.
struct TransposedDecoded {
    using Register = Vec;
    static constexpr int64_t kGroup = kTileCols, kStep = 32, kSteps = 1;
    static constexpr int kTogether = 1;
    const ftc_weight& w;
    int64_t column, begin;
    TransposedDecoded(const ftc_weight& weight, int64_t first_column, int64_t first_depth)
        : w(weight), column(first_column), begin(first_depth) {}
    [[gnu::always_inline]] void prepare(int64_t) const {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        float stage[kLanes][kStep];
        for (int i = 0; i < kLanes; i++) decode_row(stage[i], w, column + v * kLanes + i, begin + k, kStep);
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec quads[4];
            transpose_quads(quads, stage[0] + d, kStep);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(0, d + j, quads[j]);
        }
    }
};

#endif

#if FTC_NF4_VECTORS
// Whole blocks of 64; a step is one block. The chains of Together registers advance side by side: of few rows of A,
// each would wait for itself with the next out of the CPU's sight. Copied: two blocks of each row, a cache line, are
// copied side by side, for rows that would push one another out of the L1 cache between the two.
template <int64_t Group, int Together, bool Copied = false>
struct TransposedNf4 {
    using Register = Vec;
    static constexpr int64_t kGroup = Group, kStep = 64 / kWordDepths, kSteps = 1;
    static constexpr int kTogether = Together;
    static constexpr int64_t kLineCodes = 128, kLineFloats = 16, kAhead = 512; // codes
    const ftc_weight& weight;
    int64_t column, begin;
    const float* rows[Group]; // bytes, moved as words
    Nf4Table table;
    alignas(64) float lines[Copied ? Group * kLineFloats : 1];
    TransposedNf4(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth), table(nf4_table(w.quant_map)) {
        for (int i = 0; i < Group; i++)
            rows[i] = reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) +
                                                     ((column + i) * w.cols + begin) / 2);
    }
    [[gnu::always_inline]] void prepare(int64_t w) {
        const int64_t k = w * kWordDepths, at = k / 8;
        if (k % kLineCodes != 0) return;
        const bool ends = begin + k + kAhead >= weight.cols; // then the next group's are wanted
        const int64_t ahead = at + kAhead / 8 + (ends ? (Group - 1) * weight.cols / 8 : 0);
        for (int i = 0; i < Group; i++) __builtin_prefetch(rows[i] + ahead, 0, Copied ? 2 : 3);
        if constexpr (Copied) {
            const int64_t left = weight.cols - begin - k; // codes of a row
            for (int i = 0; i < Group; i++) {
                __builtin_memcpy(lines + i * kLineFloats, rows[i] + at, 32);
                if (left > 64) __builtin_memcpy(lines + i * kLineFloats + 8, rows[i] + at + 8, 32);
            }
        }
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int first, const Use& use) const {
        const int64_t blocks_per_row = weight.cols / 64, k = w * kWordDepths;
        const int64_t block = (column + first * kLanes) * blocks_per_row + (begin + k) / 64;
        float absmax[kTogether * kLanes];
        for (int i = 0; i < kTogether * kLanes; i++) absmax[i] = nf4_absmax(weight, block + i * blocks_per_row);
        for (int half = 0; half < 2; half++) {
            Codes words[4][kTogether];
#pragma GCC unroll 4
            for (int v = 0; v < kTogether; v++) {
                Codes quads[4];
                nf4_transpose_codes(quads, [&](int i) {
                    const int64_t row = (first + v) * kLanes + i;
                    return Copied ? lines + row * kLineFloats + k % kLineCodes / 8 + half * 4
                                  : rows[row] + k / 8 + half * 4;
                });
                for (int d = 0; d < 4; d++) words[d][v] = quads[d];
            }
#pragma GCC unroll 4
            for (int d = 0; d < 4; d++) {
                EightCodes codes[kTogether];
#pragma GCC unroll 4
                for (int v = 0; v < kTogether; v++) codes[v] = nf4_eight_codes(table, words[d][v]);
                use_codes(codes, absmax, (half * 4 + d) * kWordsOfCodes, use);
            }
        }
    }

private:
    static constexpr int kWordsOfCodes = static_cast<int>(8 / kWordDepths);

    // Word after word of eight codes of every register.
    template <int Word = 0, class Use>
    [[gnu::always_inline]] void use_codes(const EightCodes (&codes)[kTogether], const float* absmax, int64_t w,
                                          const Use& use) const {
#pragma GCC unroll 4
        for (int v = 0; v < kTogether; v++) use(v, w + Word, nf4_word<Word>(codes[v], load(absmax + v * kLanes)));
        if constexpr (Word + 1 < kWordsOfCodes) use_codes<Word + 1>(codes, absmax, w, use);
    }
};
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
