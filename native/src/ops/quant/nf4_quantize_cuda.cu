// NF4 quantisation, bit-equal to bitsandbytes and to the CPU library. Dettmers et al. 2023, arXiv:2305.14314.
//
// Codes: sixteen lanes share a block of 64, four neighbouring values each; the largest magnitude goes round by shuffle.
// Double quantisation needs the mean of absmax in exactly the order in which PyTorch adds it (torch_sum.h). That order
// is a tree: rows of 32 floats (4 accumulators of 8 lanes: a warp, lane by lane) are added `step` at a time into a
// leaf, `step` leaves into a node, `step` nodes into the next level, and so on; leaves and nodes are independent. So
// the warps of one block compute nodes in parallel, and one warp adds the nodes up.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/late_error.cuh"
#include "cuda/reduce.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/quant/map_code.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlock = 64;
constexpr int kNestedBlock = 256;

// Between neighbouring values of the NF4 map; a value on a threshold keeps the lower code.
__device__ __forceinline__ uint32_t nf4_code_of(float scaled) {
    constexpr float kThresholds[15] = {-0.8480964004993439f,   -0.6106329262256622f,  -0.4599952697753906f,
                                       -0.33967943489551544f,  -0.23460740596055984f, -0.13791173323988914f,
                                       -0.045525018125772476f, 0.03979014977812767f,  0.1202552504837513f,
                                       0.2035212516784668f,    0.2920137718319893f,   0.3893125355243683f,
                                       0.5016634166240692f,    0.6427869200706482f,   0.8614784181118011f};
    uint32_t above = 0;
#pragma unroll
    for (int t = 0; t < 15; t++) above += scaled > kThresholds[t] ? 1u : 0u;
    return above;
}

template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    nf4_quantize_kernel(uint8_t* codes, float* absmax, const float* x, int64_t count) {
    const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4;
    float v[4] = {};
    if (kVector && at + 4 <= count) {
        load_values<4, true>(v, x + at);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (at + i < count) v[i] = x[at + i];
    }
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) largest = largest > magnitude(v[i]) ? largest : magnitude(v[i]);
    const float block_absmax = __uint_as_float(warp_max<16>(largest));
    if (at >= count) return;
    if (at % kBlock == 0) absmax[at / kBlock] = block_absmax;
    const float scale = reciprocal(block_absmax);
    uint32_t code[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        code[i] = at + i < count ? nf4_code_of(clamp_to_one(v[i] * scale)) : 7u; // an odd count is padded with a zero
    const uint32_t low = code[0] << 4 | code[1], high = code[2] << 4 | code[3];
    if (kVector && at + 4 <= count) {
        *reinterpret_cast<uint16_t*>(codes + at / 2) = static_cast<uint16_t>(low | high << 8);
    } else {
        codes[at / 2] = static_cast<uint8_t>(low);
        if (at + 2 < count) codes[at / 2 + 1] = static_cast<uint8_t>(high);
    }
}

// ---- The sum of torch_sum.h

constexpr int kSumThreads = 1024;
constexpr int kSumWarps = kSumThreads / 32;
constexpr int kLevels = 4;

__device__ __forceinline__ int ceil_log2(int64_t x) {
    int power = 0;
    while ((int64_t{1} << power) < x) power++;
    return power;
}

// Adds rows [begin, end) one after the other.
__device__ __forceinline__ float add_rows(float sum, const float* x, int64_t begin, int64_t end, int lane) {
#pragma unroll 8
    for (int64_t row = begin; row < end; row++) sum += x[row * 32 + lane];
    return sum;
}

// `step` leaves of `step` rows each, from `row` on.
__device__ __forceinline__ float node_of(const float* x, int64_t row, int64_t step, int lane) {
    float node = 0.0f;
    for (int64_t leaf = 0; leaf < step; leaf++, row += step) node += add_rows(0.0f, x, row, row + step, lane);
    return node;
}

