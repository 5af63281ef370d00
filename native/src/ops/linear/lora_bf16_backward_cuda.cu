// The gradients of LoRA in bf16 with tensor cores. One kernel reads the long matrix Z (dY, or X) once:
//   P[c, j] = sum over rows m of Z[m, c] V[m, j]           (dB with Z = dY, V = S; dA with Z = drop(X), V = dS)
//   and for dY also  dS[m, j] = sum over columns c of dY[m, c] B[c, j].
// A block of eight warps owns up to 512 rows by 512 columns (256 above rank 16; for dA 2048 by 128) and walks down in
// slabs of 32 rows: its part of P stays in registers, dS of a slab is summed over the warps and written per block of
// columns. Parts are added in order afterwards: no atomics, the same bits every time.
#include "cuda/device.cuh"
#include "ops/linear/dropout.cuh"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/lora_partial.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSlab = 32;    // rows
constexpr int kQuarters = 4; // of the columns, in the dS product

struct BackwardArgs {
    float* transposed;  // [parts, columns, rank]
    float* down;        // [column blocks, rows, rank], with b
    TileSource z;
    const float* v;     // [rows, rank], or NULL: no transposed product
    const float* b;     // [columns, rank]
    int32_t rank;
    int64_t part_rows;
    Dropout dropout;
};

// `Count` rows of a rank-wide fp32 matrix to bf16 in shared memory, zero beyond its ends; a thread takes two ranks. The
// rows of one warp are spread so that their padded lines fall into different banks.
template <int Ranks, int Count>
__device__ __forceinline__ void load_narrow(bf16* shared, const float* source, int64_t row0, int64_t rows, int32_t rank,
                                            int rank0, int thread) {
    constexpr int kLanes = Ranks / 2, kApart = 32 / kLanes == 4 ? 2 : 4; // of a row; between two rows of a warp
    constexpr int kWarps = kApart == 2 ? 2 : 4;                           // that share eight rows
    const int lane = thread % 32;
#pragma unroll
    for (int i = 0; i < Count * kLanes / kThreads; ++i) {
        const int warp = thread / 32 + i * (kThreads / 32);
        const int row = warp / kWarps * 8 + warp % kWarps + lane / kLanes * kApart, j = lane % kLanes * 2;
        float2 value = make_float2(0.0f, 0.0f);
        if (row0 + row < rows) value = load_pair(source + (row0 + row) * rank, rank0 + j, rank);
        *reinterpret_cast<uint32_t*>(shared + row * Narrow<Ranks>::kStride + j) = pack_bf16(value.x, value.y);
    }
}

template <int Columns>
__device__ __forceinline__ void load_slab(bf16* slab, const TileSource& z, int64_t row, int64_t col, int thread) {
#pragma unroll
    for (int i = 0; i < kSlab * Columns / 8 / kThreads; ++i) {
        const int c = thread + i * kThreads, m = c / (Columns / 8), chunk = c % (Columns / 8);
        load_chunk_async(slab + chunk / 8 * (kSlab * kTileColumns) + tile_offset(m, chunk % 8), z, row + m,
                         col + chunk * 8);
    }
}

template <int Columns>
__device__ __forceinline__ void drop_own(bf16* slab, const Dropout& dropout, int64_t row, int64_t rows, int64_t col,
                                         int thread) {
#pragma unroll
    for (int i = 0; i < kSlab * Columns / 8 / kThreads; ++i) {
        const int c = thread + i * kThreads, m = c / (Columns / 8), chunk = c % (Columns / 8);
        if (row + m >= rows) continue;
        bf16* p = slab + chunk / 8 * (kSlab * kTileColumns) + tile_offset(m, chunk % 8);
        store16(p, drop(load16(p), kept_features(dropout, row + m, col / 8 + chunk)));
    }
}

template <int Ranks, bool WithDown>
struct Shared {
    static constexpr int kColumns = static_cast<int>(WithDown ? up_columns(Ranks) : kDownColumns);
    static constexpr int kSlabElements = kSlab * kColumns;
    static constexpr int kV = 2 * kSlabElements;                      // offsets in elements of bf16
    static constexpr int kB = kV + 2 * kSlab * Narrow<Ranks>::kStride;
    static constexpr int kSum = kB + kColumns * Narrow<Ranks>::kStride; // fp32 from here
    static constexpr int kBytesWithout = kB * 2;
    static constexpr int kSumStride = Ranks + 8; // floats: the rows of a fragment lie in different banks
    static constexpr int kSumFloats = kSlab * kSumStride;
    static constexpr int kBytes = kSum * 2 + (kQuarters - 1) * kSumFloats * 4;
};

