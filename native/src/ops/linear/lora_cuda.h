// The skinny products of LoRA on CUDA, for one segment: every big operand is read once. reference: LoRAFusion's cut at S
// (Zhu et al. 2025, arXiv:2510.00206), with ordered reductions instead of atomics.
//
//   down:       S = drop(X) A^T                      [rows, rank]
//   up:         dS = scaling dY B,  dB += scaling dY^T S
//   down again: dA += dS^T drop(X)
//   add:        Y += scaling S B^T  and  dX += mask * (dS A), where no border takes them into the big product
#pragma once

#include <cstdint>

#include "cuda/context.h"
#include "ops/linear/dropout.h"

namespace ftc::cuda {

// Where a rank-wide result also goes: columns of the border of X or dY, in the activations' dtype.
struct Tail {
    void* data; // row 0 of the segment; NULL: nowhere
    int64_t row_stride;
    float scale;
};

// Bytes of partial sums any of these needs for `rows` rows, `width` features on the long side and `rank`.
int64_t lora_partial_bytes(int64_t rows, int64_t width, int64_t rank);

struct LoraDown { // s = drop(x) a^T
    float* s;     // [rows, rank]
    Tail tail;
    const void* x;
    int64_t x_row_stride;
    const float* a; // [rank, k]
    int64_t rows, k;
    int32_t rank;
    int32_t pool;    // > 1: of the means of so many neighbouring features, then a is [rank, k / pool]
    Dropout dropout; // threshold 0: none
    void* partial;
};
void lora_down(ftc_stream& stream, int32_t dtype, const LoraDown& args);

struct LoraUpBackward { // ds = scaling dy b; db += scaling dy^T s
    float* ds;          // [rows, rank]
    Tail tail;          // of ds
    float* db;          // [n, rank], or NULL
    const void* dy;
    int64_t dy_row_stride;
    const float* b; // [n, rank]
    const float* s; // with db
    int64_t rows, n;
    int32_t rank;
    float scaling;
    void* partial;
};
void lora_up_backward(ftc_stream& stream, int32_t dtype, const LoraUpBackward& args);

struct LoraDownBackward { // da += ds^T drop(x)
    float* da;            // [rank, k], or [rank, k / pool]
    const float* ds;
    const void* x;
    int64_t x_row_stride;
    int64_t rows, k;
    int32_t rank;
    int32_t pool;
    Dropout dropout;
    void* partial;
};
void lora_down_backward(ftc_stream& stream, int32_t dtype, const LoraDownBackward& args);

struct LoraAdd { // y += mask * (scale v u^T)
    void* y;     // [rows, cols]
    int64_t y_row_stride;
    const float* v; // [rows, rank]
    const float* u; // element (column c, rank j) at u[(c >> repeat_shift) * column_stride + j * rank_stride]
    int64_t column_stride, rank_stride;
    int64_t rows, cols;
    int32_t rank;
    int32_t repeat_shift; // > 0: that many columns, a multiple of eight, share an element of u and are dropped together
    float scale;
    Dropout dropout; // of the columns
};
void lora_add(ftc_stream& stream, int32_t dtype, const LoraAdd& args);

// The functions above choose.
void lora_down_pooled(ftc_stream& stream, int32_t dtype, const LoraDown& args);
void lora_down_backward_pooled(ftc_stream& stream, int32_t dtype, const LoraDownBackward& args);
void lora_down_f32(ftc_stream& stream, const LoraDown& args);
void lora_down_bf16(ftc_stream& stream, const LoraDown& args);
void lora_up_backward_f32(ftc_stream& stream, const LoraUpBackward& args);
void lora_up_backward_bf16(ftc_stream& stream, const LoraUpBackward& args);
void lora_down_backward_f32(ftc_stream& stream, const LoraDownBackward& args);
void lora_down_backward_bf16(ftc_stream& stream, const LoraDownBackward& args);
void lora_add_f32(ftc_stream& stream, const LoraAdd& args);
void lora_add_bf16(ftc_stream& stream, const LoraAdd& args);

} // namespace ftc::cuda
