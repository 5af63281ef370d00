// Attention of a few query rows over a long cache of keys: bound by reading k and v, so every element is read once for
// all query heads that share it. A block takes kDecodeChunk keys of one key-value head and leaves, for every line (a
// query head with a query row), its unnormalised o with the largest score and the sum of exp; a second kernel joins the
// chunks in their order. Chunks are of fixed size: bits depend on the shape alone. Both dtypes compute in fp32.
//
// A key's row is read by kLanes neighbouring threads, 16 bytes each, straight into registers: q, then o, of up to 8
// lines lie there in the same columns. More lines take another turn over the chunk, which then is in the cache.
//
// Bytes: k and v once, q and o; and of partial results 8 (head_dim + 2) a line and chunk, which beside 2 * 256 * 2
// head_dim of k and v in bf16 are 0.8 % a line (3 % where four query heads share keys).
#include <cmath>

#include "cuda/vector.cuh"
#include "ops/attention/attention_interval.cuh"
#include "ops/attention/attention_launch.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kChunk = kDecodeChunk;

// Partial results: o [chunks][lines][width], largest score and sum [chunks][lines][2] behind it.
struct Partial {
    float* o;
    float* statistics;
    int lines, width;
};

__device__ __forceinline__ int64_t line_at(const Partial& p, int chunk, int line) {
    return int64_t{chunk} * p.lines + line;
}

// Columns [col, col + kCount) of a row of `cols`; zeros beyond.
template <class T, int kCount, bool kVector>
__device__ __forceinline__ void load_columns(float (&v)[kCount], const T* x, int col, int cols) {
    if constexpr (kVector) {
        if (col < cols)
            load_values<kCount>(v, x + col);
        else
#pragma unroll
            for (int i = 0; i < kCount; ++i) v[i] = 0.0f;
    } else {
#pragma unroll
        for (int i = 0; i < kCount; ++i) v[i] = col + i < cols ? to_float(x[col + i]) : 0.0f;
    }
}

// A thread's columns to shared memory and back, next to those of its neighbours. Of two 16-byte pieces every second
// group of four threads treats the later one first, so that eight threads meet all banks once.
template <int kCount>
__device__ __forceinline__ void store_spread(float* to, const float (&v)[kCount], int lane) {
    if constexpr (kCount == 4) {
        store_values<4>(to, v);
    } else {
        static_assert(kCount == 8);
        const bool turned = lane / 4 % 2 == 1;
        float early[4], late[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            early[i] = turned ? v[4 + i] : v[i];
            late[i] = turned ? v[i] : v[4 + i];
        }
        store_values<4>(to + (turned ? 4 : 0), early);
        store_values<4>(to + (turned ? 0 : 4), late);
    }
}

template <int kCount>
__device__ __forceinline__ void load_spread(float (&v)[kCount], const float* from, int lane) {
    if constexpr (kCount == 4) {
        load_values<4>(v, from);
    } else {
        static_assert(kCount == 8);
        const bool turned = lane / 4 % 2 == 1;
        float early[4], late[4];
        load_values<4>(early, from + (turned ? 4 : 0));
        load_values<4>(late, from + (turned ? 0 : 4));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            v[i] = turned ? late[i] : early[i];
            v[4 + i] = turned ? early[i] : late[i];
        }
    }
}

// Over kLanes neighbouring lanes.
template <int kLanes>
__device__ __forceinline__ float lanes_sum(float x) {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
    return x;
}

