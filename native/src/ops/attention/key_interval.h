// Which keys a query row sees, and how a 64x64 tile lies to that.
#pragma once

#include "core/simd.h"
#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

// First and last key of a query row; last < first when it sees none.
struct KeyInterval {
    int64_t first, last;
};

FTC_INLINE KeyInterval key_interval(const ftc_attention_params& shape, const int32_t* key_begin, int64_t row) {
    return {key_begin == nullptr ? 0 : int64_t(key_begin[row]), shape.first_query + row};
}

enum class Cover { none, part, all };

// How the intervals of query rows [row, row + rows) cover keys [key, key + 64): both ends of the intervals never
// decrease.
FTC_INLINE Cover tile_cover(const ftc_attention_params& shape, const int32_t* key_begin, int64_t row, int64_t rows,
                            int64_t key) {
    const KeyInterval top = key_interval(shape, key_begin, row),
                      bottom = key_interval(shape, key_begin, row + rows - 1);
    if (key > bottom.last || key + 63 < top.first) return Cover::none;
    return key >= bottom.first && key + 63 <= top.last ? Cover::all : Cover::part;
}

// Lane i of group `column` of a tile keeps its value where key + column + i lies in the interval, and becomes `outside`
// elsewhere.
FTC_INLINE f32x16 keep_inside(f32x16 value, KeyInterval interval, int64_t key, int64_t column, float outside) {
    const f32x16 at = add(lane_numbers(), set(float(column)));
    const f32x16 begin = set(float(interval.first - key)), end = set(float(interval.last - key));
    const f32x16 kept = select_less(at, begin, set(outside), value);
    return select_less(end, at, set(outside), kept);
}

} // namespace ftc::FTC_ISA_NAMESPACE
