#include "ops/loss/softmax_nll.h"

#include <math.h>

#include "core/scalar_math.h"
#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kBlock =
    1024; // columns summed in fp32 before they join the double; also what the search for the maximum narrows to

FTC_INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

float block_maximum(const float* x, int64_t count) {
    f32x16 top = set(-INFINITY);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) top = max(load(x + i), top);
    float largest = max_lane(top);
    for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

struct Maximum {
    float value;
    int32_t index; // first place it stands at
};

Maximum row_maximum(const float* x, int64_t count) {
    float value = -INFINITY;
    int64_t block = 0;
    for (int64_t i = 0; i < count; i += kBlock) {
        const float top = block_maximum(x + i, smaller(kBlock, count - i));
        if (top > value) {
            value = top;
            block = i;
        }
    }
    int64_t index = block;
    while (index < count && x[index] < value) ++index;
    return {value, int32_t(index < count ? index : block)};
}

// Sum of exp(x - maximum), blocks in double; with kStore the exponentials replace x.
template <bool kStore>
double exponentials(float* x, int64_t count, float maximum) {
    const f32x16 base = set(maximum);
    double total = 0.0;
    for (int64_t begin = 0; begin < count; begin += kBlock) {
        const int64_t end = smaller(begin + kBlock, count);
        f32x16 s0 = set(0.0f), s1 = s0;
        int64_t i = begin;
        for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
            const f32x16 e0 = exp(sub(load(x + i), base)), e1 = exp(sub(load(x + i + kLanes), base));
            s0 = add(s0, e0);
            s1 = add(s1, e1);
            if (kStore) {
                store(e0, x + i);
                store(e1, x + i + kLanes);
            }
        }
        for (; i < end; i += kLanes) {
            const int64_t rest = smaller(kLanes, end - i);
            alignas(64) float lanes[kLanes] = {};
            store(exp(sub(load_partial(x + i, rest), base)), lanes);
            const f32x16 e = load_partial(lanes, rest); // lanes past the end count nothing
            s0 = add(s0, e);
            if (kStore) store_partial(e, x + i, rest);
        }
        total += double(sum(add(s0, s1)));
    }
    return total;
}

void scale_row(float* x, int64_t count, float factor) {
    const f32x16 f = set(factor);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(mul(load(x + i), f), x + i);
    if (i < count) store_partial(mul(load_partial(x + i, count - i), f), x + i, count - i);
}

void softmax_nll(Pool& pool, const SoftmaxNllArgs& a) {
    parallel_for(pool, a.rows, [&](int64_t row, int32_t) {
        float* x = a.logits + row * a.row_stride;
        const int32_t target = a.targets[row];
        const float target_logit = x[target];
        const Maximum top = row_maximum(x, a.cols);
        const double total =
            a.gradient ? exponentials<true>(x, a.cols, top.value) : exponentials<false>(x, a.cols, top.value);
        a.nll[row] = float(natural_log(total) + (double(top.value) - double(target_logit)));
        if (a.predictions != nullptr) a.predictions[row] = top.index;
        if (!a.gradient) return;
        const double probability = double(x[target]) / total;
        scale_row(x, a.cols, float(double(a.gradient_scale) / total));
        x[target] = float(double(a.gradient_scale) * (probability - 1.0));
    });
}

} // namespace

LossKernels loss_kernels() {
    return {softmax_nll};
}

} // namespace ftc::FTC_ISA_NAMESPACE
