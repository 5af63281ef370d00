// RMSNorm with an optional residual add: t = x + residual, y = t / sqrt(mean(t^2) + eps) * weight, per row and head.
// Zhang & Sennrich 2019, arXiv:1910.07467.
// Backward: dx = rstd * (dy * weight - t * rstd^2 * mean(dy * weight * t)) + dsum;
//           dweight += sum over rows of dy * t * rstd.
//
// In bf16, t is rounded before it is squared and normalised: the forward is the norm of what `sum` holds, and the
// backward, which reads `sum`, is the gradient of just that. Statistics, weight and sums are fp32.
//
// A row (of one head) belongs to a group of 8 or 32 lanes or to a block of 256 or 512 threads, which keeps it in
// registers: x, residual and dy are read once, and the weight, held in registers too, once for all the rows a block
// walks. Longer or unaligned rows take the kernels at the end, which read them twice.
// Bytes an element of b bytes: forward 4 b with residual, 2 b without; backward 4 b with dsum, 3 b without, 2 b more
// when the weight trains.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/reduce.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/norm/rms_norm_cuda.h"

namespace ftc::cuda {
namespace {

constexpr int kMaxWarps = 16;

// Sum over a group. Groups up to a warp take any call order; a block alternates between two sets of slots.
template <int kGroup>
__device__ __forceinline__ float group_sum(float x, float (&slots)[2][kMaxWarps], int& parity) {
    if constexpr (kGroup <= 32) {
        return warp_sum<kGroup>(x);
    } else {
        parity ^= 1;
        return block_sum<kGroup>(x, slots[parity]);
    }
}

template <int kGroup>
inline constexpr int kBlockOf = kGroup < 256 ? 256 : kGroup;

template <int kCount, int kVectors>
__device__ __forceinline__ void load_weight(float (&w)[kVectors][kCount], const float* weight, int lane, int group,
                                            int64_t hidden_size) {
#pragma unroll
    for (int j = 0; j < kVectors; j++) {
        const int64_t i = int64_t{lane + j * group} * kCount;
        if (i < hidden_size) load_values<kCount>(w[j], weight + i);
    }
}

template <class T, int kGroup, int kVectors>
__global__ void __launch_bounds__(kBlockOf<kGroup>) forward_kernel(RmsNormForward<T> a) {
    constexpr int kCount = kVectorOf<T>;
    constexpr int kGroups = kBlockOf<kGroup> / kGroup;
    __shared__ float slots[2][kMaxWarps];
    int parity = 0;
    const int lane = static_cast<int>(threadIdx.x) % kGroup;
    float w[kVectors][kCount];
    load_weight(w, a.weight, lane, kGroup, a.hidden_size);
    const int64_t units = a.rows * a.heads;
    for (int64_t first = int64_t{blockIdx.x} * kGroups; first < units; first += int64_t{gridDim.x} * kGroups) {
        const int64_t unit = first + threadIdx.x / kGroup;
        const bool valid = unit < units;
        const int64_t row = a.heads == 1 ? unit : unit / a.heads;
        const int64_t column = a.heads == 1 ? 0 : (unit - row * a.heads) * a.hidden_size;
        const T* x = a.x + row * a.x_row_stride + column;
        const T* residual = a.residual + row * a.residual_row_stride + column;
        Words<T, kCount> t[kVectors];
        Words<T, kCount> r[kVectors];
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (!valid || i >= a.hidden_size) continue;
            load_words<true>(t[j], x + i);
            if (a.residual != nullptr) load_words<true>(r[j], residual + i);
        }
        float squares = 0.0f;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (!valid || i >= a.hidden_size) continue;
            float v[kCount];
            unpack(v, t[j]);
            if (a.residual != nullptr) {
                float past[kCount];
                unpack(past, r[j]);
#pragma unroll
                for (int k = 0; k < kCount; k++) v[k] += past[k];
                pack(t[j], v);
                store_words(a.sum + row * a.x_row_stride + column + i, t[j]);
                unpack(v, t[j]);
            }
#pragma unroll
            for (int k = 0; k < kCount; k++) squares = fmaf(v[k], v[k], squares);
        }
        squares = group_sum<kGroup>(squares, slots, parity);
        const float rstd = 1.0f / sqrtf(squares / static_cast<float>(a.hidden_size) + a.eps);
        if (!valid) continue;
        if (a.rstd != nullptr && lane == 0) a.rstd[unit] = rstd;
        T* y = a.y + row * a.y_row_stride + column;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (i >= a.hidden_size) continue;
            float v[kCount];
            unpack(v, t[j]);
#pragma unroll
            for (int k = 0; k < kCount; k++) v[k] = v[k] * rstd * w[j][k];
            store_values<kCount>(y + i, v);
        }
    }
}

