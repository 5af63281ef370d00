// What surrounds the big product of a linear layer: borders that carry LoRA, biases, sums of columns.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

// A block [rows, cols] of a matrix of activations or of a weight's border.
struct Block {
    void* data;
    int64_t row_stride;
    int64_t rows, cols;
};

void fill_zero_block(ftc_stream& stream, int32_t dtype, const Block& block);
// block = source rounded to its dtype; source is fp32 and contiguous, [rows, cols], or [rows, cols / repeat]: then
// `repeat` neighbouring columns get an element divided by repeat.
void write_block(ftc_stream& stream, int32_t dtype, const Block& block, const float* source, int32_t repeat = 1);
// Every row of block = bias, or + bias.
void write_bias(ftc_stream& stream, int32_t dtype, const Block& block, const float* bias, bool accumulate);
// sums[c] += the sum of column c of block; partial holds lora_partial_bytes(rows, cols, 1).
void add_column_sums(ftc_stream& stream, int32_t dtype, float* sums, const Block& block, void* partial);

} // namespace ftc::cuda
