// RoPE in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include "matrix.h"

namespace ftc::testing {

template <class Real>
Vector<Real> rope_reference(const Matrix& x, const Vector<int32_t>& positions, const Matrix& cos,
                                 const Matrix& sin, int64_t heads, int64_t head_dim, bool forward) {
    const int64_t half = cos.cols;
    Vector<Real> y;
    for (int64_t r = 0; r < x.rows; ++r)
        for (int64_t c = 0; c < heads * head_dim; ++c) {
            const int64_t i = c % head_dim;
            const Real value = Real(x.at(r, c));
            if (i >= 2 * half) {
                y.push_back(value);
                continue;
            }
            const int64_t pair = i % half, position = positions[size_t(r)];
            const Real s = Real(sin.at(position, pair)) * (forward ? Real(1) : Real(-1));
            const Real other = i < half ? -Real(x.at(r, c + half)) : Real(x.at(r, c - half));
            y.push_back(value * Real(cos.at(position, pair)) + other * s);
        }
    return y;
}

} // namespace ftc::testing
