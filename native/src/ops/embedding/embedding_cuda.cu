// y[i] = W[ids[i]], and dweight[ids[i]] += dy[i] in the order of i.
//
// Backward without atomics and without a sort: a block belongs to a row i and 1,024 columns. It first looks whether an
// earlier row has the same id, and leaves then; the blocks of first occurrences walk the later rows of their id in
// order and hold the sum in registers. The ids are read (rows / 2 times, from the L2 cache) instead of being sorted:
// for 8,192 tokens 134 MB a column block, and dy, dweight once.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"
#include "cuda/late_error.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"

namespace ftc::cuda {
namespace {

// A row of an id outside [0, vocab_size) becomes zeros.
template <class T, class W, int kCount>
__global__ void __launch_bounds__(kRowGridThreads)
    embedding_forward_kernel(T* y, int64_t y_row_stride, const int32_t* ids, const W* weight, int64_t weight_row_stride,
                             int64_t rows, int64_t cols, int64_t vocab_size, LateError* late_error) {
    const int64_t col = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        const int64_t id = ids[row];
        float v[kCount] = {};
        if (id >= 0 && id < vocab_size)
            load_values<kCount>(v, weight + id * weight_row_stride + col);
        else
            record_late_error(late_error, kLateEmbeddingForwardId, row, id, vocab_size);
        store_values<kCount>(y + row * y_row_stride + col, v);
    }
}

constexpr int kThreads = 256;
constexpr int kColumns = 4; // a thread, kThreads apart

// Whether any thread of the block says so.
__device__ __forceinline__ bool any_of_block(bool mine, uint32_t* warps) {
    const uint32_t ballot = __ballot_sync(kAllLanes, mine);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = ballot;
    __syncthreads();
    uint32_t any = 0;
    for (int warp = 0; warp < kThreads / 32; warp++) any |= warps[warp];
    return any != 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_kernel(float* dweight, int64_t dweight_row_stride, const T* dy, int64_t dy_row_stride,
                              const int32_t* ids, int64_t rows, int64_t cols, int64_t vocab_size,
                              LateError* late_error) {
    __shared__ uint32_t warps[2][kThreads / 32];
    const int64_t row = blockIdx.x;
    const int64_t id = ids[row];
    if (id < 0 || id >= vocab_size) {
        if (threadIdx.x == 0 && blockIdx.y == 0)
            record_late_error(late_error, kLateEmbeddingBackwardId, row, id, vocab_size);
        return;
    }
    bool seen = false;
#pragma unroll 4
    for (int64_t earlier = threadIdx.x; earlier < row; earlier += kThreads) seen |= ids[earlier] == id;
    if (any_of_block(seen, warps[0])) return;

    for (int64_t block_col = int64_t{blockIdx.y} * kThreads * kColumns; block_col < cols;
         block_col += int64_t{gridDim.y} * kThreads * kColumns) {
        const int64_t col = block_col + threadIdx.x;
        float sum[kColumns];
#pragma unroll
        for (int j = 0; j < kColumns; j++)
            sum[j] = col + j * kThreads < cols ? dweight[id * dweight_row_stride + col + j * kThreads] : 0.0f;
        int parity = 1; // the words of set 0 may still be read
        for (int64_t first = row; first < rows; first += kThreads, parity ^= 1) {
            const int64_t mine = first + threadIdx.x;
            const uint32_t ballot = __ballot_sync(kAllLanes, mine < rows && ids[mine] == id);
            // Two sets of words: a thread may still read one while the others fill the next.
            if (threadIdx.x % 32 == 0) warps[parity][threadIdx.x / 32] = ballot;
            __syncthreads();
            for (int warp = 0; warp < kThreads / 32; warp++) {
                for (uint32_t left = warps[parity][warp]; left != 0; left &= left - 1) {
                    const T* from = dy + (first + warp * 32 + __ffs(static_cast<int>(left)) - 1) * dy_row_stride + col;
#pragma unroll
                    for (int j = 0; j < kColumns; j++)
                        if (col + j * kThreads < cols) sum[j] += to_float(from[j * kThreads]);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < kColumns; j++)
            if (col + j * kThreads < cols) dweight[id * dweight_row_stride + col + j * kThreads] = sum[j];
        __syncthreads();
    }
}

template <class T, class W>
void forward(ftc_stream& stream, void* y, const int32_t* ids, const ftc_weight& w, const ftc_embedding_params& p) {
    constexpr int kVector = sizeof(T) == 2 && sizeof(W) == 2 ? 8 : 4;
    const bool vector = all_aligned({y, w.data}) && all_multiples({w.cols, w.row_stride, p.y_row_stride}, kVector);
    const auto [grid, block] = row_grid(p.rows, w.cols, vector ? kVector : 1);
    T* out = static_cast<T*>(y);
    const W* table = static_cast<const W*>(w.data);
    LateError* late_error = stream.context->late_error;
    if (vector)
        FTC_LAUNCH((embedding_forward_kernel<T, W, kVector>), grid, block, 0, stream.handle, out, p.y_row_stride, ids,
                   table, w.row_stride, p.rows, w.cols, w.rows, late_error);
    else
        FTC_LAUNCH((embedding_forward_kernel<T, W, 1>), grid, block, 0, stream.handle, out, p.y_row_stride, ids, table,
                   w.row_stride, p.rows, w.cols, w.rows, late_error);
}

template <class T>
void forward_to(ftc_stream& stream, void* y, const int32_t* ids, const ftc_weight& w, const ftc_embedding_params& p) {
    if (w.format == FTC_WEIGHT_BF16)
        forward<T, bf16>(stream, y, ids, w, p);
    else
        forward<T, float>(stream, y, ids, w, p);
}

template <class T>
void backward(ftc_stream& stream, float* dweight, const void* dy, const int32_t* ids, int64_t vocab_size,
              int64_t hidden_size, const ftc_embedding_params& p) {
    const int64_t column_blocks = (hidden_size + kThreads * kColumns - 1) / (kThreads * kColumns);
    const dim3 grid(static_cast<unsigned>(p.rows),
                    static_cast<unsigned>(column_blocks < 65535 ? column_blocks : 65535));
    FTC_LAUNCH((embedding_backward_kernel<T>), grid, kThreads, 0, stream.handle, dweight, p.dweight_row_stride,
               static_cast<const T*>(dy), p.y_row_stride, ids, p.rows, hidden_size, vocab_size,
               stream.context->late_error);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void embedding_forward(ftc_stream& stream, void* y, const int32_t* ids, const ftc_weight& weight,
                       const ftc_embedding_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::forward_to<cuda::bf16>(stream, y, ids, weight, params);
    else
        cuda::forward_to<float>(stream, y, ids, weight, params);
}

void embedding_backward(ftc_stream& stream, float* dweight, const void* dy, const int32_t* ids, int64_t vocab_size,
                        int64_t hidden_size, const ftc_embedding_params& params) {
    if (params.dtype == FTC_BF16)
        cuda::backward<cuda::bf16>(stream, dweight, dy, ids, vocab_size, hidden_size, params);
    else
        cuda::backward<float>(stream, dweight, dy, ids, vocab_size, hidden_size, params);
}

} // namespace ftc::backend
