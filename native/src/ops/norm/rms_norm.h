// RMSNorm with an optional residual add: t = x + residual, y = t / sqrt(mean(t^2) + eps) * weight, per row and head.
// Zhang & Sennrich 2019, arXiv:1910.07467. Shapes and aliasing as in ftc.h.
//
// In bf16, t is rounded before it is squared and normalised, as on CUDA: the forward is the norm of what `sum` holds, and
// the backward, which reads `sum`, is the gradient of just that.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct RmsNormForwardArgs {
    void* y;
    void* sum;   // t; NULL without residual
    float* rstd; // [rows, heads] or NULL
    const void* x;
    const void* residual; // or NULL
    const float* weight;  // [hidden_size]
    int32_t dtype;        // FTC_F32, FTC_BF16
    int64_t rows, heads, hidden_size;
    int64_t x_row_stride, y_row_stride, residual_row_stride;
    float eps;
};

// dt = rstd * (dy * weight - t * rstd^2 * mean(dy * weight * t)) + dsum;  dweight += sum over rows of dy * t * rstd.
struct RmsNormBackwardArgs {
    void* dx;
    float* dweight; // [hidden_size], added to; or NULL
    const void* dy;
    const void* dsum; // or NULL
    const void* x;    // t of the forward
    const float* rstd;
    const float* weight;
    int32_t dtype; // FTC_F32, FTC_BF16
    int64_t rows, heads, hidden_size;
    int64_t x_row_stride, dy_row_stride, dsum_row_stride, dx_row_stride;
};

struct NormKernels {
    void (*rms_norm_forward)(Pool& pool, const RmsNormForwardArgs& args);
    void (*rms_norm_backward)(Pool& pool, const RmsNormBackwardArgs& args);
};

FTC_FOR_EACH_ISA(NormKernels norm_kernels();)

} // namespace ftc
