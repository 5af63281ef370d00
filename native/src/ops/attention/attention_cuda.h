// What attention_cuda.cu hands to the kernels of attention, one file per dtype and direction:
//   attention_{forward,backward}_bf16_cuda.cu   tensor cores, head_dim <= 128
//   attention_{forward,backward}_f32_cuda.cu    fmaf in fp32, head_dim <= 256: the reference precision
//   attention_decode_cuda.cu                    up to kDecodeRows query rows over a long cache, both dtypes
#pragma once

#include <cstdint>

#include "cuda/context.h"
#include "ftc.h"

namespace ftc::cuda {

constexpr int kDecodeRows = 8;       // up to here keys and values are split over blocks
constexpr int kDecodeChunk = 256;    // keys of one block of decoding
constexpr int kBf16MaxHeadDim = 128; // wider ones do not fit the registers of a warp
constexpr int kF32MaxHeadDim = 256;

// The shape as kernels want it: rows and keys fit 31 bits (checked by attention_cuda.cu), offsets do not.
struct AttentionShape {
    int query_rows, key_rows, first_query;
    int heads, key_value_heads, group; // group = heads / key_value_heads
    int head_dim;
    float scale;
    int64_t q_row_stride, k_row_stride, v_row_stride, o_row_stride;
    int64_t dq_row_stride, dk_row_stride, dv_row_stride, do_row_stride;
    const int32_t* key_begin; // NULL = 0
    LateError* late_error;
};

struct AttentionForward {
    AttentionShape shape;
    void* o;
    float* lse; // or NULL
    const void* q;
    const void* k;
    const void* v;
    float* workspace;
};

struct AttentionBackward {
    AttentionShape shape;
    void* dq;
    void* dk;
    void* dv;
    const void* dout;
    const void* q;
    const void* k;
    const void* v;
    const void* o;
    const float* lse;
    float* workspace; // attention_backward_floats
};

// Backward begins with two numbers a query row: its lse (as the kernels want it, see attention_statistics_cuda.cu) and
// delta = dout . o, each [heads][padded query rows].
constexpr int kStatisticsRows = 128; // query rows are padded to a multiple of it
inline int64_t statistics_rows(int64_t query_rows) {
    return (query_rows + kStatisticsRows - 1) / kStatisticsRows * kStatisticsRows;
}

int64_t attention_decode_floats(const ftc_attention_params& params);

void attention_forward_bf16(cudaStream_t stream, const AttentionForward& call);
void attention_forward_f32(cudaStream_t stream, const AttentionForward& call);
void attention_decode(cudaStream_t stream, const AttentionForward& call, int32_t dtype);

void attention_statistics(cudaStream_t stream, const AttentionBackward& call, int32_t dtype);
void attention_backward_bf16(cudaStream_t stream, const AttentionBackward& call);
void attention_backward_f32(cudaStream_t stream, const AttentionBackward& call);

// Whether rows of 16-bit or 32-bit elements at p can be read 16 bytes at a time, for every head.
inline bool rows_are_aligned(const void* p, int64_t row_stride, int head_dim, int element_bytes) {
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && row_stride * element_bytes % 16 == 0 &&
           head_dim * element_bytes % 16 == 0;
}

} // namespace ftc::cuda
