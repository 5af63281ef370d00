// y = x in another dtype, row by row, rounded to nearest even; NaN stays NaN. Behind ftc_convert (one row) and the
// dequantisation of F32 and BF16 weights. Bytes: each element is read once and written once.
#pragma once

#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ftc.h"

namespace ftc::cuda {
namespace {

template <class To, class From, int kCount>
__global__ void __launch_bounds__(kRowGridThreads)
    convert_kernel(To* y, int64_t y_row_stride, const From* x, int64_t x_row_stride, int64_t rows, int64_t cols) {
    const int64_t col = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        float v[kCount];
        load_values<kCount, true>(v, x + row * x_row_stride + col);
        store_values<kCount>(y + row * y_row_stride + col, v);
    }
}

// As many elements a thread as make 16 bytes of the wider type: more, and the lanes of a store would leave gaps.
template <class To, class From>
inline constexpr int kConvertVector = sizeof(To) == 2 && sizeof(From) == 2 ? 8 : 4;

template <class To, class From>
void convert_rows(cudaStream_t stream, void* y, int64_t y_row_stride, const void* x, int64_t x_row_stride, int64_t rows,
                  int64_t cols) {
    constexpr int kVector = kConvertVector<To, From>;
    const bool vector = all_aligned({y}, kVector * sizeof(To)) && all_aligned({x}, kVector * sizeof(From)) &&
                        all_multiples({cols}, kVector) &&
                        (rows == 1 || all_multiples({y_row_stride, x_row_stride}, kVector));
    const auto [grid, block] = row_grid(rows, cols, vector ? kVector : 1);
    if (vector)
        FTC_LAUNCH((convert_kernel<To, From, kVector>), grid, block, 0, stream, static_cast<To*>(y), y_row_stride,
                   static_cast<const From*>(x), x_row_stride, rows, cols);
    else
        FTC_LAUNCH((convert_kernel<To, From, 1>), grid, block, 0, stream, static_cast<To*>(y), y_row_stride,
                   static_cast<const From*>(x), x_row_stride, rows, cols);
}

template <class From>
void convert_rows_from(cudaStream_t stream, void* y, int32_t y_dtype, int64_t y_row_stride, const void* x,
                       int64_t x_row_stride, int64_t rows, int64_t cols) {
    if (y_dtype == FTC_F32)
        convert_rows<float, From>(stream, y, y_row_stride, x, x_row_stride, rows, cols);
    else if (y_dtype == FTC_BF16)
        convert_rows<bf16, From>(stream, y, y_row_stride, x, x_row_stride, rows, cols);
    else
        convert_rows<f16, From>(stream, y, y_row_stride, x, x_row_stride, rows, cols);
}

} // namespace
} // namespace ftc::cuda
