// y = silu(gate) * up, silu(g) = g / (1 + exp(-g)).   Shazeer 2020, arXiv:2002.05202.
// Backward, with s = sigmoid(gate):   dup = dy * gate * s;   dgate = dy * up * s * (1 + gate * (1 - s)).
//
// Bytes a row of n elements of b bytes: forward 3 n b, backward 5 n b; nothing is read twice, so results may overwrite
// the inputs element by element.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"

namespace ftc::cuda {
namespace {

// bf16 keeps 8 bits of the result: the special-function unit's exp2 and reciprocal (2 ulp of fp32) leave the kernel
// bound by memory, where the fp32 sequences would cost more instructions than the bytes take time.
__device__ __forceinline__ float sigmoid(float g, bf16) {
    return reciprocal_fast(1.0f + exp2_fast(g * -1.4426950408889634f));
}
__device__ __forceinline__ float sigmoid(float g, float) {
    return 1.0f / (1.0f + expf(-g));
}

template <class T, int kCount>
__global__ void __launch_bounds__(kRowGridThreads)
    swiglu_forward_kernel(T* y, const T* gate, const T* up, int64_t rows, int64_t cols, int64_t gate_row_stride,
                          int64_t y_row_stride) {
    const int64_t col = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        float g[kCount], u[kCount], out[kCount];
        load_values<kCount, true>(g, gate + row * gate_row_stride + col);
        load_values<kCount, true>(u, up + row * gate_row_stride + col);
#pragma unroll
        for (int i = 0; i < kCount; i++) out[i] = g[i] * sigmoid(g[i], T{}) * u[i];
        store_values<kCount>(y + row * y_row_stride + col, out);
    }
}

template <class T, int kCount>
__global__ void __launch_bounds__(kRowGridThreads)
    swiglu_backward_kernel(T* dgate, T* dup, const T* dy, const T* gate, const T* up, int64_t rows, int64_t cols,
                           int64_t gate_row_stride, int64_t dy_row_stride, int64_t dgate_row_stride) {
    const int64_t col = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        float d[kCount], g[kCount], u[kCount], dg[kCount], du[kCount];
        load_values<kCount, true>(d, dy + row * dy_row_stride + col);
        load_values<kCount, true>(g, gate + row * gate_row_stride + col);
        load_values<kCount, true>(u, up + row * gate_row_stride + col);
#pragma unroll
        for (int i = 0; i < kCount; i++) {
            const float s = sigmoid(g[i], T{});
            dg[i] = d[i] * u[i] * (s * fmaf(g[i], 1.0f - s, 1.0f));
            du[i] = d[i] * (g[i] * s);
        }
        store_values<kCount>(dgate + row * dgate_row_stride + col, dg);
        store_values<kCount>(dup + row * dgate_row_stride + col, du);
    }
}

template <class T, int kCount>
void launch_forward(ftc_stream& stream, void* y, const void* gate, const void* up, const ftc_swiglu_params& p) {
    const auto [grid, block] = row_grid(p.rows, p.cols, kCount);
    FTC_LAUNCH((swiglu_forward_kernel<T, kCount>), grid, block, 0, stream.handle, static_cast<T*>(y),
               static_cast<const T*>(gate), static_cast<const T*>(up), p.rows, p.cols, p.gate_row_stride,
               p.y_row_stride);
}

template <class T>
void forward(ftc_stream& stream, void* y, const void* gate, const void* up, const ftc_swiglu_params& p) {
    constexpr int kVector = kVectorOf<T>;
    if (all_aligned({y, gate, up}) && all_multiples({p.cols, p.gate_row_stride, p.y_row_stride}, kVector))
        launch_forward<T, kVector>(stream, y, gate, up, p);
    else
        launch_forward<T, 1>(stream, y, gate, up, p);
}

template <class T, int kCount>
void launch_backward(ftc_stream& stream, void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                     const ftc_swiglu_params& p) {
    const auto [grid, block] = row_grid(p.rows, p.cols, kCount);
    FTC_LAUNCH((swiglu_backward_kernel<T, kCount>), grid, block, 0, stream.handle, static_cast<T*>(dgate),
               static_cast<T*>(dup), static_cast<const T*>(dy), static_cast<const T*>(gate), static_cast<const T*>(up),
               p.rows, p.cols, p.gate_row_stride, p.y_row_stride, p.dgate_row_stride);
}

template <class T>
void backward(ftc_stream& stream, void* dgate, void* dup, const void* dy, const void* gate, const void* up,
              const ftc_swiglu_params& p) {
    constexpr int kVector = kVectorOf<T>;
    if (all_aligned({dgate, dup, dy, gate, up}) &&
        all_multiples({p.cols, p.gate_row_stride, p.y_row_stride, p.dgate_row_stride}, kVector))
        launch_backward<T, kVector>(stream, dgate, dup, dy, gate, up, p);
    else
        launch_backward<T, 1>(stream, dgate, dup, dy, gate, up, p);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void swiglu_forward(ftc_stream& stream, void* y, const void* gate, const void* up, const ftc_swiglu_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::forward<cuda::bf16>(stream, y, gate, up, params);
    else
        cuda::forward<float>(stream, y, gate, up, params);
}

void swiglu_backward(ftc_stream& stream, void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                     const ftc_swiglu_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::backward<cuda::bf16>(stream, dgate, dup, dy, gate, up, params);
    else
        cuda::backward<float>(stream, dgate, dup, dy, gate, up, params);
}

} // namespace ftc::backend
