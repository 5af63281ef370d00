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
    for_each_group(
        count, FTC_GROUP(int64_t i, int64_t n) {
            store_group(mul(mul(load_group(t + i, n), set(rstd)), load_group(weight + i, n)), y + i, n);
        });
}

// sum of dy * weight * t.
float weighted_dot(const float* dy, const float* weight, const float* t, int64_t count) {
    f32x16 s0 = set(0.0f), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        s0 = fma(mul(load(dy + i), load(weight + i)), load(t + i), s0);
        s1 = fma(mul(load(dy + i + kLanes), load(weight + i + kLanes)), load(t + i + kLanes), s1);
    }
    for_each_group(
        count - i, FTC_GROUP(int64_t j, int64_t n) {
            s0 = fma(mul(load_group(dy + i + j, n), load_group(weight + i + j, n)), load_group(t + i + j, n), s0);
        });
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

// Rows are summed 256 at a time before they join dweight: the order depends on nothing but the shape.
void weight_gradient(Pool& pool, const RmsNormBackwardArgs& a) {
    constexpr int64_t kRows = 256;
    for_each_column_block(pool, a.hidden_size, [&](int64_t first, int64_t count) {
        alignas(64) float sums[kMaxColumnBlock];
        for (int64_t begin = 0; begin < a.rows; begin += kRows) {
            const int64_t end = begin + kRows < a.rows ? begin + kRows : a.rows;
            memset(sums, 0, sizeof sums);
            for (int64_t row = begin; row < end; ++row) {
                for (int64_t head = 0; head < a.heads; ++head) {
                    const float* dy = a.dy + row * a.dy_row_stride + head * a.hidden_size + first;
                    const float* t = a.x + row * a.x_row_stride + head * a.hidden_size + first;
                    const f32x16 rstd = set(a.rstd[row * a.heads + head]);
                    for_each_group(
                        count, FTC_GROUP(int64_t i, int64_t n) {
                            store(fma(mul(load_group(dy + i, n), load_group(t + i, n)), rstd, load(sums + i)),
                                  sums + i);
                        });
                }
            }
            float* dweight = a.dweight + first;
            for_each_group(
                count, FTC_GROUP(int64_t i, int64_t n) {
                    store_group(add(load_group(dweight + i, n), load(sums + i)), dweight + i, n);
                });
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
            for_each_group(
                a.hidden_size, FTC_GROUP(int64_t i, int64_t n) {
                    const f32x16 dn = mul(load_group(dy + i, n), load_group(a.weight + i, n));
                    const f32x16 direct = fnma(load_group(t + i, n), shrink, dn);
                    const f32x16 past = dsum == nullptr ? set(0.0f) : load_group(dsum + i, n);
                    store_group(fma(direct, set(rstd), past), dx + i, n);
                });
        }
    });
}

} // namespace

NormKernels norm_kernels() {
    return {forward, backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
