// Element types: y[i] = x[i] in another dtype, rounded to nearest even; NaN stays NaN.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct ConvertArgs {
    void* y;
    int32_t y_dtype; // FTC_F32, FTC_BF16, FTC_F16
    const void* x;
    int32_t x_dtype;
    int64_t count;
};

struct ConvertKernels {
    void (*convert)(Pool& pool, const ConvertArgs& args);
};

FTC_FOR_EACH_ISA(ConvertKernels convert_kernels();)

} // namespace ftc
