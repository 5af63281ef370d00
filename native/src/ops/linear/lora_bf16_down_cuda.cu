// S = drop(X) A^T in bf16 with tensor cores: X is read once, in tiles of 64 rows by 64 features.
//
// A block of four warps takes 64 rows and up to 64 ranks; a warp 16 rows. Where there are too few row tiles to fill a
// GPU, the features are split over blocks, whose partial sums are added in order afterwards.
#include "cuda/device.cuh"
#include "ops/linear/dropout.cuh"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/lora_partial.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kRows = 64;
constexpr int kStages = 3;
constexpr int kTile = kRows * kTileColumns;

struct DownArgs {
    float* s;       // [rows, rank], or partial sums [splits, rows, rank]
    bf16* tail;     // or NULL
    int64_t tail_row_stride;
    float tail_scale;
    float scale; // 1 / keep
    TileSource x;
    const float* a; // [rank, k]
    bool a_aligned; // rows begin at 16 bytes
    int32_t rank;
    int32_t splits;
    Dropout dropout;
};

// 64 features of `Ranks` rows of A, converted to bf16 on the way to a tile. Four features per thread, so that a warp reads
// whole lines.
template <int Ranks>
struct NarrowLoader {
    static constexpr int kQuads = Ranks * kTileColumns / 4 / kThreads;
    uint2 quad[kQuads];

    __device__ __forceinline__ void load(const float* a, int64_t k, int32_t rank, int rank0, int64_t col, bool aligned,
                                         int thread) {
#pragma unroll
        for (int i = 0; i < kQuads; ++i) {
            const int e = thread + i * kThreads, row = rank0 + e / 16;
            const int64_t first = col + e % 16 * 4;
            const float* p = a + row * k + first;
            float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (row < rank && aligned && first + 4 <= k) {
                value = *reinterpret_cast<const float4*>(p);
            } else if (row < rank) {
                if (first < k) value.x = p[0];
                if (first + 1 < k) value.y = p[1];
                if (first + 2 < k) value.z = p[2];
                if (first + 3 < k) value.w = p[3];
            }
            quad[i] = make_uint2(pack_bf16(value.x, value.y), pack_bf16(value.z, value.w));
        }
    }
    __device__ __forceinline__ void store(bf16* tile, int thread) const {
#pragma unroll
        for (int i = 0; i < kQuads; ++i) {
            const int e = thread + i * kThreads;
            *reinterpret_cast<uint2*>(tile + tile_offset(e / 16, e % 16 / 2) + e % 2 * 4) = quad[i];
        }
    }
};

// The chunks this thread copied, with the dropped features set to zero.
__device__ __forceinline__ void drop_own_chunks(bf16* tile, const Dropout& dropout, int64_t row0, int64_t rows,
                                                int64_t col, int thread) {
#pragma unroll
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
        const int c = thread + i * kThreads;
        if (row0 + c / 8 >= rows) continue;
        bf16* chunk = tile + tile_offset(c / 8, c % 8);
        store16(chunk, drop(load16(chunk), kept_features(dropout, row0 + c / 8, col / 8 + c % 8)));
    }
}

