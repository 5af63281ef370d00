// C [rows, cols] = [C +] A [rows, depth] B [depth, cols] [+ bias], summed in fp32, with adapters riding as extra depth.
//
// Every element of C is one chain of multiply-adds per block of depth, and the blocks are added in order. Blocks follow
// from the depth alone, so neither tiles, threads, the other rows of A nor the vector width change a bit of the result.
// A bf16 C is rounded once, after the last block; AVX512-BF16 also rounds A and B to bf16 while it packs them (word.h).
// Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", with B packed per thread.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "ops/linear/pack_columns.h"

namespace ftc {

class Pool;

// Rows [row_begin, row_end) of C get scaling * s factor on top, after the last block of depth in the same chain.
struct GemmAdapter {
    int64_t row_begin, row_end;
    int64_t rank;
    const float* s; // [row_end - row_begin, rank]
    float scaling;
    ColumnSource factor;    // [rank, cols] as columns
    const Dropout* dropout; // of the adapter's part of C (then it is added on its own), or NULL
};

struct GemmArgs {
    void* c;
    int32_t c_dtype; // FTC_F32, or FTC_BF16 where C is not transposed
    int64_t c_stride;
    bool c_transposed; // C is stored [cols, rows]; then it is added to
    bool add_to_c;
    const float* bias; // [cols] or NULL
    const void* a;     // [rows, depth], or [depth, rows] when a_depth_major
    int32_t a_dtype;   // FTC_F32 or FTC_BF16
    int64_t a_stride;
    bool a_depth_major;
    float a_scale;            // depth-major only
    const Dropout* a_dropout; // row-major only, or NULL; its arrays start at row 0 of A
    int32_t a_pool;           // row-major only: > 1: A is the mean of so many neighbouring elements of `a`, before dropout
    ColumnSource b;
    int64_t rows, cols, depth;
    int64_t block_depth; // multiple of 64
    const GemmAdapter* adapters;
    int32_t adapter_count;
    int64_t total_rank;
};

constexpr int64_t kMostWords = 576; // in a block of depth

// Depth of the blocks of a linear layer: an even split into blocks of at most kMostWords, the same on every instruction
// set that packs the same words.
constexpr int64_t block_depth(int64_t depth, int64_t depths_of_word) {
    const int64_t most = kMostWords * depths_of_word;
    if (depth <= 0) return 64;
    const int64_t blocks = (depth + most - 1) / most;
    return (depth + blocks * 64 - 1) / (blocks * 64) * 64;
}

// Rows that a gradient (dweight, da, db) sums before it adds to what is there.
constexpr int64_t kGradientRows = 256;

FTC_FOR_EACH_ISA(void gemm(Pool& pool, const GemmArgs& args, float* workspace);

                 // Floats of workspace for products with at most these columns, block depth and total rank, and with a
                 // bf16 C of at most so many rows (0: with fp32 C alone).
                 int64_t gemm_workspace_floats(int32_t threads, int64_t cols, int64_t depth_of_block,
                                               int64_t total_rank, int64_t rounded_rows);)

} // namespace ftc
