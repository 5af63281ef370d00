// y = rows of a weight in fp32 or bf16, whatever its format. The values are those ftc.h defines, one rounding per
// operation.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "ftc.h"

namespace ftc {

class Pool;

struct DequantizeArgs {
    void* y; // [row_count, weight.cols]
    int32_t y_dtype;
    int64_t y_row_stride;
    ftc_weight weight;
    int64_t row_begin;
    int64_t row_count;
};

struct DequantizeKernels {
    void (*dequantize)(Pool& pool, const DequantizeArgs& args);
};

FTC_FOR_EACH_ISA(DequantizeKernels dequantize_kernels();)

} // namespace ftc
