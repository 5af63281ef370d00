// The parts of RMSNorm on CUDA: rows in registers (rms_norm_cuda.cu), rows of any length and alignment, and the
// gradient of the weight (rms_norm_any_cuda.cu).
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

template <class T>
struct RmsNormForward {
    T* y;
    T* sum;      // t; NULL without residual
    float* rstd; // [rows, heads] or NULL
    const T* x;
    const T* residual; // or NULL
    const float* weight;
    int64_t rows, heads, hidden_size;
    int64_t x_row_stride, y_row_stride, residual_row_stride;
    float eps;
};

template <class T>
struct RmsNormBackward {
    T* dx;
    float* dweight; // [hidden_size], added to; or NULL
    const T* dy;
    const T* dsum; // or NULL
    const T* x;    // t of the forward
    const float* rstd;
    const float* weight;
    int64_t rows, heads, hidden_size;
    int64_t x_row_stride, dy_row_stride, dsum_row_stride, dx_row_stride;
};

template <class T>
void rms_norm_forward_any(ftc_stream& stream, const RmsNormForward<T>& a);
template <class T>
void rms_norm_backward_any(ftc_stream& stream, const RmsNormBackward<T>& a); // dx
template <class T>
void rms_norm_weight_gradient(ftc_stream& stream, const RmsNormBackward<T>& a); // dweight

} // namespace ftc::cuda
