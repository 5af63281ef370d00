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

// Rows [begin, end) in tiles of even height, at most `most` rows each: use(row, rows).
template <class Use>
void for_each_tile(int64_t begin, int64_t end, int64_t most, const Use& use) {
    int64_t tiles = divide_up(end - begin, most);
    for (int64_t row = begin; row < end; tiles--) {
        const int64_t rows = divide_up(end - row, tiles);
        use(row, rows);
        row += rows;
    }
}

// Such tiles one behind the other: of A, [depth, rows] in words, and of the adapter's scaled S, [rank, rows].
inline void pack_tiles(float* a, float* s, const Block& block, int64_t begin, int64_t end, int64_t most) {
    const GemmAdapter* adapter = block.adapter();
    for_each_tile(begin, end, most, [&](int64_t row, int64_t rows) {
        pack_panel(a + (row - begin) * block.depth, rows, block, row, rows);
        if (adapter != nullptr)
            pack_scaled(s + (row - begin) * adapter->rank, rows,
                        adapter->s + (row - adapter->row_begin) * adapter->rank, adapter->rank, static_cast<int>(rows),
                        adapter->rank, adapter->scaling);
    });
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
