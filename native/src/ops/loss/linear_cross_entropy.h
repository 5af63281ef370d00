// Head and loss in one: nll_i = logsumexp(W x_i) - (W x_i)[target_i] over the trained rows alone, a chunk of rows at a
// time, so that logits exist for one chunk only. Ignored rows are gathered away before anything is computed.
#pragma once

#include <cstdint>

#include "core/kernels.h"
#include "ftc.h"

namespace ftc {

struct LinearCrossEntropyArgs {
    float* nll;
    int32_t* predictions; // or NULL
    void* dx;             // or NULL; of params.dtype, as x
    float* dweight;       // or NULL
    const void* x;
    ftc_weight weight;
    const int32_t* targets;
    ftc_cross_entropy_params params;
    float* workspace; // 64-byte aligned, linear_cross_entropy_workspace_floats()
};

int64_t linear_cross_entropy_workspace_floats(const Kernels& kernels, int32_t threads,
                                              const ftc_cross_entropy_workspace_params& params);

void linear_cross_entropy(const Kernels& kernels, Pool& pool, const LinearCrossEntropyArgs& args);

} // namespace ftc
