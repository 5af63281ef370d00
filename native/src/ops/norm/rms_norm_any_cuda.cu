// RMSNorm of rows of any length and alignment, a warp or a block each, and the gradient of its weight. Formulas:
// rms_norm_cuda.cu.
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/reduce.cuh"
#include "ops/norm/rms_norm_cuda.h"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

template <int kGroup>
__device__ __forceinline__ float group_sum(float x, float* slots) {
    if constexpr (kGroup == 32) return warp_sum(x);
    return block_sum<kThreads>(x, slots);
}

// Every element is read again by the thread that read or wrote it first, so results may overwrite inputs.
template <class T, int kGroup>
__global__ void __launch_bounds__(kThreads) forward_any_kernel(RmsNormForward<T> a) {
    __shared__ float slots[kWarps];
    const int64_t unit = int64_t{blockIdx.x} * (kThreads / kGroup) + threadIdx.x / kGroup;
    if (unit >= a.rows * a.heads) return; // whole groups
    const int64_t lane = threadIdx.x % kGroup;
    const int64_t row = unit / a.heads, column = (unit - row * a.heads) * a.hidden_size;
    const T* t = a.x + row * a.x_row_stride + column;
    float squares = 0.0f;
    if (a.residual != nullptr) {
        const T* residual = a.residual + row * a.residual_row_stride + column;
        T* sum = a.sum + row * a.x_row_stride + column;
        for (int64_t i = lane; i < a.hidden_size; i += kGroup) {
            const T value = from_float<T>(to_float(t[i]) + to_float(residual[i]));
            sum[i] = value;
            squares = fmaf(to_float(value), to_float(value), squares);
        }
        t = sum;
    } else {
#pragma unroll 4
        for (int64_t i = lane; i < a.hidden_size; i += kGroup) squares = fmaf(to_float(t[i]), to_float(t[i]), squares);
    }
    squares = group_sum<kGroup>(squares, slots);
    const float rstd = 1.0f / sqrtf(squares / static_cast<float>(a.hidden_size) + a.eps);
    if (a.rstd != nullptr && lane == 0) a.rstd[unit] = rstd;
    T* y = a.y + row * a.y_row_stride + column;
#pragma unroll 4
    for (int64_t i = lane; i < a.hidden_size; i += kGroup) y[i] = from_float<T>(to_float(t[i]) * rstd * a.weight[i]);
}

template <class T, int kGroup>
__global__ void __launch_bounds__(kThreads) backward_any_kernel(RmsNormBackward<T> a) {
    __shared__ float slots[kWarps];
    const int64_t unit = int64_t{blockIdx.x} * (kThreads / kGroup) + threadIdx.x / kGroup;
    if (unit >= a.rows * a.heads) return;
    const int64_t lane = threadIdx.x % kGroup;
    const int64_t row = unit / a.heads, column = (unit - row * a.heads) * a.hidden_size;
    const T* dy = a.dy + row * a.dy_row_stride + column;
    const T* t = a.x + row * a.x_row_stride + column;
    const T* dsum = a.dsum + row * a.dsum_row_stride + column;
    float dot = 0.0f;
#pragma unroll 4
    for (int64_t i = lane; i < a.hidden_size; i += kGroup)
        dot = fmaf(to_float(dy[i]) * a.weight[i], to_float(t[i]), dot);
    dot = group_sum<kGroup>(dot, slots);
    const float rstd = a.rstd[unit];
    const float shrink = dot / static_cast<float>(a.hidden_size) * rstd * rstd;
    T* dx = a.dx + row * a.dx_row_stride + column;
#pragma unroll 4
    for (int64_t i = lane; i < a.hidden_size; i += kGroup) {
        const float direct = fmaf(-to_float(t[i]), shrink, to_float(dy[i]) * a.weight[i]);
        dx[i] = from_float<T>(fmaf(direct, rstd, a.dsum == nullptr ? 0.0f : to_float(dsum[i])));
    }
}

constexpr int64_t kWarpRow = 512; // the longest row a warp takes

unsigned blocks_for(int64_t units, int group) {
    const int64_t each = kThreads / group;
    return static_cast<unsigned>((units + each - 1) / each);
}

// ---- dweight, in two stages whose order follows from the shape. A block sums 64 columns over a chunk of the rows (of
// all heads), its warps taking rows in turn; warps, then chunks, are added one after the other.

constexpr int kColumns = 64; // a block
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kSmallestChunk = 64; // rows

