// y = silu(gate) * up, silu(g) = g / (1 + exp(-g)).   Shazeer 2020, arXiv:2002.05202.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct SwigluForwardArgs {
    void* y;
    const void* gate;
    const void* up;
    int32_t dtype; // FTC_F32, FTC_BF16
    int64_t rows, cols;
    int64_t gate_row_stride, y_row_stride;
};

// With s = sigmoid(gate): dup = dy * gate * s;  dgate = dy * up * s * (1 + gate * (1 - s)).
struct SwigluBackwardArgs {
    void* dgate; // may be gate
    void* dup;   // may be up
    const void* dy;
    const void* gate;
    const void* up;
    int32_t dtype; // FTC_F32, FTC_BF16
    int64_t rows, cols;
    int64_t gate_row_stride, dy_row_stride, dgate_row_stride;
};

struct SwigluKernels {
    void (*swiglu_forward)(Pool& pool, const SwigluForwardArgs& args);
    void (*swiglu_backward)(Pool& pool, const SwigluBackwardArgs& args);
};

FTC_FOR_EACH_ISA(SwigluKernels swiglu_kernels();)

} // namespace ftc