// One turn: kLines lines from `line` of the key-value head.
template <class T, int kDim, int kLines, bool kVector>
__device__ __forceinline__ void decode_lines(const AttentionShape& s, const Partial& partial, const T* q, const T* k,
                                             const T* v, int kv_head, int line, int chunk,
                                             float (&scores)[kLines][kChunk], float (&joined)[kWarps][kDim]) {
    constexpr int kCount = kVectorOf<T>;                            // elements of 16 bytes
    constexpr int kLanes = kDim / kCount < 32 ? kDim / kCount : 32; // threads of a key's row
    constexpr int kParts = kDim / (kCount * kLanes);                // 16-byte pieces of a thread
    constexpr int kKeys = kThreads / kLanes;                        // keys at a time
    const int thread = static_cast<int>(threadIdx.x), lane = thread % kLanes, slot = thread / kLanes;
    const int warp = thread / 32;
    const int head_lines = s.group * s.query_rows, begin = chunk * kChunk;
    const int end = min(begin + kChunk, s.first_query + s.query_rows);

    // q of the lines, fp32, by way of shared memory: all slots want it. A line is head * query_rows + row; lines past
    // the last one repeat it and are not written.
    for (int i = thread; i < kLines * kDim / kCount; i += kThreads) {
        const int l = i / (kDim / kCount), col = i % (kDim / kCount) * kCount, at = min(line + l, head_lines - 1);
        const int head = kv_head * s.group + at / s.query_rows, row = at % s.query_rows;
        float x[kCount];
        load_columns<T, kCount, kVector>(x, q + row * s.q_row_stride + int64_t{head} * s.head_dim, col, s.head_dim);
        store_spread(&joined[l][col], x, thread);
    }
    __syncthreads();
    float columns[kLines][kParts][kCount]; // q here, o below
#pragma unroll
    for (int l = 0; l < kLines; ++l)
#pragma unroll
        for (int part = 0; part < kParts; ++part)
            load_spread(columns[l][part], &joined[l][(part * kLanes + lane) * kCount], lane);

#pragma unroll 4
    for (int i = 0; i < kChunk; i += kKeys) {
        const int key = begin + i + slot;
        float sum[kLines] = {};
        if (key < end) {
#pragma unroll
            for (int part = 0; part < kParts; ++part) {
                float x[kCount];
                load_columns<T, kCount, kVector>(x, k + key * s.k_row_stride, (part * kLanes + lane) * kCount,
                                                 s.head_dim);
#pragma unroll
                for (int l = 0; l < kLines; ++l)
#pragma unroll
                    for (int j = 0; j < kCount; ++j) sum[l] = fmaf(columns[l][part][j], x[j], sum[l]);
            }
        }
#pragma unroll
        for (int l = 0; l < kLines; ++l) {
            sum[l] = lanes_sum<kLanes>(sum[l]);
            if (lane == l % kLanes) scores[l][i + slot] = sum[l];
        }
    }
    __syncthreads();

    // Softmax of a line by one warp; keys that the row does not see get weight 0.
    for (int l = warp; l < kLines; l += kWarps) {
        const int at = min(line + l, head_lines - 1), row = at % s.query_rows;
        const int first = first_key(s, row) - begin, last = min(last_key(s, row), end - 1) - begin;
        float top = -INFINITY;
        for (int i = thread % 32; i < kChunk; i += 32) {
            const float x = i < first || i > last ? -INFINITY : scores[l][i] * s.scale;
            scores[l][i] = x;
            top = fmaxf(top, x);
        }
        top = warp_max(top);
        const float base = top == -INFINITY ? 0.0f : top;
        float sum = 0.0f;
        for (int i = thread % 32; i < kChunk; i += 32) {
            const float p = expf(scores[l][i] - base);
            scores[l][i] = p;
            sum += p;
        }
        sum = lanes_sum<32>(sum);
        if (thread % 32 == 0 && line + l < head_lines) {
            float* statistics = partial.statistics + 2 * line_at(partial, chunk, kv_head * head_lines + line + l);
            statistics[0] = top;
            statistics[1] = sum;
        }
    }
    __syncthreads();

    // o: every thread over the keys of its slot, then the slots of a warp, then the warps.
#pragma unroll
    for (int l = 0; l < kLines; ++l)
#pragma unroll
        for (int part = 0; part < kParts; ++part)
#pragma unroll
            for (int j = 0; j < kCount; ++j) columns[l][part][j] = 0.0f;
#pragma unroll 4
    for (int i = 0; i < kChunk; i += kKeys) {
        const int key = begin + i + slot;
        if (key >= end) continue;
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            float x[kCount];
            load_columns<T, kCount, kVector>(x, v + key * s.v_row_stride, (part * kLanes + lane) * kCount, s.head_dim);
#pragma unroll
            for (int l = 0; l < kLines; ++l) {
                const float weight = scores[l][i + slot];
#pragma unroll
                for (int j = 0; j < kCount; ++j) columns[l][part][j] = fmaf(weight, x[j], columns[l][part][j]);
            }
        }
    }
#pragma unroll
    for (int l = 0; l < kLines; ++l) {
#pragma unroll
        for (int part = 0; part < kParts; ++part)
#pragma unroll
            for (int j = 0; j < kCount; ++j) {
                float x = columns[l][part][j];
#pragma unroll
                for (int distance = 16; distance >= kLanes; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
                columns[l][part][j] = x;
            }
        __syncthreads();
        if (thread % 32 < kLanes) {
#pragma unroll
            for (int part = 0; part < kParts; ++part)
                store_spread(&joined[warp][(part * kLanes + lane) * kCount], columns[l][part], lane);
        }
        __syncthreads();
        if (line + l < head_lines)
            for (int c = thread; c < partial.width; c += kThreads) {
                float x = joined[0][c];
#pragma unroll
                for (int w = 1; w < kWarps; ++w) x += joined[w][c];
                partial.o[line_at(partial, chunk, kv_head * head_lines + line + l) * partial.width + c] = x;
            }
    }
    __syncthreads();
}

// Grid: chunks, key-value heads.
template <class T, int kDim, int kLines, bool kVector>
__global__ void __launch_bounds__(kThreads, 1)
    attention_decode_kernel(AttentionShape s, Partial partial, const T* q, const T* k, const T* v) {
    __shared__ float scores[kLines][kChunk];
    __shared__ __align__(16) float joined[kWarps][kDim];
    static_assert(kLines <= kWarps);
    const int chunk = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y);
    const int head_lines = s.group * s.query_rows;
    if (chunk == 0 && kv_head == 0 && static_cast<int>(threadIdx.x) < s.query_rows)
        check_key_begin(s, kLateAttentionForwardKeyBegin, static_cast<int>(threadIdx.x));
    if ((chunk + 1) * kChunk <= first_key(s, 0)) { // no row sees any of these keys
        for (int line = static_cast<int>(threadIdx.x); line < head_lines; line += kThreads) {
            float* statistics = partial.statistics + 2 * line_at(partial, chunk, kv_head * head_lines + line);
            statistics[0] = -INFINITY;
            statistics[1] = 0.0f;
        }
        return;
    }
    k += int64_t{kv_head} * s.head_dim;
    v += int64_t{kv_head} * s.head_dim;
    for (int line = 0; line < head_lines; line += kLines)
        decode_lines<T, kDim, kLines, kVector>(s, partial, q, k, v, kv_head, line, chunk, scores, joined);
}

