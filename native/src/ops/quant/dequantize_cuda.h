// Rows of a weight of any format into a strided matrix on the device: behind ftc_weight_dequantize, and what linear
// layers call to fill the scratch of a matrix product.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

// y [row_count, weight.cols] of y_dtype (FTC_F32, FTC_BF16, FTC_F16) = rows [row_begin, row_begin + row_count).
// max_blocks > 0 keeps a dequantisation from taking the whole device: what runs beside a matrix product should
// leave it the multiprocessors. Bits do not depend on it.
void dequantize_into(cudaStream_t stream, const ftc_context& context, void* y, int32_t y_dtype, int64_t y_row_stride,
                     const ftc_weight& weight, int64_t row_begin, int64_t row_count, int32_t max_blocks = 0);

// The same of an INT8 or AFFINE weight.
template <class T>
void dequantize_packed(cudaStream_t stream, const ftc_context& context, T* y, int64_t y_row_stride,
                       const ftc_weight& weight, int64_t row_begin, int64_t row_count, int32_t max_blocks);

} // namespace ftc::cuda
