#include "ops/swiglu/swiglu.h"

#include "core/rows.h"
#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

FTC_INLINE f32x16 swiglu(f32x16 gate, f32x16 up) {
    const f32x16 silu = div(gate, add(set(1.0f), exp(sub(set(0.0f), gate))));
    return mul(silu, up);
}

struct Gradient {
    f32x16 dgate, dup;
};

FTC_INLINE Gradient swiglu_gradient(f32x16 dy, f32x16 gate, f32x16 up) {
    const f32x16 one = set(1.0f);
    const f32x16 s = div(one, add(one, exp(sub(set(0.0f), gate))));
    const f32x16 slope = mul(s, fma(gate, sub(one, s), one));
    return {mul(mul(dy, up), slope), mul(dy, mul(gate, s))};
}

void forward(Pool& pool, const SwigluForwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const float* gate = a.gate + row * a.gate_row_stride;
        const float* up = a.up + row * a.gate_row_stride;
        float* y = a.y + row * a.y_row_stride;
        int64_t i = 0;
        for (; i + kLanes <= a.cols; i += kLanes) store(swiglu(load(gate + i), load(up + i)), y + i);
        if (i < a.cols) {
            const int64_t rest = a.cols - i;
            store_partial(swiglu(load_partial(gate + i, rest), load_partial(up + i, rest)), y + i, rest);
        }
    });
}

void backward(Pool& pool, const SwigluBackwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const float* dy = a.dy + row * a.dy_row_stride;
        const float* gate = a.gate + row * a.gate_row_stride;
        const float* up = a.up + row * a.gate_row_stride;
        float* dgate = a.dgate + row * a.dgate_row_stride;
        float* dup = a.dup + row * a.dgate_row_stride;
        int64_t i = 0;
        for (; i + kLanes <= a.cols; i += kLanes) {
            const Gradient g = swiglu_gradient(load(dy + i), load(gate + i), load(up + i));
            store(g.dgate, dgate + i);
            store(g.dup, dup + i);
        }
        if (i < a.cols) {
            const int64_t rest = a.cols - i;
            const Gradient g = swiglu_gradient(load_partial(dy + i, rest), load_partial(gate + i, rest),
                                               load_partial(up + i, rest));
            store_partial(g.dgate, dgate + i, rest);
            store_partial(g.dup, dup + i, rest);
        }
    });
}

} // namespace

SwigluKernels swiglu_kernels() { return {forward, backward}; }

} // namespace ftc::FTC_ISA_NAMESPACE
