// Linear head and cross-entropy in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include <cmath>

#include "matrix.h"

namespace ftc::testing {

template <class Real>
struct CrossEntropyResult {
    Vector<Real> nll, dx, dweight;
    Vector<int32_t> predictions;
};

template <class Real>
CrossEntropyResult<Real> linear_cross_entropy_reference(const Matrix& x, const Matrix& weight,
                                                        const Vector<int32_t>& targets, float gradient_scale,
                                                        const Matrix& dweight_before) {
    CrossEntropyResult<Real> out;
    out.dx.assign(size_t(x.rows * x.cols), Real(0));
    for (int64_t r = 0; r < weight.rows; ++r)
        for (int64_t c = 0; c < weight.cols; ++c) out.dweight.push_back(Real(dweight_before.at(r, c)));
    for (int64_t i = 0; i < x.rows; ++i) {
        if (targets[size_t(i)] == -100) {
            out.nll.push_back(Real(0));
            out.predictions.push_back(-1);
            continue;
        }
        Vector<Real> logits;
        int32_t best = 0;
        for (int64_t v = 0; v < weight.rows; ++v) {
            Real dot = 0;
            for (int64_t c = 0; c < x.cols; ++c) dot += Real(x.at(i, c)) * Real(weight.at(v, c));
            logits.push_back(dot);
            if (dot > logits[size_t(best)]) best = static_cast<int32_t>(v);
        }
        const Real top = logits[size_t(best)];
        Real sum = 0;
        for (const Real logit : logits) sum += std::exp(logit - top);
        out.nll.push_back(std::log(sum) + top - logits[size_t(targets[size_t(i)])]);
        out.predictions.push_back(best);
        for (int64_t v = 0; v < weight.rows; ++v) {
            const Real p = std::exp(logits[size_t(v)] - top) / sum;
            const Real g = Real(gradient_scale) * (v == targets[size_t(i)] ? p - Real(1) : p);
            for (int64_t c = 0; c < x.cols; ++c) {
                out.dx[size_t(i * x.cols + c)] += g * Real(weight.at(v, c));
                out.dweight[size_t(v * x.cols + c)] += g * Real(x.at(i, c));
            }
        }
    }
    return out;
}

} // namespace ftc::testing
