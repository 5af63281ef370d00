// Row-wise work on the pool: rows are grouped so that a part is worth its hand-over, whatever the number of threads.
#pragma once

#include <cstdint>

#include "core/pool.h"

namespace ftc {

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

} // namespace ftc
