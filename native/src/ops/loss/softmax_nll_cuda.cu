// nll = logsumexp(z) - z[target] over fp32 logits z, and in place d nll / d z[j] = softmax(z)[j] - (j == target).
//
// A block per row. The first pass keeps the largest value, where it first stands, and the sum of exp relative to it
// (online: a new largest value shrinks the sum so far), so that logits are read once; the second pass, for the gradient
// only, reads them again and writes. A gradient in bf16 fills the front half of its fp32 row: what a step writes lies
// where an earlier step has read, or, in the first one, behind a barrier.
//
// Bytes a logit: 4 to evaluate; 4 + 4 + 2 (bf16) or 4 + 4 + 4 with gradient. All sums have the shape's order.
#include "ops/loss/softmax_nll_cuda.h"

#include <cmath>

#include "cuda/late_error.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"

namespace ftc::cuda {
namespace {

constexpr int kListThreads = 512, kListWarps = kListThreads / 32;
constexpr int kCopyThreads = 256; // at most

// Threads of a block that treats a row of `cols` elements, `count` at a time.
unsigned copy_threads(int64_t cols, int count) {
    unsigned threads = 32;
    while (threads < kCopyThreads && int64_t{threads} * count < cols) threads *= 2;
    return threads;
}

// ---- Trained rows

__device__ __forceinline__ bool is_trained(int32_t target, int64_t vocab_size) {
    return target >= 0 && target < vocab_size;
}

// One block: positions in the list are running counts.
__global__ void __launch_bounds__(kListThreads)
    list_rows_kernel(TrainedRows trained, const int32_t* targets, int64_t rows, int64_t vocab_size,
                     int64_t most_trained, LateError* late_error) {
    __shared__ int32_t counts[kListWarps];
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    int32_t before = 0;
    for (int64_t first = 0; first < rows; first += kListThreads) {
        const int64_t row = first + thread;
        const int32_t target = row < rows ? targets[row] : FTC_IGNORE_INDEX;
        const bool listed = is_trained(target, vocab_size);
        if (!listed && target != FTC_IGNORE_INDEX)
            record_late_error(late_error, kLateCrossEntropyTarget, row, target, vocab_size);
        const uint32_t votes = __ballot_sync(kAllLanes, listed);
        if (lane == 0) counts[warp] = __popc(votes);
        __syncthreads();
        int32_t at = before, total = 0;
#pragma unroll
        for (int w = 0; w < kListWarps; ++w) {
            if (w < warp) at += counts[w];
            total += counts[w];
        }
        if (listed) trained.rows[at + __popc(votes & ((1u << lane) - 1))] = static_cast<int32_t>(row);
        before += total;
        __syncthreads();
    }
    if (thread != 0) return;
    *trained.count = before;
    if (before > most_trained) record_late_error(late_error, kLateCrossEntropyTrainedRows, 0, before, most_trained);
}

// What a row that is not trained gets. Grid: rows, strided.
template <class T, int kCount>
__global__ void __launch_bounds__(kCopyThreads)
    clear_ignored_kernel(float* nll, int32_t* predictions, T* dx, int64_t dx_row_stride, const int32_t* targets,
                         int64_t rows, int64_t hidden_size, int64_t vocab_size) {
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        if (is_trained(targets[row], vocab_size)) continue;
        if (threadIdx.x == 0) {
            nll[row] = 0.0f;
            if (predictions != nullptr) predictions[row] = -1;
        }
        if (dx == nullptr) continue;
        constexpr float kZeros[kCount] = {};
        for (int64_t col = int64_t{threadIdx.x} * kCount; col < hidden_size; col += int64_t{blockDim.x} * kCount)
            store_values<kCount>(dx + row * dx_row_stride + col, kZeros);
    }
}

// ---- Rows of a chunk

template <class T, int kCount>
__global__ void __launch_bounds__(kCopyThreads)
    gather_rows_kernel(T* y, int64_t y_row_stride, const T* x, int64_t x_row_stride, int64_t cols, LossChunk chunk) {
    const int64_t at = blockIdx.x;
    const bool exists = chunk.begin + at < *chunk.trained.count;
    const T* from = exists ? x + chunk.trained.rows[chunk.begin + at] * x_row_stride : nullptr;
    for (int64_t col = int64_t{threadIdx.x} * kCount; col < cols; col += int64_t{blockDim.x} * kCount) {
        float v[kCount] = {};
        if (exists) load_values<kCount>(v, from + col);
        store_values<kCount>(y + at * y_row_stride + col, v);
    }
}

template <class T, int kCount>
__global__ void __launch_bounds__(kCopyThreads)
    scatter_rows_kernel(T* y, int64_t y_row_stride, const float* x, int64_t x_row_stride, int64_t cols,
                        LossChunk chunk) {
    const int64_t at = blockIdx.x;
    if (chunk.begin + at >= *chunk.trained.count) return;
    T* to = y + chunk.trained.rows[chunk.begin + at] * y_row_stride;
    for (int64_t col = int64_t{threadIdx.x} * kCount; col < cols; col += int64_t{blockDim.x} * kCount) {
        float v[kCount];
        load_values<kCount>(v, x + at * x_row_stride + col);
        store_values<kCount>(to + col, v);
    }
}

// ---- Softmax

// bf16 results need no more than the special-function unit gives (2 ulp of fp32).
template <bool kFast>
__device__ __forceinline__ float exponential(float x) {
    return kFast ? exp2_fast(x * 1.4426950408889634f) : expf(x);
}

// The largest of some logits, where it first stands, and the sum of exp(z - largest). NaN comes out as a NaN sum.
struct Summary {
    float largest;
    int32_t index;
    float sum;
};

template <bool kFast>
__device__ __forceinline__ void add_logits(Summary& s, const float (&z)[4], int32_t index) {
    float top = s.largest;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (z[i] > top) {
            top = z[i];
            s.index = index + i;
        }
    if (top > s.largest) {
        s.sum *= exponential<kFast>(s.largest - top); // 0 the first time: exp(-inf)
        s.largest = top;
    }
    const float base = s.largest == -INFINITY ? 0.0f : s.largest;
#pragma unroll
    for (int i = 0; i < 4; ++i) s.sum += exponential<kFast>(z[i] - base);
}

// a joined with b; of equal largest values the one that stands first counts. Symmetric: all lanes get the same bits.
template <bool kFast>
__device__ __forceinline__ Summary join(const Summary& a, const Summary& b) {
    const bool first = a.largest > b.largest || (a.largest == b.largest && a.index <= b.index);
    const float largest = first ? a.largest : b.largest, base = largest == -INFINITY ? 0.0f : largest;
    const float a_sum = a.sum * exponential<kFast>(a.largest - base),
                b_sum = b.sum * exponential<kFast>(b.largest - base);
    return {largest, first ? a.index : b.index, a_sum + b_sum};
}

template <bool kFast, int kWarps>
__device__ __forceinline__ Summary join_block(Summary s, Summary* slots) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        const Summary other{__shfl_xor_sync(kAllLanes, s.largest, distance),
                            __shfl_xor_sync(kAllLanes, s.index, distance), __shfl_xor_sync(kAllLanes, s.sum, distance)};
        s = join<kFast>(s, other);
    }
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = s;
    __syncthreads();
    s = slots[0];
