// Means of neighbouring features: what a QA-LoRA adapter sees of X.
#pragma once

#include <cstdint>

#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

constexpr int kPoolLanes = 16; // of the sums, on every instruction set

// y[g] = the mean of x[g * pool .. g * pool + pool - 1]; pool is a power of two, at least kPoolLanes.
template <class T>
void pool_features(float* y, const T* x, int64_t groups, int32_t pool) {
    const float share = 1.0f / static_cast<float>(pool);
    for (int64_t g = 0; g < groups; g++, x += pool) {
        float sum[kPoolLanes] = {};
        for (int32_t k = 0; k < pool; k += kPoolLanes)
            for (int i = 0; i < kPoolLanes; i++) sum[i] += value_of(x[k + i]);
        for (int half = kPoolLanes / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) sum[i] += sum[i + half];
        y[g] = share * sum[0];
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
