// Packing of the row operand A: one tile of rows, depth-major, so that the tile kernel reads it in order from L1.
#pragma once

#include <cstdint>

#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Floats that packing may write past the tile.
constexpr int64_t kPackSlack = 2 * kLanes;

// dst[k * rows + i] = a[i * stride + k]. Stores whole registers: what overlaps into the next k is overwritten by it.
inline void pack_row_major(float* dst, const float* a, int64_t stride, int rows, int64_t depth) {
    constexpr int kGroups = (kTileRows + kLanes - 1) / kLanes;
    const float* row[kGroups * kLanes];
    for (int i = 0; i < kGroups * kLanes; i++) row[i] = a + (i < rows ? i : rows - 1) * stride;
    const int groups = (rows + kLanes - 1) / kLanes;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        Vec quads[kGroups][4];
        for (int g = 0; g < groups; g++) transpose_quads(quads[g], row + g * kLanes, k);
        for (int d = 0; d < 4; d++)
            for (int g = 0; g < groups; g++) store(dst + (k + d) * rows + g * kLanes, quads[g][d]);
    }
    for (; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * rows + i] = row[i][k];
}

// dst[k * rows + i] = scale * a[k * stride + i].
inline void pack_depth_major(float* dst, const float* a, int64_t stride, int rows, int64_t depth, float scale) {
    for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * rows + i] = scale * a[k * stride + i];
}

// dst[k * rows + i] = scale * a[i * stride + k], for the few columns of an adapter.
inline void pack_scaled(float* dst, const float* a, int64_t stride, int rows, int64_t depth, float scale) {
    for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++) dst[k * rows + i] = scale * a[i * stride + k];
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
