// Optimiser updates on flat fp32 arrays, and the sum of squares behind the global gradient norm.
// AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101. Bytes an element: AdamW 28, SGD with momentum 20, without 12.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/optimizer/adamw_scalars.h"
#include "ops/optimizer/step_source.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;

template <int kCount>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* parameter, float* m, float* v, const float* gradient, int64_t count, AdamwScalars a,
                 StepSource source) {
    const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount;
    if (at >= count || !take_step(a, source)) return;
    float p[kCount], mean[kCount], square[kCount], g[kCount];
    load_values<kCount, true>(g, gradient + at);
    load_values<kCount, true>(mean, m + at);
    load_values<kCount, true>(square, v + at);
    load_values<kCount, true>(p, parameter + at);
#pragma unroll
    for (int i = 0; i < kCount; i++) {
        const float scaled = g[i] * a.gradient_scale;
        mean[i] = fmaf(a.beta1, mean[i], a.one_minus_beta1 * scaled);
        square[i] = fmaf(a.beta2, square[i], a.one_minus_beta2 * scaled * scaled);
        const float width = sqrtf(square[i]) / a.v_correction + a.eps;
        p[i] = fmaf(-a.step_size, mean[i] / width, p[i] * a.decay);
    }
    store_values<kCount>(m + at, mean);
    store_values<kCount>(v + at, square);
    store_values<kCount>(parameter + at, p);
}

// g += weight_decay * p;  u = momentum * u + g;  p -= learning_rate * u.   velocity is u, or NULL without momentum.
template <int kCount>
__global__ void __launch_bounds__(kThreads)
    sgd_kernel(float* parameter, float* velocity, const float* gradient, int64_t count, float gradient_scale,
               float learning_rate, float momentum, float weight_decay, StepSource source) {
    const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount;
    if (at >= count) return;
    const ftc_step_values step = load_step(source, gradient_scale);
    if (step.skip != 0) return;
    gradient_scale = step.gradient_scale;
    if (source.update != nullptr) learning_rate = load_update(source.update).learning_rate;
    float p[kCount], g[kCount], u[kCount];
    load_values<kCount, true>(g, gradient + at);
    load_values<kCount, true>(p, parameter + at);
    if (velocity != nullptr) load_values<kCount, true>(u, velocity + at);
#pragma unroll
    for (int i = 0; i < kCount; i++) {
        const float direction = fmaf(weight_decay, p[i], g[i] * gradient_scale);
        u[i] = velocity != nullptr ? fmaf(momentum, u[i], direction) : direction;
        p[i] = fmaf(-learning_rate, u[i], p[i]);
    }
    if (velocity != nullptr) store_values<kCount>(velocity + at, u);
    store_values<kCount>(parameter + at, p);
}

unsigned blocks_for(int64_t count, int each) {
    const int64_t elements = int64_t{kThreads} * each;
    return static_cast<unsigned>((count + elements - 1) / elements);
}

// ---- Sum of squares. Squares of fp32 are exact in double, so only the order of the additions matters: a chunk of the
// array is a block, its threads take vectors in turn, then threads are added as a tree, then chunks one after the
// other.

constexpr int64_t kMaxChunks = 1024;
constexpr int64_t kSmallestChunk = 16384; // elements; 64 KB
static_assert(kMaxChunks * static_cast<int64_t>(sizeof(double)) <= kScratchBytes);

// sum is double [chunks], or the result itself when there is one chunk.
template <int kCount>
__global__ void __launch_bounds__(kThreads)
    squares_of_chunks_kernel(double* sums, float* result, const float* x, int64_t count, int64_t chunk) {
    __shared__ double partial[kThreads];
    const int64_t begin = int64_t{blockIdx.x} * chunk;
    const int64_t end = begin + chunk < count ? begin + chunk : count;
    double sum = 0.0;
    const int64_t whole = begin + (end - begin) / kCount * kCount;
#pragma unroll 4
    for (int64_t at = begin + int64_t{threadIdx.x} * kCount; at < whole; at += int64_t{kThreads} * kCount) {
        float v[kCount];
        load_values<kCount, true>(v, x + at);
#pragma unroll
        for (int i = 0; i < kCount; i++) sum += static_cast<double>(v[i]) * static_cast<double>(v[i]);
    }
    for (int64_t at = whole + threadIdx.x; at < end; at += kThreads)
        sum += static_cast<double>(x[at]) * static_cast<double>(x[at]);
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = kThreads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    if (result != nullptr)
        *result = static_cast<float>(partial[0]);
    else
        sums[blockIdx.x] = partial[0];
}

