// Rotary position embedding, half-split, in place: with h = rope_dim / 2,
//   (x[i], x[i + h]) <- (x[i] c - x[i + h] s, x[i + h] c + x[i] s).   Su et al. 2021, arXiv:2104.09864.
// The backward is the transpose: the same with -s.
//
// A thread owns the pairs of one row at kCount neighbouring i and walks the heads, so the tables are read once a row
// (once for every `heads_each` heads where there are too few rows to fill the device). Bytes: x once each way.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/late_error.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"

namespace ftc::cuda {
namespace {

constexpr int kHeadsAtOnce = 4;

template <class T, int kCount, bool kForward>
__global__ void __launch_bounds__(kRowGridThreads)
    rope_kernel(T* x, const int32_t* positions, const float* cos, const float* sin, ftc_rope_params p, int heads_each,
                LateError* late_error) {
    const int64_t half = p.rope_dim / 2;
    const int64_t i = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (i >= half) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    const int64_t first_head = int64_t{blockIdx.z} * heads_each;
    const int64_t last_head = first_head + heads_each < p.heads ? first_head + heads_each : p.heads;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < p.rows; row += step) {
        const int64_t position = positions[row];
        if (position < 0 || position >= p.table_rows) {
            record_late_error(late_error, kForward ? kLateRopeForwardPosition : kLateRopeBackwardPosition, row,
                              position, p.table_rows);
            continue;
        }
        float c[kCount], s[kCount];
        load_values<kCount>(c, cos + position * half + i);
        load_values<kCount>(s, sin + position * half + i);
        if (!kForward)
#pragma unroll
            for (int j = 0; j < kCount; j++) s[j] = -s[j];
        // Some heads are read before any of them is written: x is both, so the compiler cannot.
        for (int64_t head = first_head; head < last_head; head += kHeadsAtOnce) {
            T* at = x + row * p.row_stride + head * p.head_dim + i;
            float first[kHeadsAtOnce][kCount], second[kHeadsAtOnce][kCount];
#pragma unroll
            for (int h = 0; h < kHeadsAtOnce; h++) {
                if (head + h >= last_head) continue;
                load_values<kCount>(first[h], at + h * p.head_dim);
                load_values<kCount>(second[h], at + h * p.head_dim + half);
            }
#pragma unroll
            for (int h = 0; h < kHeadsAtOnce; h++) {
                if (head + h >= last_head) continue;
                float turned[kCount], turned_second[kCount];
#pragma unroll
                for (int j = 0; j < kCount; j++) {
                    turned[j] = fmaf(-second[h][j], s[j], first[h][j] * c[j]);
                    turned_second[j] = fmaf(first[h][j], s[j], second[h][j] * c[j]);
                }
                store_values<kCount>(at + h * p.head_dim, turned);
                store_values<kCount>(at + h * p.head_dim + half, turned_second);
            }
        }
    }
}

template <class T, int kCount, bool kForward>
void launch(ftc_stream& stream, void* x, const int32_t* positions, const float* cos, const float* sin,
            const ftc_rope_params& p) {
    auto [grid, block] = row_grid(p.rows, p.rope_dim / 2, kCount);
    // Heads are split only where rows alone do not fill the device.
    const int64_t blocks = int64_t{grid.x} * grid.y, wanted = int64_t{stream.context->multiprocessors} * 2;
    const int64_t most = (p.heads + kHeadsAtOnce - 1) / kHeadsAtOnce;
    int64_t splits = (wanted + blocks - 1) / blocks;
    if (splits > most) splits = most;
    grid.z = static_cast<unsigned>(splits < 65535 ? splits : 65535);
    const int heads_each = static_cast<int>((p.heads + grid.z - 1) / grid.z);
    FTC_LAUNCH((rope_kernel<T, kCount, kForward>), grid, block, 0, stream.handle, static_cast<T*>(x), positions, cos,
               sin, p, heads_each, stream.context->late_error);
}

template <class T, bool kForward>
void turn(ftc_stream& stream, void* x, const int32_t* positions, const float* cos, const float* sin,
          const ftc_rope_params& p) {
    constexpr int kVector = kVectorOf<T>;
    if (all_aligned({x, cos, sin}) && all_multiples({p.rope_dim / 2, p.head_dim, p.row_stride}, kVector))
        launch<T, kVector, kForward>(stream, x, positions, cos, sin, p);
    else
        launch<T, 1, kForward>(stream, x, positions, cos, sin, p);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void rope_forward(ftc_stream& stream, void* x, const int32_t* positions, const float* cos, const float* sin,
                  const ftc_rope_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::turn<cuda::bf16, true>(stream, x, positions, cos, sin, params);
    else
        cuda::turn<float, true>(stream, x, positions, cos, sin, params);
}

void rope_backward(ftc_stream& stream, void* dx, const int32_t* positions, const float* cos, const float* sin,
                   const ftc_rope_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::turn<cuda::bf16, false>(stream, dx, positions, cos, sin, params);
    else
        cuda::turn<float, false>(stream, dx, positions, cos, sin, params);
}

} // namespace ftc::backend
