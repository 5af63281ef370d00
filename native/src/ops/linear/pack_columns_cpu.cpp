#include "ops/linear/pack_columns.h"

#include "ops/linear/pack_nf4_rows.h"
#include "ops/linear/stage_row.h"
#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- Transposed: a register holds one depth of kLanes rows of W -----------------------------------------------------

// kLanes columns of one micropanel from fp32 rows; rows past `valid` are repeated and their lanes never reach C.
void transpose_f32(float* dst, const float* const* rows, int64_t depth) {
    constexpr int64_t kAhead = 64; // floats: the next lines of every row, four lines early
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        if ((k & 15) == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[i] + k + kAhead);
        Vec quads[4];
        transpose_quads(quads, rows, k);
        for (int d = 0; d < 4; d++) store(dst + (k + d) * kTileCols, quads[d]);
    }
    for (; k < depth; k++)
        for (int i = 0; i < kLanes; i++) dst[k * kTileCols + i] = rows[i][k];
}

void pack_group_f32(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    const float* rows[kLanes];
    for (int64_t i = 0; i < kLanes; i++) rows[i] = f32_row(w, row + smaller(i, valid - 1)) + begin;
    transpose_f32(dst, rows, depth);
}

// Pairs of bf16 are transposed as 32-bit words and widened afterwards.
void pack_group_bf16(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    const uint16_t* rows[kLanes];
    const float* pairs[kLanes];
    for (int64_t i = 0; i < kLanes; i++) {
        rows[i] = bf16_row(w, row + smaller(i, valid - 1)) + begin;
        pairs[i] = reinterpret_cast<const float*>(rows[i]);
    }
    int64_t k = 0;
    for (; k + 8 <= depth; k += 8) {
        if ((k & 31) == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[i] + k + 128);
        Vec words[4];
        transpose_quads(words, pairs, k / 2);
        for (int d = 0; d < 4; d++) {
            store(dst + (k + 2 * d) * kTileCols, first_bf16(words[d]));
            store(dst + (k + 2 * d + 1) * kTileCols, second_bf16(words[d]));
        }
    }
    for (; k < depth; k++)
        for (int i = 0; i < kLanes; i++) dst[k * kTileCols + i] = value_of(rows[i][k]);
}

// Any packed format and shape: rows decoded in runs, then transposed.
void pack_group_decoded(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
    constexpr int64_t kStage = 64;
    float stage[kLanes][kStage];
    const float* rows[kLanes];
    for (int i = 0; i < kLanes; i++) rows[i] = stage[i];
    for (int64_t k = 0; k < depth; k += kStage) {
        const int64_t count = smaller(kStage, depth - k);
        for (int64_t i = 0; i < kLanes; i++) decode_row(stage[i], w, row + smaller(i, valid - 1), begin + k, count);
        transpose_f32(dst + k * kTileCols, rows, count);
    }
}

void pack_group_nf4(float* dst, const ftc_weight& w, int64_t row, int64_t valid, int64_t begin, int64_t depth) {
#if FTC_NF4_VECTORS
    if (nf4_rows_aligned(w)) {
        pack_nf4_rows(dst, w, row, valid, begin, depth);
        return;
    }
#endif
    pack_group_decoded(dst, w, row, valid, begin, depth);
}

void pack_transposed(float* dst, const ftc_weight& w, int64_t column, int64_t count, int64_t begin, int64_t depth,
                     int64_t panel_depth) {
    for (int64_t j = 0; j < count; j += kLanes) {
        float* group = dst + j / kTileCols * panel_depth * kTileCols + j % kTileCols;
        const int64_t valid = smaller(kLanes, count - j);
        switch (w.format) {
        case FTC_WEIGHT_F32:
            pack_group_f32(group, w, column + j, valid, begin, depth);
            break;
        case FTC_WEIGHT_BF16:
            pack_group_bf16(group, w, column + j, valid, begin, depth);
            break;
        case FTC_WEIGHT_NF4:
            pack_group_nf4(group, w, column + j, valid, begin, depth);
            break;
        default:
            pack_group_decoded(group, w, column + j, valid, begin, depth);
        }
    }
}

