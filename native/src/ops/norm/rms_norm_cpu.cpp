#include "ops/norm/rms_norm.h"

#include "core/rows.h"
#include "core/simd.h"
#include "core/simd_dot.h"
#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// t = x + residual into sum; returns sum of t^2, as it was stored, in the order of dot().
template <class T>
float add_residual(T* sum_out, const T* x, const T* residual, int64_t count) {
    f32x16 s[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    const auto add_group = [&](int64_t i, int64_t n, f32x16& squares) __attribute__((always_inline)) {
        store_group(add(load_group(x + i, n), load_group(residual + i, n)), sum_out + i, n);
        const f32x16 t = load_group(sum_out + i, n);
        squares = fma(t, t, squares);
    };
    int64_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
        for (int64_t j = 0; j < 4; ++j) add_group(i + j * kLanes, kLanes, s[j]);
    }
    for (; i + kLanes <= count; i += kLanes) add_group(i, kLanes, s[0]);
    if (i < count) add_group(i, count - i, s[1]);
    return sum(add(add(s[0], s[1]), add(s[2], s[3])));
}

template <class T>
void normalize(T* y, const T* t, const float* weight, float rstd, int64_t count) {
    for_each_group(
        count, FTC_GROUP(int64_t i, int64_t n) {
            store_group(mul(mul(load_group(t + i, n), set(rstd)), load_group(weight + i, n)), y + i, n);
        });
}

// sum of dy * weight * t.
template <class T>
float weighted_dot(const T* dy, const float* weight, const T* t, int64_t count) {
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

template <class T>
void forward_rows(Pool& pool, const RmsNormForwardArgs& a) {
    for_each_row(pool, a.rows, a.heads * a.hidden_size, [&](int64_t row) {
        for (int64_t head = 0; head < a.heads; ++head) {
            const int64_t column = head * a.hidden_size;
            const T* t = static_cast<const T*>(a.x) + row * a.x_row_stride + column;
            float squares;
            if (a.residual != nullptr) {
                T* t_out = static_cast<T*>(a.sum) + row * a.x_row_stride + column;
                const T* residual = static_cast<const T*>(a.residual) + row * a.residual_row_stride + column;
                squares = add_residual(t_out, t, residual, a.hidden_size);
                t = t_out;
            } else {
                squares = dot(t, t, a.hidden_size);
            }
            const float rstd = 1.0f / __builtin_sqrtf(squares / float(a.hidden_size) + a.eps);
            if (a.rstd != nullptr) a.rstd[row * a.heads + head] = rstd;
            normalize(static_cast<T*>(a.y) + row * a.y_row_stride + column, t, a.weight, rstd, a.hidden_size);
        }
    });
}

// Rows are summed 256 at a time before they join dweight: the order depends on nothing but the shape.
template <class T>
void weight_gradient(Pool& pool, const RmsNormBackwardArgs& a) {
    constexpr int64_t kRows = 256;
    for_each_column_block(pool, a.hidden_size, [&](int64_t first, int64_t count) {
        alignas(64) float sums[kMaxColumnBlock];
        for (int64_t begin = 0; begin < a.rows; begin += kRows) {
            const int64_t end = begin + kRows < a.rows ? begin + kRows : a.rows;
            memset(sums, 0, sizeof sums);
            for (int64_t row = begin; row < end; ++row) {
                for (int64_t head = 0; head < a.heads; ++head) {
                    const T* dy = static_cast<const T*>(a.dy) + row * a.dy_row_stride + head * a.hidden_size + first;
                    const T* t = static_cast<const T*>(a.x) + row * a.x_row_stride + head * a.hidden_size + first;
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

template <class T>
void backward_rows(Pool& pool, const RmsNormBackwardArgs& a) {
    if (a.dweight != nullptr) weight_gradient<T>(pool, a); // before dx, which may overwrite dy
    for_each_row(pool, a.rows, a.heads * a.hidden_size, [&](int64_t row) {
        for (int64_t head = 0; head < a.heads; ++head) {
            const int64_t column = head * a.hidden_size;
            const T* dy = static_cast<const T*>(a.dy) + row * a.dy_row_stride + column;
            const T* t = static_cast<const T*>(a.x) + row * a.x_row_stride + column;
            const T* dsum = static_cast<const T*>(a.dsum);
            if (dsum != nullptr) dsum += row * a.dsum_row_stride + column;
            T* dx = static_cast<T*>(a.dx) + row * a.dx_row_stride + column;
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

void forward(Pool& pool, const RmsNormForwardArgs& a) {
    a.dtype == FTC_BF16 ? forward_rows<bf16>(pool, a) : forward_rows<float>(pool, a);
}

void backward(Pool& pool, const RmsNormBackwardArgs& a) {
    a.dtype == FTC_BF16 ? backward_rows<bf16>(pool, a) : backward_rows<float>(pool, a);
}

} // namespace

NormKernels norm_kernels() {
    return {forward, backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
