// NF4 quantisation, bit-equal to bitsandbytes. Dettmers et al. 2023, arXiv:2305.14314.
#pragma once

#include <cstdint>

#include "core/each_isa.h"

namespace ftc {

class Pool;

struct Nf4QuantizeArgs {
    uint8_t* codes; // [ceil(count / 2)]
    float* absmax;  // [ceil(count / 64)]
    const float* x; // [count]
    int64_t count;
};

struct Nf4QuantizeAbsmaxArgs {
    uint8_t* codes;          // [count]
    float* nested_absmax;    // [ceil(count / 256)]
    float* nested_offset;    // [1]
    const float* absmax;     // [count]
    const float* nested_map; // [256], ascending
    int64_t count;
};

struct Nf4QuantizeKernels {
    void (*quantize)(Pool& pool, const Nf4QuantizeArgs& args);
    void (*quantize_absmax)(Pool& pool, const Nf4QuantizeAbsmaxArgs& args);
};

FTC_FOR_EACH_ISA(Nf4QuantizeKernels nf4_quantize_kernels();)

} // namespace ftc
