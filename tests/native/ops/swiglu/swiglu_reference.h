// SwiGLU in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include <cmath>

#include "matrix.h"

namespace ftc::testing {

template <class Real>
Vector<Real> swiglu_reference(const Matrix& gate, const Matrix& up) {
    Vector<Real> y;
    for (int64_t r = 0; r < gate.rows; ++r)
        for (int64_t c = 0; c < gate.cols; ++c) {
            const Real g = Real(gate.at(r, c));
            y.push_back(g / (Real(1) + std::exp(-g)) * Real(up.at(r, c)));
        }
    return y;
}

template <class Real>
struct SwigluGradient {
    Vector<Real> dgate, dup;
};

template <class Real>
SwigluGradient<Real> swiglu_backward_reference(const Matrix& dy, const Matrix& gate, const Matrix& up) {
    SwigluGradient<Real> out;
    for (int64_t r = 0; r < gate.rows; ++r)
        for (int64_t c = 0; c < gate.cols; ++c) {
            const Real g = Real(gate.at(r, c)), d = Real(dy.at(r, c));
            const Real s = Real(1) / (Real(1) + std::exp(-g));
            out.dup.push_back(d * g * s);
            out.dgate.push_back(d * Real(up.at(r, c)) * s * (Real(1) + g * (Real(1) - s)));
        }
    return out;
}

} // namespace ftc::testing
