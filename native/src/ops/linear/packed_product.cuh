// Y = X W^T and dX = dY W with W quantised, by tensor cores: a tile of 64 by 64 codes becomes a bf16 tile in shared memory,
// which the forward reads by rows and the backward by columns, so both directions use the same packed bytes. Format says
// how 32 codes are read (nf4_format.cuh, affine_format.cuh); a packed_<format>_cuda.cu makes the kernels of each.
//
// A block of four warps takes 16, 32 or 64 rows by 64 columns. The contraction is split over blocks until they fill a
// large GPU; partial sums are added in order.
#pragma once

#include "cuda/device.cuh"
#include "ops/linear/packed_product_cuda.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kProductThreads = 128;
constexpr int kStages = 3;
constexpr int kWeightTile = 64 * kTileColumns;

template <class Format>
struct ProductArgs {
    ProductOutput out;
    TileSource x;
    typename Format::Source weight;
};

// Half a row of a weight tile, rounded to bf16 into it.
template <class Format>
__device__ __forceinline__ void store_half_row(bf16* tile, const typename Format::Codes& codes, const float* table, int row,
                                               int half, int lane) {
#pragma unroll
    for (int chunk = 0; chunk < 4; ++chunk) {
        uint32_t pair[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
            pair[i] = pack_bf16(codes.value(table, chunk * 8 + 2 * i, lane), codes.value(table, chunk * 8 + 2 * i + 1, lane));
        store16(tile + tile_offset(row, Format::octet(half, 2, chunk)), make_uint4(pair[0], pair[1], pair[2], pair[3]));
    }
}

template <class Format, int Rows, bool Backward>
__global__ void __launch_bounds__(kProductThreads, 3) packed_product_kernel(ProductArgs<Format> args) {
    constexpr int kWarpsDown = Rows == 64 ? 2 : 1, kWarpsAcross = 4 / kWarpsDown;
    constexpr int kRowGroups = Rows / 16 / kWarpsDown;          // of sixteen rows, per warp
    constexpr int kPairs = kTileColumns / 16 / kWarpsAcross;    // of sixteen columns, per warp
    FTC_DYNAMIC_SHARED(shared);
    bf16* x_tiles = reinterpret_cast<bf16*>(shared);
    bf16* w_tiles = x_tiles + kStages * Rows * kTileColumns;
    float* table = reinterpret_cast<float*>(w_tiles + 2 * kWeightTile);
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int down = warp % kWarpsDown, across = warp / kWarpsDown;
    const int64_t row0 = int64_t{blockIdx.y} * Rows, col0 = int64_t{blockIdx.x} * kTileColumns;
    const int64_t all_tiles = (args.x.cols + kTileColumns - 1) / kTileColumns;
    const int64_t begin = all_tiles * blockIdx.z / args.out.splits;
    const int64_t count = all_tiles * (blockIdx.z + 1) / args.out.splits - begin;
    const int tile_row = thread / 2, half = thread % 2;

    const auto load_x = [&](int64_t t) {
        if (t < count)
            load_tile_async<Rows, kProductThreads>(x_tiles + t % kStages * (Rows * kTileColumns), args.x, row0,
                                                   (begin + t) * kTileColumns, thread);
        copy_async_commit();
    };
    typename Format::Codes next;
    const auto load_w = [&](int64_t t) {
        const int64_t along = (begin + t) * kTileColumns;
        next.load(args.weight, table, (Backward ? along : col0) + tile_row, Backward ? col0 : along, half, 2);
    };
#pragma unroll
    for (int t = 0; t < kStages - 1; ++t) load_x(t);
    Format::fill_table(table, args.weight, thread, kProductThreads);
    __syncthreads();
    load_w(0);

    float sum[kRowGroups][kPairs * 2][4] = {};
    for (int64_t t = 0; t < count; ++t) {
        const bf16* x_tile = x_tiles + t % kStages * (Rows * kTileColumns);
        bf16* w_tile = w_tiles + t % 2 * kWeightTile;
        store_half_row<Format>(w_tile, next, table, tile_row, half, lane);
        if (t + 1 < count) load_w(t + 1);
        copy_async_wait<kStages - 2>();
        __syncthreads();
        load_x(t + kStages - 1);
#pragma unroll
        for (int step = 0; step < kTileColumns / 16; ++step) {
            uint32_t left[kRowGroups][4];
#pragma unroll
            for (int group = 0; group < kRowGroups; ++group)
                load_rows16(left[group], x_tile, (down * kRowGroups + group) * 16, step, lane);
#pragma unroll
            for (int pair = 0; pair < kPairs; ++pair) {
                uint32_t right[2][2];
                const int columns16 = across * kPairs + pair;
                if constexpr (Backward)
                    load_columns_pair_transposed(right, w_tile, step * 16, columns16, lane);
                else
                    load_columns_pair(right, w_tile, columns16 * 16, step, lane);
#pragma unroll
                for (int group = 0; group < kRowGroups; ++group) {
                    mma_bf16(sum[group][2 * pair], left[group], right[0]);
                    mma_bf16(sum[group][2 * pair + 1], left[group], right[1]);
                }
            }
        }
    }
    copy_async_wait<0>();

#pragma unroll
    for (int group = 0; group < kRowGroups; ++group)
#pragma unroll
        for (int n = 0; n < kPairs * 2; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int64_t row = row0 + (down * kRowGroups + group) * 16 + lane / 4 + i / 2 * 8;
                const int64_t col = col0 + across * (kPairs * 16) + n * 8 + lane % 4 * 2 + i % 2;
                if (row >= args.x.rows || col >= args.out.columns) continue;
                if (args.out.partial != nullptr) {
                    args.out.partial[(int64_t{blockIdx.z} * args.x.rows + row) * args.out.columns + col] = sum[group][n][i];
                    continue;
                }
                bf16& y = static_cast<bf16*>(args.out.y)[row * args.out.y_row_stride + col];
                float value = sum[group][n][i];
                if (args.out.bias != nullptr) value += args.out.bias[col];
                if (args.out.accumulate) value += to_float(y);
                y = from_float<bf16>(value);
            }
}

template <class Format, int Rows, bool Backward>
void launch_product(ftc_stream& stream, const ProductArgs<Format>& args) {
    constexpr int kBytes = (kStages * Rows * kTileColumns + 2 * kWeightTile) * 2 + Format::kTableFloats * 4;
    const dim3 grid(static_cast<uint32_t>((args.out.columns + 63) / 64),
                    static_cast<uint32_t>((args.x.rows + Rows - 1) / Rows), static_cast<uint32_t>(args.out.splits));
    FTC_LAUNCH((packed_product_kernel<Format, Rows, Backward>), grid, dim3(kProductThreads), kBytes, stream.handle, args);
}

template <class Format, bool Backward>
void run_product(ftc_stream& stream, const PackedProduct& p) {
    const ftc_weight& w = p.weight;
    const int64_t depth = Backward ? w.rows : w.cols, columns = Backward ? w.cols : w.rows;
    const int32_t splits = packed_product_splits(p.rows, columns, depth);
    const ProductArgs<Format> args{
        .out = {.y = p.y,
                .y_row_stride = p.y_row_stride,
                .partial = splits > 1 ? p.partial : nullptr,
                .bias = Backward ? nullptr : p.bias,
                .rows = p.rows,
                .columns = columns,
                .splits = splits,
                .accumulate = p.accumulate},
        .x = {static_cast<const bf16*>(p.x), p.x_row_stride, p.rows, depth, is_aligned16(p.x, p.x_row_stride, 2)},
        .weight = Format::source(w)};
    if (p.rows <= 16)
        launch_product<Format, 16, Backward>(stream, args);
    else if (p.rows <= 32)
        launch_product<Format, 32, Backward>(stream, args);
    else
        launch_product<Format, 64, Backward>(stream, args);
    if (splits > 1) finish_product(stream, args.out);
}

template <class Format>
void run_product(ftc_stream& stream, const PackedProduct& p, bool backward) {
    backward ? run_product<Format, true>(stream, p) : run_product<Format, false>(stream, p);
}

} // namespace

} // namespace ftc::cuda
