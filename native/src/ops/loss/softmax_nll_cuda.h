// Steps of linear_cross_entropy_cuda.cu between its matrix products: which rows are trained, a chunk of them gathered,
// softmax and its gradient over their logits, results put back.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

// The rows that are trained, in order, and their number, found on the device.
struct TrainedRows {
    int32_t* rows;  // [device] [rows]
    int32_t* count; // [device] [1]
};

// One chunk: trained rows [begin, begin + rows), as far as there are so many.
struct LossChunk {
    TrainedRows trained;
    int64_t begin;
    int32_t rows;
};

struct SelectRows {
    TrainedRows trained;
    float* nll;
    int32_t* predictions; // or NULL
    void* dx;             // or NULL
    int32_t dtype;
    int64_t dx_row_stride;
    const int32_t* targets;
    int64_t rows, hidden_size, vocab_size;
    int64_t most_trained; // more of them are a mistake
    LateError* late_error;
};

// Lists the trained rows, writes what the others get, and notes targets that are none (such rows are not trained).
void select_rows(cudaStream_t stream, const SelectRows& args);

// y [chunk.rows, cols] = the chunk's rows of x; zeros where there are none.
void gather_rows(cudaStream_t stream, void* y, int64_t y_row_stride, const void* x, int64_t x_row_stride, int32_t dtype,
                 int64_t cols, const LossChunk& chunk);

struct SoftmaxNll {
    float* logits; // [chunk.rows, cols]; with `gradient` overwritten by gradient_scale * d nll / d logits
    int64_t row_stride;
    int64_t cols;
    int32_t gradient_dtype; // FTC_BF16: rows of 2 * row_stride elements of bf16 in the same place
    bool gradient;
    float gradient_scale;
    const float* gradient_scale_value; // [device] it stands there, or NULL
    float* nll;           // of all rows, as of here
    int32_t* predictions; // or NULL
    const int32_t* targets;
    LossChunk chunk;
};

void softmax_nll(cudaStream_t stream, const SoftmaxNll& args);

// The chunk's rows of y (of dtype) = x [chunk.rows, cols], fp32.
void scatter_rows(cudaStream_t stream, void* y, int64_t y_row_stride, int32_t dtype, const float* x,
                  int64_t x_row_stride, int64_t cols, const LossChunk& chunk);

} // namespace ftc::cuda
