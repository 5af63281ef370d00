// Quantisation to int8 by row and to affine groups, and the merge of QA-LoRA: formulas in ftc.h, bit-equal to the CPU
// library (affine_quantize_cpu.cpp), whose order of operations this follows.
//
// Affine: a thread owns a group, a block 64 neighbouring ones; x comes in and codes go out through shared memory, so that
// both are read and written along their rows.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/reduce.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/quant/affine_code.cuh"
#include "ops/quant/affine_quantize.h"
#include "ops/quant/map_code.cuh"

namespace ftc::cuda {
namespace {

constexpr int kGroups = 64; // of a block, one a thread
constexpr int kErrors = 8;
constexpr int kInt8Threads = 256;

// x >= 0 below 2^22, to the nearest integer, ties to even.
__device__ __forceinline__ float nearest_integer(float x) {
    return (x + 8388608.0f) - 8388608.0f;
}

struct Range {
    float scale, minimum;
};

__device__ __forceinline__ Range range_of(float low, float high, float top) {
    const float scale = (high - low) / top;
    return scale > 0.0f ? Range{scale, low} : Range{1.0f, low};
}

__device__ __forceinline__ float code_of(float x, const Range& range, float top) {
    const float steps = (x - range.minimum) / range.scale;
    const float positive = steps > 0.0f ? steps : 0.0f;
    return nearest_integer(positive < top ? positive : top);
}

__device__ __forceinline__ float squared_error(const float* x, int count, const Range& range, float top) {
    float sum[kErrors] = {};
    for (int k = 0; k < count; k += kErrors)
#pragma unroll
        for (int i = 0; i < kErrors; i++) {
            const float error = fmaf(range.scale, code_of(x[k + i], range, top), range.minimum) - x[k + i];
            sum[i] = sum[i] + error * error;
        }
#pragma unroll
    for (int half = kErrors / 2; half > 0; half /= 2)
#pragma unroll
        for (int i = 0; i < half; i++) sum[i] = sum[i] + sum[i + half];
    return sum[0];
}

__device__ __forceinline__ Range best_range(const float* x, int count, float top, bool search) {
    float low = x[0], high = x[0];
    for (int k = 1; k < count; k++) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
    }
    Range best = range_of(low, high, top);
    if (!search) return best;
    float smallest = squared_error(x, count, best, top);
    const float half = (high - low) * 0.5f, middle = low + half;
    for (int i = 1; i < kRanges; i++) {
        const float narrowed = half * (1.0f - kNarrowing * static_cast<float>(i));
        const Range range = range_of(middle - narrowed, middle + narrowed, top);
        const float error = squared_error(x, count, range, top);
        if (!(error < smallest)) continue;
        smallest = error;
        best = range;
    }
    return best;
}

// Where the codes of a group lie among its values; those of neighbours in other banks.
__device__ __forceinline__ uint8_t* codes_of(float* values, int group) {
    return reinterpret_cast<uint8_t*>(values + group % 2 * 4);
}

template <int kBits>
__global__ void __launch_bounds__(kGroups) affine_quantize_kernel(AffineQuantizeArgs args) {
    FTC_DYNAMIC_SHARED(memory);
    float* values = reinterpret_cast<float*>(memory); // [kGroups, size + 1]: no two threads meet in a bank
    const ftc_affine_quantize_params& p = args.params;
    constexpr float kTop = (1 << kBits) - 1;
    const int size = p.group_size, stride = size + 1, thread = static_cast<int>(threadIdx.x);
    const int64_t per_row = p.cols / size, all = p.rows * per_row, first = int64_t{blockIdx.x} * kGroups;
    const int groups = all - first < kGroups ? static_cast<int>(all - first) : kGroups;
    for (int i = thread; i < groups * size; i += kGroups) {
        const int64_t group = first + i / size, row = group / per_row;
        values[i / size * stride + i % size] = args.x[row * p.x_row_stride + (group - row * per_row) * size + i % size];
    }
    __syncthreads();
    if (thread < groups) {
        float* x = values + thread * stride;
        const Range range = best_range(x, size, kTop, p.search != 0);
        args.scale[first + thread] = range.scale;
        args.minimum[first + thread] = range.minimum;
        uint8_t* packed = codes_of(x, thread); // over the values, but never ahead of them
        for (int k = 0; k < size; k += 8) {    // eight codes fill kBits bytes
            uint32_t word = 0;
#pragma unroll
            for (int i = 0; i < 8; i++)
                word |= static_cast<uint32_t>(static_cast<int>(code_of(x[k + i], range, kTop))) << (kBits * i);
#pragma unroll
            for (int byte = 0; byte < kBits; byte++) packed[k / 8 * kBits + byte] = static_cast<uint8_t>(word >> (8 * byte));
        }
    }
    __syncthreads();
    const int bytes = size / 8 * kBits;
    uint8_t* codes = args.codes + first * bytes;
    for (int i = thread; i < groups * bytes; i += kGroups)
        codes[i] = codes_of(values + i / bytes * stride, i / bytes)[i % bytes];
}

// To the nearest of -127 .. 127, ties to even; scale 0 or NaN gives 0.
__device__ __forceinline__ uint32_t int8_code_of(float x, float scale) {
    const float steps = scale > 0.0f ? x / scale : 0.0f;
    const float low = steps > -127.0f ? steps : -127.0f;
    const float clamped = low < 127.0f ? low : 127.0f;
    return static_cast<uint32_t>(static_cast<int>((clamped + 12582912.0f) - 12582912.0f)) & 255u;
}

// A block a row at a time; the second look at it comes from the cache.
template <int kEach>
__global__ void __launch_bounds__(kInt8Threads) int8_quantize_kernel(Int8QuantizeArgs args) {
    __shared__ uint32_t of_warps[2][kInt8Threads / 32];
    int parity = 0;
    for (int64_t row = blockIdx.x; row < args.rows; row += gridDim.x, parity ^= 1) {
        const float* x = args.x + row * args.x_row_stride;
        uint32_t largest = 0;
        for (int64_t k = int64_t{threadIdx.x} * kEach; k < args.cols; k += kInt8Threads * kEach) {
            float v[kEach];
            load_values<kEach>(v, x + k);
#pragma unroll
            for (int i = 0; i < kEach; i++) largest = largest > magnitude(v[i]) ? largest : magnitude(v[i]);
        }
        largest = warp_max(largest);
        if (threadIdx.x % 32 == 0) of_warps[parity][threadIdx.x / 32] = largest;
        __syncthreads();
        for (int warp = 0; warp < kInt8Threads / 32; warp++)
            largest = largest > of_warps[parity][warp] ? largest : of_warps[parity][warp];
        const float scale = __uint_as_float(largest) / 127.0f;
        if (threadIdx.x == 0) args.scale[row] = scale;
        for (int64_t k = int64_t{threadIdx.x} * kEach; k < args.cols; k += kInt8Threads * kEach) {
            float v[kEach];
            load_values<kEach>(v, x + k);
            uint32_t codes = 0;
#pragma unroll
            for (int i = 0; i < kEach; i++) codes |= int8_code_of(v[i], scale) << (8 * i);
            if constexpr (kEach == 4)
                *reinterpret_cast<uint32_t*>(args.codes + row * args.cols + k) = codes;
            else
                args.codes[row * args.cols + k] = static_cast<int8_t>(codes);
        }
    }
}

__global__ void __launch_bounds__(kRowGridThreads) affine_merge_kernel(AffineMergeArgs args) {
    const int64_t g = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (g >= args.groups) return;
    const double factor = static_cast<double>(args.scaling) / args.group_size;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < args.rows; row += step) {
        double sum = 0.0;
        for (int32_t j = 0; j < args.rank; j++)
            sum += static_cast<double>(args.b[row * args.rank + j]) * static_cast<double>(args.a[j * args.groups + g]);
        float& minimum = args.minimum[row * args.groups + g];
        const double added = factor * sum;
        minimum = static_cast<float>(static_cast<double>(minimum) + added);
    }
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void int8_quantize(ftc_stream& stream, int8_t* codes, float* scale, const float* x, int64_t rows, int64_t cols,
                   int64_t x_row_stride) {
    const Int8QuantizeArgs args{codes, scale, x, rows, cols, x_row_stride};
    const int64_t resident = int64_t{stream.context->multiprocessors} * 8;
    const auto blocks = static_cast<unsigned>(rows < resident ? rows : resident);
    if (all_aligned({x}) && all_aligned({codes}, 4) && all_multiples({cols, x_row_stride}, 4))
        FTC_LAUNCH((int8_quantize_kernel<4>), blocks, kInt8Threads, 0, stream.handle, args);
    else
        FTC_LAUNCH((int8_quantize_kernel<1>), blocks, kInt8Threads, 0, stream.handle, args);
}

void affine_quantize(ftc_stream& stream, uint8_t* codes, float* scale, float* minimum, const float* x,
                     const ftc_affine_quantize_params& params) {
    const AffineQuantizeArgs args{codes, scale, minimum, x, params};
    const int64_t groups = params.rows * (params.cols / params.group_size);
    const auto blocks = static_cast<unsigned>((groups + kGroups - 1) / kGroups);
    const size_t shared = sizeof(float) * kGroups * (static_cast<size_t>(params.group_size) + 1);
    if (params.bits == 4)
        FTC_LAUNCH((affine_quantize_kernel<4>), blocks, kGroups, shared, stream.handle, args);
    else if (params.bits == 3)
        FTC_LAUNCH((affine_quantize_kernel<3>), blocks, kGroups, shared, stream.handle, args);
    else
        FTC_LAUNCH((affine_quantize_kernel<2>), blocks, kGroups, shared, stream.handle, args);
}

void affine_merge(ftc_stream& stream, float* minimum, const float* b, const float* a, int64_t rows, int64_t groups,
                  int32_t rank, int32_t group_size, float scaling) {
    const auto [grid, block] = row_grid(rows, groups, 1);
    FTC_LAUNCH((affine_merge_kernel), grid, block, 0, stream.handle,
               AffineMergeArgs{minimum, b, a, rows, groups, rank, group_size, scaling});
}

} // namespace ftc::backend
