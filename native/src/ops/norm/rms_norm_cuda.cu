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

// Where the rows of one head lie.
struct Unit {
    int64_t row, column;
};

__device__ __forceinline__ Unit unit_of(int64_t unit, int64_t heads, int64_t hidden_size) {
    if (heads == 1) return {unit, 0};
    const int64_t row = unit / heads;
    return {row, (unit - row * heads) * hidden_size};
}

template <int kCount, class T, int kVectors>
__device__ __forceinline__ void load_row(Words<T, kCount> (&words)[kVectors], const T* from, int lane, int group,
                                         int64_t hidden_size) {
#pragma unroll
    for (int j = 0; j < kVectors; j++) {
        const int64_t i = int64_t{lane + j * group} * kCount;
        if (i < hidden_size) load_words<true>(words[j], from + i);
    }
}

// Rows that leave registers for it are read one ahead, while the one before them is summed up and written.
template <int kVectors>
inline constexpr bool kReadsAhead = kVectors <= 2;

template <class T, int kGroup, int kVectors>
__global__ void __launch_bounds__(kBlockOf<kGroup>) forward_kernel(RmsNormForward<T> a) {
    constexpr int kCount = kVectorOf<T>;
    constexpr int kGroups = kBlockOf<kGroup> / kGroup;
    __shared__ float slots[2][kMaxWarps];
    int parity = 0;
    const int lane = static_cast<int>(threadIdx.x) % kGroup;
    float w[kVectors][kCount];
    load_weight(w, a.weight, lane, kGroup, a.hidden_size);
    const int64_t units = a.rows * a.heads, step = int64_t{gridDim.x} * kGroups;
    Words<T, kCount> x[kVectors], residual[kVectors];
    const auto load = [&](int64_t unit) {
        if (unit >= units) return;
        const auto [row, column] = unit_of(unit, a.heads, a.hidden_size);
        load_row(x, a.x + row * a.x_row_stride + column, lane, kGroup, a.hidden_size);
        if (a.residual != nullptr)
            load_row(residual, a.residual + row * a.residual_row_stride + column, lane, kGroup, a.hidden_size);
    };
    int64_t unit = int64_t{blockIdx.x} * kGroups + threadIdx.x / kGroup;
    if (kReadsAhead<kVectors>) load(unit);
    // All threads of a block take as many turns as its first group.
    for (int64_t first = int64_t{blockIdx.x} * kGroups; first < units; first += step, unit += step) {
        if (!kReadsAhead<kVectors>) load(unit);
        const bool valid = unit < units;
        const auto [row, column] = unit_of(unit, a.heads, a.hidden_size);
        Words<T, kCount> t[kVectors];
        float squares = 0.0f;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (!valid || i >= a.hidden_size) continue;
            t[j] = x[j];
            float v[kCount];
            unpack(v, t[j]);
            if (a.residual != nullptr) {
                float past[kCount];
                unpack(past, residual[j]);
#pragma unroll
                for (int k = 0; k < kCount; k++) v[k] += past[k];
                pack(t[j], v);
                store_words(a.sum + row * a.x_row_stride + column + i, t[j]);
                unpack(v, t[j]);
            }
#pragma unroll
            for (int k = 0; k < kCount; k++) squares = fmaf(v[k], v[k], squares);
        }
        if (kReadsAhead<kVectors>) load(unit + step);
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
    const int64_t units = a.rows * a.heads, step = int64_t{gridDim.x} * kGroups;
    using Row = Words<T, kCount>[kVectors];
    Row next_dy, next_x, next_dsum;
    const auto load = [&](Row& dy, Row& x, Row& dsum, int64_t unit) {
        if (unit >= units) return;
        const auto [row, column] = unit_of(unit, a.heads, a.hidden_size);
        load_row(dy, a.dy + row * a.dy_row_stride + column, lane, kGroup, a.hidden_size);
        load_row(x, a.x + row * a.x_row_stride + column, lane, kGroup, a.hidden_size);
        if (a.dsum != nullptr) load_row(dsum, a.dsum + row * a.dsum_row_stride + column, lane, kGroup, a.hidden_size);
    };
    int64_t unit = int64_t{blockIdx.x} * kGroups + threadIdx.x / kGroup;
    if (kReadsAhead<kVectors>) load(next_dy, next_x, next_dsum, unit);
    for (int64_t first = int64_t{blockIdx.x} * kGroups; first < units; first += step, unit += step) {
        const bool valid = unit < units;
        Row dy, x, dsum;
        if constexpr (kReadsAhead<kVectors>) {
#pragma unroll
            for (int j = 0; j < kVectors; j++) {
                if (!valid || int64_t{lane + j * kGroup} * kCount >= a.hidden_size) continue;
                dy[j] = next_dy[j];
                x[j] = next_x[j];
                if (a.dsum != nullptr) dsum[j] = next_dsum[j];
            }
            load(next_dy, next_x, next_dsum, unit + step);
        } else {
            load(dy, x, dsum, unit);
        }
        float dot = 0.0f;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            if (!valid || int64_t{lane + j * kGroup} * kCount >= a.hidden_size) continue;
            float d[kCount], t[kCount];
            unpack(d, dy[j]);
            unpack(t, x[j]);
#pragma unroll
            for (int k = 0; k < kCount; k++) dot = fmaf(d[k] * w[j][k], t[k], dot);
        }
        dot = group_sum<kGroup>(dot, slots, parity);
        if (!valid) continue;
        const float rstd = a.rstd[unit];
        const float shrink = dot / static_cast<float>(a.hidden_size) * rstd * rstd;
        const auto [row, column] = unit_of(unit, a.heads, a.hidden_size);
        T* dx = a.dx + row * a.dx_row_stride + column;
#pragma unroll
        for (int j = 0; j < kVectors; j++) {
            const int64_t i = int64_t{lane + j * kGroup} * kCount;
            if (i >= a.hidden_size) continue;
            float d[kCount], t[kCount], out[kCount] = {};
            unpack(d, dy[j]);
            unpack(t, x[j]);
            if (a.dsum != nullptr) unpack(out, dsum[j]);
#pragma unroll
            for (int k = 0; k < kCount; k++) out[k] = fmaf(fmaf(-t[k], shrink, d[k] * w[j][k]), rstd, out[k]);
            store_values<kCount>(dx + i, out);
        }
    }
}

