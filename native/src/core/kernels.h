// Every kernel of the library, for one instruction set. A family adds its header, its line here and its line in
// kernels_cpu.cpp.
#pragma once

#include "core/each_isa.h"
#include "ops/quant/dequantize.h"

namespace ftc {

struct Kernels {
    const char* isa;
    DequantizeKernels dequantize;
};

FTC_FOR_EACH_ISA(const Kernels& kernels();)

} // namespace ftc
