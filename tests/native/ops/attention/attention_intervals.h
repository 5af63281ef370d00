// key_begin of rows for the uses of attention over an interval.
#pragma once

#include <algorithm>

#include "matrix.h"

namespace ftc::testing {

// Documents of the given lengths, packed one after the other.
inline Vector<int32_t> documents(const std::vector<int32_t>& lengths) {
    Vector<int32_t> begin;
    int32_t start = 0;
    for (const int32_t length : lengths) {
        begin.insert(begin.end(), size_t(length), start);
        start += length;
    }
    return begin;
}

inline Vector<int32_t> window(int64_t rows, int64_t first_query, int64_t width) {
    Vector<int32_t> begin;
    for (int64_t i = 0; i < rows; ++i)
        begin.push_back(static_cast<int32_t>(std::max<int64_t>(0, first_query + i - width + 1)));
    return begin;
}

// One half of the heads of shifted sparse attention: groups of `group` rows, the first one shorter by `shift`.
// Chen et al. 2023, arXiv:2309.12307, without wrapping around.
inline Vector<int32_t> shifted_groups(int64_t rows, int64_t group, int64_t shift) {
    Vector<int32_t> begin;
    for (int64_t i = 0; i < rows; ++i)
        begin.push_back(static_cast<int32_t>(std::max<int64_t>(0, (i + shift) / group * group - shift)));
    return begin;
}

} // namespace ftc::testing
