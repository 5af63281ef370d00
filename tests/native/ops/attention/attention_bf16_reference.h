// Attention on bf16 inputs in double, and how far a kernel may be from it, element by element. With u = 2^-8, half an
// ulp of bf16 relative to the value:
//   o    every probability is rounded before it meets v, and the result:    u sum_j p_j |v_j| + u |o|
//   dv   likewise:                                                         u sum_i p_i |dout_i| + u |dv|
//   dS   = p (dp - delta) is rounded before it meets q or k:               u sum |dS| |k| + u |dq|, likewise dk
// What is computed in fp32 (scores, exp, sums, dp, delta) adds a relative 2^-13 of the same sums with |dp| + |delta|
// for dp - delta, where everything that may cancel stands as its absolute value: scores up to 2^5 in fp32 carry 2^-18,
// and exp2 of the special-function unit 2^-22.
#pragma once

#include "ops/attention/attention_reference.h"

namespace ftc::testing {

// A value and the most a result may differ from it.
struct Bounded {
    Vector<double> value, bound;
    explicit Bounded(int64_t count) : value(size_t(count)), bound(size_t(count)) {}
};

constexpr double kHalfUlpBf16 = 0x1p-8, kFp32Part = 0x1p-13;

inline void expect_within(const Matrix& actual, const Bounded& expected, const std::string& what) {
    ASSERT_EQ(expected.value.size(), size_t(actual.rows * actual.cols)) << what;
    for (int64_t r = 0; r < actual.rows; ++r)
        for (int64_t c = 0; c < actual.cols; ++c) {
            const size_t i = size_t(r * actual.cols + c);
            const double value = double(actual.at(r, c)), exact = expected.value[i];
            if (std::isinf(exact)) {
                ASSERT_EQ(value, exact) << what << " at " << r << ", " << c;
                continue;
            }
            const double error = std::abs(value - exact);
            ASSERT_LE(error, expected.bound[i])
                << what << " at " << r << ", " << c << " is " << value << ", expected " << exact;
        }
}

struct AttentionBounds {
    Bounded o, lse;
};

inline AttentionBounds attention_bounds(const AttentionShape& s, const Matrix& q, const Matrix& k, const Matrix& v) {
    const int64_t n = s.head_dim;
    AttentionBounds out{Bounded(s.query_rows * s.heads * n), Bounded(s.query_rows * s.heads)};
    const auto exact = attention_reference<double>(s, q, k, v);
    Matrix v_magnitude = v;
    for (int64_t r = 0; r < v.rows; ++r)
        for (int64_t c = 0; c < v.cols; ++c) v_magnitude.at(r, c) = std::abs(v.at(r, c));
    const auto magnitude = attention_reference<double>(s, q, k, v_magnitude);
    for (size_t i = 0; i < exact.o.size(); ++i) {
        out.o.value[i] = exact.o[i];
        out.o.bound[i] = (kHalfUlpBf16 + kFp32Part) * magnitude.o[i] + kHalfUlpBf16 * std::abs(exact.o[i]);
    }
    for (size_t i = 0; i < exact.lse.size(); ++i) {
        out.lse.value[i] = exact.lse[i];
        out.lse.bound[i] = 0x1p-16 * (1.0 + std::abs(exact.lse[i]));
    }
    return out;
}

struct AttentionGradientBounds {
    Bounded dq, dk, dv;
};

// o and lse as the backward is given them.
inline AttentionGradientBounds attention_gradient_bounds(const AttentionShape& s, const Matrix& dout, const Matrix& q,
                                                         const Matrix& k, const Matrix& v, const Matrix& o,
                                                         const Matrix& lse) {
    const int64_t n = s.head_dim, key_width = s.key_value_heads * n;
    AttentionGradientBounds out{Bounded(s.query_rows * s.heads * n), Bounded(s.key_rows * key_width),
                                Bounded(s.key_rows * key_width)};
    const auto add = [](Bounded& to, int64_t i, double value, double bound) {
        to.value[size_t(i)] += value;
        to.bound[size_t(i)] += bound;
    };
    for (int64_t i = 0; i < s.query_rows; ++i)
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t kv = h / (s.heads / s.key_value_heads);
            double delta = 0, delta_magnitude = 0;
            for (int64_t c = 0; c < n; ++c) {
                const double product = double(dout.at(i, h * n + c)) * double(o.at(i, h * n + c));
                delta += product;
                delta_magnitude += std::abs(product);
            }
            for (int64_t j = s.first_key(i); j <= s.last_key(i); ++j) {
                double score = 0, dp = 0, dp_magnitude = 0;
                for (int64_t c = 0; c < n; ++c) {
                    score += double(q.at(i, h * n + c)) * double(k.at(j, kv * n + c));
                    const double product = double(dout.at(i, h * n + c)) * double(v.at(j, kv * n + c));
                    dp += product;
                    dp_magnitude += std::abs(product);
                }
                const double p = std::exp(score * double(s.scale()) - double(lse.at(i, h)));
                const double ds = p * (dp - delta) * double(s.scale());
                const double ds_bound =
                    kHalfUlpBf16 * std::abs(ds) + kFp32Part * p * (dp_magnitude + delta_magnitude) * double(s.scale());
                for (int64_t c = 0; c < n; ++c) {
                    const double k_value = double(k.at(j, kv * n + c)), q_value = double(q.at(i, h * n + c)),
                                 d_value = double(dout.at(i, h * n + c));
                    add(out.dq, (i * s.heads + h) * n + c, ds * k_value, ds_bound * std::abs(k_value));
                    add(out.dk, j * key_width + kv * n + c, ds * q_value, ds_bound * std::abs(q_value));
                    add(out.dv, j * key_width + kv * n + c, p * d_value,
                        (kHalfUlpBf16 + kFp32Part) * p * std::abs(d_value));
                }
            }
        }
    for (Bounded* result : {&out.dq, &out.dk, &out.dv})
        for (size_t i = 0; i < result->value.size(); ++i)
            result->bound[i] += kHalfUlpBf16 * (std::abs(result->value[i]) + result->bound[i]);
    return out;
}

} // namespace ftc::testing