__global__ void __launch_bounds__(kSumThreads) torch_mean_kernel(float* mean, const float* x, int64_t count) {
    __shared__ float nodes[kSumWarps][32];
    __shared__ float accumulators[32];
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t vectors = count / 8, rows = vectors / 4;
    const int power = ceil_log2(rows) / kLevels > 4 ? ceil_log2(rows) / kLevels : 4;
    const int64_t step = int64_t{1} << power;
    const int64_t leaves = rows / step, full_nodes = leaves / step;

    // Levels 2 and 3 in warp 0: `step` nodes make one of level 2.
    float level2 = 0.0f, level3 = 0.0f;
    for (int64_t first = 0; first < full_nodes; first += kSumWarps) {
        if (first + warp < full_nodes) nodes[warp][lane] = node_of(x, (first + warp) * step * step, step, lane);
        __syncthreads();
        if (warp == 0) {
            for (int64_t node = first; node < full_nodes && node < first + kSumWarps; node++) {
                level2 += nodes[node - first][lane];
                if ((node + 1) % step != 0) continue;
                level3 += level2;
                level2 = 0.0f;
            }
        }
        __syncthreads();
    }
    if (warp != 0) return;

    // What is left: leaves of an unfinished node, rows of an unfinished leaf. Then the levels, then the accumulators,
    // are added into the first; vectors left over go there too.
    float level1 = 0.0f;
    for (int64_t leaf = full_nodes * step; leaf < leaves; leaf++)
        level1 += add_rows(0.0f, x, leaf * step, (leaf + 1) * step, lane);
    float sum = add_rows(0.0f, x, leaves * step, rows, lane);
    sum += level1;
    sum += level2;
    sum += level3;
    if (lane < 8)
        for (int64_t vector = rows * 4; vector < vectors; vector++) sum += x[vector * 8 + lane];
    accumulators[lane] = sum;
    __syncwarp();
    if (lane < 8)
        for (int a = 1; a < 4; a++) sum += accumulators[a * 8 + lane];
    __syncwarp();
    if (lane < 8) accumulators[lane] = sum;
    __syncwarp();
    if (lane != 0) return;
    float total = 0.0f;
    for (int64_t i = vectors * 8; i < count; i++) total += x[i];
    for (int i = 0; i < 8; i++) total += accumulators[i];
    *mean = total / static_cast<float>(count);
}

// A block of threads to a nested block at a time.
__global__ void __launch_bounds__(kNestedBlock)
    quantize_absmax_kernel(uint8_t* codes, float* nested_absmax, const float* nested_offset, const float* absmax,
                           const float* nested_map, int64_t count, LateError* late_error) {
    __shared__ float midpoints[255];
    __shared__ uint32_t largest_of_warps[2][kNestedBlock / 32];
    if (threadIdx.x < 255) {
        const float low = nested_map[threadIdx.x], high = nested_map[threadIdx.x + 1];
        midpoints[threadIdx.x] = (low + high) / 2.0f;
        if (!(low < high) && blockIdx.x == 0) record_late_error(late_error, kLateNestedMap, threadIdx.x + 1, 0, 0);
    }
    const float offset = *nested_offset;
    const int64_t blocks = (count + kNestedBlock - 1) / kNestedBlock;
    int parity = 0;
    for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x, parity ^= 1) {
        const int64_t i = block * kNestedBlock + threadIdx.x;
        const float centred = i < count ? absmax[i] - offset : 0.0f;
        const uint32_t of_warp = warp_max(magnitude(centred));
        if (threadIdx.x % 32 == 0) largest_of_warps[parity][threadIdx.x / 32] = of_warp;
        __syncthreads(); // the midpoints, too
        uint32_t largest = 0;
        for (int w = 0; w < kNestedBlock / 32; w++)
            largest = largest > largest_of_warps[parity][w] ? largest : largest_of_warps[parity][w];
        if (threadIdx.x == 0) nested_absmax[block] = __uint_as_float(largest);
        if (i < count)
            codes[i] =
                static_cast<uint8_t>(nearest(midpoints, clamp_to_one(centred * reciprocal(__uint_as_float(largest)))));
    }
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void nf4_quantize(ftc_stream& stream, uint8_t* codes, float* absmax, const float* x, int64_t count) {
    const int64_t each = int64_t{kThreads} * 4;
    const unsigned blocks = static_cast<unsigned>((count + each - 1) / each);
    if (all_aligned({x}) && all_aligned({codes}, 2))
        FTC_LAUNCH((nf4_quantize_kernel<true>), blocks, kThreads, 0, stream.handle, codes, absmax, x, count);
    else
        FTC_LAUNCH((nf4_quantize_kernel<false>), blocks, kThreads, 0, stream.handle, codes, absmax, x, count);
}

void nf4_quantize_absmax(ftc_stream& stream, uint8_t* codes, float* nested_absmax, float* nested_offset,
                         const float* absmax, const float* nested_map, int64_t count) {
    FTC_LAUNCH((torch_mean_kernel), 1, kSumThreads, 0, stream.handle, nested_offset, absmax, count);
    const int64_t blocks = (count + kNestedBlock - 1) / kNestedBlock;
    const int64_t resident = int64_t{stream.context->multiprocessors} * 8;
    FTC_LAUNCH((quantize_absmax_kernel), static_cast<unsigned>(blocks < resident ? blocks : resident), kNestedBlock, 0,
               stream.handle, codes, nested_absmax, nested_offset, absmax, nested_map, count,
               stream.context->late_error);
}

} // namespace ftc::backend
