// AdamW with m and v as codes on maps of 256 values, times an absmax per block of 256. Dettmers et al. 2022,
// arXiv:2110.02861. A warp takes a block: eight elements a lane, in two runs of four, so that every access of the warp
// is one stretch of memory. Bytes an element: parameter 8, gradient 4, codes 4, absmax 16 / 256.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/late_error.cuh"
#include "cuda/reduce.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/optimizer/adamw_scalars.h"
#include "ops/optimizer/step_source.cuh"
#include "ops/quant/map_code.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kStateBlock = 256; // elements that share an absmax
constexpr int kRuns = 2;         // of four elements a lane
static_assert(kRuns * 4 * 32 == kStateBlock);

struct State {
    uint8_t* codes;
    float* absmax;
    const float* map;
};

// A map and what lies between its values, in shared memory.
struct Map {
    float values[256];
    float midpoints[256]; // 255
};

__device__ __forceinline__ void load_map(Map& map, const float* from, LateErrorKind kind, LateError* late_error) {
    const unsigned i = threadIdx.x;
    static_assert(kThreads == 256);
    const float low = from[i];
    map.values[i] = low;
    if (i == 255) return;
    const float high = from[i + 1];
    map.midpoints[i] = (low + high) / 2.0f;
    if (!(low < high) && blockIdx.x == 0) record_late_error(late_error, kind, i + 1, 0, 0);
}

// Four codes at `at`, those past the end of the array 0.
template <bool kVector>
__device__ __forceinline__ uint32_t load_codes(const uint8_t* codes, int64_t at, int64_t count) {
    if (kVector && at + 4 <= count) return *reinterpret_cast<const uint32_t*>(codes + at);
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (at + i < count) word |= static_cast<uint32_t>(codes[at + i]) << (8 * i);
    return word;
}

template <bool kVector>
__device__ __forceinline__ void store_codes(uint8_t* codes, int64_t at, int64_t count, uint32_t word) {
    if (kVector && at + 4 <= count) {
        *reinterpret_cast<uint32_t*>(codes + at) = word;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (at + i < count) codes[at + i] = static_cast<uint8_t>(word >> (8 * i));
}

template <bool kVector>
__device__ __forceinline__ void load_four(float (&v)[4], const float* x, int64_t at, int64_t count) {
    if (kVector && at + 4 <= count) {
        load_values<4, true>(v, x + at);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = at + i < count ? x[at + i] : 0.0f;
}

// The new absmax and codes of a state whose block the warp holds.
template <bool kVector>
__device__ __forceinline__ void encode(const State& state, const Map& map, const float (&v)[kRuns][4], int64_t block,
                                       int lane, int64_t count) {
    uint32_t largest = 0;
#pragma unroll
    for (int run = 0; run < kRuns; run++)
#pragma unroll
        for (int i = 0; i < 4; i++) largest = largest > magnitude(v[run][i]) ? largest : magnitude(v[run][i]);
    const float absmax = __uint_as_float(warp_max(largest));
    if (lane == 0) state.absmax[block] = absmax;
    const float scale = reciprocal(absmax);
#pragma unroll
    for (int run = 0; run < kRuns; run++) {
        uint32_t word = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) word |= nearest(map.midpoints, clamp_to_one(v[run][i] * scale)) << (8 * i);
        store_codes<kVector>(state.codes, block * kStateBlock + (run * 32 + lane) * 4, count, word);
    }
}

template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    adamw_8bit_kernel(float* parameter, State mean, State square, const float* gradient, int64_t count, AdamwScalars a,
                      StepSource source, LateError* late_error) {
    __shared__ Map mean_map, square_map;
    load_map(mean_map, mean.map, kLateAdamwMeanMap, late_error);
    load_map(square_map, square.map, kLateAdamwSquareMap, late_error);
    __syncthreads();
    if (!take_step(a, source)) return;
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int64_t blocks = (count + kStateBlock - 1) / kStateBlock;
    for (int64_t block = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; block < blocks;
         block += int64_t{gridDim.x} * kWarps) {
        const int64_t first = block * kStateBlock + lane * 4;
        float p[kRuns][4], g[kRuns][4], m[kRuns][4], v[kRuns][4];
        uint32_t m_codes[kRuns], v_codes[kRuns];
#pragma unroll
        for (int run = 0; run < kRuns; run++) {
            const int64_t at = first + run * 128;
            load_four<kVector>(g[run], gradient, at, count);
            load_four<kVector>(p[run], parameter, at, count);
            m_codes[run] = load_codes<kVector>(mean.codes, at, count);
            v_codes[run] = load_codes<kVector>(square.codes, at, count);
        }
        const float m_absmax = mean.absmax[block], v_absmax = square.absmax[block];
        __syncwarp(); // before lane 0 writes the new ones
#pragma unroll
        for (int run = 0; run < kRuns; run++) {
            const int64_t at = first + run * 128;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float scaled = g[run][i] * a.gradient_scale;
                m[run][i] = mean_map.values[m_codes[run] >> (8 * i) & 255u] * m_absmax;
                v[run][i] = square_map.values[v_codes[run] >> (8 * i) & 255u] * v_absmax;
                m[run][i] = fmaf(a.beta1, m[run][i], a.one_minus_beta1 * scaled);
                v[run][i] = fmaf(a.beta2, v[run][i], a.one_minus_beta2 * scaled * scaled);
                const float width = sqrtf(v[run][i]) / a.v_correction + a.eps;
                p[run][i] = fmaf(-a.step_size, m[run][i] / width, p[run][i] * a.decay);
                if (at + i >= count) m[run][i] = v[run][i] = 0.0f; // no part of the block's absmax
            }
            if (kVector && at + 4 <= count) {
                store_values<4>(parameter + at, p[run]);
            } else {
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (at + i < count) parameter[at + i] = p[run][i];
            }
        }
        encode<kVector>(mean, mean_map, m, block, lane, count);
        encode<kVector>(square, square_map, v, block, lane, count);
    }
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void adamw_8bit_step(ftc_stream& stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes, float* m_absmax,
                     float* v_absmax, const float* gradient, const float* m_map, const float* v_map,
                     const ftc_adamw_params& params) {
    const State mean{.codes = m_codes, .absmax = m_absmax, .map = m_map};
    const State square{.codes = v_codes, .absmax = v_absmax, .map = v_map};
    const int64_t each = int64_t{kStateBlock} * kWarps, needed = (params.count + each - 1) / each;
    const int64_t resident = int64_t{stream.context->multiprocessors} * 8;
    const unsigned blocks = static_cast<unsigned>(needed < resident ? needed : resident);
    const AdamwScalars a = adamw_scalars(params);
    const StepSource source{params.step_values, params.update_values};
    if (all_aligned({parameter, gradient}) && all_aligned({m_codes, v_codes}, 4))
        FTC_LAUNCH((adamw_8bit_kernel<true>), blocks, kThreads, 0, stream.handle, parameter, mean, square, gradient,
                   params.count, a, source, stream.context->late_error);
    else
        FTC_LAUNCH((adamw_8bit_kernel<false>), blocks, kThreads, 0, stream.handle, parameter, mean, square, gradient,
                   params.count, a, source, stream.context->late_error);
}

} // namespace ftc::backend
