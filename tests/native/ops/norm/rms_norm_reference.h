// RMSNorm in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include <cmath>

#include "bf16_matrix.h"
#include "matrix.h"

namespace ftc::testing {

template <class Real>
struct RmsNormResult {
    Vector<Real> y, sum, rstd;
};

// bf16: the sum is rounded to bf16 before it is normalised.
template <class Real>
RmsNormResult<Real> rms_norm_forward_reference(const Matrix& x, const Matrix* residual,
                                               const Vector<float>& weight, int64_t heads, float eps,
                                               bool bf16 = false) {
    const int64_t n = static_cast<int64_t>(weight.size());
    RmsNormResult<Real> out;
    for (int64_t r = 0; r < x.rows; ++r)
        for (int64_t h = 0; h < heads; ++h) {
            Vector<Real> t;
            Real squares = 0;
            for (int64_t i = 0; i < n; ++i) {
                Real value = Real(x.at(r, h * n + i));
                if (residual != nullptr) value += Real(residual->at(r, h * n + i));
                if (bf16) value = Real(rounded_to_bf16(static_cast<float>(value)));
                t.push_back(value);
                squares += value * value;
            }
            const Real rstd = Real(1) / std::sqrt(squares / Real(n) + Real(eps));
            out.rstd.push_back(rstd);
            for (int64_t i = 0; i < n; ++i) {
                out.sum.push_back(t[size_t(i)]);
                out.y.push_back(t[size_t(i)] * rstd * Real(weight[size_t(i)]));
            }
        }
    return out;
}

template <class Real>
struct RmsNormGradient {
    Vector<Real> dx, dweight;
};

// rstd as the kernel got it.
template <class Real>
RmsNormGradient<Real> rms_norm_backward_reference(const Matrix& dy, const Matrix* dsum, const Matrix& t,
                                                  const Matrix& rstd, const Vector<float>& weight, int64_t heads,
                                                  const Vector<float>& dweight_before) {
    const int64_t n = static_cast<int64_t>(weight.size());
    RmsNormGradient<Real> out;
    for (const float w : dweight_before) out.dweight.push_back(Real(w));
    for (int64_t r = 0; r < t.rows; ++r)
        for (int64_t h = 0; h < heads; ++h) {
            const Real s = Real(rstd.at(r, h));
            Real dot = 0;
            for (int64_t i = 0; i < n; ++i) {
                const int64_t c = h * n + i;
                dot += Real(dy.at(r, c)) * Real(weight[size_t(i)]) * Real(t.at(r, c));
                out.dweight[size_t(i)] += Real(dy.at(r, c)) * Real(t.at(r, c)) * s;
            }
            for (int64_t i = 0; i < n; ++i) {
                const int64_t c = h * n + i;
                Real dx = s * (Real(dy.at(r, c)) * Real(weight[size_t(i)]) - Real(t.at(r, c)) * s * s * dot / Real(n));
                if (dsum != nullptr) dx += Real(dsum->at(r, c));
                out.dx.push_back(dx);
            }
        }
    return out;
}

} // namespace ftc::testing
