// y = rows of a weight; int8 and affine ones are packed_dequantize_cuda.cu's. NF4: Dettmers et al. 2023, arXiv:2305.14314;
// the value of an element is fp32 map value times fp32 absmax, one rounding, then one more to y's dtype, bit-equal to
// bitsandbytes.
//
// NF4 in one launch, nested absmax decoded on the way. A warp takes tiles of 2,048 consecutive elements = 32 blocks:
//   codes   1,024 bytes, 16 a lane, twice
//   absmax  lane l decodes that of block l; the others get it by shuffle
//   y       a lane's 16 bytes of codes are 32 values, 64 bytes of bf16. Written as they come, each store of the warp
//           would touch 32 half sectors, so four lanes first swap code words (a 4 x 4 transpose, four shuffles): then
//           they write the 64 bytes of one lane together.
// The map lies in shared memory once per lane, [code][lane], so that no two lanes meet in a bank.
// Bytes an element: 0.5 codes + 1/64 absmax (4/64 when not nested) + 4/16384 + y, 2.516 in bf16 from nested weights.
#include "ops/quant/dequantize_cuda.h"

#include "api/backend.h"
#include "cuda/device.cuh"
#include "cuda/row_grid.h"
#include "cuda/vector.cuh"
#include "ops/convert/convert_rows.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kBlock = 64;             // elements that share an absmax
constexpr int kNestedBlock = 256;      // blocks that share a nested absmax
constexpr int kLoads = 2;              // 16-byte loads of codes a lane and tile
constexpr int kLoadElements = 32 * 32; // of a warp
constexpr int kTile = kLoads * kLoadElements;
static_assert(kTile == 32 * kBlock, "a lane decodes one absmax");

struct Nf4Args {
    const uint8_t* codes;
    const void* absmax; // fp32, or uint8 when nested
    const float* nested_absmax;
    const float* nested_map;
    const float* quant_map;
    float nested_offset;
};

// Value i of a word of codes: even elements sit in the high nibble.
template <int kIndex>
__device__ __forceinline__ float look_up(const float* map, uint32_t word) {
    constexpr int kShift = kIndex / 2 * 8 + (kIndex % 2 == 0 ? 4 : 0);
    return map[(word >> kShift & 15u) * 32];
}

template <int kFirst, int kCount>
__device__ __forceinline__ void look_up_all(float (&v)[kCount], const float* map, uint32_t word, float absmax) {
    static_assert(kCount == 4 || kCount == 8);
    v[0] = look_up<kFirst>(map, word) * absmax;
    v[1] = look_up<kFirst + 1>(map, word) * absmax;
    v[2] = look_up<kFirst + 2>(map, word) * absmax;
    v[3] = look_up<kFirst + 3>(map, word) * absmax;
    if constexpr (kCount == 8) {
        v[4] = look_up<kFirst + 4>(map, word) * absmax;
        v[5] = look_up<kFirst + 5>(map, word) * absmax;
        v[6] = look_up<kFirst + 6>(map, word) * absmax;
        v[7] = look_up<kFirst + 7>(map, word) * absmax;
    }
}

// Words of four neighbouring lanes transposed: afterwards w[k] of lane j is what was w[j] of lane k.
__device__ __forceinline__ void transpose_of_four(uint32_t (&w)[4], int lane) {
    const bool odd = (lane & 1) != 0, high = (lane & 2) != 0;
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
        const uint32_t other = __shfl_xor_sync(kAllLanes, odd ? w[k] : w[k + 1], 1);
        if (odd)
            w[k] = other;
        else
            w[k + 1] = other;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const uint32_t other = __shfl_xor_sync(kAllLanes, high ? w[k] : w[k + 2], 2);
        if (high)
            w[k] = other;
        else
            w[k + 2] = other;
    }
}

