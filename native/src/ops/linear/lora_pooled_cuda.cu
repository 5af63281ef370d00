// The skinny products of QA-LoRA that read X: S = drop(P(X)) A^T and dA += dS^T drop(P(X)), P the mean of every `pool`
// neighbouring features (Xu et al. 2024, arXiv:2309.14717). X is read once, 16 bytes a lane; means are made in registers
// and pass through shared memory, dropout zeroes them there. After pooling there is so little left to multiply that plain
// fp32 does it, whatever the activations' dtype.
//
// A piece is 32 rows by 1024 features, 32 to 8 groups. S: a block takes 32 rows and walks along the features; where there
// are few rows, the features are split over blocks and partial sums added in order. dA: a block takes 1024 features and
// walks down 128 rows, parts are added in order.
#include "cuda/device.cuh"
#include "cuda/vector.cuh"
#include "ops/linear/dropout.cuh"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/lora_partial.h"
#include "ops/linear/tile.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kRows = 32;
constexpr int kPiece = 1024;
constexpr int kGroups = kPiece / 32; // of a piece, at most
constexpr int kStride = kGroups + 1; // no two rows in a bank
constexpr int64_t kPartRows = 128;

template <class T>
struct Pooled {
    const T* x;
    int64_t row_stride;
    int64_t rows, groups;
    int32_t pool;
    bool aligned; // rows begin at 16 bytes
    Dropout dropout;
};

template <class T>
__device__ __forceinline__ float sum_of(const Words<T, kVectorOf<T>>& words) {
    float v[kVectorOf<T>];
    unpack(v, words);
    float sum = v[0];
#pragma unroll
    for (int e = 1; e < kVectorOf<T>; e++) sum += v[e];
    return sum;
}

// Means of the groups from `group0` on (a multiple of eight) of 32 rows, zero outside of X; dropped ones are zero, the
// others not yet divided by `keep`. Ends with a barrier.
template <class T>
__device__ __forceinline__ void pool_piece(float (*means)[kStride], const Pooled<T>& in, int64_t row0, int64_t group0,
                                           int thread) {
    constexpr int kEach = kVectorOf<T>, kOfRow = kPiece / 32 / kEach; // loads of a lane and row
    constexpr int kBatch = 8;                                        // of them under way together
    const int lane = thread % 32, warp = thread / 32, lanes = in.pool / kEach; // that share a group
    const float share = 1.0f / static_cast<float>(in.pool);
#pragma unroll 1
    for (int first = 0; first < kRows / (kThreads / 32) * kOfRow; first += kBatch) {
        float sum[kBatch];
        const auto row_of = [&](int i) { return warp + (first + i) / kOfRow * (kThreads / 32); };
        const auto at_of = [&](int i) { return ((first + i) % kOfRow * 32 + lane) * kEach; };
        const auto address = [&](int i) {
            return in.x + (row0 + row_of(i)) * in.row_stride + group0 * in.pool + at_of(i);
        };
        const auto inside = [&](int i) {
            return row0 + row_of(i) < in.rows && group0 * in.pool + at_of(i) < in.groups * in.pool;
        };
        if (in.aligned) {
            Words<T, kEach> words[kBatch] = {};
#pragma unroll
            for (int i = 0; i < kBatch; i++)
                if (inside(i)) load_words(words[i], address(i));
#pragma unroll
            for (int i = 0; i < kBatch; i++) sum[i] = sum_of<T>(words[i]);
        } else {
#pragma unroll
            for (int i = 0; i < kBatch; i++) {
                sum[i] = 0.0f;
                for (int e = 0; e < kEach && inside(i); e++) sum[i] += to_float(address(i)[e]);
            }
        }
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
#pragma unroll
            for (int distance = 16; distance > 0; distance /= 2)
                if (distance < lanes) sum[i] += __shfl_xor_sync(kAllLanes, sum[i], distance);
            if (lane % lanes == 0) means[row_of(i)][at_of(i) / in.pool] = share * sum[i];
        }
    }
    __syncthreads();
    if (in.dropout.threshold == 0) return;
    const Dropout dropout = at_this_step(in.dropout);
    const int octets = kPiece / in.pool / 8;
    if (thread < kRows * octets) {
        const int m = thread / octets, octet = thread % octets;
        if (row0 + m < in.rows) {
            const uint32_t kept = kept_features(dropout, row0 + m, group0 / 8 + octet);
#pragma unroll
            for (int i = 0; i < 8; i++)
                if ((kept >> i & 1u) == 0) means[m][octet * 8 + i] = 0.0f;
        }
    }
    __syncthreads();
}