// ---- Natural: a row of W is a depth ---------------------------------------------------------------------------------

constexpr int64_t kSlice = 64 > kDropoutFeatures ? 64 : kDropoutFeatures;
constexpr int64_t kChunk = 16;

// What is packed before anything else: so many depths of so many columns. prefetch: another chunk follows.
struct Slice {
    int64_t depth, depths, column, columns;
    bool prefetch;
};

// One depth of `count` columns, spread over the micropanels (panel floats apart).
void spread_f32(float* dst, const float* x, int64_t count, int64_t panel) {
    int64_t j = 0;
    for (; j + kTileCols <= count; j += kTileCols, dst += panel)
        for (int v = 0; v < kTileVecs; v++) store(dst + v * kLanes, load(x + j + v * kLanes));
    if (j == count) return;
    for (int64_t i = 0; i < kTileCols; i++) dst[i] = j + i < count ? x[j + i] : 0.0f;
}

void spread_bf16(float* dst, const uint16_t* x, int64_t count, int64_t panel) {
    int64_t j = 0;
    for (; j + kTileCols <= count; j += kTileCols, dst += panel)
        for (int v = 0; v < kTileVecs; v++) store(dst + v * kLanes, widen_bf16(x + j + v * kLanes));
    if (j == count) return;
    for (int64_t i = 0; i < kTileCols; i++) dst[i] = j + i < count ? value_of(x[j + i]) : 0.0f;
}

#if FTC_NF4_VECTORS
// Rows of whole blocks; column is a multiple of kTileCols, so a micropanel's row lies in one block of 64.
void spread_nf4(float* dst, const ftc_weight& w, const Nf4Table& table, int64_t row, int64_t column, int64_t count,
                int64_t panel) {
    const int64_t first = row * w.cols + column;
    const uint8_t* bytes = static_cast<const uint8_t*>(w.data) + first / 2;
    for (int64_t j = 0; j < count; j += kTileCols, dst += panel) { // cols % 64 == 0: whole micropanels
        const float absmax = nf4_absmax(w, (first + j) / 64);
        Vec values[kTileVecs]; // shuffled where shuffles_columns says so
#if defined(FTC_ISA_avx512)
        nf4_decode_shuffled(values, bytes + j / 2, nf4_scaled(table, absmax));
        for (int v = 0; v < kTileVecs; v++) store(dst + v * kLanes, values[v]);
#else
        nf4_look_up_columns<kTileVecs>(values, table, bytes + j / 2);
        for (int v = 0; v < kTileVecs; v++) store(dst + v * kLanes, mul(values[v], broadcast(absmax)));
#endif
    }
}

#if defined(FTC_ISA_avx2)
// `rows` blocks of 64, one below the other.
void spread_blocks(float* dst, const ftc_weight& w, const Nf4Table& table, int64_t row, int64_t rows, int64_t column,
                   int64_t panel) {
    const int64_t blocks_per_row = w.cols / 64;
    int64_t block = row * blocks_per_row + column / 64;
    const uint8_t* bytes = static_cast<const uint8_t*>(w.data) + block * 32;
    for (int64_t k = 0; k < rows; k++, block += blocks_per_row, bytes += w.cols / 2, dst += kTileCols) {
        __builtin_prefetch(bytes + kChunk * w.cols / 2);
        const Vec absmax = broadcast(nf4_absmax(w, block));
        for (int half = 0; half < 2; half++) {
            Vec values[4];
            nf4_look_up_columns<4>(values, table, bytes + 16 * half);
            for (int v = 0; v < 4; v++)
                store(dst + (2 * half + v / 2) * panel + v % 2 * kLanes, mul(values[v], absmax));
        }
    }
}
#endif
#endif

