#include "ops/norm/rms_norm.h"

#include "core/rows.h"
#include "core/simd.h"
#include "core/simd_dot.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// t = x + residual into sum; returns sum of t^2 in the order of dot().
float add_residual(float* sum_out, const float* x, const float* residual, int64_t count) {
    f32x16 s[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) {
            const f32x16 t = add(load(x + i + j * kLanes), load(residual + i + j * kLanes));
            store(t, sum_out + i + j * kLanes);
            s[j] = fma(t, t, s[j]);
        }
    }
    for (; i + kLanes <= count; i += kLanes) {
        const f32x16 t = add(load(x + i), load(residual + i));
        store(t, sum_out + i);
        s[0] = fma(t, t, s[0]);
    }
    if (i < count) {
        const f32x16 t = add(load_partial(x + i, count - i), load_partial(residual + i, count - i));
        store_partial(t, sum_out + i, count - i);
        s[1] = fma(t, t, s[1]);
    }
    return sum(add(add(s[0], s[1]), add(s[2], s[3])));
}

void normalize(float* y, const float* t, const float* weight, float rstd, int64_t count) {
    const f32x16 r = set(rstd);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(mul(mul(load(t + i), r), load(weight + i)), y + i);
    if (i < count) {
        const int64_t rest = count - i;
        store_partial(mul(mul(load_partial(t + i, rest), r), load_partial(weight + i, rest)), y + i, rest);
    }
}

// sum of dy * weight * t.
float weighted_dot(const float* dy, const float* weight, const float* t, int64_t count) {
    f32x16 s0 = set(0.0f), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        s0 = fma(mul(load(dy + i), load(weight + i)), load(t + i), s0);
        s1 = fma(mul(load(dy + i + kLanes), load(weight + i + kLanes)), load(t + i + kLanes), s1);
    }
    for (; i < count; i += kLanes) {
        const int64_t rest = count - i < kLanes ? count - i : kLanes;
        s0 = fma(mul(load_partial(dy + i, rest), load_partial(weight + i, rest)), load_partial(t + i, rest), s0);
    }
    return sum(add(s0, s1));
}

void forward(Pool& pool, const RmsNormForwardArgs& a) {
    for_each_row(pool, a.rows, a.heads * a.hidden_size, [&](int64_t row) {
        for (int64_t head = 0; head < a.heads; ++head) {
            const int64_t column = head * a.hidden_size;
            const float* t = a.x + row * a.x_row_stride + column;
            float squares;
            if (a.residual != nullptr) {
                float* t_out = a.sum + row * a.x_row_stride + column;
                squares = add_residual(t_out, t, a.residual + row * a.residual_row_stride + column, a.hidden_size);
                t = t_out;
            } else {
                squares = dot(t, t, a.hidden_size);
            }
            const float rstd = 1.0f / __builtin_sqrtf(squares / float(a.hidden_size) + a.eps);
            if (a.rstd != nullptr) a.rstd[row * a.heads + head] = rstd;
            normalize(a.y + row * a.y_row_stride + column, t, a.weight, rstd, a.hidden_size);
        }
    });
}

// One part owns 64 columns and walks all rows, 256 at a time: the order of the sum depends on nothing but the shape.
void weight_gradient(Pool& pool, const RmsNormBackwardArgs& a) {
    constexpr int64_t kColumns = 4 * kLanes;
    constexpr int64_t kRows = 256;
    parallel_for(pool, (a.hidden_size + kColumns - 1) / kColumns, [&](int64_t part, int32_t) {
        const int64_t begin = part * kColumns;
        const int64_t end = begin + kColumns < a.hidden_size ? begin + kColumns : a.hidden_size;
        for (int64_t first = 0; first < a.rows; first += kRows) {
            const int64_t last = first + kRows < a.rows ? first + kRows : a.rows;
            for (int64_t column = begin; column < end; column += kLanes) {
                const int64_t count = end - column < kLanes ? end - column : kLanes;
                f32x16 s = set(0.0f);
                for (int64_t row = first; row < last; ++row) {
                    for (int64_t head = 0; head < a.heads; ++head) {
                        const int64_t at = head * a.hidden_size + column;
                        const f32x16 dy = load_partial(a.dy + row * a.dy_row_stride + at, count);
                        const f32x16 t = load_partial(a.x + row * a.x_row_stride + at, count);
                        s = fma(mul(dy, t), set(a.rstd[row * a.heads + head]), s);
                    }
                }
                store_partial(add(load_partial(a.dweight + column, count), s), a.dweight + column, count);
            }
        }
    });
}

void backward(Pool& pool, const RmsNormBackwardArgs& a) {
    if (a.dweight != nullptr) weight_gradient(pool, a); // before dx, which may overwrite dy
    for_each_row(pool, a.rows, a.heads * a.hidden_size, [&](int64_t row) {
        for (int64_t head = 0; head < a.heads; ++head) {
            const int64_t column = head * a.hidden_size;
            const float* dy = a.dy + row * a.dy_row_stride + column;
            const float* t = a.x + row * a.x_row_stride + column;
            const float* dsum = a.dsum == nullptr ? nullptr : a.dsum + row * a.dsum_row_stride + column;
            float* dx = a.dx + row * a.dx_row_stride + column;
            const float rstd = a.rstd[row * a.heads + head];
            const float mean = weighted_dot(dy, a.weight, t, a.hidden_size) / float(a.hidden_size);
            const f32x16 shrink = set(mean * rstd * rstd);
            for (int64_t i = 0; i < a.hidden_size; i += kLanes) {
                const int64_t count = a.hidden_size - i < kLanes ? a.hidden_size - i : kLanes;
                const f32x16 dn = mul(load_partial(dy + i, count), load_partial(a.weight + i, count));
                const f32x16 direct = fnma(load_partial(t + i, count), shrink, dn);
                const f32x16 past = dsum == nullptr ? set(0.0f) : load_partial(dsum + i, count);
                store_partial(fma(direct, set(rstd), past), dx + i, count);
            }
        }
    });
}

} // namespace

NormKernels norm_kernels() { return {forward, backward}; }

} // namespace ftc::FTC_ISA_NAMESPACE
