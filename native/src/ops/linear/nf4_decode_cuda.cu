// Up to eight rows through an NF4 weight: every packed byte is read once and straight into registers. A warp takes four
// output features, a lane 32 codes (16 bytes) of each at a time; the rows of X pass through shared memory in pieces of
// 1024 features. Each row's sums are fp32: code times x within a block of 64, then times absmax.
#include "cuda/device.cuh"
#include "ops/linear/nf4_product_cuda.h"
#include "ops/linear/nf4_tile.cuh"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kFeatures = 4;                             // of a warp
constexpr int kBlockFeatures = kThreads / 32 * kFeatures;
constexpr int kPiece = 1024;                             // features of X at a time: a lane's 32 codes, 32 lanes
constexpr int kChunks = kPiece / 8;

// Chunk c of a piece of X lies where lanes reading chunks 4 lane + i fall into eight different bank groups.
__device__ __forceinline__ int piece_offset(int chunk) {
    return (chunk ^ (chunk >> 3 & 7)) * 8;
}

template <int Rows>
__global__ void __launch_bounds__(kThreads) nf4_decode_kernel(Nf4Decode args, Nf4Source weight, TileSource x) {
    __shared__ bf16 pieces[2][Rows][kPiece];
    __shared__ float table[kCodeTableFloats];
    __shared__ float map[256];
    const Nf4Product& p = args.product;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t n0 = int64_t{blockIdx.x} * kBlockFeatures + warp * kFeatures;
    const int64_t k = p.weight.cols, pieces_count = (k + kPiece - 1) / kPiece;

    const auto load_piece = [&](int64_t piece) {
        for (int c = thread; piece < pieces_count && c < Rows * kChunks; c += kThreads)
            load_chunk_async(pieces[piece % 2][c / kChunks] + piece_offset(c % kChunks), x, c / kChunks,
                             piece * kPiece + c % kChunks * 8);
        copy_async_commit();
    };
    load_piece(0);
    fill_code_table(table, p.weight.quant_map, thread, kThreads);
    weight.copy_map(map, thread, kThreads);
    __syncthreads();

    float sum[kFeatures][Rows] = {};
    for (int64_t piece = 0; piece < pieces_count; ++piece) {
        load_piece(piece + 1);
        const int64_t k0 = piece * kPiece + lane * 32;
        const bool inside = k0 < k;
        uint4 codes[kFeatures];
        float absmax[kFeatures];
#pragma unroll
        for (int f = 0; f < kFeatures; ++f) {
            const bool reads = inside && n0 + f < p.weight.rows;
            const int64_t element = (n0 + f) * k + k0;
            codes[f] = reads ? load16_streaming(weight.codes + element / 2) : make_uint4(0, 0, 0, 0);
            absmax[f] = reads ? weight.absmax_of(element / 64, map) : 0.0f;
        }
        copy_async_wait<1>();
        __syncthreads();
        if (inside) {
            float part[kFeatures][Rows] = {};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                uint4 features[Rows];
#pragma unroll
                for (int m = 0; m < Rows; ++m)
                    features[m] = load16(pieces[piece % 2][m] + piece_offset(lane * 4 + i));
#pragma unroll
                for (int f = 0; f < kFeatures; ++f) {
                    const uint32_t word = i == 0 ? codes[f].x : i == 1 ? codes[f].y : i == 2 ? codes[f].z : codes[f].w;
#pragma unroll
                    for (int e = 0; e < 8; ++e) {
                        const float value = code_value(table, code_of(word, e), lane);
#pragma unroll
                        for (int m = 0; m < Rows; ++m) {
                            const uint32_t pair = e / 2 == 0 ? features[m].x : e / 2 == 1 ? features[m].y : e / 2 == 2 ? features[m].z : features[m].w;
                            part[f][m] = fmaf(value, e % 2 == 0 ? low_bf16(pair) : high_bf16(pair), part[f][m]);
                        }
                    }
                }
            }
#pragma unroll
            for (int f = 0; f < kFeatures; ++f)
#pragma unroll
                for (int m = 0; m < Rows; ++m) sum[f][m] = fmaf(absmax[f], part[f][m], sum[f][m]);
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

template <int Rows>
void launch(ftc_stream& stream, const Nf4Decode& args) {
    const Nf4Product& p = args.product;
    const TileSource x{static_cast<const bf16*>(p.x), p.x_row_stride, p.rows, p.weight.cols,
                       is_aligned16(p.x, p.x_row_stride, 2)};
    const dim3 grid(static_cast<uint32_t>((p.weight.rows + kBlockFeatures - 1) / kBlockFeatures));
    FTC_LAUNCH((nf4_decode_kernel<Rows>), grid, dim3(kThreads), 0, stream.handle, args, nf4_source(p.weight), x);
}

} // namespace

void nf4_decode(ftc_stream& stream, const Nf4Decode& args) {
    const int64_t rows = args.product.rows;
    if (rows == 1)
        launch<1>(stream, args);
    else if (rows == 2)
        launch<2>(stream, args);
    else if (rows <= 4)
        launch<4>(stream, args);
    else
        launch<8>(stream, args);
}

} // namespace ftc::cuda