__global__ void __launch_bounds__(kMaxChunks) add_chunks_kernel(float* result, const double* sums, int chunks) {
    __shared__ double partial[kMaxChunks];
    if (static_cast<int>(threadIdx.x) < chunks) partial[threadIdx.x] = sums[threadIdx.x];
    __syncthreads();
    if (threadIdx.x != 0) return;
    double total = 0.0;
    for (int i = 0; i < chunks; i++) total += partial[i];
    *result = static_cast<float>(total);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void adamw_step(ftc_stream& stream, float* parameter, float* m, float* v, const float* gradient,
                const ftc_adamw_params& params) {
    const AdamwScalars a = adamw_scalars(params);
    const StepSource source{params.step_values, params.update_values};
    int64_t done = 0;
    if (all_aligned({parameter, m, v, gradient}) && params.count >= 4) {
        done = params.count / 4 * 4;
        FTC_LAUNCH((adamw_kernel<4>), blocks_for(done, 4), kThreads, 0, stream.handle, parameter, m, v, gradient, done,
                   a, source);
    }
    if (done < params.count)
        FTC_LAUNCH((adamw_kernel<1>), blocks_for(params.count - done, 1), kThreads, 0, stream.handle, parameter + done,
                   m + done, v + done, gradient + done, params.count - done, a, source);
}

void sgd_step(ftc_stream& stream, float* parameter, float* velocity, const float* gradient,
              const ftc_sgd_params& params) {
    const StepSource source{params.step_values, params.update_values};
    int64_t done = 0;
    if (all_aligned({parameter, velocity, gradient}) && params.count >= 4) {
        done = params.count / 4 * 4;
        FTC_LAUNCH((sgd_kernel<4>), blocks_for(done, 4), kThreads, 0, stream.handle, parameter, velocity, gradient,
                   done, params.gradient_scale, params.learning_rate, params.momentum, params.weight_decay, source);
    }
    if (done < params.count)
        FTC_LAUNCH((sgd_kernel<1>), blocks_for(params.count - done, 1), kThreads, 0, stream.handle, parameter + done,
                   velocity == nullptr ? nullptr : velocity + done, gradient + done, params.count - done,
                   params.gradient_scale, params.learning_rate, params.momentum, params.weight_decay, source);
}

void sum_of_squares(ftc_stream& stream, float* sum, const float* x, int64_t count) {
    int64_t chunk = (count + kMaxChunks - 1) / kMaxChunks;
    chunk = chunk < kSmallestChunk ? kSmallestChunk : (chunk + 3) / 4 * 4;
    const int64_t chunks = count > 0 ? (count + chunk - 1) / chunk : 1;
    double* sums = static_cast<double*>(stream.scratch);
    float* direct = chunks == 1 ? sum : nullptr;
    if (all_aligned({x}))
        FTC_LAUNCH((squares_of_chunks_kernel<4>), static_cast<unsigned>(chunks), kThreads, 0, stream.handle, sums,
                   direct, x, count, chunk);
    else
        FTC_LAUNCH((squares_of_chunks_kernel<1>), static_cast<unsigned>(chunks), kThreads, 0, stream.handle, sums,
                   direct, x, count, chunk);
    if (chunks > 1)
        FTC_LAUNCH((add_chunks_kernel), 1, static_cast<unsigned>(kMaxChunks), 0, stream.handle, sum, sums,
                   static_cast<int>(chunks));
}

} // namespace ftc::backend