template <class T>
struct DownArgs {
    float* s; // [rows, rank], or partial sums [splits, rows, rank]
    T* tail;  // or NULL
    int64_t tail_row_stride;
    float tail_scale, scale;
    Pooled<T> in;
    const float* a; // [rank, groups]
    int32_t rank, splits;
};

template <class T, int kRanks>
__global__ void __launch_bounds__(kThreads, 3) pooled_down(DownArgs<T> args) {
    constexpr int kAcross = kThreads / kRows; // threads of a row, a rank in kAcross each
    __shared__ float means[kRows][kStride];
    __shared__ float a[kRanks][kStride];
    const int thread = static_cast<int>(threadIdx.x), m = thread / kAcross, first = thread % kAcross;
    const int64_t row0 = int64_t{blockIdx.x} * kRows;
    const int rank0 = static_cast<int>(blockIdx.z) * kRanks;
    const int piece = kPiece / args.in.pool; // groups
    const int64_t pieces = (args.in.groups + piece - 1) / piece;
    float sum[kRanks / kAcross] = {};
    for (int64_t i = pieces * blockIdx.y / args.splits; i < pieces * (blockIdx.y + 1) / args.splits; i++) {
        const int64_t group0 = i * piece;
        for (int e = thread; e < kRanks * piece; e += kThreads) {
            const int j = e / piece, g = e % piece;
            const bool inside = rank0 + j < args.rank && group0 + g < args.in.groups;
            a[j][g] = inside ? args.a[(rank0 + j) * args.in.groups + group0 + g] : 0.0f;
        }
        pool_piece(means, args.in, row0, group0, thread);
        for (int g = 0; g < piece; g++)
#pragma unroll
            for (int j = 0; j < kRanks / kAcross; j++) sum[j] = fmaf(means[m][g], a[first + j * kAcross][g], sum[j]);
        __syncthreads();
    }
    const int64_t row = row0 + m;
    if (row >= args.in.rows) return;
#pragma unroll
    for (int j = 0; j < kRanks / kAcross; j++) {
        const int r = rank0 + first + j * kAcross;
        if (r >= args.rank) continue;
        const float value = args.scale * sum[j];
        args.s[(blockIdx.y * args.in.rows + row) * args.rank + r] = value;
        if (args.tail != nullptr) args.tail[row * args.tail_row_stride + r] = from_float<T>(args.tail_scale * value);
    }
}

template <class T>
struct DownBackwardArgs {
    float* partial; // [parts, groups, rank]
    Pooled<T> in;
    const float* ds; // [rows, rank]
    int32_t rank;
};

template <class T, int kRanks>
__global__ void __launch_bounds__(kThreads, 3) pooled_down_backward(DownBackwardArgs<T> args) {
    constexpr int kDown = kThreads / kGroups; // threads of a group, a rank in kDown each
    __shared__ float means[kRows][kStride];
    __shared__ float ds[kRows][kRanks + 1];
    const int thread = static_cast<int>(threadIdx.x), g = thread % kGroups, first = thread / kGroups;
    const int rank0 = static_cast<int>(blockIdx.z) * kRanks;
    const int piece = kPiece / args.in.pool;
    const int64_t group0 = int64_t{blockIdx.x} * piece, begin = int64_t{blockIdx.y} * kPartRows;
    const int64_t end = begin + kPartRows < args.in.rows ? begin + kPartRows : args.in.rows;
    float sum[kRanks / kDown] = {};
    for (int64_t row0 = begin; row0 < end; row0 += kRows) {
        for (int e = thread; e < kRows * kRanks; e += kThreads) {
            const int m = e / kRanks, j = e % kRanks;
            const bool inside = row0 + m < end && rank0 + j < args.rank;
            ds[m][j] = inside ? args.ds[(row0 + m) * args.rank + rank0 + j] : 0.0f;
        }
        pool_piece(means, args.in, row0, group0, thread);
        if (g < piece)
            for (int m = 0; m < kRows; m++)
#pragma unroll
                for (int j = 0; j < kRanks / kDown; j++) sum[j] = fmaf(means[m][g], ds[m][first + j * kDown], sum[j]);
        __syncthreads();
    }
    if (g >= piece || group0 + g >= args.in.groups) return;
#pragma unroll
    for (int j = 0; j < kRanks / kDown; j++) {
        const int r = rank0 + first + j * kDown;
        if (r < args.rank) args.partial[(blockIdx.y * args.in.groups + group0 + g) * args.rank + r] = sum[j];
    }
}

