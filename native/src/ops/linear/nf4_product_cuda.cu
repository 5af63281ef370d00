// Y = X W^T and dX = dY W with W in NF4, by tensor cores: a tile of 64 by 64 codes becomes a bf16 tile in shared memory,
// which the forward reads by rows and the backward by columns, so both directions use the same packed bytes.
//
// A block of four warps takes 16, 32 or 64 rows by 64 columns. The contraction is split over blocks until they fill a
// large GPU; partial sums are added in order.
#include "cuda/device.cuh"
#include "ops/linear/nf4_product_cuda.h"
#include "ops/linear/nf4_tile.cuh"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kStages = 3;
constexpr int kWeightTile = 64 * kTileColumns;
constexpr int kFinishThreads = 256;

struct ProductArgs {
    bf16* y;
    int64_t y_row_stride;
    float* partial; // [splits, rows, columns], or NULL: the sums are complete
    TileSource x;
    Nf4Source weight;
    const float* quant_map;
    const float* bias;
    int64_t weight_rows, weight_cols;
    int64_t columns; // of y
    int32_t splits;
    bool accumulate;
};

// Codes of half a row of a weight tile: 16 bytes, and the row's absmax.
struct HalfRow {
    uint4 codes;
    float absmax;

    __device__ __forceinline__ void load(const ProductArgs& a, const float* map, int64_t row, int64_t col, int half) {
        codes = make_uint4(0, 0, 0, 0);
        absmax = 0.0f;
        if (row >= a.weight_rows) return;
        const int64_t element = row * a.weight_cols + col;
        codes = load16_streaming(a.weight.codes + element / 2 + half * 16);
        absmax = a.weight.absmax_of(element / 64, map);
    }
    __device__ __forceinline__ void store(bf16* tile, const float* table, int row, int half, int lane) const {
        const uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
            store16(tile + tile_offset(row, half * 4 + i), decode_eight(table, words[i], absmax, lane));
    }
};

template <int Rows, bool Backward>
__global__ void __launch_bounds__(kThreads) nf4_product(ProductArgs args) {
    constexpr int kWarpsDown = Rows == 64 ? 2 : 1, kWarpsAcross = 4 / kWarpsDown;
    constexpr int kRowGroups = Rows / 16 / kWarpsDown;          // of sixteen rows, per warp
    constexpr int kPairs = kTileColumns / 16 / kWarpsAcross;    // of sixteen columns, per warp
    FTC_DYNAMIC_SHARED(shared);
    bf16* x_tiles = reinterpret_cast<bf16*>(shared);
    bf16* w_tiles = x_tiles + kStages * Rows * kTileColumns;
    float* table = reinterpret_cast<float*>(w_tiles + 2 * kWeightTile);
    float* map = table + kCodeTableFloats;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int down = warp % kWarpsDown, across = warp / kWarpsDown;
    const int64_t row0 = int64_t{blockIdx.y} * Rows, col0 = int64_t{blockIdx.x} * kTileColumns;
    const int64_t all_tiles = (args.x.cols + kTileColumns - 1) / kTileColumns;
    const int64_t begin = all_tiles * blockIdx.z / args.splits, count = all_tiles * (blockIdx.z + 1) / args.splits - begin;
    const int tile_row = thread / 2, half = thread % 2;

    const auto load_x = [&](int64_t t) {
        if (t < count)
            load_tile_async<Rows, kThreads>(x_tiles + t % kStages * (Rows * kTileColumns), args.x, row0,
                                            (begin + t) * kTileColumns, thread);
        copy_async_commit();
    };
    HalfRow next;
    const auto load_w = [&](int64_t t) {
        const int64_t along = (begin + t) * kTileColumns;
        next.load(args, map, (Backward ? along : col0) + tile_row, Backward ? col0 : along, half);
    };
#pragma unroll
    for (int t = 0; t < kStages - 1; ++t) load_x(t);
    fill_code_table(table, args.quant_map, thread, kThreads);
    args.weight.copy_map(map, thread, kThreads);
    __syncthreads();
    load_w(0);

    float sum[kRowGroups][kPairs * 2][4] = {};
    for (int64_t t = 0; t < count; ++t) {
        const bf16* x_tile = x_tiles + t % kStages * (Rows * kTileColumns);
        bf16* w_tile = w_tiles + t % 2 * kWeightTile;
        next.store(w_tile, table, tile_row, half, lane);
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
                if (row >= args.x.rows || col >= args.columns) continue;
                if (args.partial != nullptr) {
                    args.partial[(int64_t{blockIdx.z} * args.x.rows + row) * args.columns + col] = sum[group][n][i];
                    continue;
                }
                bf16& y = args.y[row * args.y_row_stride + col];
                float value = sum[group][n][i];
                if (args.bias != nullptr) value += args.bias[col];
                if (args.accumulate) value += to_float(y);
                y = from_float<bf16>(value);
            }
}