// Dropping is dA's, the dS product dB's: the two are never asked for together.
template <int Ranks, bool WithDown, bool Drops>
__global__ void __launch_bounds__(kThreads) backward_bf16(BackwardArgs args) {
    FTC_DYNAMIC_SHARED(shared);
    using Layout = Shared<Ranks, WithDown>;
    constexpr int kColumns = Layout::kColumns;
    bf16* memory = reinterpret_cast<bf16*>(shared);
    bf16* b_rows = memory + Layout::kB;
    float* sums = reinterpret_cast<float*>(memory + Layout::kSum);
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t col0 = int64_t{blockIdx.x} * kColumns;
    const int64_t begin = int64_t{blockIdx.y} * args.part_rows;
    const int64_t end = begin + args.part_rows < args.z.rows ? begin + args.part_rows : args.z.rows;
    const int rank0 = static_cast<int>(blockIdx.z) * Ranks;
    const bool transposed = args.v != nullptr;
    const Dropout dropout = Drops ? at_this_step(args.dropout) : args.dropout;

    if constexpr (WithDown) load_narrow<Ranks, kColumns>(b_rows, args.b, col0, args.z.cols, args.rank, rank0, thread);
    const auto load = [&](int64_t row, int buffer) {
        load_slab<kColumns>(memory + buffer * Layout::kSlabElements, args.z, row, col0, thread);
        copy_async_commit();
        if (transposed)
            load_narrow<Ranks, kSlab>(memory + Layout::kV + buffer * kSlab * Narrow<Ranks>::kStride, args.v, row,
                                      args.z.rows, args.rank, rank0, thread);
    };
    load(begin, 0);

    constexpr int kGroups = kColumns / 8 / 16; // of 16 columns, per warp
    float product[kGroups][Ranks / 8][4] = {};
    int buffer = 0;
    for (int64_t row = begin; row < end; row += kSlab, buffer ^= 1) {
        bf16* slab = memory + buffer * Layout::kSlabElements;
        copy_async_wait<0>();
        if constexpr (Drops) drop_own<kColumns>(slab, dropout, row, args.z.rows, col0, thread);
        __syncthreads();
        if (row + kSlab < end) load(row + kSlab, buffer ^ 1);
        if (transposed) {
            const bf16* v = memory + Layout::kV + buffer * kSlab * Narrow<Ranks>::kStride;
#pragma unroll
            for (int step = 0; step < kSlab / 16; ++step) {
                uint32_t right[Ranks / 16][2][2];
#pragma unroll
                for (int pair = 0; pair < Ranks / 16; ++pair)
                    Narrow<Ranks>::load_columns_pair(right[pair], v, step * 16, pair, lane);
#pragma unroll
                for (int group = 0; group < kGroups; ++group) {
                    const int c = warp * kGroups + group; // sixteen columns
                    uint32_t left[4];
                    load_columns16(left, slab + c / 4 * (kSlab * kTileColumns), step * 16, c % 4, lane);
#pragma unroll
                    for (int n = 0; n < Ranks / 8; ++n) mma_bf16(product[group][n], left, right[n / 2][n % 2]);
                }
            }
        }
        if constexpr (WithDown) {
            const int half = warp % 2, quarter = warp / 2; // sixteen rows, a quarter of the columns
            float down[Ranks / 8][4] = {};
#pragma unroll
            for (int step = 0; step < kColumns / kQuarters / 16; ++step) {
                const int c = quarter * (kColumns / kQuarters / 16) + step;
                uint32_t left[4];
                load_rows16(left, slab + c / 4 * (kSlab * kTileColumns), half * 16, c % 4, lane);
#pragma unroll
                for (int pair = 0; pair < Ranks / 16; ++pair) {
                    uint32_t right[2][2];
                    Narrow<Ranks>::load_columns_pair(right, b_rows, c * 16, pair, lane);
                    mma_bf16(down[2 * pair], left, right[0]);
                    mma_bf16(down[2 * pair + 1], left, right[1]);
                }
            }
            const auto place = [&](int n, int i) {
                return (half * 16 + lane / 4 + i / 2 * 8) * Layout::kSumStride + n * 8 + lane % 4 * 2 + i % 2;
            };
            if (quarter > 0) {
                float* own = sums + (quarter - 1) * Layout::kSumFloats;
#pragma unroll
                for (int n = 0; n < Ranks / 8; ++n)
#pragma unroll
                    for (int i = 0; i < 4; i += 2)
                        *reinterpret_cast<float2*>(own + place(n, i)) = make_float2(down[n][i], down[n][i + 1]);
            }
            __syncthreads();
            if (quarter == 0) {
                float* out = args.down + int64_t{blockIdx.x} * args.z.rows * args.rank;
#pragma unroll
                for (int n = 0; n < Ranks / 8; ++n)
#pragma unroll
                    for (int i = 0; i < 4; i += 2) {
                        float2 sum = make_float2(down[n][i], down[n][i + 1]);
#pragma unroll
                        for (int q = 0; q < kQuarters - 1; ++q) {
                            const float2 other = *reinterpret_cast<const float2*>(sums + q * Layout::kSumFloats + place(n, i));
                            sum.x += other.x;
                            sum.y += other.y;
                        }
                        const int64_t m = row + half * 16 + lane / 4 + i / 2 * 8;
                        const int j = rank0 + n * 8 + lane % 4 * 2;
                        if (m < end && j < args.rank) store_pair(out + m * args.rank, j, args.rank, sum);
                    }
            }
        }
    }
    if (!transposed) return;
    float* out = args.transposed + int64_t{blockIdx.y} * args.z.cols * args.rank;
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
#pragma unroll
        for (int n = 0; n < Ranks / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                const int64_t c = col0 + (warp * kGroups + group) * 16 + lane / 4 + i / 2 * 8;
                const int j = rank0 + n * 8 + lane % 4 * 2;
                if (c < args.z.cols && j < args.rank)
                    store_pair(out + c * args.rank, j, args.rank,
                               make_float2(product[group][n][i], product[group][n][i + 1]));
            }
}

