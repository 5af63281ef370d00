// Packing of more rows of A than a register holds.
#pragma once

#include "ops/linear/gemm_block.h"
#include "ops/linear/pack_rows.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

template <class T>
void pack_panel_of(float* dst, int64_t width, const T* a, const Block& block, int64_t row, int64_t rows) {
    const int64_t stride = block.args.a_stride;
    // From the last register of rows to the first: what a whole register writes too far belongs to the next word.
    for (int64_t i = (rows - 1) / kLanes * kLanes; i >= 0; i -= kLanes)
        pack_row_major(dst + i, width, a + (row + i) * stride + block.begin, stride,
                       static_cast<int>(smaller(kLanes, rows - i)), block.depth);
}

// The block's depth of rows [row, row + rows) of A, `width` words a depth; writes kPackSlack words past the end.
inline void pack_panel(float* dst, int64_t width, const Block& block, int64_t row, int64_t rows) {
    if (block.args.a_dtype == FTC_F32)
        pack_panel_of(dst, width, static_cast<const float*>(block.args.a), block, row, rows);
    else
        pack_panel_of(dst, width, static_cast<const uint16_t*>(block.args.a), block, row, rows);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