// Elements [first, first + count) of the flattened weight; first and count are multiples of 64, and so is cols.
template <class T, bool kNested>
__global__ void __launch_bounds__(kThreads)
    nf4_kernel(T* y, int64_t y_row_stride, int64_t cols, Nf4Args w, int64_t first, int64_t count) {
    __shared__ float map[16 * 32];
    __shared__ float nested_map[kNested ? 256 : 1];
    for (unsigned i = threadIdx.x; i < 16 * 32; i += kThreads) map[i] = w.quant_map[i / 32];
    if (kNested)
        for (unsigned i = threadIdx.x; i < 256; i += kThreads) nested_map[i] = w.nested_map[i];
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x % 32);
    const float* my_map = map + lane;
    const int64_t tiles = (count + kTile - 1) / kTile;
    for (int64_t tile = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; tile < tiles;
         tile += int64_t{gridDim.x} * kWarps) {
        const int64_t begin = tile * kTile; // from `first`
        const int left = count - begin < kTile ? static_cast<int>(count - begin) : kTile;

        uint32_t word[kLoads][4] = {};
#pragma unroll
        for (int load = 0; load < kLoads; load++) {
            const int at = load * kLoadElements + lane * 32;
            if (at >= left) continue;
            const uint4 codes = load16_streaming(w.codes + (first + begin + at) / 2);
            word[load][0] = codes.x;
            word[load][1] = codes.y;
            word[load][2] = codes.z;
            word[load][3] = codes.w;
        }
        float absmax = 0.0f;
        if (lane * kBlock < left) {
            const int64_t block = (first + begin) / kBlock + lane;
            if (kNested) {
                const uint8_t code = static_cast<const uint8_t*>(w.absmax)[block];
                absmax = nested_map[code] * w.nested_absmax[block / kNestedBlock] + w.nested_offset;
            } else {
                absmax = static_cast<const float*>(w.absmax)[block];
            }
        }

        // Most tiles lie within a row; the others divide for every 8 values.
        const int64_t tile_row = begin / cols, tile_col = begin - tile_row * cols;
        const bool one_row = tile_col + left <= cols;
#pragma unroll
        for (int load = 0; load < kLoads; load++) {
            transpose_of_four(word[load], lane);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int owner = (lane & ~3) + k; // lane that loaded this word
                const float scale = __shfl_sync(kAllLanes, absmax, load * 16 + owner / 2);
                const auto address = [&](int at) {
                    if (one_row) return y + tile_row * y_row_stride + tile_col + at;
                    const int64_t rows = (tile_col + at) / cols;
                    return y + (tile_row + rows) * y_row_stride + (tile_col + at - rows * cols);
                };
                if constexpr (sizeof(T) == 2) {
                    const int at = load * kLoadElements + owner * 32 + (lane & 3) * 8;
                    if (at >= left) continue;
                    float v[8];
                    look_up_all<0>(v, my_map, word[load][k], scale);
                    store_values<8>(address(at), v);
                } else {
                    // Two lanes share a word and a store: 32 bytes, not two times 16 with a gap.
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const uint32_t shared = __shfl_sync(kAllLanes, word[load][k], (lane & ~1) | half);
                        const int at = load * kLoadElements + owner * 32 + ((lane & 2) | half) * 8 + (lane & 1) * 4;
                        if (at >= left) continue;
                        float v[4];
                        look_up_all<0>(v, my_map, shared >> ((lane & 1) * 16), scale);
                        store_values<4>(address(at), v);
                    }
                }
            }
        }
    }
}

// Any shape and alignment: blocks straddle rows. A thread an element.
template <class T>
__global__ void __launch_bounds__(kRowGridThreads)
    nf4_any_kernel(T* y, int64_t y_row_stride, int64_t cols, Nf4Args w, int64_t row_begin, int64_t rows) {
    const int64_t col = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (col >= cols) return;
    const int64_t step = int64_t{gridDim.y} * blockDim.y;
    for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) {
        const int64_t e = (row_begin + row) * cols + col, block = e / kBlock;
        const uint32_t byte = w.codes[e / 2];
        const uint32_t code = e % 2 == 0 ? byte >> 4 : byte & 15u;
        float absmax;
        if (w.nested_absmax != nullptr) {
            const float scaled =
                w.nested_map[static_cast<const uint8_t*>(w.absmax)[block]] * w.nested_absmax[block / kNestedBlock];
            absmax = scaled + w.nested_offset;
        } else {
            absmax = static_cast<const float*>(w.absmax)[block];
        }
        y[row * y_row_stride + col] = from_float<T>(w.quant_map[code] * absmax);
    }
}