template <class T, int kGroup, int kVectors>
__global__ void __launch_bounds__(kBlockOf<kGroup>) backward_kernel(RmsNormBackward<T> a) {
    constexpr int kCount = kVectorOf<T>;
    constexpr int kGroups = kBlockOf<kGroup> / kGroup;
    __shared__ float slots[2][kMaxWarps];
    int parity = 0;
    const int lane = static_cast<int>(threadIdx.x) % kGroup;
    float w[kVectors][kCount];
    load_weight(w, a.weight, lane, kGroup, a.hidden_size);
    const int64_t units = a.rows * a.heads;
    for (int64_t first = int64_t{blockIdx.x} * kGroups; first < units; first += int64_t{gridDim.x} * kGroups) {
        const int64_t unit = first + threadIdx.x / kGroup;
        const bool valid = unit < units;
        const int64_t row = a.heads == 1 ? unit : unit / a.heads;
        const int64_t column = a.heads == 1 ? 0 : (unit - row * a.heads) * a.hidden_size;
        const T* dy = a.dy + row * a.dy_row_stride + column;
        const T* x = a.x + row * a.x_row_stride + column;
        const T* dsum = a.dsum + row * a.dsum_row_stride + column;
        Words<T, kCount> d[kVectors], t[kVectors], past[kVectors];
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (!valid || i >= a.hidden_size) continue;
            load_words<true>(d[j], dy + i);
            load_words<true>(t[j], x + i);
            if (a.dsum != nullptr) load_words<true>(past[j], dsum + i);
        }
        float dot = 0.0f;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (!valid || i >= a.hidden_size) continue;
            float dv[kCount], tv[kCount];
            unpack(dv, d[j]);
            unpack(tv, t[j]);
#pragma unroll
            for (int k = 0; k < kCount; k++) dot = fmaf(dv[k] * w[j][k], tv[k], dot);
        }
        dot = group_sum<kGroup>(dot, slots, parity);
        if (!valid) continue;
        const float rstd = a.rstd[unit];
        const float shrink = dot / static_cast<float>(a.hidden_size) * rstd * rstd;
        T* dx = a.dx + row * a.dx_row_stride + column;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (i >= a.hidden_size) continue;
            float dv[kCount], tv[kCount], out[kCount] = {};
            unpack(dv, d[j]);
            unpack(tv, t[j]);
            if (a.dsum != nullptr) unpack(out, past[j]);
#pragma unroll
            for (int k = 0; k < kCount; k++) out[k] = fmaf(fmaf(-tv[k], shrink, dv[k] * w[j][k]), rstd, out[k]);
            store_values<kCount>(dx + i, out);
        }
    }
}

// Blocks enough to fill the device, each with as many rows as that leaves: the bits of a row do not depend on it.
template <int kGroup>
unsigned blocks_for(const ftc_context& context, int64_t units) {
    constexpr int kGroups = kBlockOf<kGroup> / kGroup;
    const int64_t needed = (units + kGroups - 1) / kGroups;
    const int64_t resident = int64_t{context.multiprocessors} * (1024 / kBlockOf<kGroup>);
    return static_cast<unsigned>(needed < resident ? needed : resident);
}

template <int kGroup, int kVectors, class T>
void launch(const ftc_stream& stream, const RmsNormForward<T>& a) {
    FTC_LAUNCH((forward_kernel<T, kGroup, kVectors>), blocks_for<kGroup>(*stream.context, a.rows * a.heads),
               kBlockOf<kGroup>, 0, stream.handle, a);
}

