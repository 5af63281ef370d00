// Rows of a weight of any format as bf16, the form in which AVX512-BF16 multiplies them: the fp32 value rounded once more.
#pragma once

#include "ops/linear/word.h"
#include "ops/quant/decode_row.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Elements that are decoded at a time: whole blocks and groups of every format.
constexpr int64_t kRun = 128;

inline const uint16_t* bf16_row(const ftc_weight& w, int64_t row) {
    return static_cast<const uint16_t*>(w.data) + row * w.row_stride;
}
inline const float* f32_row(const ftc_weight& w, int64_t row) {
    return static_cast<const float*>(w.data) + row * w.row_stride;
}

// y[i] = element (row, col + i), count <= kRun.
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

// Words of eight codes each of kLanes rows: the two depths whose codes begin at these bits, times absmax of the rows.
template <int First, int Second>
[[gnu::always_inline]] inline Vec nf4_words(const Nf4Table& table, Codes codes, Vec absmax) {
    return round_to_words(mul(nf4_look_up(table, shift_right<First>(codes)), absmax),
                          mul(nf4_look_up(table, shift_right<Second>(codes)), absmax));
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