template <class T>
void dequantize_nf4(cudaStream_t stream, const ftc_context& context, T* y, int64_t y_row_stride, const ftc_weight& w,
                    int64_t row_begin, int64_t row_count, int32_t max_blocks) {
    const Nf4Args args{.codes = static_cast<const uint8_t*>(w.data),
                       .absmax = w.absmax,
                       .nested_absmax = w.nested_absmax,
                       .nested_map = w.nested_map,
                       .quant_map = w.quant_map,
                       .nested_offset = w.nested_offset};
    if (w.cols % kBlock != 0 || !all_aligned({y, w.data}) || !all_multiples({y_row_stride}, kVectorOf<T>)) {
        const auto [grid, block] = row_grid(row_count, w.cols, 1);
        FTC_LAUNCH((nf4_any_kernel<T>), grid, block, 0, stream, y, y_row_stride, w.cols, args, row_begin, row_count);
        return;
    }
    const int64_t first = row_begin * w.cols, count = row_count * w.cols;
    int64_t blocks = (count + int64_t{kTile} * kWarps - 1) / (int64_t{kTile} * kWarps);
    const int64_t limit = max_blocks > 0 ? max_blocks : int64_t{context.multiprocessors} * 4;
    if (blocks > limit) blocks = limit;
    if (w.nested_absmax != nullptr)
        FTC_LAUNCH((nf4_kernel<T, true>), static_cast<unsigned>(blocks), kThreads, 0, stream, y, y_row_stride, w.cols,
                   args, first, count);
    else
        FTC_LAUNCH((nf4_kernel<T, false>), static_cast<unsigned>(blocks), kThreads, 0, stream, y, y_row_stride, w.cols,
                   args, first, count);
}

} // namespace

void dequantize_into(cudaStream_t stream, const ftc_context& context, void* y, int32_t y_dtype, int64_t y_row_stride,
                     const ftc_weight& w, int64_t row_begin, int64_t row_count, int32_t max_blocks) {
    if (w.format == FTC_WEIGHT_F32) {
        const float* x = static_cast<const float*>(w.data) + row_begin * w.row_stride;
        convert_rows_from<float>(stream, y, y_dtype, y_row_stride, x, w.row_stride, row_count, w.cols);
        return;
    }
    if (w.format == FTC_WEIGHT_BF16) {
        const bf16* x = static_cast<const bf16*>(w.data) + row_begin * w.row_stride;
        convert_rows_from<bf16>(stream, y, y_dtype, y_row_stride, x, w.row_stride, row_count, w.cols);
        return;
    }
    const auto into = [&](auto* typed) {
        if (w.format == FTC_WEIGHT_NF4)
            dequantize_nf4(stream, context, typed, y_row_stride, w, row_begin, row_count, max_blocks);
        else
            dequantize_packed(stream, context, typed, y_row_stride, w, row_begin, row_count, max_blocks);
    };
    if (y_dtype == FTC_F32)
        into(static_cast<float*>(y));
    else if (y_dtype == FTC_BF16)
        into(static_cast<bf16*>(y));
    else
        into(static_cast<f16*>(y));
}

} // namespace ftc::cuda

namespace ftc::backend {

void weight_dequantize(ftc_stream& stream, void* y, int32_t y_dtype, int64_t y_row_stride, const ftc_weight& weight,
                       int64_t row_begin, int64_t row_count) {
    cuda::dequantize_into(stream.handle, *stream.context, y, y_dtype, y_row_stride, weight, row_begin, row_count,
                          stream.dequantise_blocks);
}

} // namespace ftc::backend
