// kLanes rows of NF4 as a micropanel's columns.
#pragma once

#include "ops/linear/gemm.h"
#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

#if FTC_NF4_VECTORS

// Eight codes of every row, word (word.h) after word.
template <int Word = 0>
[[gnu::always_inline]] inline void store_nf4_words(float* dst, const EightCodes& codes, Vec absmax) {
    store(dst + Word * kTileCols, nf4_word<Word>(codes, absmax));
    if constexpr (Word + 1 < 8 / kWordDepths) store_nf4_words<Word + 1>(dst, codes, absmax);
}

// Depths [begin, begin + depth) of rows [row, row + valid), the last one repeated. The codes are transposed as 32-bit
// words: lane i of a register holds eight codes of row i, and each depth is a shift, a look-up and a multiplication.
inline void pack_nf4_rows(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    const Nf4Table table = nf4_table(w.quant_map);
    const auto row_of_lane = [&](int64_t i) { return row + (i < valid ? i : valid - 1); };
    const float* rows[kLanes]; // bytes, moved as words
    for (int64_t i = 0; i < kLanes; i++)
        rows[i] =
            reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) + (row_of_lane(i) * w.cols + begin) / 2);
    float absmax_of_rows[kMostWords * kWordDepths / 64 * kLanes]; // of each block
    nf4_absmax_of_rows<kLanes>(absmax_of_rows, w, row_of_lane, begin, depth);
    for (int64_t k = 0; k < depth; k += 64) {
        const Vec absmax = load(absmax_of_rows + k / 64 * kLanes);
        for (int half = 0; half < 2; half++) {
            if (half == 0 && k % 128 == 0)
                for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[i] + k / 8 + 64);
            Codes codes[4];
            nf4_transpose_codes(codes, [&](int i) { return rows[i] + k / 8 + half * 4; });
            for (int d = 0; d < 4; d++)
                store_nf4_words(dst + (k + half * 32 + d * 8) / kWordDepths * kTileCols,
                                nf4_eight_codes(table, codes[d]), absmax);
        }
    }
}

#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
