// y = rows of a weight in affine groups (fmaf(scale, code, minimum), rounded once) or in int8 (code * scale of the row), then
// rounded once more to y's dtype. Bit-equal to the CPU library.
//
// One launch. A warp takes tiles of 2,048 consecutive elements: their codes (1,024, 768, 512 or, int8, 2,048 bytes) pass
// through shared memory, read 16 bytes a lane; then each lane decodes what makes 16 bytes of y, so that stores are whole
// lines. Lane l loads scale and minimum of the tile's groups l and l + 32, the others get them by shuffle.
// Bytes an element: bits / 8 + 8 / group_size + y.
#include "api/backend.h"
#include "cuda/device.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/quant/affine_code.cuh"
#include "ops/quant/dequantize_cuda.h"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kTile = 2048;

struct PackedArgs {
    const uint8_t* codes;
    const float* scale;
    const float* minimum; // affine
    int32_t group_shift;  // affine: log2 of the group's columns
};

// The codes of a tile, of which `bytes` exist, to the warp's shared memory. p is 16-byte aligned, bytes a multiple of 4.
template <int kBits>
__device__ __forceinline__ void stage_codes(uint32_t* staged, const uint8_t* p, int bytes, int lane) {
    constexpr int kLoads = kTile * kBits / 8 / 16;
#pragma unroll
    for (int load = lane; load < kLoads; load += 32) {
        const int at = load * 16;
        if (at + 16 <= bytes) {
            store16(staged + at / 4, load16_streaming(p + at));
            continue;
        }
#pragma unroll 1
        for (int word = at; word < bytes; word += 4) staged[word / 4] = *reinterpret_cast<const uint32_t*>(p + word);
    }
}

// Elements [first, first + count) of the flattened weight, both whole rows; cols is a multiple of 32 (int8: 16).
template <class T, int kBits>
__global__ void __launch_bounds__(kThreads, 4)
    packed_kernel(T* y, int64_t y_row_stride, int64_t cols, PackedArgs w, int64_t first, int64_t count) {
    constexpr int kEach = kVectorOf<T>; // values of 16 bytes
    __shared__ __align__(16) uint32_t memory[kWarps][kTile * kBits / 32];
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    uint32_t* staged = memory[warp];
    const int64_t tiles = (count + kTile - 1) / kTile;
    for (int64_t tile = int64_t{blockIdx.x} * kWarps + warp; tile < tiles; tile += int64_t{gridDim.x} * kWarps) {
        const int64_t begin = tile * kTile; // from `first`
        const int left = count - begin < kTile ? static_cast<int>(count - begin) : kTile;
        stage_codes<kBits>(staged, w.codes + (first + begin) / 8 * kBits, left / 8 * kBits, lane);

        // Most tiles lie within a row; the others divide for every 16 bytes of y.
        const int64_t tile_row = begin / cols, tile_col = begin - tile_row * cols;
        const bool one_row = tile_col + left <= cols;
        float scale[2] = {}, minimum[2] = {};
        if constexpr (kBits == 8) {
            scale[0] = w.scale[first / cols + tile_row];
        } else {
            const int64_t group = (first + begin) >> w.group_shift;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                if ((lane + 32 * i) << w.group_shift >= left) continue;
                scale[i] = w.scale[group + lane + 32 * i];
                minimum[i] = w.minimum[group + lane + 32 * i];
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kTile / 32 / kEach; i++) {
            const int at = (i * 32 + lane) * kEach;
            int64_t row = tile_row, col = tile_col + at;
            if (!one_row) {
                row += col / cols;
                col %= cols;
            }
            const int group = at >> w.group_shift;
            const bool high = (i * 32 * kEach) >> w.group_shift >= 32; // the same for all lanes
            float s = scale[0], m = 0.0f;
            if constexpr (kBits != 8) {
                s = __shfl_sync(kAllLanes, high ? scale[1] : scale[0], group % 32);
                m = __shfl_sync(kAllLanes, high ? minimum[1] : minimum[0], group % 32);
            }
            if (at >= left) continue;
            float v[kEach];
            if constexpr (kBits == 8)
                decode_int8(v, staged + at / 4, one_row ? s : w.scale[first / cols + row]);
            else
                decode_affine<kBits>(v, affine_bits<kBits, kEach>(staged, at), s, m);
            store_values<kEach>(y + row * y_row_stride + col, v);
        }
        __syncwarp();
    }
}

