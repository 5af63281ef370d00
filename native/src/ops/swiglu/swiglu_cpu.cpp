#include "ops/swiglu/swiglu.h"

#include "core/rows.h"
#include "core/simd.h"
#include "ftc.h"

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

template <class T>
void forward_rows(Pool& pool, const SwigluForwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const T* gate = static_cast<const T*>(a.gate) + row * a.gate_row_stride;
        const T* up = static_cast<const T*>(a.up) + row * a.gate_row_stride;
        T* y = static_cast<T*>(a.y) + row * a.y_row_stride;
        for_each_group(
            a.cols, FTC_GROUP(int64_t i, int64_t n) {
                store_group(swiglu(load_group(gate + i, n), load_group(up + i, n)), y + i, n);
            });
    });
}

template <class T>
void backward_rows(Pool& pool, const SwigluBackwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const T* dy = static_cast<const T*>(a.dy) + row * a.dy_row_stride;
        const T* gate = static_cast<const T*>(a.gate) + row * a.gate_row_stride;
        const T* up = static_cast<const T*>(a.up) + row * a.gate_row_stride;
        T* dgate = static_cast<T*>(a.dgate) + row * a.dgate_row_stride;
        T* dup = static_cast<T*>(a.dup) + row * a.dgate_row_stride;
        for_each_group(
            a.cols, FTC_GROUP(int64_t i, int64_t n) {
                const Gradient g =
                    swiglu_gradient(load_group(dy + i, n), load_group(gate + i, n), load_group(up + i, n));
                store_group(g.dgate, dgate + i, n);
                store_group(g.dup, dup + i, n);
            });
    });
}

void forward(Pool& pool, const SwigluForwardArgs& a) {
    a.dtype == FTC_BF16 ? forward_rows<bf16>(pool, a) : forward_rows<float>(pool, a);
}

void backward(Pool& pool, const SwigluBackwardArgs& a) {
    a.dtype == FTC_BF16 ? backward_rows<bf16>(pool, a) : backward_rows<float>(pool, a);
}

} // namespace

SwigluKernels swiglu_kernels() {
    return {forward, backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
