// Negative log likelihood of a target per row of logits, and in place its gradient.
//   nll = logsumexp(logits) - logits[target];   d nll / d logits[j] = softmax(logits)[j] - (j == target)
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct SoftmaxNllArgs {
    float* nll;             // [rows]
    int32_t* predictions;   // [rows]: first index of the largest logit; or NULL
    float* logits;          // [rows, cols]; with `gradient` overwritten by gradient_scale * d nll / d logits
    const int32_t* targets; // [rows]
    int64_t rows, cols, row_stride;
    bool gradient;
    float gradient_scale;
};

struct LossKernels {
    void (*softmax_nll)(Pool& pool, const SoftmaxNllArgs& args);
};

FTC_FOR_EACH_ISA(LossKernels loss_kernels();)

} // namespace ftc
