// Work on the rows or columns of a matrix, shared out over the pool: rows are grouped so that a part is worth its
// hand-over, whatever the number of threads.
#pragma once

#include <cstdint>

#include "core/pool.h"

namespace ftc {

constexpr int64_t kMaxColumnBlock = 512;

// Calls body(row) for every row; row_elements are the elements of one row.
template <class Body>
[[gnu::always_inline]] inline void for_each_row(Pool& pool, int64_t rows, int64_t row_elements, const Body& body) {
    constexpr int64_t kPartElements = 16384; // 64 KB of fp32: some 2 us, twice the price of a region
    const int64_t group = row_elements >= kPartElements ? 1 : kPartElements / (row_elements > 0 ? row_elements : 1);
    parallel_for(pool, (rows + group - 1) / group, [&](int64_t part, int32_t) {
        const int64_t end = (part + 1) * group < rows ? (part + 1) * group : rows;
        for (int64_t row = part * group; row < end; ++row) body(row);
    });
}

// Calls body(first, count) for blocks of columns that depend on cols alone: 64 to 512 wide, so that a row's piece is a
// run the prefetcher follows. For sums over rows: every block keeps its own, and walks the rows in order.
template <class Body>
[[gnu::always_inline]] inline void for_each_column_block(Pool& pool, int64_t cols, const Body& body) {
    constexpr int64_t kBlocks = 16; // enough for the threads of an ordinary machine
    int64_t width = (cols / kBlocks + 63) / 64 * 64;
    width = width < 64 ? 64 : width > kMaxColumnBlock ? kMaxColumnBlock : width;
    parallel_for(pool, (cols + width - 1) / width, [&](int64_t part, int32_t) {
        const int64_t first = part * width;
        body(first, cols - first < width ? cols - first : width);
    });
}

} // namespace ftc
