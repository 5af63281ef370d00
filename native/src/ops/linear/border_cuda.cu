#include "ops/linear/border_cuda.h"

#include "cuda/device.cuh"
#include "ops/linear/lora_partial.h"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;

uint32_t blocks_of(int64_t count) {
    return static_cast<uint32_t>((count + kThreads - 1) / kThreads);
}

template <class T>
__global__ void __launch_bounds__(kThreads) write_block_kernel(Block block, const float* source, int32_t repeat) {
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= block.rows * block.cols) return;
    const int64_t row = i / block.cols, col = i % block.cols;
    float value = 0.0f;
    if (source != nullptr) value = repeat == 1 ? source[i] : source[i / repeat] / static_cast<float>(repeat);
    static_cast<T*>(block.data)[row * block.row_stride + col] = from_float<T>(value);
}

template <class T>
__global__ void __launch_bounds__(kThreads) write_bias_kernel(Block block, const float* bias, bool accumulate) {
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= block.rows * block.cols) return;
    const int64_t row = i / block.cols, col = i % block.cols;
    T& y = static_cast<T*>(block.data)[row * block.row_stride + col];
    y = from_float<T>(accumulate ? to_float(y) + bias[col] : bias[col]);
}

// partial[part, c] = the sum of column c over the part's rows, in order.
template <class T>
__global__ void __launch_bounds__(kThreads) column_sums_kernel(float* partial, Block block, int64_t part_rows) {
    const int64_t col = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (col >= block.cols) return;
    const int64_t begin = int64_t{blockIdx.y} * part_rows;
    const int64_t end = begin + part_rows < block.rows ? begin + part_rows : block.rows;
    float sum = 0.0f;
    for (int64_t row = begin; row < end; ++row) sum += to_float(static_cast<const T*>(block.data)[row * block.row_stride + col]);
    partial[blockIdx.y * block.cols + col] = sum;
}

} // namespace

void write_block(ftc_stream& stream, int32_t dtype, const Block& block, const float* source, int32_t repeat) {
    const int64_t count = block.rows * block.cols;
    if (count == 0) return;
    if (dtype == FTC_BF16)
        FTC_LAUNCH((write_block_kernel<bf16>), dim3(blocks_of(count)), dim3(kThreads), 0, stream.handle, block, source,
                   repeat);
    else
        FTC_LAUNCH((write_block_kernel<float>), dim3(blocks_of(count)), dim3(kThreads), 0, stream.handle, block, source,
                   repeat);
}

void fill_zero_block(ftc_stream& stream, int32_t dtype, const Block& block) {
    write_block(stream, dtype, block, nullptr, 1);
}

void write_bias(ftc_stream& stream, int32_t dtype, const Block& block, const float* bias, bool accumulate) {
    const int64_t count = block.rows * block.cols;
    if (dtype == FTC_BF16)
        FTC_LAUNCH((write_bias_kernel<bf16>), dim3(blocks_of(count)), dim3(kThreads), 0, stream.handle, block, bias,
                   accumulate);
    else
        FTC_LAUNCH((write_bias_kernel<float>), dim3(blocks_of(count)), dim3(kThreads), 0, stream.handle, block, bias,
                   accumulate);
}

void add_column_sums(ftc_stream& stream, int32_t dtype, float* sums, const Block& block, void* partial) {
    float* parts = static_cast<float*>(partial);
    const int64_t count = transposed_parts(block.rows);
    const dim3 grid(blocks_of(block.cols), static_cast<uint32_t>(count));
    if (dtype == FTC_BF16)
        FTC_LAUNCH((column_sums_kernel<bf16>), grid, dim3(kThreads), 0, stream.handle, parts, block,
                   transposed_rows(block.rows));
    else
        FTC_LAUNCH((column_sums_kernel<float>), grid, dim3(kThreads), 0, stream.handle, parts, block,
                   transposed_rows(block.rows));
    add_transposed(stream, {.out = sums,
                            .column_stride = 1,
                            .rank_stride = block.cols,
                            .partial = parts,
                            .parts = count,
                            .columns = block.cols,
                            .rank = 1,
                            .scale = 1.0f});
}

} // namespace ftc::cuda
