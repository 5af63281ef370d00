// Sums of the partial results of the skinny products, in order.
#include "cuda/device.cuh"
#include "ops/linear/lora_partial.h"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 64;

__global__ void __launch_bounds__(kThreads) add_partials_kernel(AddPartials a) {
    const int64_t count = a.rows * a.rank, i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= count) return;
    float sum = 0.0f;
    for (int32_t split = 0; split < a.splits; ++split) sum += a.partial[split * count + i];
    sum *= a.scale;
    a.out[i] = sum;
    if (a.tail.data == nullptr) return;
    const int64_t row = i / a.rank, j = i % a.rank;
    static_cast<bf16*>(a.tail.data)[row * a.tail.row_stride + j] = from_float<bf16>(a.tail.scale * sum);
}

// A block sums 64 columns of all ranks, 16 ranks at a time; through shared memory, so that reads run along the partial
// rows and writes along the output, whichever way it lies.
__global__ void __launch_bounds__(kThreads) add_transposed_kernel(AddTransposed a) {
    __shared__ float tile[16][kColumns + 1];
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t col0 = int64_t{blockIdx.x} * kColumns;
    const int rank0 = static_cast<int>(blockIdx.y) * 16;
#pragma unroll
    for (int i = 0; i < kColumns * 16 / kThreads; ++i) {
        const int e = thread + i * kThreads, c = e / 16, j = e % 16;
        float sum = 0.0f;
        if (col0 + c < a.columns && rank0 + j < a.rank)
            for (int64_t part = 0; part < a.parts; ++part)
                sum += a.partial[(part * a.columns + col0 + c) * a.rank + rank0 + j];
        tile[j][c] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kColumns * 16 / kThreads; ++i) {
        const int e = thread + i * kThreads;
        const bool along_ranks = a.rank_stride == 1;
        const int c = along_ranks ? e / 16 : e % kColumns, j = along_ranks ? e % 16 : e / kColumns;
        if (col0 + c >= a.columns || rank0 + j >= a.rank) continue;
        float& out = a.out[(col0 + c) * a.column_stride + (rank0 + j) * a.rank_stride];
        out = out + a.scale * tile[j][c];
    }
}

} // namespace

void add_partials(ftc_stream& stream, const AddPartials& a) {
    const int64_t count = a.rows * a.rank;
    FTC_LAUNCH((add_partials_kernel), dim3(static_cast<uint32_t>((count + kThreads - 1) / kThreads)), dim3(kThreads), 0,
               stream.handle, a);
}

void add_transposed(ftc_stream& stream, const AddTransposed& a) {
    const dim3 grid(static_cast<uint32_t>((a.columns + kColumns - 1) / kColumns),
                    static_cast<uint32_t>((a.rank + 15) / 16));
    FTC_LAUNCH((add_transposed_kernel), grid, dim3(kThreads), 0, stream.handle, a);
}

} // namespace ftc::cuda