template <int kGroup, int kVectors, class T>
void launch(const ftc_stream& stream, const RmsNormBackward<T>& a) {
    FTC_LAUNCH((backward_kernel<T, kGroup, kVectors>), blocks_for<kGroup>(*stream.context, a.rows * a.heads),
               kBlockOf<kGroup>, 0, stream.handle, a);
}

// By the vectors of a row; false when it does not fit into registers.
template <class T, class Args>
bool launch_in_registers(const ftc_stream& stream, const Args& a) {
    const int64_t vectors = a.hidden_size / kVectorOf<T>;
    if (vectors <= 16)
        launch<8, 2>(stream, a);
    else if (vectors <= 128)
        launch<32, 4>(stream, a);
    else if (vectors <= 512)
        launch<256, 2>(stream, a);
    else if (vectors <= 1024)
        launch<256, 4>(stream, a);
    else if (vectors <= 2048)
        launch<512, 4>(stream, a);
    else
        return false;
    return true;
}

template <class T>
void forward(ftc_stream& stream, void* y, void* sum, float* rstd, const void* x, const void* residual,
             const float* weight, const ftc_rms_norm_params& p) {
    const RmsNormForward<T> a{.y = static_cast<T*>(y),
                              .sum = static_cast<T*>(sum),
                              .rstd = rstd,
                              .x = static_cast<const T*>(x),
                              .residual = static_cast<const T*>(residual),
                              .weight = weight,
                              .rows = p.rows,
                              .heads = p.heads,
                              .hidden_size = p.hidden_size,
                              .x_row_stride = p.x_row_stride,
                              .y_row_stride = p.y_row_stride,
                              .residual_row_stride = residual == nullptr ? 0 : p.residual_row_stride,
                              .eps = p.eps};
    const bool vector =
        all_aligned({y, sum, x, residual, weight}) &&
        all_multiples({a.hidden_size, a.x_row_stride, a.y_row_stride, a.residual_row_stride}, kVectorOf<T>);
    if (!vector || !launch_in_registers<T>(stream, a)) rms_norm_forward_any(stream, a);
}

template <class T>
void backward(ftc_stream& stream, void* dx, float* dweight, const void* dy, const void* dsum, const void* x,
              const float* rstd, const float* weight, const ftc_rms_norm_params& p) {
    const RmsNormBackward<T> a{.dx = static_cast<T*>(dx),
                               .dweight = dweight,
                               .dy = static_cast<const T*>(dy),
                               .dsum = static_cast<const T*>(dsum),
                               .x = static_cast<const T*>(x),
                               .rstd = rstd,
                               .weight = weight,
                               .rows = p.rows,
                               .heads = p.heads,
                               .hidden_size = p.hidden_size,
                               .x_row_stride = p.x_row_stride,
                               .dy_row_stride = p.y_row_stride,
                               .dsum_row_stride = dsum == nullptr ? 0 : p.residual_row_stride,
                               .dx_row_stride = p.dx_row_stride};
    if (dweight != nullptr) rms_norm_weight_gradient(stream, a); // before dx, which may overwrite dy
    const bool vector =
        all_aligned({dx, dy, dsum, x, weight}) &&
        all_multiples({a.hidden_size, a.x_row_stride, a.dy_row_stride, a.dsum_row_stride, a.dx_row_stride},
                      kVectorOf<T>);
    if (!vector || !launch_in_registers<T>(stream, a)) rms_norm_backward_any(stream, a);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void rms_norm_forward(ftc_stream& stream, void* y, void* sum, float* rstd, const void* x, const void* residual,
                      const float* weight, const ftc_rms_norm_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::forward<cuda::bf16>(stream, y, sum, rstd, x, residual, weight, params);
    else
        cuda::forward<float>(stream, y, sum, rstd, x, residual, weight, params);
}

void rms_norm_backward(ftc_stream& stream, void* dx, float* dweight, const void* dy, const void* dsum, const void* x,
                       const float* rstd, const float* weight, const ftc_rms_norm_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::backward<cuda::bf16>(stream, dx, dweight, dy, dsum, x, rstd, weight, params);
    else
        cuda::backward<float>(stream, dx, dweight, dy, dsum, x, rstd, weight, params);
}

} // namespace ftc::backend
