// Quantisation to int8 by row and to 4, 3 or 2 bits by group, and the merge of a QA-LoRA adapter into the minima of its groups.
// Dettmers et al. 2022, arXiv:2208.07339; Xu et al. 2024, arXiv:2309.14717. Formulas in ftc.h. Everything is elementwise or
// summed in a fixed order without contraction, so every instruction set and the CUDA library give the same bits.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "ftc.h"

namespace ftc {

class Pool;

struct Int8QuantizeArgs {
    int8_t* codes; // [rows, cols]
    float* scale;  // [rows]
    const float* x;
    int64_t rows, cols, x_row_stride;
};

struct AffineQuantizeArgs {
    uint8_t* codes; // [rows, cols * bits / 8]
    float* scale;   // [rows, cols / group_size]
    float* minimum; // [rows, cols / group_size]
    const float* x;
    ftc_affine_quantize_params params;
};

struct AffineMergeArgs { // minimum += scaling / group_size * b a
    float* minimum;      // [rows, groups]
    const float* b;      // [rows, rank]
    const float* a;      // [rank, groups]
    int64_t rows, groups;
    int32_t rank;
    int32_t group_size;
    float scaling;
};

// Ranges that a search tries; the i-th is narrowed by kNarrowing * i.
constexpr int kRanges = 21;
constexpr float kNarrowing = 0.02f;

struct AffineKernels {
    void (*int8_quantize)(Pool& pool, const Int8QuantizeArgs& args);
    void (*quantize)(Pool& pool, const AffineQuantizeArgs& args);
    void (*merge)(Pool& pool, const AffineMergeArgs& args);
};

FTC_FOR_EACH_ISA(AffineKernels affine_kernels();)

} // namespace ftc
