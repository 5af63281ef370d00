// The multiply-add roof of one core: chains in registers that depend on nothing but themselves.
#pragma once

#include <cstdint>

#include "core/each_isa.h"

namespace ftc {

struct PeakKernels {
    // Runs so many rounds and returns the operations they were, a multiply-add counted as two.
    double (*f32)(int64_t rounds);
    double (*bf16)(int64_t rounds); // products of bf16 summed in fp32; on a CPU without them the same as f32
};

FTC_FOR_EACH_ISA(PeakKernels peak_kernels();)

} // namespace ftc
