// Packing of the column operand B: micropanels of kTileCols columns, [words of the depth, kTileCols] each, zero past the
// last column.
#pragma once

#include "ftc.h"
#include "ops/linear/dropout.h"

namespace ftc {

// Where the columns come from. transposed: column j, depth k is weight[j, k] (the forward); else weight[k, j].
struct ColumnSource {
    ftc_weight weight;
    bool transposed;
    const Dropout* dropout; // of natural F32 and BF16 rows, else NULL
    // QA-LoRA, of natural rows, 0 or 1 for neither: a column is the mean of `pool` neighbouring elements of the row (F32,
    // BF16), or `repeat` neighbouring columns have one element of it, divided by repeat (F32).
    int32_t pool;
    int32_t repeat;

    bool is_plain() const { return dropout == nullptr && pool <= 1 && repeat <= 1; }
};

} // namespace ftc

namespace ftc::FTC_ISA_NAMESPACE {

// Columns [column, column + count), depths [begin, begin + depth), into ceil(count / kTileCols) micropanels that lie
// panel_words >= words_of_depth(depth) rows apart. column is a multiple of kTileCols, begin of 64.
void pack_columns(float* dst, const ColumnSource& source, int64_t column, int64_t count, int64_t begin, int64_t depth,
                  int64_t panel_words);

} // namespace ftc::FTC_ISA_NAMESPACE
