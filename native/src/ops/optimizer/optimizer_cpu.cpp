#include "ops/optimizer/optimizer.h"

#include "core/simd.h"
#include "ops/quant/map_code.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kPartElements = 16384; // of a flat array; 64 KB a stream

// Calls body(i, n) for the groups of a flat array.
template <class Body>
FTC_INLINE void for_each_element(Pool& pool, int64_t count, const Body& body) {
    parallel_for(pool, (count + kPartElements - 1) / kPartElements, [&](int64_t part, int32_t) {
        const int64_t begin = part * kPartElements, rest = count - begin;
        for_each_group(
            rest < kPartElements ? rest : kPartElements, FTC_GROUP(int64_t i, int64_t n) { body(begin + i, n); });
    });
}

// n elements, up to kLanes, of one step.
FTC_INLINE void adamw_group(float* parameter, float* m_state, float* v_state, const float* gradient, int64_t n,
                            const AdamwScalars& k) {
    const f32x16 g = mul(load_group(gradient, n), set(k.gradient_scale));
    const f32x16 m = fma(set(k.beta1), load_group(m_state, n), mul(set(k.one_minus_beta1), g));
    const f32x16 v = fma(set(k.beta2), load_group(v_state, n), mul(mul(set(k.one_minus_beta2), g), g));
    const f32x16 p = mul(load_group(parameter, n), set(k.decay));
    const f32x16 width = add(div(sqrt(v), set(k.v_correction)), set(k.eps));
    store_group(m, m_state, n);
    store_group(v, v_state, n);
    store_group(fnma(set(k.step_size), div(m, width), p), parameter, n);
}

void adamw_step(Pool& pool, const AdamwArgs& a) {
    for_each_element(
        pool, a.count, FTC_GROUP(int64_t i, int64_t n) {
            adamw_group(a.parameter + i, a.m + i, a.v + i, a.gradient + i, n, a.scalars);
        });
}

void adamw_8bit_step(Pool& pool, const Adamw8bitArgs& a) {
    Midpoints m_midpoints, v_midpoints;
    midpoints_of(m_midpoints, a.m_map);
    midpoints_of(v_midpoints, a.v_map);
    parallel_for(pool, (a.count + kStateBlock - 1) / kStateBlock, [&](int64_t block, int32_t) {
        const int64_t first = block * kStateBlock;
        const int64_t count = a.count - first < kStateBlock ? a.count - first : kStateBlock;
        alignas(64) float m[kStateBlock], v[kStateBlock];
        for (int64_t i = 0; i < count; ++i) {
            m[i] = a.m_map[a.m_codes[first + i]] * a.m_absmax[block];
            v[i] = a.v_map[a.v_codes[first + i]] * a.v_absmax[block];
        }
        for_each_group(
            count, FTC_GROUP(int64_t i, int64_t n) {
                adamw_group(a.parameter + first + i, m + i, v + i, a.gradient + first + i, n, a.scalars);
            });
        a.m_absmax[block] = encode_block(a.m_codes + first, m_midpoints, m, count);
        a.v_absmax[block] = encode_block(a.v_codes + first, v_midpoints, v, count);
    });
}

void sgd_step(Pool& pool, const SgdArgs& a) {
    for_each_element(
        pool, a.count, FTC_GROUP(int64_t i, int64_t n) {
            const f32x16 p = load_group(a.parameter + i, n);
            f32x16 u = fma(set(a.weight_decay), p, mul(load_group(a.gradient + i, n), set(a.gradient_scale)));
            if (a.velocity != nullptr) {
                u = fma(set(a.momentum), load_group(a.velocity + i, n), u);
                store_group(u, a.velocity + i, n);
            }
            store_group(fnma(set(a.learning_rate), u, p), a.parameter + i, n);
        });
}

// Squares of fp32 are exact in double, so only the order of the additions matters: sixteen lanes, one after the other.
double chunk_squares(const float* x, int64_t count) {
    double lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] += double(x[i + j]) * double(x[i + j]);
    for (int64_t j = 0; i + j < count; ++j) lanes[j] += double(x[i + j]) * double(x[i + j]);
    double total = 0.0;
    for (int64_t j = 0; j < kLanes; ++j) total += lanes[j];
    return total;
}

double sum_of_squares(Pool& pool, const float* x, int64_t count) {
    constexpr int64_t kMaxChunks = 256; // their sums live on the stack
    int64_t chunk = (count + kMaxChunks - 1) / kMaxChunks;
    chunk = chunk < kPartElements ? kPartElements : (chunk + kLanes - 1) / kLanes * kLanes;
    const int64_t chunks = (count + chunk - 1) / chunk;
    double sums[kMaxChunks];
    parallel_for(pool, chunks, [&](int64_t part, int32_t) {
        const int64_t begin = part * chunk;
        sums[part] = chunk_squares(x + begin, count - begin < chunk ? count - begin : chunk);
    });
    double total = 0.0;
    for (int64_t part = 0; part < chunks; ++part) total += sums[part];
    return total;
}

} // namespace

OptimizerKernels optimizer_kernels() {
    return {adamw_step, adamw_8bit_step, sgd_step, sum_of_squares};
}

} // namespace ftc::FTC_ISA_NAMESPACE
