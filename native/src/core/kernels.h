// Every kernel of the library, for one instruction set. A family adds its header, its line here and its line in
// kernels_cpu.cpp.
#pragma once

#include "core/each_isa.h"
#include "ops/linear/linear.h"
#include "ops/quant/dequantize.h"
#include "ops/quant/nf4_quantize.h"

namespace ftc {

struct Kernels {
    const char* isa;
    DequantizeKernels dequantize;
    LinearKernels linear;
    Nf4QuantizeKernels nf4_quantize;
};

FTC_FOR_EACH_ISA(const Kernels& kernels();)

} // namespace ftc
