// Attention over a key interval in plain loops; Real = double is the definition, Real = float the naive computation.
#pragma once

#include <cmath>
#include <limits>

#include "matrix.h"

namespace ftc::testing {

struct AttentionShape {
    int64_t query_rows, first_query, key_rows;
    int32_t heads, key_value_heads, head_dim;
    Vector<int32_t> key_begin; // empty: causal over everything

    float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
    int64_t first_key(int64_t row) const { return key_begin.empty() ? 0 : key_begin[size_t(row)]; }
    int64_t last_key(int64_t row) const { return first_query + row; }
};

inline ftc_attention_params params_of(const AttentionShape& s, int32_t dtype = FTC_F32) {
    ftc_attention_params p{};
    p.struct_size = sizeof(p);
    p.dtype = dtype;
    p.query_rows = s.query_rows;
    p.key_rows = s.key_rows;
    p.first_query = s.first_query;
    p.heads = s.heads;
    p.key_value_heads = s.key_value_heads;
    p.head_dim = s.head_dim;
    p.scale = s.scale();
    return p;
}

template <class Real>
struct AttentionResult {
    Vector<Real> o, lse;
};

template <class Real>
AttentionResult<Real> attention_reference(const AttentionShape& s, const Matrix& q, const Matrix& k, const Matrix& v) {
    AttentionResult<Real> out;
    out.o.assign(size_t(s.query_rows * s.heads * s.head_dim), Real(0));
    out.lse.assign(size_t(s.query_rows * s.heads), -std::numeric_limits<Real>::infinity());
    for (int64_t i = 0; i < s.query_rows; ++i)
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t kv = h / (s.heads / s.key_value_heads), n = s.head_dim;
            Vector<Real> scores;
            Real top = -std::numeric_limits<Real>::infinity();
            for (int64_t j = s.first_key(i); j <= s.last_key(i); ++j) {
                Real dot = 0;
                for (int64_t c = 0; c < n; ++c) dot += Real(q.at(i, h * n + c)) * Real(k.at(j, kv * n + c));
                scores.push_back(dot * Real(s.scale()));
                top = std::max(top, scores.back());
            }
            if (scores.empty()) continue;
            Real sum = 0;
            for (Real& score : scores) sum += score = std::exp(score - top);
            out.lse[size_t(i * s.heads + h)] = top + std::log(sum);
            for (int64_t c = 0; c < n; ++c) {
                Real total = 0;
                for (size_t j = 0; j < scores.size(); ++j)
                    total += scores[j] * Real(v.at(s.first_key(i) + int64_t(j), kv * n + c));
                out.o[size_t((i * s.heads + h) * n + c)] = total / sum;
            }
        }
    return out;
}

template <class Real>
struct AttentionGradient {
    Vector<Real> dq, dk, dv;
};

// o and lse as the kernel gets them.
template <class Real>
AttentionGradient<Real> attention_backward_reference(const AttentionShape& s, const Matrix& dout, const Matrix& q,
                                                     const Matrix& k, const Matrix& v, const Matrix& o,
                                                     const Matrix& lse) {
    const int64_t n = s.head_dim, key_width = s.key_value_heads * n;
    AttentionGradient<Real> out;
    out.dq.assign(size_t(s.query_rows * s.heads * n), Real(0));
    out.dk.assign(size_t(s.key_rows * key_width), Real(0));
    out.dv.assign(size_t(s.key_rows * key_width), Real(0));
    for (int64_t i = 0; i < s.query_rows; ++i)
        for (int64_t h = 0; h < s.heads; ++h) {
            const int64_t kv = h / (s.heads / s.key_value_heads);
            Real delta = 0;
            for (int64_t c = 0; c < n; ++c) delta += Real(dout.at(i, h * n + c)) * Real(o.at(i, h * n + c));
            for (int64_t j = s.first_key(i); j <= s.last_key(i); ++j) {
                Real score = 0, dp = 0;
                for (int64_t c = 0; c < n; ++c) {
                    score += Real(q.at(i, h * n + c)) * Real(k.at(j, kv * n + c));
                    dp += Real(dout.at(i, h * n + c)) * Real(v.at(j, kv * n + c));
                }
                const Real p = std::exp(score * Real(s.scale()) - Real(lse.at(i, h)));
                const Real ds = p * (dp - delta) * Real(s.scale());
                for (int64_t c = 0; c < n; ++c) {
                    out.dq[size_t((i * s.heads + h) * n + c)] += ds * Real(k.at(j, kv * n + c));
                    out.dk[size_t(j * key_width + kv * n + c)] += ds * Real(q.at(i, h * n + c));
                    out.dv[size_t(j * key_width + kv * n + c)] += p * Real(dout.at(i, h * n + c));
                }
            }
        }
    return out;
}

} // namespace ftc::testing
