// What the backward of attention needs of every query row before it starts, per head and padded to whole tiles:
//   delta = dout . o = sum_j p_j (dout . v_j),   Dao 2022, arXiv:2205.14135
//   lse   as probabilities are rebuilt with it: bf16 times log2(e), as they come from exp2; +inf where a row sees no
//   key
//         and in the padding, so that every probability there is 0 without a look at the row.
// Bytes: dout and o once, 12 for a row and head beside.
#include <cmath>

#include "cuda/reduce.cuh"
#include "cuda/vector.cuh"
#include "ops/attention/attention_interval.cuh"
#include "ops/attention/attention_launch.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 32; // of one head: their results are one line of memory each

// kLanes neighbouring threads read a row, kCount elements at a time.
template <class T, int kLanes, int kCount>
__global__ void __launch_bounds__(kThreads)
    attention_statistics_kernel(AttentionShape s, float* lse_out, float* delta_out, const T* dout, const T* o,
                                const float* lse, int64_t padded_rows) {
    __shared__ float deltas[kRows];
    constexpr int kPass = kThreads / kLanes; // rows at a time
    const int head = static_cast<int>(blockIdx.y), first = static_cast<int>(blockIdx.x) * kRows;
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
    const int64_t column = int64_t{head} * s.head_dim;
    for (int i = 0; i < kRows; i += kPass) {
        const int at = i + static_cast<int>(threadIdx.x) / kLanes, row = first + at;
        float sum = 0.0f;
        if (at < kRows && row < s.query_rows)
            for (int c = lane * kCount; c < s.head_dim; c += kLanes * kCount) {
                float a[kCount], b[kCount];
                load_values<kCount>(a, dout + row * s.do_row_stride + column + c);
                load_values<kCount>(b, o + row * s.o_row_stride + column + c);
#pragma unroll
                for (int j = 0; j < kCount; ++j) sum = fmaf(a[j], b[j], sum);
            }
        sum = warp_sum<kLanes>(sum);
        if (lane == 0 && at < kRows) deltas[at] = sum;
    }
    __syncthreads();
    if (threadIdx.x >= kRows) return;
    const int row = first + static_cast<int>(threadIdx.x);
    float value = INFINITY;
    if (row < s.query_rows) {
        value = lse[int64_t{row} * s.heads + head];
        value = value == -INFINITY ? INFINITY : sizeof(T) == 2 ? value * 1.4426950408889634f : value;
    }
    lse_out[head * padded_rows + row] = value;
    delta_out[head * padded_rows + row] = deltas[threadIdx.x];
    if (head == 0) check_key_begin(s, kLateAttentionBackwardKeyBegin, row);
}

template <class T>
void launch(cudaStream_t stream, const AttentionBackward& c) {
    const AttentionShape& s = c.shape;
    const int64_t padded = statistics_rows(s.query_rows);
    float* lse = c.workspace;
    float* delta = lse + s.heads * padded;
    const dim3 grid(static_cast<unsigned>(padded / kRows), static_cast<unsigned>(s.heads));
    const bool aligned = rows_are_aligned(c.dout, s.do_row_stride, s.head_dim, sizeof(T)) &&
                         rows_are_aligned(c.o, s.o_row_stride, s.head_dim, sizeof(T));
    const T* dout = static_cast<const T*>(c.dout);
    const T* o = static_cast<const T*>(c.o);
    if (!aligned)
        FTC_LAUNCH((attention_statistics_kernel<T, 8, 1>), grid, kThreads, 0, stream, s, lse, delta, dout, o, c.lse,
                   padded);
    else if (s.head_dim <= 8 * kVectorOf<T>)
        FTC_LAUNCH((attention_statistics_kernel<T, 8, kVectorOf<T>>), grid, kThreads, 0, stream, s, lse, delta, dout, o,
                   c.lse, padded);
    else
        FTC_LAUNCH((attention_statistics_kernel<T, 16, kVectorOf<T>>), grid, kThreads, 0, stream, s, lse, delta, dout,
                   o, c.lse, padded);
}

} // namespace

void attention_statistics(cudaStream_t stream, const AttentionBackward& c, int32_t dtype) {
    if (dtype == FTC_BF16)
        launch<bf16>(stream, c);
    else
        launch<float>(stream, c);
}

} // namespace ftc::cuda
