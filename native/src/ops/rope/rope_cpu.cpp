#include "ops/rope/rope.h"

#include "core/rows.h"
#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

template <bool kForward>
FTC_INLINE void turn(float* x, const float* cos, const float* sin, int64_t half, int64_t i, int64_t count) {
    const bool whole = count == kLanes;
    const f32x16 a = whole ? load(x + i) : load_partial(x + i, count);
    const f32x16 b = whole ? load(x + half + i) : load_partial(x + half + i, count);
    const f32x16 c = whole ? load(cos + i) : load_partial(cos + i, count);
    const f32x16 s = whole ? load(sin + i) : load_partial(sin + i, count);
    const f32x16 ac = mul(a, c), bc = mul(b, c);
    const f32x16 first = kForward ? fnma(b, s, ac) : fma(b, s, ac);
    const f32x16 second = kForward ? fma(a, s, bc) : fnma(a, s, bc);
    if (whole) {
        store(first, x + i);
        store(second, x + half + i);
    } else {
        store_partial(first, x + i, count);
        store_partial(second, x + half + i, count);
    }
}

template <bool kForward>
void rope(Pool& pool, const RopeArgs& a) {
    const int64_t half = a.rope_dim / 2;
    for_each_row(pool, a.rows, a.heads * a.head_dim, [&](int64_t row) {
        const float* cos = a.cos + a.positions[row] * half;
        const float* sin = a.sin + a.positions[row] * half;
        for (int64_t head = 0; head < a.heads; ++head) {
            float* x = a.x + row * a.row_stride + head * a.head_dim;
            int64_t i = 0;
            for (; i + kLanes <= half; i += kLanes) turn<kForward>(x, cos, sin, half, i, kLanes);
            if (i < half) turn<kForward>(x, cos, sin, half, i, half - i);
        }
    });
}

} // namespace

RopeKernels rope_kernels() { return {rope<true>, rope<false>}; }

} // namespace ftc::FTC_ISA_NAMESPACE
