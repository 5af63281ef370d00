// y[i] = W[ids[i]], and dweight[ids[i]] += dy[i] in the order of i. Ids are checked by the caller.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct EmbeddingForwardArgs {
    void* y;
    int32_t dtype; // of y: FTC_F32, FTC_BF16
    const int32_t* ids;
    const void* weight; // fp32 or bf16 [vocab_size, cols]
    bool weight_is_bf16;
    int64_t rows, cols;
    int64_t y_row_stride, weight_row_stride;
};

struct EmbeddingBackwardArgs {
    float* dweight;
    const void* dy;
    int32_t dtype; // of dy
    const int32_t* ids;
    int64_t rows, cols;
    int64_t dy_row_stride, dweight_row_stride;
};

struct EmbeddingKernels {
    void (*embedding_forward)(Pool& pool, const EmbeddingForwardArgs& args);
    void (*embedding_backward)(Pool& pool, const EmbeddingBackwardArgs& args);
};

FTC_FOR_EACH_ISA(EmbeddingKernels embedding_kernels();)

} // namespace ftc
