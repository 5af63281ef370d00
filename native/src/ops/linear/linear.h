// The linear layer with adapters: y = x W^T + bias + sum over segments of scaling drop(x) A^T B^T, and its gradients.
// Hu et al. 2021, arXiv:2106.09685; formulas in ftc.h. Sums are fp32; x, y and their gradients are fp32 or bf16.
#pragma once

#include <cstdint>

#include "api/backend.h"
#include "core/each_isa.h"
#include "ftc.h"

namespace ftc {

class Pool;

// Fields as the parameters of ftc_linear_forward and _backward. params.dtype is that of x and dx, and bf16 when one of
// the two types is. The workspace is 64-byte aligned.
struct LinearArgs {
    void* y;           // forward
    const float* bias; // forward
    void* dx;          // backward, or NULL
    float* dweight;    // backward, or NULL
    float* dbias;      // backward, or NULL
    const void* dy;    // backward
    const void* x;
    int32_t y_dtype; // of y and dy
    ftc_weight weight;
    const ftc_lora_segment* segments;
    int32_t segment_count;
    ftc_linear_params params;
    float* workspace;
};

struct LinearKernels {
    void (*forward)(Pool& pool, const LinearArgs& args);
    void (*backward)(Pool& pool, const LinearArgs& args);
    int64_t (*workspace_floats)(int32_t threads, const ftc_linear_workspace_params& params);
};

FTC_FOR_EACH_ISA(LinearKernels linear_kernels();)

} // namespace ftc