// Depth `row`, columns [column, column + count), count <= kSlice, into the micropanels from `to` on. prefetch: there is
// a row of the next chunk.
void pack_row(float* to, const ColumnSource& source, int64_t row, int64_t column, int64_t count, int64_t panel,
              bool prefetch) {
    const ftc_weight& w = source.weight;
    float stage[kSlice];
    switch (w.format) {
    case FTC_WEIGHT_F32: {
        const float* x = f32_row(w, row) + column;
        if (!source.is_plain()) {
            stage_row(stage, source, f32_row(w, row), row, column, count);
            x = stage;
        } else if (prefetch) {
            for (int64_t j = 0; j < count; j += 16) __builtin_prefetch(x + kChunk * w.row_stride + j);
        }
        spread_f32(to, x, count, panel);
        return;
    }
    case FTC_WEIGHT_BF16: {
        const uint16_t* x = bf16_row(w, row) + column;
        if (!source.is_plain()) {
            stage_row(stage, source, bf16_row(w, row), row, column, count);
            spread_f32(to, stage, count, panel);
            return;
        }
        if (prefetch)
            for (int64_t j = 0; j < count; j += 32) __builtin_prefetch(x + kChunk * w.row_stride + j);
        spread_bf16(to, x, count, panel);
        return;
    }
    default:
        decode_row(stage, w, row, column, count);
        spread_f32(to, stage, count, panel);
    }
}

// kChunk rows at a time, and of them a slice of columns at a time: reads stay in lines that are in L1, and each
// micropanel is written in runs (micropanels lie a multiple of 4096 bytes apart, so writing many side by side would
// thrash one set).
template <class Use>
void for_each_slice(float* dst, int64_t count, int64_t depth, int64_t panel, const Use& use) {
    for (int64_t chunk = 0; chunk < depth; chunk += kChunk)
        for (int64_t slice = 0; slice < count; slice += kSlice)
            use(dst + slice / kTileCols * panel + chunk * kTileCols,
                Slice{chunk, smaller(kChunk, depth - chunk), slice, smaller(kSlice, count - slice),
                      chunk + kChunk < depth});
}

void pack_natural(float* dst, const ColumnSource& source, int64_t column, int64_t count, int64_t begin, int64_t depth,
                  int64_t panel_depth) {
    const int64_t panel = panel_depth * kTileCols;
#if FTC_NF4_VECTORS
    const ftc_weight& w = source.weight;
    if (w.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(w)) {
        const Nf4Table table = nf4_table(w.quant_map);
        for_each_slice(dst, count, depth, panel, [&](float* to, const Slice& slice) {
            const int64_t row = begin + slice.depth, first = column + slice.column;
#if defined(FTC_ISA_avx2)
            if (first % 64 == 0 && slice.columns == 64) {
                spread_blocks(to, w, table, row, slice.depths, first, panel);
                return;
            }
#endif
            for (int64_t k = 0; k < slice.depths; k++) {
                if (slice.prefetch)
                    __builtin_prefetch(static_cast<const uint8_t*>(w.data) + ((row + k + kChunk) * w.cols + first) / 2);
                spread_nf4(to + k * kTileCols, w, table, row + k, first, slice.columns, panel);
            }
        });
        return;
    }
#endif
    for_each_slice(dst, count, depth, panel, [&](float* to, const Slice& slice) {
        for (int64_t k = 0; k < slice.depths; k++)
            pack_row(to + k * kTileCols, source, begin + slice.depth + k, column + slice.column, slice.columns, panel,
                     slice.prefetch);
    });
}

} // namespace

void pack_columns(float* dst, const ColumnSource& source, int64_t column, int64_t count, int64_t begin, int64_t depth,
                  int64_t panel_depth) {
    if (source.transposed)
        pack_transposed(dst, source.weight, column, count, begin, depth, panel_depth);
    else
        pack_natural(dst, source, column, count, begin, depth, panel_depth);
}

} // namespace ftc::FTC_ISA_NAMESPACE