// y = the sum of the partial products in order, + bias, + what was there.
__global__ void __launch_bounds__(kFinishThreads) finish_product(ProductArgs args) {
    const int64_t count = args.x.rows * args.columns, i = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x;
    if (i >= count) return;
    const int64_t row = i / args.columns, col = i % args.columns;
    float value = args.bias != nullptr ? args.bias[col] : 0.0f;
    for (int32_t split = 0; split < args.splits; ++split) value += args.partial[split * count + i];
    bf16& y = args.y[row * args.y_row_stride + col];
    if (args.accumulate) value += to_float(y);
    y = from_float<bf16>(value);
}

// Parts of the contraction: about 256 blocks, each with at least four tiles of it. By the shape alone.
int32_t splits_of(int64_t rows, int64_t columns, int64_t depth) {
    const int64_t blocks = (columns + 63) / 64 * ((rows + 63) / 64), tiles = (depth + 63) / 64;
    const int64_t wanted = (256 + blocks - 1) / blocks, most = tiles / 4 > 1 ? tiles / 4 : 1;
    return static_cast<int32_t>(wanted < most ? wanted : most);
}

template <int Rows, bool Backward>
void launch(ftc_stream& stream, const ProductArgs& args) {
    constexpr int kBytes = (kStages * Rows * kTileColumns + 2 * kWeightTile) * 2 + (kCodeTableFloats + 256) * 4;
    const dim3 grid(static_cast<uint32_t>((args.columns + 63) / 64),
                    static_cast<uint32_t>((args.x.rows + Rows - 1) / Rows), static_cast<uint32_t>(args.splits));
    FTC_LAUNCH((nf4_product<Rows, Backward>), grid, dim3(kThreads), kBytes, stream.handle, args);
}

template <bool Backward>
void run(ftc_stream& stream, const Nf4Product& p) {
    const ftc_weight& w = p.weight;
    ProductArgs args{};
    args.y = static_cast<bf16*>(p.y);
    args.y_row_stride = p.y_row_stride;
    args.x = {static_cast<const bf16*>(p.x), p.x_row_stride, p.rows, Backward ? w.rows : w.cols,
              is_aligned16(p.x, p.x_row_stride, 2)};
    args.weight = nf4_source(w);
    args.quant_map = w.quant_map;
    args.bias = Backward ? nullptr : p.bias;
    args.weight_rows = w.rows;
    args.weight_cols = w.cols;
    args.columns = Backward ? w.cols : w.rows;
    args.splits = splits_of(p.rows, args.columns, args.x.cols);
    args.accumulate = p.accumulate;
    args.partial = args.splits > 1 ? p.partial : nullptr;
    if (p.rows <= 16)
        launch<16, Backward>(stream, args);
    else if (p.rows <= 32)
        launch<32, Backward>(stream, args);
    else
        launch<64, Backward>(stream, args);
    if (args.splits == 1) return;
    const int64_t count = p.rows * args.columns;
    FTC_LAUNCH((finish_product), dim3(static_cast<uint32_t>((count + kFinishThreads - 1) / kFinishThreads)),
               dim3(kFinishThreads), 0, stream.handle, args);
}

} // namespace

bool nf4_product_takes(const ftc_weight& w) {
    const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
    return w.format == FTC_WEIGHT_NF4 && w.cols % 64 == 0 && aligned(w.data);
}

int64_t nf4_product_partial_bytes(int64_t rows, int64_t in_features, int64_t out_features) {
    // splits * rows * columns is at most (256 * 64 * 64) / ... + rows * columns: bounded through its two factors.
    const auto bound = [rows](int64_t columns, int64_t depth) {
        const int64_t most = splits_of(1, columns, depth);
        return most * rows * columns * static_cast<int64_t>(sizeof(float));
    };
    const int64_t forward = bound(out_features, in_features), backward = bound(in_features, out_features);
    return forward > backward ? forward : backward;
}

void nf4_product_forward(ftc_stream& stream, const Nf4Product& args) {
    run<false>(stream, args);
}
void nf4_product_backward(ftc_stream& stream, const Nf4Product& args) {
    run<true>(stream, args);
}

} // namespace ftc::cuda