// Parts of the features: blocks to fill a large GPU, by the shape alone; their partial sums fit lora_partial_bytes. The
// fp32 tail is written by the kernel itself, so fp32 does not split.
template <class T>
int32_t splits_of(int64_t rows, int64_t features) {
    if (sizeof(T) == 4) return 1;
    const int64_t row_tiles = (rows + kRows - 1) / kRows, pieces = (features + kPiece - 1) / kPiece;
    const int64_t wanted = (256 + row_tiles - 1) / row_tiles, most = pieces < 128 ? pieces : 128;
    return static_cast<int32_t>(wanted < most ? wanted : most);
}

template <class T, class Args>
Pooled<T> pooled(const Args& a) {
    return {static_cast<const T*>(a.x), a.x_row_stride, a.rows, a.k / a.pool, a.pool,
            is_aligned16(a.x, a.x_row_stride, sizeof(T)), a.dropout};
}

template <class T>
void down(ftc_stream& stream, const LoraDown& a) {
    const int32_t splits = splits_of<T>(a.rows, a.k);
    const float scale = a.dropout.threshold > 0 ? 1.0f / a.dropout.keep : 1.0f;
    DownArgs<T> args{.s = splits > 1 ? static_cast<float*>(a.partial) : a.s,
                     .tail = splits > 1 ? nullptr : static_cast<T*>(a.tail.data),
                     .tail_row_stride = a.tail.row_stride,
                     .tail_scale = a.tail.scale,
                     .scale = splits > 1 ? 1.0f : scale,
                     .in = pooled<T>(a),
                     .a = a.a,
                     .rank = a.rank,
                     .splits = splits};
    const int ranks = a.rank <= 16 ? 16 : 64;
    const dim3 grid(static_cast<uint32_t>((a.rows + kRows - 1) / kRows), static_cast<uint32_t>(splits),
                    static_cast<uint32_t>((a.rank + ranks - 1) / ranks));
    if (ranks == 16)
        FTC_LAUNCH((pooled_down<T, 16>), grid, dim3(kThreads), 0, stream.handle, args);
    else
        FTC_LAUNCH((pooled_down<T, 64>), grid, dim3(kThreads), 0, stream.handle, args);
    if (splits == 1) return;
    add_partials(stream, {.out = a.s,
                          .tail = a.tail,
                          .partial = args.s,
                          .splits = splits,
                          .rows = a.rows,
                          .rank = a.rank,
                          .scale = scale});
}

template <class T>
void down_backward(ftc_stream& stream, const LoraDownBackward& a) {
    const Pooled<T> in = pooled<T>(a);
    const DownBackwardArgs<T> args{static_cast<float*>(a.partial), in, a.ds, a.rank};
    const int ranks = a.rank <= 16 ? 16 : 64;
    const int64_t parts = (a.rows + kPartRows - 1) / kPartRows;
    const dim3 grid(static_cast<uint32_t>((a.k + kPiece - 1) / kPiece), static_cast<uint32_t>(parts),
                    static_cast<uint32_t>((a.rank + ranks - 1) / ranks));
    if (ranks == 16)
        FTC_LAUNCH((pooled_down_backward<T, 16>), grid, dim3(kThreads), 0, stream.handle, args);
    else
        FTC_LAUNCH((pooled_down_backward<T, 64>), grid, dim3(kThreads), 0, stream.handle, args);
    add_transposed(stream, {.out = a.da,
                            .column_stride = 1,
                            .rank_stride = in.groups,
                            .partial = args.partial,
                            .parts = parts,
                            .columns = in.groups,
                            .rank = a.rank,
                            .scale = a.dropout.threshold > 0 ? 1.0f / a.dropout.keep : 1.0f});
}

} // namespace

void lora_down_pooled(ftc_stream& stream, int32_t dtype, const LoraDown& args) {
    dtype == FTC_BF16 ? down<bf16>(stream, args) : down<float>(stream, args);
}
void lora_down_backward_pooled(ftc_stream& stream, int32_t dtype, const LoraDownBackward& args) {
    dtype == FTC_BF16 ? down_backward<bf16>(stream, args) : down_backward<float>(stream, args);
}

} // namespace ftc::cuda