// sums is fp32 [chunks, hidden_size]; with one chunk it is dweight, and added to.
template <class T>
__global__ void __launch_bounds__(kThreads) weight_gradient_kernel(RmsNormBackward<T> a, float* sums, int64_t chunk) {
    __shared__ float of_warps[kWarps][kColumns];
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t col = int64_t{blockIdx.x} * kColumns + lane;
    const int64_t units = a.rows * a.heads;
    const int64_t begin = int64_t{blockIdx.y} * chunk;
    const int64_t end = begin + chunk < units ? begin + chunk : units;
    float sum[2] = {0.0f, 0.0f}; // of columns col and col + 32
#pragma unroll 4
    for (int64_t unit = begin + warp; unit < end; unit += kWarps) {
        const int64_t row = a.heads == 1 ? unit : unit / a.heads;
        const int64_t column = a.heads == 1 ? col : (unit - row * a.heads) * a.hidden_size + col;
        const T* dy = a.dy + row * a.dy_row_stride + column;
        const T* t = a.x + row * a.x_row_stride + column;
        const float rstd = a.rstd[unit];
#pragma unroll
        for (int j = 0; j < 2; j++)
            if (col + 32 * j < a.hidden_size) sum[j] = fmaf(to_float(dy[32 * j]) * to_float(t[32 * j]), rstd, sum[j]);
    }
    of_warps[warp][lane] = sum[0];
    of_warps[warp][lane + 32] = sum[1];
    __syncthreads();
    const int64_t mine = int64_t{blockIdx.x} * kColumns + threadIdx.x;
    if (threadIdx.x >= kColumns || mine >= a.hidden_size) return;
    float total = of_warps[0][threadIdx.x];
    for (int w = 1; w < kWarps; w++) total += of_warps[w][threadIdx.x];
    if (sums == a.dweight)
        a.dweight[mine] += total;
    else
        sums[int64_t{blockIdx.y} * a.hidden_size + mine] = total;
}

__global__ void __launch_bounds__(kThreads)
    add_chunks_kernel(float* dweight, const float* sums, int64_t chunks, int64_t hidden_size) {
    const int64_t col = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (col >= hidden_size) return;
    float total = 0.0f;
#pragma unroll 4
    for (int64_t chunk = 0; chunk < chunks; chunk++) total += sums[chunk * hidden_size + col];
    dweight[col] += total;
}

} // namespace

template <class T>
void rms_norm_forward_any(ftc_stream& stream, const RmsNormForward<T>& a) {
    if (a.hidden_size <= kWarpRow)
        FTC_LAUNCH((forward_any_kernel<T, 32>), blocks_for(a.rows * a.heads, 32), kThreads, 0, stream.handle, a);
    else
        FTC_LAUNCH((forward_any_kernel<T, kThreads>), blocks_for(a.rows * a.heads, kThreads), kThreads, 0,
                   stream.handle, a);
}

template <class T>
void rms_norm_backward_any(ftc_stream& stream, const RmsNormBackward<T>& a) {
    if (a.hidden_size <= kWarpRow)
        FTC_LAUNCH((backward_any_kernel<T, 32>), blocks_for(a.rows * a.heads, 32), kThreads, 0, stream.handle, a);
    else
        FTC_LAUNCH((backward_any_kernel<T, kThreads>), blocks_for(a.rows * a.heads, kThreads), kThreads, 0,
                   stream.handle, a);
}

template <class T>
void rms_norm_weight_gradient(ftc_stream& stream, const RmsNormBackward<T>& a) {
    const int64_t units = a.rows * a.heads;
    int64_t limit = kScratchBytes / static_cast<int64_t>(sizeof(float)) / a.hidden_size; // chunks the scratch holds
    limit = limit < 1 ? 1 : limit < kMaxChunks ? limit : kMaxChunks;
    int64_t chunk = (units + limit - 1) / limit;
    if (chunk < kSmallestChunk) chunk = kSmallestChunk;
    const int64_t chunks = (units + chunk - 1) / chunk;
    float* sums = chunks == 1 ? a.dweight : static_cast<float*>(stream.scratch);
    const dim3 grid(static_cast<unsigned>((a.hidden_size + kColumns - 1) / kColumns), static_cast<unsigned>(chunks));
    FTC_LAUNCH((weight_gradient_kernel<T>), grid, kThreads, 0, stream.handle, a, sums, chunk);
    if (chunks > 1)
        FTC_LAUNCH((add_chunks_kernel), static_cast<unsigned>((a.hidden_size + kThreads - 1) / kThreads), kThreads, 0,
                   stream.handle, a.dweight, sums, chunks, a.hidden_size);
}

template void rms_norm_forward_any(ftc_stream&, const RmsNormForward<float>&);
template void rms_norm_forward_any(ftc_stream&, const RmsNormForward<bf16>&);
template void rms_norm_backward_any(ftc_stream&, const RmsNormBackward<float>&);
template void rms_norm_backward_any(ftc_stream&, const RmsNormBackward<bf16>&);
template void rms_norm_weight_gradient(ftc_stream&, const RmsNormBackward<float>&);
template void rms_norm_weight_gradient(ftc_stream&, const RmsNormBackward<bf16>&);

} // namespace ftc::cuda