#pragma unroll 1
    for (int w = 1; w < kWarps; ++w) s = join<kFast>(s, slots[w]);
    return s;
}

// Four logits from `col` on; past the last one -inf, which adds nothing.
__device__ __forceinline__ void load_logits(float (&z)[4], const float* row, int64_t col, int64_t cols) {
    if (col + 4 <= cols)
        load_values<4>(z, row + col);
    else
#pragma unroll
        for (int i = 0; i < 4; ++i) z[i] = col + i < cols ? row[col + i] : -INFINITY;
}

template <class T, bool kGradient, int kThreads>
__global__ void __launch_bounds__(kThreads) softmax_nll_kernel(SoftmaxNll a) {
    constexpr bool kFast = sizeof(T) == 2;
    constexpr int64_t kStep = kThreads * 4;
    __shared__ Summary slots[kThreads / 32];
    const int64_t at = blockIdx.x;
    if (a.chunk.begin + at >= *a.chunk.trained.count) return;
    const int32_t row = a.chunk.trained.rows[a.chunk.begin + at], target = a.targets[row];
    float* z_row = a.logits + at * a.row_stride;
    const int64_t first = int64_t{threadIdx.x} * 4;

    const float target_logit = z_row[target];
    Summary s{-INFINITY, 0, 0.0f};
#pragma unroll 4
    for (int64_t col = first; col < a.cols; col += kStep) {
        float z[4];
        load_logits(z, z_row, col, a.cols);
        add_logits<kFast>(s, z, static_cast<int32_t>(col));
    }
    s = join_block<kFast, kThreads / 32>(s, slots); // its barrier: every thread has read target_logit
    if (threadIdx.x == 0) {
        a.nll[row] = logf(s.sum) + (s.largest - target_logit);
        if (a.predictions != nullptr) a.predictions[row] = s.index;
    }
    if constexpr (kGradient) {
        const float scale = a.gradient_scale_value != nullptr ? *a.gradient_scale_value : a.gradient_scale;
        const float factor = scale / s.sum;
        T* d_row = reinterpret_cast<T*>(z_row);
        for (int64_t begin = 0; begin < a.cols; begin += kStep) {
            const int64_t col = begin + first;
            float z[4] = {};
            if (col < a.cols) load_logits(z, z_row, col, a.cols);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float e = exponential<kFast>(z[i] - s.largest);
                z[i] = col + i == target ? scale * (e / s.sum - 1.0f) : e * factor;
            }
            if (kFast) __syncthreads(); // what is overwritten has been read
            if (col + 4 <= a.cols)
                store_values<4>(d_row + col, z);
            else
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    if (col + i < a.cols) d_row[col + i] = from_float<T>(z[i]);
        }
    }
}

