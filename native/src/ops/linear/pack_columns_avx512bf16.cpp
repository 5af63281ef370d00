// pack_columns into words of two bf16 depths (word.h): whatever the weight is, its values are rounded to bf16 once.
#include "ops/linear/pack_columns.h"

#include "ops/linear/pack_nf4_rows.h"
#include "ops/linear/stage_row.h"
#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- Transposed: a register holds one word of kLanes rows of W ------------------------------------------------------

// kLanes columns of one micropanel from bf16 rows; rows past `valid` are repeated and their lanes never reach C.
void transpose_rows(float* dst, const uint16_t* const* rows, int64_t depth) {
    constexpr int64_t kAhead = 128; // the next lines of every row, four lines early
    const float* pairs[kLanes];
    for (int i = 0; i < kLanes; i++) pairs[i] = reinterpret_cast<const float*>(rows[i]);
    int64_t w = 0;
    for (; w + 4 <= depth / 2; w += 4) {
        if ((w & 15) == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[i] + 2 * w + kAhead);
        Vec quads[4];
        transpose_quads(quads, pairs, w);
        for (int d = 0; d < 4; d++) store(dst + (w + d) * kTileCols, quads[d]);
    }
    for (int64_t k = 2 * w; k < depth; k += 2)
        for (int i = 0; i < kLanes; i++)
            dst[k / 2 * kTileCols + i] = word_of(rows[i][k], k + 1 < depth ? rows[i][k + 1] : uint16_t{0});
}

void pack_group_bf16(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    const uint16_t* rows[kLanes];
    for (int64_t i = 0; i < kLanes; i++) rows[i] = bf16_row(w, row + smaller(i, valid - 1)) + begin;
    transpose_rows(dst, rows, depth);
}

// fp32 is transposed first, so that two depths meet in a word when they are rounded.
void pack_group_f32(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    constexpr int64_t kAhead = 64;
    const float* rows[kLanes];
    for (int64_t i = 0; i < kLanes; i++) rows[i] = f32_row(w, row + smaller(i, valid - 1)) + begin;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        if ((k & 15) == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[i] + k + kAhead);
        Vec quads[4];
        transpose_quads(quads, rows, k);
        store(dst + k / 2 * kTileCols, round_to_words(quads[0], quads[1]));
        store(dst + (k / 2 + 1) * kTileCols, round_to_words(quads[2], quads[3]));
    }
    for (; k < depth; k += 2)
        for (int i = 0; i < kLanes; i++) {
            uint16_t two[2] = {};
            round_run(two, rows[i] + k, smaller(2, depth - k));
            dst[k / 2 * kTileCols + i] = word_of(two[0], two[1]);
        }
}

// Any other format and shape: rows rounded in runs, then transposed.
void pack_group_rounded(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    uint16_t stage[kLanes][kRun];
    const uint16_t* rows[kLanes];
    for (int i = 0; i < kLanes; i++) rows[i] = stage[i];
    for (int64_t k = 0; k < depth; k += kRun) {
        const int64_t count = smaller(kRun, depth - k);
        for (int64_t i = 0; i < kLanes; i++) read_bf16(stage[i], w, row + smaller(i, valid - 1), begin + k, count);
        transpose_rows(dst + k / 2 * kTileCols, rows, count);
    }
}

void pack_transposed(float* dst, const ftc_weight& w, int64_t column, int64_t count, int64_t begin, int64_t depth,
                     int64_t panel_words) {
    for (int64_t j = 0; j < count; j += kLanes) {
        float* group = dst + j / kTileCols * panel_words * kTileCols + j % kTileCols;
        const int64_t valid = smaller(kLanes, count - j);
        if (w.format == FTC_WEIGHT_BF16)
            pack_group_bf16(group, w, column + j, valid, begin, depth);
        else if (w.format == FTC_WEIGHT_F32)
            pack_group_f32(group, w, column + j, valid, begin, depth);
        else if (w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w))
            pack_nf4_rows(group, w, column + j, valid, begin, depth);
        else
            pack_group_rounded(group, w, column + j, valid, begin, depth);
    }
}

// ---- Natural: two rows of W are a word -----------------------------------------------------------------------------

constexpr int64_t kSlice = kDropoutFeatures;
static_assert(kSlice <= kRun && kSlice % 64 == 0);

// The second row of an odd depth.
alignas(64) constexpr uint16_t kZeros[kSlice] = {};

