// The linear layer with adapters in plain loops, in any floating type: double is the truth, float the naive
// computation.
#pragma once

#include "variants.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace ftc::testing {

// Philox4x32-10, Salmon et al. 2011.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
        const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
        c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
             static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return c;
}

struct ReferenceSegment {
    int64_t row_begin, row_end, rank;
    Vector<float> a, b; // [rank, K / pool], [N, rank]
    float scaling;
    float dropout_probability;
    uint64_t seed;
    int64_t pool = 1; // features that the adapter sees as one, their mean
};

struct ReferenceLinear {
    int64_t m, n, k;
    Vector<float> x, dy, w, bias; // bias may be empty
    Vector<ReferenceSegment> segments;
    Vector<uint32_t> samples, positions;
    uint32_t step = 0;

    bool dropped(const ReferenceSegment& s, int64_t row, int64_t feature) const {
        const auto threshold = static_cast<uint32_t>(std::lround(65536.0 * static_cast<double>(s.dropout_probability)));
        if (threshold == 0) return false;
        const auto words = philox({static_cast<uint32_t>(feature / 8), positions[static_cast<size_t>(row)],
                                   samples[static_cast<size_t>(row)], step},
                                  {static_cast<uint32_t>(s.seed), static_cast<uint32_t>(s.seed >> 32)});
        const uint32_t word = words[static_cast<size_t>(feature % 8 / 2)];
        return (feature % 2 == 0 ? word & 0xffff : word >> 16) < threshold;
    }

    template <class T>
    T mask(const ReferenceSegment& s, int64_t row, int64_t feature) const {
        const double p = std::round(65536.0 * static_cast<double>(s.dropout_probability)) / 65536.0;
        return dropped(s, row, feature) ? T(0) : static_cast<T>(1 / (1 - p));
    }
};

template <class T>
struct ReferenceGradients {
    Vector<T> dx, dweight, dbias;
    Vector<Vector<T>> da, db;
};

template <class T>
T at(const Vector<float>& v, int64_t i) {
    return static_cast<T>(v[static_cast<size_t>(i)]);
}

// What the adapter sees in place of feature g: the mean of its group.
template <class T>
T reference_mean(const ReferenceLinear& l, const ReferenceSegment& s, int64_t row, int64_t g) {
    T sum = 0;
    for (int64_t k = g * s.pool; k < (g + 1) * s.pool; k++) sum += at<T>(l.x, row * l.k + k);
    return sum / static_cast<T>(s.pool);
}

// s = drop(x) a^T of one segment.
template <class T>
Vector<T> reference_down(const ReferenceLinear& l, const ReferenceSegment& s) {
    Vector<T> down;
    const int64_t groups = l.k / s.pool;
    for (int64_t i = s.row_begin; i < s.row_end; i++) {
        Vector<T> dropped;
        for (int64_t g = 0; g < groups; g++) dropped.push_back(reference_mean<T>(l, s, i, g) * l.mask<T>(s, i, g));
        for (int64_t t = 0; t < s.rank; t++) {
            T sum = 0;
            for (int64_t g = 0; g < groups; g++) sum += dropped[static_cast<size_t>(g)] * at<T>(s.a, t * groups + g);
            down.push_back(sum);
        }
    }
    return down;
}

template <class T>
Vector<T> reference_forward(const ReferenceLinear& l) {
    Vector<T> y(static_cast<size_t>(l.m * l.n));
    for (int64_t i = 0; i < l.m; i++)
        for (int64_t j = 0; j < l.n; j++) {
            T sum = 0;
            for (int64_t k = 0; k < l.k; k++) sum += at<T>(l.x, i * l.k + k) * at<T>(l.w, j * l.k + k);
            y[static_cast<size_t>(i * l.n + j)] = sum + (l.bias.empty() ? T(0) : at<T>(l.bias, j));
        }
    for (const ReferenceSegment& s : l.segments) {
        const Vector<T> down = reference_down<T>(l, s);
        for (int64_t i = s.row_begin; i < s.row_end; i++)
            for (int64_t j = 0; j < l.n; j++) {
                T sum = 0;
                for (int64_t t = 0; t < s.rank; t++)
                    sum += down[static_cast<size_t>((i - s.row_begin) * s.rank + t)] * at<T>(s.b, j * s.rank + t);
                y[static_cast<size_t>(i * l.n + j)] += static_cast<T>(s.scaling) * sum;
            }
    }
    return y;
}

template <class T>
ReferenceGradients<T> reference_backward(const ReferenceLinear& l) {
    ReferenceGradients<T> g;
    g.dx.assign(static_cast<size_t>(l.m * l.k), 0);
    g.dweight.assign(static_cast<size_t>(l.n * l.k), 0);
    g.dbias.assign(static_cast<size_t>(l.n), 0);
    for (int64_t i = 0; i < l.m; i++)
        for (int64_t j = 0; j < l.n; j++) {
            const T dy = at<T>(l.dy, i * l.n + j);
            g.dbias[static_cast<size_t>(j)] += dy;
            for (int64_t k = 0; k < l.k; k++) {
                g.dx[static_cast<size_t>(i * l.k + k)] += dy * at<T>(l.w, j * l.k + k);
                g.dweight[static_cast<size_t>(j * l.k + k)] += dy * at<T>(l.x, i * l.k + k);
            }
        }
    for (const ReferenceSegment& s : l.segments) {
        const T scaling = static_cast<T>(s.scaling);
        const Vector<T> down = reference_down<T>(l, s);
        const int64_t groups = l.k / s.pool;
        Vector<T> da(static_cast<size_t>(s.rank * groups)), db(static_cast<size_t>(l.n * s.rank));
        for (int64_t i = s.row_begin; i < s.row_end; i++)
            for (int64_t t = 0; t < s.rank; t++) {
                T ds = 0;
                for (int64_t j = 0; j < l.n; j++) {
                    ds += scaling * at<T>(l.dy, i * l.n + j) * at<T>(s.b, j * s.rank + t);
                    db[static_cast<size_t>(j * s.rank + t)] +=
                        scaling * at<T>(l.dy, i * l.n + j) * down[static_cast<size_t>((i - s.row_begin) * s.rank + t)];
                }
                for (int64_t k = 0; k < l.k; k++)
                    g.dx[static_cast<size_t>(i * l.k + k)] += l.mask<T>(s, i, k / s.pool) * ds *
                                                              at<T>(s.a, t * groups + k / s.pool) / static_cast<T>(s.pool);
                for (int64_t f = 0; f < groups; f++)
                    da[static_cast<size_t>(t * groups + f)] +=
                        ds * l.mask<T>(s, i, f) * reference_mean<T>(l, s, i, f);
            }
        g.da.push_back(da);
        g.db.push_back(db);
    }
    return g;
}

} // namespace ftc::testing
