// Rows of X as an adapter sees them: pooled, repeated or with features dropped.
#pragma once

#include "ops/linear/dropout_simd.h"
#include "ops/linear/pack_columns.h"
#include "ops/linear/pool_features.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// y[j] = column `column` + j of row x, which is row `row` of the source.
template <class T>
void stage_row(float* y, const ColumnSource& source, const T* x, int64_t row, int64_t column, int64_t count) {
    if (source.repeat > 1) {
        const float share = 1.0f / static_cast<float>(source.repeat);
        for (int64_t j = 0; j < count; j++) y[j] = share * value_of(x[(column + j) / source.repeat]);
        return;
    }
    if (source.pool > 1) pool_features(y, x + column * source.pool, count, source.pool);
    if (source.dropout == nullptr) return;
    if (source.pool > 1)
        apply_dropout<false>(y, y, count, *source.dropout, row, column);
    else
        apply_dropout<false>(y, x + column, count, *source.dropout, row, column);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
