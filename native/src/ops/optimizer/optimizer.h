// Optimiser updates on flat fp32 arrays, and the sum of squares behind the global gradient norm.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"
#include "ops/optimizer/adamw_scalars.h"

namespace ftc {

// p *= decay;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
// p -= step_size * m / (sqrt(v) / v_correction + eps).   Loshchilov & Hutter 2019, arXiv:1711.05101.
struct AdamwArgs {
    float* parameter;
    float* m;
    float* v;
    const float* gradient;
    int64_t count;
    AdamwScalars scalars;
};

// The same with m and v as codes on a map of 256 values, times an absmax per kStateBlock elements. Dettmers et al. 2022,
// arXiv:2110.02861.
constexpr int64_t kStateBlock = 256;

struct Adamw8bitArgs {
    float* parameter;
    uint8_t* m_codes;
    uint8_t* v_codes;
    float* m_absmax; // [ceil(count / kStateBlock)]
    float* v_absmax;
    const float* gradient;
    const float* m_map; // [256], ascending
    const float* v_map;
    int64_t count;
    AdamwScalars scalars;
};

// g += weight_decay * p;  u = momentum * u + g;  p -= learning_rate * u.
struct SgdArgs {
    float* parameter;
    float* velocity; // u; NULL when momentum is 0
    const float* gradient;
    int64_t count;
    float gradient_scale, learning_rate, momentum, weight_decay;
};

struct OptimizerKernels {
    void (*adamw_step)(Pool& pool, const AdamwArgs& args);
    void (*adamw_8bit_step)(Pool& pool, const Adamw8bitArgs& args);
    void (*sgd_step)(Pool& pool, const SgdArgs& args);
    // Sum of x[i]^2 in double, in an order that depends on count alone.
    double (*sum_of_squares)(Pool& pool, const float* x, int64_t count);
};

FTC_FOR_EACH_ISA(OptimizerKernels optimizer_kernels();)

} // namespace ftc