// Any shape and alignment. A thread an element.
template <class T>
__global__ void __launch_bounds__(kRowGridThreads)
    packed_any_kernel(T* y, int64_t y_row_stride, int64_t cols, PackedArgs w, int32_t bits, int64_t row_begin, int64_t rows) {
    const int64_t col = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        const int64_t e = (row_begin + row) * cols + col;
        float value;
        if (bits == 8) {
            value = static_cast<float>(static_cast<int8_t>(w.codes[e])) * w.scale[row_begin + row];
        } else {
            const int64_t bit = e * bits, group = e >> w.group_shift;
            uint32_t code = w.codes[bit / 8];
            if (bit % 8 + bits > 8) code |= uint32_t{w.codes[bit / 8 + 1]} << 8;
            code = code >> (bit % 8) & ((1u << bits) - 1);
            value = fmaf(w.scale[group], static_cast<float>(code), w.minimum[group]);
        }
        y[row * y_row_stride + col] = from_float<T>(value);
    }
}

template <class T, int kBits>
void launch(cudaStream_t stream, const ftc_context& context, T* y, int64_t y_row_stride, const ftc_weight& w,
            const PackedArgs& args, int64_t row_begin, int64_t row_count, int32_t max_blocks) {
    const int64_t first = row_begin * w.cols, count = row_count * w.cols;
    const bool whole_rows = w.cols % 16 == 0 && first / 8 * kBits % 16 == 0;
    if (!whole_rows || !all_aligned({y, w.data}) || !all_multiples({y_row_stride}, kVectorOf<T>)) {
        const auto [grid, block] = row_grid(row_count, w.cols, 1);
        FTC_LAUNCH((packed_any_kernel<T>), grid, block, 0, stream, y, y_row_stride, w.cols, args, kBits, row_begin,
                   row_count);
        return;
    }
    int64_t blocks = (count + int64_t{kTile} * kWarps - 1) / (int64_t{kTile} * kWarps);
    const int64_t limit = max_blocks > 0 ? max_blocks : int64_t{context.multiprocessors} * 8;
    if (blocks > limit) blocks = limit;
    FTC_LAUNCH((packed_kernel<T, kBits>), static_cast<unsigned>(blocks), kThreads, 0, stream, y, y_row_stride, w.cols,
               args, first, count);
}

} // namespace

template <class T>
void dequantize_packed(cudaStream_t stream, const ftc_context& context, T* y, int64_t y_row_stride, const ftc_weight& w,
                       int64_t row_begin, int64_t row_count, int32_t max_blocks) {
    const PackedArgs args{.codes = static_cast<const uint8_t*>(w.data),
                          .scale = w.scale,
                          .minimum = w.minimum,
                          .group_shift = group_shift(w.group_size)};
    if (w.format == FTC_WEIGHT_INT8)
        launch<T, 8>(stream, context, y, y_row_stride, w, args, row_begin, row_count, max_blocks);
    else if (w.bits == 4)
        launch<T, 4>(stream, context, y, y_row_stride, w, args, row_begin, row_count, max_blocks);
    else if (w.bits == 3)
        launch<T, 3>(stream, context, y, y_row_stride, w, args, row_begin, row_count, max_blocks);
    else
        launch<T, 2>(stream, context, y, y_row_stride, w, args, row_begin, row_count, max_blocks);
}

template void dequantize_packed(cudaStream_t, const ftc_context&, float*, int64_t, const ftc_weight&, int64_t, int64_t, int32_t);
template void dequantize_packed(cudaStream_t, const ftc_context&, bf16*, int64_t, const ftc_weight&, int64_t, int64_t, int32_t);
template void dequantize_packed(cudaStream_t, const ftc_context&, f16*, int64_t, const ftc_weight&, int64_t, int64_t, int32_t);

} // namespace ftc::cuda