template <class T, int kThreads>
void launch_softmax(cudaStream_t stream, const SoftmaxNll& a) {
    const dim3 grid(static_cast<unsigned>(a.chunk.rows));
    if (a.gradient)
        FTC_LAUNCH((softmax_nll_kernel<T, true, kThreads>), grid, kThreads, 0, stream, a);
    else
        FTC_LAUNCH((softmax_nll_kernel<T, false, kThreads>), grid, kThreads, 0, stream, a);
}

template <class T>
void launch_softmax(cudaStream_t stream, const SoftmaxNll& a) {
    if (a.cols <= 4096)
        launch_softmax<T, 128>(stream, a);
    else
        launch_softmax<T, 512>(stream, a);
}

template <class T>
void launch_clear(cudaStream_t stream, const SelectRows& a) {
    constexpr int64_t kMostBlocks = 65536;
    const dim3 grid(static_cast<unsigned>(a.rows < kMostBlocks ? a.rows : kMostBlocks));
    T* dx = static_cast<T*>(a.dx);
    if (all_aligned({dx}) && all_multiples({a.hidden_size, a.dx_row_stride}, kVectorOf<T>))
        FTC_LAUNCH((clear_ignored_kernel<T, kVectorOf<T>>), grid, copy_threads(a.hidden_size, kVectorOf<T>), 0, stream,
                   a.nll, a.predictions, dx, a.dx_row_stride, a.targets, a.rows, a.hidden_size, a.vocab_size);
    else
        FTC_LAUNCH((clear_ignored_kernel<T, 1>), grid, copy_threads(a.hidden_size, 1), 0, stream, a.nll, a.predictions,
                   dx, a.dx_row_stride, a.targets, a.rows, a.hidden_size, a.vocab_size);
}

template <class T>
void launch_gather(cudaStream_t stream, T* y, int64_t y_row_stride, const T* x, int64_t x_row_stride, int64_t cols,
                   const LossChunk& chunk) {
    const dim3 grid(static_cast<unsigned>(chunk.rows));
    if (all_aligned({y, x}) && all_multiples({cols, y_row_stride, x_row_stride}, kVectorOf<T>))
        FTC_LAUNCH((gather_rows_kernel<T, kVectorOf<T>>), grid, copy_threads(cols, kVectorOf<T>), 0, stream, y,
                   y_row_stride, x, x_row_stride, cols, chunk);
    else
        FTC_LAUNCH((gather_rows_kernel<T, 1>), grid, copy_threads(cols, 1), 0, stream, y, y_row_stride, x, x_row_stride,
                   cols, chunk);
}

template <class T>
void launch_scatter(cudaStream_t stream, T* y, int64_t y_row_stride, const float* x, int64_t x_row_stride, int64_t cols,
                    const LossChunk& chunk) {
    const dim3 grid(static_cast<unsigned>(chunk.rows));
    if (all_aligned({y, x}) && all_multiples({cols, y_row_stride, x_row_stride}, 4))
        FTC_LAUNCH((scatter_rows_kernel<T, 4>), grid, copy_threads(cols, 4), 0, stream, y, y_row_stride, x,
                   x_row_stride, cols, chunk);
    else
        FTC_LAUNCH((scatter_rows_kernel<T, 1>), grid, copy_threads(cols, 1), 0, stream, y, y_row_stride, x,
                   x_row_stride, cols, chunk);
}

} // namespace

void select_rows(cudaStream_t stream, const SelectRows& a) {
    FTC_LAUNCH((list_rows_kernel), dim3(1), kListThreads, 0, stream, a.trained, a.targets, a.rows, a.vocab_size,
               a.most_trained, a.late_error);
    if (a.dtype == FTC_BF16)
        launch_clear<bf16>(stream, a);
    else
        launch_clear<float>(stream, a);
}

void gather_rows(cudaStream_t stream, void* y, int64_t y_row_stride, const void* x, int64_t x_row_stride, int32_t dtype,
                 int64_t cols, const LossChunk& chunk) {
    if (dtype == FTC_BF16)
        launch_gather(stream, static_cast<bf16*>(y), y_row_stride, static_cast<const bf16*>(x), x_row_stride, cols,
                      chunk);
    else
        launch_gather(stream, static_cast<float*>(y), y_row_stride, static_cast<const float*>(x), x_row_stride, cols,
                      chunk);
}

void softmax_nll(cudaStream_t stream, const SoftmaxNll& a) {
    if (a.gradient_dtype == FTC_BF16)
        launch_softmax<bf16>(stream, a);
    else
        launch_softmax<float>(stream, a);
}

void scatter_rows(cudaStream_t stream, void* y, int64_t y_row_stride, int32_t dtype, const float* x,
                  int64_t x_row_stride, int64_t cols, const LossChunk& chunk) {
    if (dtype == FTC_BF16)
        launch_scatter(stream, static_cast<bf16*>(y), y_row_stride, x, x_row_stride, cols, chunk);
    else
        launch_scatter(stream, static_cast<float*>(y), y_row_stride, x, x_row_stride, cols, chunk);
}

} // namespace ftc::cuda
