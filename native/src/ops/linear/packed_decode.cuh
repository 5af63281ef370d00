// Up to eight rows through a quantised weight: every packed byte is read once and straight into registers. A warp takes
// four output features, a lane 32 codes of each at a time; the rows of X pass through shared memory in pieces of 1024
// features. Each row's sums are fp32: code times x over a lane's 32 codes, then times their scale; where there is a minimum,
// it multiplies the sum of the 32 x. Format: nf4_format.cuh, affine_format.cuh.
#pragma once

#include "cuda/device.cuh"
#include "ops/linear/packed_product_cuda.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kDecodeThreads = 256;
constexpr int kFeatures = 4;                             // of a warp
constexpr int kBlockFeatures = kDecodeThreads / 32 * kFeatures;
constexpr int kPiece = 1024;                             // features of X at a time: a lane's 32 codes, 32 lanes
constexpr int kChunks = kPiece / 8;

// Chunk c of a piece of X lies where lanes reading chunks 4 lane + i fall into eight different bank groups.
__device__ __forceinline__ int piece_offset(int chunk) {
    return (chunk ^ (chunk >> 3 & 7)) * 8;
}

template <class Format, int Rows>
__global__ void __launch_bounds__(kDecodeThreads)
    packed_decode_kernel(PackedDecode args, typename Format::Source weight, TileSource x) {
    __shared__ bf16 pieces[2][Rows][kPiece];
    __shared__ float table[Format::kTableFloats > 0 ? Format::kTableFloats : 1];
    const PackedProduct& p = args.product;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t n0 = int64_t{blockIdx.x} * kBlockFeatures + warp * kFeatures;
    const int64_t k = p.weight.cols, pieces_count = (k + kPiece - 1) / kPiece;

    const auto load_piece = [&](int64_t piece) {
        for (int c = thread; piece < pieces_count && c < Rows * kChunks; c += kDecodeThreads)
            load_chunk_async(pieces[piece % 2][c / kChunks] + piece_offset(c % kChunks), x, c / kChunks,
                             piece * kPiece + c % kChunks * 8);
        copy_async_commit();
    };
    load_piece(0);
    Format::fill_table(table, weight, thread, kDecodeThreads);
    __syncthreads();

    float sum[kFeatures][Rows] = {};
    for (int64_t piece = 0; piece < pieces_count; ++piece) {
        load_piece(piece + 1);
        const int64_t k0 = piece * kPiece;
        const bool inside = k0 + Format::octet(lane, 32, 0) * 8 < k;
        typename Format::Codes codes[kFeatures];
#pragma unroll
        for (int f = 0; f < kFeatures; ++f) codes[f].load(weight, table, n0 + f, k0, lane, 32);
        copy_async_wait<1>();
        __syncthreads();
        if (inside) {
            float part[kFeatures][Rows] = {}, all[Rows] = {}; // all: the sum of x
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                uint4 features[Rows];
#pragma unroll
                for (int m = 0; m < Rows; ++m)
                    features[m] = load16(pieces[piece % 2][m] + piece_offset(Format::octet(lane, 32, i)));
                const auto feature = [&](int m, int e) {
                    const uint4& chunk = features[m];
                    const uint32_t pair = e / 2 == 0 ? chunk.x : e / 2 == 1 ? chunk.y : e / 2 == 2 ? chunk.z : chunk.w;
                    return e % 2 == 0 ? low_bf16(pair) : high_bf16(pair);
                };
#pragma unroll
                for (int f = 0; f < kFeatures; ++f) {
#pragma unroll
                    for (int e = 0; e < 8; ++e) {
                        const float code = codes[f].code(table, i * 8 + e, lane);
#pragma unroll
                        for (int m = 0; m < Rows; ++m) part[f][m] = fmaf(code, feature(m, e), part[f][m]);
                    }
                }
                if constexpr (Format::kHasMinimum) {
#pragma unroll
                    for (int m = 0; m < Rows; ++m)
#pragma unroll
                        for (int e = 0; e < 8; ++e) all[m] += feature(m, e);
                }
            }
#pragma unroll
            for (int f = 0; f < kFeatures; ++f)
#pragma unroll
                for (int m = 0; m < Rows; ++m) {
                    sum[f][m] = fmaf(codes[f].scale, part[f][m], sum[f][m]);
                    if constexpr (Format::kHasMinimum) sum[f][m] = fmaf(codes[f].minimum, all[m], sum[f][m]);
                }
        }
        __syncthreads();
    }
    copy_async_wait<0>();

#pragma unroll
    for (int f = 0; f < kFeatures; ++f) {
        const int64_t n = n0 + f;
        if (n >= p.weight.rows) continue;
        for (int j = lane; j < args.rank; j += 32) {
            const float b = args.scaling * args.b[n * args.rank + j];
#pragma unroll
            for (int m = 0; m < Rows; ++m)
                if (m < p.rows) sum[f][m] = fmaf(args.s[m * args.rank + j], b, sum[f][m]);
        }
#pragma unroll
        for (int m = 0; m < Rows; ++m) {
            float value = sum[f][m];
#pragma unroll
            for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
            if (lane != 0 || m >= p.rows) continue;
            bf16& y = static_cast<bf16*>(p.y)[m * p.y_row_stride + n];
            if (p.bias != nullptr) value += p.bias[n];
            if (p.accumulate) value += to_float(y);
            y = from_float<bf16>(value);
        }
    }
}

template <class Format, int Rows>
void launch_decode(ftc_stream& stream, const PackedDecode& args) {
    const PackedProduct& p = args.product;
    const TileSource x{static_cast<const bf16*>(p.x), p.x_row_stride, p.rows, p.weight.cols,
                       is_aligned16(p.x, p.x_row_stride, 2)};
    const dim3 grid(static_cast<uint32_t>((p.weight.rows + kBlockFeatures - 1) / kBlockFeatures));
    FTC_LAUNCH((packed_decode_kernel<Format, Rows>), grid, dim3(kDecodeThreads), 0, stream.handle, args,
               Format::source(p.weight), x);
}

template <class Format>
void run_decode(ftc_stream& stream, const PackedDecode& args) {
    const int64_t rows = args.product.rows;
    if (rows == 1)
        launch_decode<Format, 1>(stream, args);
    else if (rows == 2)
        launch_decode<Format, 2>(stream, args);
    else if (rows <= 4)
        launch_decode<Format, 4>(stream, args);
    else
        launch_decode<Format, 8>(stream, args);
}

} // namespace

} // namespace ftc::cuda
