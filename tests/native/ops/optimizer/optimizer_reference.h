// Optimiser updates in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include <cmath>

#include "matrix.h"

namespace ftc::testing {

template <class Real>
struct AdamwState {
    Vector<Real> p, m, v;
};

template <class Real>
AdamwState<Real> adamw_reference(const Matrix& p, const Matrix& m, const Matrix& v, const Matrix& g,
                                 const ftc_adamw_params& a) {
    AdamwState<Real> out;
    const Real b1 = Real(a.beta1), b2 = Real(a.beta2);
    const Real correction1 = Real(1.0 - std::pow(double(a.beta1), double(a.step)));
    const Real correction2 = Real(std::sqrt(1.0 - std::pow(double(a.beta2), double(a.step))));
    for (size_t i = 0; i < p.data.size(); ++i) {
        const Real gradient = Real(g.data[i]) * Real(a.gradient_scale);
        const Real m1 = b1 * Real(m.data[i]) + (Real(1) - b1) * gradient;
        const Real v1 = b2 * Real(v.data[i]) + (Real(1) - b2) * gradient * gradient;
        Real value = Real(p.data[i]) * (Real(1) - Real(a.learning_rate) * Real(a.weight_decay));
        value -= Real(a.learning_rate) / correction1 * m1 / (std::sqrt(v1) / correction2 + Real(a.eps));
        out.p.push_back(value);
        out.m.push_back(m1);
        out.v.push_back(v1);
    }
    return out;
}

template <class Real>
struct SgdState {
    Vector<Real> p, u;
};

template <class Real>
SgdState<Real> sgd_reference(const Matrix& p, const Matrix& u, const Matrix& g, const ftc_sgd_params& a) {
    SgdState<Real> out;
    for (size_t i = 0; i < p.data.size(); ++i) {
        const Real gradient = Real(g.data[i]) * Real(a.gradient_scale) + Real(a.weight_decay) * Real(p.data[i]);
        const Real u1 = Real(a.momentum) * Real(u.data[i]) + gradient;
        out.u.push_back(u1);
        out.p.push_back(Real(p.data[i]) - Real(a.learning_rate) * u1);
    }
    return out;
}

} // namespace ftc::testing
