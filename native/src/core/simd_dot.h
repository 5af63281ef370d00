// Dot product of two arrays in one fixed order: four chains of sixteen lanes, folded pairwise.
#pragma once

#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

template <class T>
FTC_INLINE float dot(const T* a, const T* b, int64_t count) {
    f32x16 s0 = set(0.0f), s1 = s0, s2 = s0, s3 = s0;
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
        s0 = fma(load(a + i), load(b + i), s0);
        s1 = fma(load(a + i + kLanes), load(b + i + kLanes), s1);
        s2 = fma(load(a + i + 2 * kLanes), load(b + i + 2 * kLanes), s2);
        s3 = fma(load(a + i + 3 * kLanes), load(b + i + 3 * kLanes), s3);
    }
    for (; i + kLanes <= count; i += kLanes) s0 = fma(load(a + i), load(b + i), s0);
    if (i < count) s1 = fma(load_partial(a + i, count - i), load_partial(b + i, count - i), s1);
    return sum(add(add(s0, s1), add(s2, s3)));
}

} // namespace ftc::FTC_ISA_NAMESPACE
