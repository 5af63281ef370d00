// Rotary position embedding, half-split, in place: with h = rope_dim / 2,
//   (x[i], x[i + h]) <- (x[i] c - x[i + h] s, x[i + h] c + x[i] s).   Su et al. 2021, arXiv:2104.09864.
// The backward is the transpose: the same with -s.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"

namespace ftc {

struct RopeArgs {
    void* x;                  // [rows, heads * head_dim], the gradient in backward
    int32_t dtype;            // FTC_F32, FTC_BF16
    const int32_t* positions; // [rows]
    const float* cos;         // [table_rows, rope_dim / 2]
    const float* sin;
    int64_t rows, heads, head_dim, rope_dim, row_stride;
};

struct RopeKernels {
    void (*rope_forward)(Pool& pool, const RopeArgs& args);
    void (*rope_backward)(Pool& pool, const RopeArgs& args);
};

FTC_FOR_EACH_ISA(RopeKernels rope_kernels();)

} // namespace ftc