// As many blocks as registers let the device hold at once, each with the rows that leaves it, so that the weight is
// read seldom. The bits of a row do not depend on it.
template <int kGroup>
unsigned blocks_for(const ftc_context& context, int64_t units, int resident_threads) {
    constexpr int kGroups = kBlockOf<kGroup> / kGroup;
    const int64_t needed = (units + kGroups - 1) / kGroups;
    const int64_t resident = int64_t{context.multiprocessors} * (resident_threads / kBlockOf<kGroup>);
    return static_cast<unsigned>(needed < resident ? needed : resident);
}

template <int kGroup, int kVectors, class T>
void launch(const ftc_stream& stream, const RmsNormForward<T>& a) {
    const unsigned blocks = blocks_for<kGroup>(*stream.context, a.rows * a.heads, kVectors <= 2 ? 768 : 512);
    FTC_LAUNCH((forward_kernel<T, kGroup, kVectors>), blocks, kBlockOf<kGroup>, 0, stream.handle, a);
}

template <int kGroup, int kVectors, class T>
void launch(const ftc_stream& stream, const RmsNormBackward<T>& a) {
    const unsigned blocks = blocks_for<kGroup>(*stream.context, a.rows * a.heads, 512);
    FTC_LAUNCH((backward_kernel<T, kGroup, kVectors>), blocks, kBlockOf<kGroup>, 0, stream.handle, a);
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