// One word of `count` columns, spread over the micropanels (panel words apart).
void spread_rows(float* dst, const uint16_t* first, const uint16_t* second, int64_t count, int64_t panel) {
    for (int64_t j = 0; j < count; j += kTileCols, dst += panel) {
        const int64_t left = smaller(kTileCols, count - j);
        const __mmask32 mask = static_cast<__mmask32>((uint64_t{1} << left) - 1);
        const __m512i low = _mm512_maskz_loadu_epi16(mask, first + j),
                      high = _mm512_maskz_loadu_epi16(mask, second + j);
        _mm512_storeu_si512(dst, pair_low(low, high));
        _mm512_storeu_si512(dst + kLanes, pair_high(low, high));
    }
}

// Rows of whole blocks; column is a multiple of kTileCols, so a micropanel's row lies in one block of 64.
void spread_nf4(float* dst, const ftc_weight& w, const Nf4Table& table, int64_t row, int64_t column, int64_t count,
                int64_t panel, bool has_second) {
    const int64_t first = row * w.cols + column;
    const uint8_t* bytes = static_cast<const uint8_t*>(w.data) + first / 2;
    const uint8_t* next = bytes + (has_second ? w.cols / 2 : 0);
    for (int64_t j = 0; j < count; j += kTileCols, dst += panel) { // cols % 64 == 0: whole micropanels
        const Nf4TwoRows rows(w, table, (first + j) / 64, has_second);
        for (int v = 0; v < kTileVecs; v++) {
            const int64_t at = (j + v * kLanes) / 2;
            store(dst + v * kLanes, rows.word(bytes + at, next + at));
        }
    }
}

// A row of any format, staged or plain, as bf16.
void stage_bf16(uint16_t* y, const ColumnSource& source, int64_t row, int64_t column, int64_t count) {
    if (source.is_plain()) {
        read_bf16(y, source.weight, row, column, count);
        return;
    }
    float stage[kSlice];
    if (source.weight.format == FTC_WEIGHT_BF16)
        stage_row(stage, source, bf16_row(source.weight, row), row, column, count);
    else
        stage_row(stage, source, f32_row(source.weight, row), row, column, count);
    round_run(y, stage, count);
}

// Depths `row` and, if there is one, row + 1 of columns [column, column + count), count <= kSlice, into the micropanels
// from `to` on.
void pack_two_rows(float* to, const ColumnSource& source, int64_t row, bool has_second, int64_t column, int64_t count,
                   int64_t panel, bool prefetch) {
    constexpr int64_t kAhead = 16; // rows: the next chunk
    const ftc_weight& w = source.weight;
    if (w.format == FTC_WEIGHT_BF16 && source.is_plain()) {
        const uint16_t* x = bf16_row(w, row) + column;
        const uint16_t* second = has_second ? x + w.row_stride : kZeros;
        if (prefetch)
            for (int64_t j = 0; j < count; j += 32) {
                __builtin_prefetch(x + kAhead * w.row_stride + j);
                __builtin_prefetch(second + kAhead * w.row_stride + j);
            }
        spread_rows(to, x, second, count, panel);
        return;
    }
    if (w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w)) {
        if (prefetch) {
            const uint8_t* ahead = static_cast<const uint8_t*>(w.data) + ((row + kAhead) * w.cols + column) / 2;
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + w.cols / 2);
        }
        spread_nf4(to, w, nf4_table(w.quant_map), row, column, count, panel, has_second);
        return;
    }
    uint16_t stage[2][kSlice] = {};
    stage_bf16(stage[0], source, row, column, count);
    if (has_second) stage_bf16(stage[1], source, row + 1, column, count);
    spread_rows(to, stage[0], stage[1], count, panel);
}

// Sixteen rows at a time, and of them a slice of columns at a time, as pack_columns_cpu.cpp does and for its reasons.
void pack_natural(float* dst, const ColumnSource& source, int64_t column, int64_t count, int64_t begin, int64_t depth,
                  int64_t panel_words) {
    constexpr int64_t kChunk = 16;
    const int64_t panel = panel_words * kTileCols;
    for (int64_t chunk = 0; chunk < depth; chunk += kChunk) {
        const int64_t end = smaller(depth, chunk + kChunk);
        const bool prefetch = chunk + kChunk < depth;
        for (int64_t slice = 0; slice < count; slice += kSlice) {
            const int64_t width = smaller(kSlice, count - slice);
            for (int64_t k = chunk; k < end; k += 2)
                pack_two_rows(dst + slice / kTileCols * panel + k / 2 * kTileCols, source, begin + k, k + 1 < end,
                              column + slice, width, panel, prefetch);
        }
    }
}

} // namespace

void pack_columns(float* dst, const ColumnSource& source, int64_t column, int64_t count, int64_t begin, int64_t depth,
                  int64_t panel_words) {
    if (source.transposed)
        pack_transposed(dst, source.weight, column, count, begin, depth, panel_words);
    else
        pack_natural(dst, source, column, count, begin, depth, panel_words);
}

} // namespace ftc::FTC_ISA_NAMESPACE
