// The sum of a contiguous fp32 array in the order in which PyTorch adds it on one thread of an AVX2 machine.
//
// Vectors of 8 lanes are dealt in turn to four accumulators. From 16 vectors per accumulator on, the accumulators
// cascade: after `step` vectors a level is added into the next and cleared, at most four levels deep. Levels, then
// accumulators, are added into the first; vectors left over go there too; the scalar tail comes first when the lanes
// are added up.
#pragma once

#include <cstdint>

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

constexpr int kSumLanes = 8;
constexpr int kSumAccumulators = 4;
constexpr int kSumLevels = 4;

using SumRow = float[kSumAccumulators][kSumLanes];

inline void add_to(SumRow& to, const SumRow& from) {
    for (int a = 0; a < kSumAccumulators; a++)
        for (int i = 0; i < kSumLanes; i++) to[a][i] += from[a][i];
}

// Adds 4 x 8 consecutive floats.
inline void add_values(SumRow& to, const float* x) {
    for (int a = 0; a < kSumAccumulators; a++)
        for (int i = 0; i < kSumLanes; i++) to[a][i] += x[a * kSumLanes + i];
}

inline int64_t ceil_log2(int64_t x) {
    int64_t power = 0;
    while ((int64_t{1} << power) < x) power++;
    return power;
}

inline float torch_sum(const float* x, int64_t count) {
    const int64_t vectors = count / kSumLanes;
    const int64_t rows = vectors / kSumAccumulators;
    const int64_t row_floats = kSumAccumulators * kSumLanes;
    const int64_t power = ceil_log2(rows) / kSumLevels > 4 ? ceil_log2(rows) / kSumLevels : 4;
    const int64_t step = int64_t{1} << power;

    SumRow level[kSumLevels] = {};
    int64_t row = 0;
    while (row + step <= rows) {
        for (const int64_t end = row + step; row < end; row++) add_values(level[0], x + row * row_floats);
        for (int j = 1; j < kSumLevels; j++) {
            add_to(level[j], level[j - 1]);
            for (auto& lanes : level[j - 1])
                for (float& lane : lanes) lane = 0.0f;
            if ((row & ((step - 1) << (j * power))) != 0) break;
        }
    }
    for (; row < rows; row++) add_values(level[0], x + row * row_floats);
    for (int j = 1; j < kSumLevels; j++) add_to(level[0], level[j]);

    float(&sum)[kSumLanes] = level[0][0];
    for (int64_t v = rows * kSumAccumulators; v < vectors; v++)
        for (int i = 0; i < kSumLanes; i++) sum[i] += x[v * kSumLanes + i];
    for (int a = 1; a < kSumAccumulators; a++)
        for (int i = 0; i < kSumLanes; i++) sum[i] += level[0][a][i];

    float total = 0.0f;
    for (int64_t i = vectors * kSumLanes; i < count; i++) total += x[i];
    for (int i = 0; i < kSumLanes; i++) total += sum[i];
    return total;
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