// Joins the chunks of one line: a thread per column. Grid: lines.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_decode_join_kernel(AttentionShape s, Partial partial, T* o, float* lse, int chunks) {
    const int line = static_cast<int>(blockIdx.x), head = line / s.query_rows, row = line % s.query_rows;
    float top = -INFINITY;
    for (int c = 0; c < chunks; ++c) top = fmaxf(top, partial.statistics[2 * line_at(partial, c, line)]);
    const float base = top == -INFINITY ? 0.0f : top;
    const int column = static_cast<int>(threadIdx.x);
    float total = 0.0f, sum = 0.0f;
    for (int c = 0; c < chunks; ++c) {
        const float* statistics = partial.statistics + 2 * line_at(partial, c, line);
        if (statistics[1] == 0.0f) continue; // nothing seen in this chunk: its o may not have been written
        const float shrink = expf(statistics[0] - base);
        total = fmaf(statistics[1], shrink, total);
        if (column < partial.width)
            sum = fmaf(partial.o[line_at(partial, c, line) * partial.width + column], shrink, sum);
    }
    const bool empty = top == -INFINITY && total == 0.0f;
    if (column < s.head_dim)
        o[row * s.o_row_stride + int64_t{head} * s.head_dim + column] = from_float<T>(empty ? 0.0f : sum / total);
    if (lse != nullptr && column == 0) lse[int64_t{row} * s.heads + head] = empty ? -INFINITY : top + logf(total);
}

template <class T, int kDim, int kLines, bool kVector>
void launch(cudaStream_t stream, const AttentionForward& c, const Partial& partial, int chunks) {
    FTC_LAUNCH((attention_decode_kernel<T, kDim, kLines, kVector>),
               dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(c.shape.key_value_heads)), kThreads, 0, stream,
               c.shape, partial, static_cast<const T*>(c.q), static_cast<const T*>(c.k), static_cast<const T*>(c.v));
}

template <class T, int kDim>
void launch_chunks(cudaStream_t stream, const AttentionForward& c, const Partial& partial, int chunks, bool aligned) {
    const int lines = c.shape.group * c.shape.query_rows;
    if (!aligned)
        launch<T, kDim, 4, false>(stream, c, partial, chunks);
    else if (lines == 1)
        launch<T, kDim, 1, true>(stream, c, partial, chunks);
    else if (lines <= 4)
        launch<T, kDim, 4, true>(stream, c, partial, chunks);
    else
        launch<T, kDim, 8, true>(stream, c, partial, chunks);
}

template <class T>
void decode(cudaStream_t stream, const AttentionForward& c) {
    const AttentionShape& s = c.shape;
    const int keys = s.first_query + s.query_rows, chunks = (keys + kChunk - 1) / kChunk;
    const int lines = s.heads * s.query_rows;
    const Partial partial{c.workspace, c.workspace + int64_t{chunks} * lines * s.head_dim, lines, s.head_dim};
    const auto aligned = [&](const void* p, int64_t row_stride) {
        return rows_are_aligned(p, row_stride, s.head_dim, sizeof(T));
    };
    const bool all = aligned(c.q, s.q_row_stride) && aligned(c.k, s.k_row_stride) && aligned(c.v, s.v_row_stride);
    if (s.head_dim <= 64)
        launch_chunks<T, 64>(stream, c, partial, chunks, all);
    else if (sizeof(T) == 2 || s.head_dim <= 128)
        launch_chunks<T, 128>(stream, c, partial, chunks, all);
    else if constexpr (sizeof(T) == 4)
        launch_chunks<T, 256>(stream, c, partial, chunks, all);
    FTC_LAUNCH((attention_decode_join_kernel<T>), dim3(static_cast<unsigned>(lines)), kThreads, 0, stream, s, partial,
               static_cast<T*>(c.o), c.lse, chunks);
}

} // namespace

int64_t attention_decode_floats(const ftc_attention_params& p) {
    const int64_t rows = p.query_rows < kDecodeRows ? p.query_rows : kDecodeRows;
    const int64_t keys = p.first_query + p.query_rows, chunks = (keys + kChunk - 1) / kChunk;
    return chunks * p.heads * rows * (p.head_dim + 2);
}

void attention_decode(cudaStream_t stream, const AttentionForward& c, int32_t dtype) {
    if (dtype == FTC_BF16)
        decode<bf16>(stream, c);
    else
        decode<float>(stream, c);
}

} // namespace ftc::cuda