template <int Ranks, bool Drops>
__global__ void __launch_bounds__(kThreads) down_bf16(DownArgs args) {
    FTC_DYNAMIC_SHARED(shared);
    bf16* x_tiles = reinterpret_cast<bf16*>(shared);
    bf16* a_tiles = x_tiles + kStages * kTile;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t row0 = int64_t{blockIdx.x} * kRows;
    const int rank0 = static_cast<int>(blockIdx.z) * Ranks;
    const int64_t k = args.x.cols, all_tiles = (k + kTileColumns - 1) / kTileColumns;
    const int64_t begin = all_tiles * blockIdx.y / args.splits, count = all_tiles * (blockIdx.y + 1) / args.splits - begin;
    const Dropout dropout = Drops ? at_this_step(args.dropout) : args.dropout;
    const auto col_of = [&](int64_t t) { return (begin + t) * kTileColumns; };

#pragma unroll
    for (int t = 0; t < kStages - 1; ++t) {
        if (t < count) load_tile_async<kRows, kThreads>(x_tiles + t * kTile, args.x, row0, col_of(t), thread);
        copy_async_commit();
    }
    NarrowLoader<Ranks> narrow;
    narrow.load(args.a, k, args.rank, rank0, col_of(0), args.a_aligned, thread);
    narrow.store(a_tiles, thread);

    float sum[Ranks / 8][4] = {};
    for (int64_t t = 0; t < count; ++t) {
        bf16* x_tile = x_tiles + t % kStages * kTile;
        const bf16* a_tile = a_tiles + t % 2 * (Ranks * kTileColumns);
        copy_async_wait<kStages - 2>();
        if constexpr (Drops) drop_own_chunks(x_tile, dropout, row0, args.x.rows, col_of(t), thread);
        __syncthreads();
        if (t + kStages - 1 < count)
            load_tile_async<kRows, kThreads>(x_tiles + (t + kStages - 1) % kStages * kTile, args.x, row0,
                                             col_of(t + kStages - 1), thread);
        copy_async_commit();
        if (t + 1 < count) narrow.load(args.a, k, args.rank, rank0, col_of(t + 1), args.a_aligned, thread);
#pragma unroll
        for (int step = 0; step < kTileColumns / 16; ++step) {
            uint32_t rows[4];
            load_rows16(rows, x_tile, warp * 16, step, lane);
#pragma unroll
            for (int pair = 0; pair < Ranks / 16; ++pair) {
                uint32_t columns[2][2];
                load_columns_pair(columns, a_tile, pair * 16, step, lane);
                mma_bf16(sum[2 * pair], rows, columns[0]);
                mma_bf16(sum[2 * pair + 1], rows, columns[1]);
            }
        }
        if (t + 1 < count) narrow.store(a_tiles + (t + 1) % 2 * (Ranks * kTileColumns), thread);
    }
    copy_async_wait<0>();

    float* s = args.s + int64_t{blockIdx.y} * args.x.rows * args.rank;
    const float scale = args.splits == 1 ? args.scale : 1.0f;
#pragma unroll
    for (int n = 0; n < Ranks / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
            const int64_t row = row0 + warp * 16 + lane / 4 + i / 2 * 8;
            const int j = rank0 + n * 8 + lane % 4 * 2;
            if (row >= args.x.rows || j >= args.rank) continue;
            const float2 value = make_float2(scale * sum[n][i], scale * sum[n][i + 1]);
            store_pair(s + row * args.rank, j, args.rank, value);
            if (args.splits > 1 || args.tail == nullptr) continue;
            bf16* tail = args.tail + row * args.tail_row_stride + j;
            tail[0] = from_float<bf16>(args.tail_scale * value.x);
            if (j + 1 < args.rank) tail[1] = from_float<bf16>(args.tail_scale * value.y);
        }
}

template <int Ranks, bool Drops>
void launch(ftc_stream& stream, const DownArgs& args) {
    constexpr int kShared = (kStages * kTile + 2 * Ranks * kTileColumns) * static_cast<int>(sizeof(bf16));
    const dim3 grid(static_cast<uint32_t>((args.x.rows + kRows - 1) / kRows), static_cast<uint32_t>(args.splits),
                    static_cast<uint32_t>((args.rank + Ranks - 1) / Ranks));
    FTC_LAUNCH((down_bf16<Ranks, Drops>), grid, dim3(kThreads), kShared, stream.handle, args);
}

} // namespace

void lora_down_bf16(ftc_stream& stream, const LoraDown& a) {
    DownArgs args{};
    args.s = a.s;
    args.tail = static_cast<bf16*>(a.tail.data);
    args.tail_row_stride = a.tail.row_stride;
    args.tail_scale = a.tail.scale;
    args.scale = a.dropout.threshold > 0 ? 1.0f / a.dropout.keep : 1.0f;
    args.x = {static_cast<const bf16*>(a.x), a.x_row_stride, a.rows, a.k, is_aligned16(a.x, a.x_row_stride, 2)};
    args.a = a.a;
    args.a_aligned = is_aligned16(a.a, a.k, 4);
    args.rank = a.rank;
    args.splits = down_splits(a.rows, a.k);
    args.dropout = a.dropout;
    if (args.splits > 1) args.s = static_cast<float*>(a.partial);
    const bool drops = a.dropout.threshold > 0;
    if (a.rank <= 16)
        drops ? launch<16, true>(stream, args) : launch<16, false>(stream, args);
    else if (a.rank <= 32)
        drops ? launch<32, true>(stream, args) : launch<32, false>(stream, args);
    else
        drops ? launch<64, true>(stream, args) : launch<64, false>(stream, args);
    if (args.splits == 1) return;
    add_partials(stream, {.out = a.s,
                          .tail = a.tail,
                          .partial = args.s,
                          .splits = args.splits,
                          .rows = a.rows,
                          .rank = a.rank,
                          .scale = args.scale});
}

} // namespace ftc::cuda