template <int Ranks, bool WithDown, bool Drops>
void launch(ftc_stream& stream, const BackwardArgs& args) {
    using Layout = Shared<Ranks, WithDown>;
    constexpr int kBytes = WithDown ? Layout::kBytes : Layout::kBytesWithout;
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(&backward_bf16<Ranks, WithDown, Drops>),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
          "cudaFuncSetAttribute");
    const dim3 grid(static_cast<uint32_t>((args.z.cols + Layout::kColumns - 1) / Layout::kColumns),
                    static_cast<uint32_t>((args.z.rows + args.part_rows - 1) / args.part_rows),
                    static_cast<uint32_t>((args.rank + Ranks - 1) / Ranks));
    FTC_LAUNCH((backward_bf16<Ranks, WithDown, Drops>), grid, dim3(kThreads), kBytes, stream.handle, args);
}

BackwardArgs backward_args(const void* z, int64_t z_row_stride, int64_t rows, int64_t columns, int32_t rank,
                           int64_t part_rows) {
    BackwardArgs args{};
    args.z = {static_cast<const bf16*>(z), z_row_stride, rows, columns, is_aligned16(z, z_row_stride, 2)};
    args.rank = rank;
    args.part_rows = part_rows;
    return args;
}

} // namespace

void lora_up_backward_bf16(ftc_stream& stream, const LoraUpBackward& a) {
    BackwardArgs args = backward_args(a.dy, a.dy_row_stride, a.rows, a.n, a.rank, transposed_rows(a.rows));
    args.transposed = static_cast<float*>(a.partial);
    args.down = args.transposed + transposed_parts(a.rows) * a.n * a.rank;
    args.v = a.db == nullptr ? nullptr : a.s;
    args.b = a.b;
    const int ranks = a.rank <= 16 ? 16 : 32;
    ranks == 16 ? launch<16, true, false>(stream, args) : launch<32, true, false>(stream, args);
    const int64_t blocks = (a.n + up_columns(ranks) - 1) / up_columns(ranks);
    add_partials(stream, {.out = a.ds,
                          .tail = a.tail,
                          .partial = args.down,
                          .splits = static_cast<int32_t>(blocks),
                          .rows = a.rows,
                          .rank = a.rank,
                          .scale = a.scaling});
    if (a.db == nullptr) return;
    add_transposed(stream, {.out = a.db,
                            .column_stride = a.rank,
                            .rank_stride = 1,
                            .partial = args.transposed,
                            .parts = transposed_parts(a.rows),
                            .columns = a.n,
                            .rank = a.rank,
                            .scale = a.scaling});
}

void lora_down_backward_bf16(ftc_stream& stream, const LoraDownBackward& a) {
    BackwardArgs args = backward_args(a.x, a.x_row_stride, a.rows, a.k, a.rank, down_rows(a.rows));
    args.transposed = static_cast<float*>(a.partial);
    args.v = a.ds;
    args.dropout = a.dropout;
    const bool drops = a.dropout.threshold > 0;
    if (a.rank <= 16)
        drops ? launch<16, false, true>(stream, args) : launch<16, false, false>(stream, args);
    else
        drops ? launch<32, false, true>(stream, args) : launch<32, false, false>(stream, args);
    add_transposed(stream, {.out = a.da,
                            .column_stride = 1,
                            .rank_stride = a.k,
                            .partial = args.transposed,
                            .parts = down_parts(a.rows),
                            .columns = a.k,
                            .rank = a.rank,
                            .scale = drops ? 1.0f / a.dropout.keep : 1.0f});
}

} // namespace ftc::cuda
