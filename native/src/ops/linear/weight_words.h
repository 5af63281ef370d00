// Rows of a weight of any format as words (word.h), as the product sees them.
#pragma once

#include "ops/linear/word.h"
#include "ops/quant/decode_row.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Whether registers of a weight's columns hold them shuffled (AVX-512: two by two, AVX2: each within itself), as NF4 is
// decoded fastest; sums of products are put into order at the end.
inline bool shuffles_columns(const ftc_weight& w, bool transposed) {
#if defined(FTC_ISA_avx2) || (defined(FTC_ISA_avx512) && !defined(FTC_ISA_avx512bf16))
    return w.format == FTC_WEIGHT_NF4 && !transposed && nf4_rows_aligned(w);
#else
    (void)w;
    (void)transposed;
    return false;
#endif
}
template <int Vecs>
[[gnu::always_inline]] inline void unshuffle_columns(Vec (&sum)[Vecs]) {
#if defined(FTC_ISA_avx512)
#pragma GCC unroll 4
    for (int v = 0; v + 1 < Vecs; v += 2) nf4_unshuffle(sum + v);
#elif defined(FTC_ISA_avx2)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; v++) sum[v] = nf4_unshuffle(sum[v]);
#else
    (void)sum;
#endif
}

// Rows of which a line fits into the L1 cache: those that lie a multiple of pages, or of a large part of one, apart
// fall into few of its sets.
inline int64_t rows_side_by_side(int64_t row_bytes) {
    constexpr int64_t kWays = 8, kPage = 4096;
    const int64_t power = row_bytes & -row_bytes;
    return kWays * (power < kPage ? kPage / power : 1);
}

// Whether words of a weight are worth asking for ahead. With AVX2, those that the L3 cache holds are not: left alone,
// forwards of one row are 1.05 to 1.3 times as fast, backwards of fp32 1.4 times (Zen 3).
inline bool asks_ahead([[maybe_unused]] const ftc_weight& w) {
#if defined(FTC_ISA_avx2)
    return w.rows * w.cols > int64_t{1} << 20;
#else
    return true;
#endif
}

inline const float* f32_row(const ftc_weight& w, int64_t row) {
    return static_cast<const float*>(w.data) + row * w.row_stride;
}
inline const uint16_t* bf16_row(const ftc_weight& w, int64_t row) {
    return static_cast<const uint16_t*>(w.data) + row * w.row_stride;
}

#if defined(FTC_ISA_avx512bf16)

// Elements that are decoded at a time: whole blocks and groups of every format.
constexpr int64_t kRun = 128;

// y[i] = element (row, col + i) rounded to bf16, count <= kRun: the fp32 value rounded once more.
inline void read_bf16(uint16_t* y, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    if (w.format == FTC_WEIGHT_BF16) {
        __builtin_memcpy(y, bf16_row(w, row) + col, static_cast<size_t>(count) * sizeof(uint16_t));
        return;
    }
    if (w.format == FTC_WEIGHT_F32) {
        round_run(y, f32_row(w, row) + col, count);
        return;
    }
    float stage[kRun];
    decode_row(stage, w, row, col, count);
    round_run(y, stage, count);
}

// Word `Word` of eight codes of kLanes rows, times absmax of the rows.
template <int Word>
[[gnu::always_inline]] inline Vec nf4_word(const EightCodes& codes, Vec absmax) {
    return round_to_words(mul(codes.value<2 * Word>(), absmax), mul(codes.value<2 * Word + 1>(), absmax));
}

// Words of columns side by side, each column's two rows in a block of their own: sixteen values of either row times its
// absmax are rounded, not all that are looked up.
struct Nf4TwoRows {
    Nf4Table first, second; // in the low and in the high half

    // block: of the first row. Without a second its half is zero.
    [[gnu::always_inline]] Nf4TwoRows(const ftc_weight& w, const Nf4Table& table, int64_t block, bool has_second)
        : first(round_to_words(nf4_scaled(table, nf4_absmax(w, block)), zero())),
          second(round_to_words(zero(), nf4_scaled(table, has_second ? nf4_absmax(w, block + w.cols / 64) : 0.0f))) {}
    // kLanes columns.
    [[gnu::always_inline]] Vec word(const uint8_t* codes_of_first, const uint8_t* codes_of_second) const {
        const Vec low = nf4_look_up(first, nf4_spread(codes_of_first)),
                  high = nf4_look_up(second, nf4_spread(codes_of_second));
        return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(low), _mm512_castps_si512(high)));
    }
};

// words_of_depth(count) words of the elements (row, col + i).
inline void weight_words(float* words, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    uint16_t* halves = reinterpret_cast<uint16_t*>(words);
    for (int64_t i = 0; i < count; i += kRun)
        read_bf16(halves + i, w, row, col + i, count - i < kRun ? count - i : kRun);
    if (count % 2 != 0) halves[count] = 0;
}

#else

#if FTC_NF4_VECTORS
template <int Word>
[[gnu::always_inline]] inline Vec nf4_word(const EightCodes& codes, Vec absmax) {
    return mul(codes.value<Word>(), absmax);
}
#endif

inline void weight_words(float* words, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    if (w.format == FTC_WEIGHT_F32)
        __builtin_memcpy(words, f32_row(w, row) + col, static_cast<size_t>(count) * sizeof(float));
    else if (w.format == FTC_WEIGHT_BF16)
        widen_row(words, bf16_row(w, row) + col, count);
    else
        decode_row(words, w, row, col, count);
}

#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
