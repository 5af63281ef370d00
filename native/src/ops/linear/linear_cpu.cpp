#include "ops/linear/linear.h"

#include "core/pool.h"
#include "ops/linear/gemm.h"
#include "ops/linear/pool.h"
#include "ops/linear/word.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}
int64_t segment_rows(const ftc_lora_segment& s) {
    return s.row_end - s.row_begin;
}

// A plain matrix of fp32 or bf16 as the row operand of a product.
struct RowSource {
    const void* data;
    int32_t dtype;
    int64_t stride;
};

RowSource rows_of(const void* data, int32_t dtype, int64_t row, int64_t stride) {
    const int64_t bytes = dtype == FTC_BF16 ? 2 : 4;
    return {static_cast<const char*>(data) + row * stride * bytes, dtype, stride};
}

// A plain matrix as the column operand of a product.
ColumnSource columns_of(const void* data, int32_t dtype, int64_t rows, int64_t cols, int64_t row_stride, bool transposed) {
    ColumnSource source{};
    source.weight.format = dtype == FTC_BF16 ? FTC_WEIGHT_BF16 : FTC_WEIGHT_F32;
    source.weight.rows = rows;
    source.weight.cols = cols;
    source.weight.row_stride = row_stride;
    source.weight.data = data;
    source.transposed = transposed;
    return source;
}

// On the CPU device memory is at hand: the step is read at once.
Dropout dropout_here(const ftc_lora_segment& segment, const ftc_linear_params& params, int64_t first_row) {
    Dropout d = dropout_of(segment, params, first_row);
    if (d.step_value != nullptr) d.step = *d.step_value;
    return d;
}

GemmArgs product(void* c, int32_t c_dtype, int64_t c_stride, const RowSource& a, const ColumnSource& b, int64_t rows,
                 int64_t cols, int64_t depth) {
    GemmArgs g{};
    g.c = c;
    g.c_dtype = c_dtype;
    g.c_stride = c_stride;
    g.a = a.data;
    g.a_dtype = a.dtype;
    g.a_stride = a.stride;
    g.a_scale = 1.0f;
    g.b = b;
    g.rows = rows;
    g.cols = cols;
    g.depth = depth;
    g.block_depth = block_depth(depth, kWordDepths);
    return g;
}

// c += scale a^T b over rows, with a [rows, m], b [rows, n]: the shape of every weight gradient. Fixed chunks of rows.
GemmArgs gradient(float* c, int64_t c_stride, const RowSource& a, float scale, const ColumnSource& b, int64_t m, int64_t n,
                  int64_t rows) {
    GemmArgs g = product(c, FTC_F32, c_stride, a, b, m, n, rows);
    g.add_to_c = true;
    g.a_depth_major = true;
    g.a_scale = scale;
    g.block_depth = kGradientRows * kWordDepths;
    return g;
}

int64_t total_rank(const LinearArgs& args) {
    int64_t rank = 0;
    for (int32_t i = 0; i < args.segment_count; i++) rank += args.segments[i].rank;
    return rank;
}

void forward(Pool& pool, const LinearArgs& args) {
    const ftc_linear_params& p = args.params;
    const int64_t n = args.weight.rows, k = args.weight.cols;
    GemmAdapter adapters[backend::kMaxSegments];
    for (int32_t i = 0; i < args.segment_count; i++) {
        const ftc_lora_segment& s = args.segments[i];
        const Dropout dropout = dropout_here(s, p, s.row_begin);
        const int64_t groups = k / pool_of(s); // features, when they are not pooled
        GemmArgs down =
            product(s.s, FTC_F32, s.rank, rows_of(args.x, p.dtype, s.row_begin, p.x_row_stride),
                    columns_of(s.a, FTC_F32, s.rank, groups, groups, true), segment_rows(s), s.rank, groups);
        down.a_pool = s.pool;
        if (dropout.threshold != 0) down.a_dropout = &dropout;
        gemm(pool, down, args.workspace);
        adapters[i] = {s.row_begin, s.row_end, s.rank, s.s, s.scaling, columns_of(s.b, FTC_F32, n, s.rank, s.rank, true),
                       nullptr};
    }
    GemmArgs g = product(args.y, args.y_dtype, p.y_row_stride, rows_of(args.x, p.dtype, 0, p.x_row_stride),
                         {args.weight, true, nullptr, 0, 0}, p.rows, n, k);
    g.add_to_c = p.accumulate != 0;
    g.bias = args.bias;
    g.adapters = adapters;
    g.adapter_count = args.segment_count;
    g.total_rank = total_rank(args);
    gemm(pool, g, args.workspace);
}

// dbias[n] += sum over m of dy[m, n], in chunks of kGradientRows added in order.
template <class T>
void bias_gradient(Pool& pool, const LinearArgs& args, const T* dy) {
    constexpr int64_t kColumns = 64;
    const int64_t n = args.weight.rows;
    parallel_for(pool, (n + kColumns - 1) / kColumns, [&](int64_t part, int32_t) {
        const int64_t begin = part * kColumns;
        const int64_t count = n - begin < kColumns ? n - begin : kColumns;
        for (int64_t chunk = 0; chunk < args.params.rows; chunk += kGradientRows) {
            float sum[kColumns] = {};
            const int64_t end = args.params.rows - chunk < kGradientRows ? args.params.rows : chunk + kGradientRows;
            for (int64_t m = chunk; m < end; m++) {
                const T* row = dy + m * args.params.dy_row_stride + begin;
                for (int64_t j = 0; j < count; j++) sum[j] += value_of(row[j]);
            }
            for (int64_t j = 0; j < count; j++) args.dbias[begin + j] += sum[j];
        }
    });
}

// da += (scaling ds)^T drop(x);  db += (scaling dy)^T s.
void adapter_gradients(Pool& pool, const LinearArgs& args, const ftc_lora_segment& s, const float* ds,
                       float* workspace) {
    const ftc_linear_params& p = args.params;
    const int64_t n = args.weight.rows, groups = args.weight.cols / pool_of(s), rows = segment_rows(s);
    if (s.da != nullptr) {
        const Dropout dropout = dropout_here(s, p, s.row_begin);
        const RowSource from = rows_of(args.x, p.dtype, s.row_begin, p.x_row_stride);
        ColumnSource x = columns_of(from.data, from.dtype, rows, groups, from.stride, false);
        x.pool = s.pool;
        if (dropout.threshold != 0) x.dropout = &dropout;
        gemm(pool, gradient(s.da, groups, {ds, FTC_F32, s.rank}, s.scaling, x, s.rank, groups, rows), workspace);
    }
    if (s.db != nullptr) {
        const RowSource from = rows_of(args.dy, args.y_dtype, s.row_begin, p.dy_row_stride);
        const ColumnSource dy = columns_of(from.data, from.dtype, rows, n, from.stride, false);
        GemmArgs g = gradient(s.db, s.rank, {s.s, FTC_F32, s.rank}, s.scaling, dy, s.rank, n, rows);
        g.c_transposed = true;
        gemm(pool, g, workspace);
    }
}

void backward(Pool& pool, const LinearArgs& args) {
    const ftc_linear_params& p = args.params;
    const int64_t n = args.weight.rows, k = args.weight.cols;
    GemmAdapter adapters[backend::kMaxSegments];
    Dropout dropouts[backend::kMaxSegments];
    float* ds = args.workspace; // unscaled, of one segment after the other
    float* workspace = args.workspace;
    for (int32_t i = 0; i < args.segment_count; i++)
        workspace += segment_rows(args.segments[i]) * args.segments[i].rank;
    workspace = args.workspace + (workspace - args.workspace + 15) / 16 * 16;

    for (int32_t i = 0; i < args.segment_count; i++) {
        const ftc_lora_segment& s = args.segments[i];
        if (args.dx != nullptr || s.da != nullptr) {
            gemm(pool,
                 product(ds, FTC_F32, s.rank, rows_of(args.dy, args.y_dtype, s.row_begin, p.dy_row_stride),
                         columns_of(s.b, FTC_F32, n, s.rank, s.rank, false), segment_rows(s), s.rank, n),
                 workspace);
        }
        adapter_gradients(pool, args, s, ds, workspace);
        dropouts[i] = dropout_here(s, p, 0);
        const int64_t groups = k / pool_of(s);
        adapters[i] = {s.row_begin,
                       s.row_end,
                       s.rank,
                       ds,
                       s.scaling,
                       columns_of(s.a, FTC_F32, s.rank, groups, groups, false),
                       dropouts[i].threshold != 0 ? &dropouts[i] : nullptr};
        adapters[i].factor.repeat = s.pool;
        ds += segment_rows(s) * s.rank;
    }
    if (args.dx != nullptr) {
        GemmArgs g = product(args.dx, p.dtype, p.dx_row_stride, rows_of(args.dy, args.y_dtype, 0, p.dy_row_stride),
                             {args.weight, false, nullptr, 0, 0}, p.rows, k, n);
        g.add_to_c = p.accumulate != 0;
        g.adapters = adapters;
        g.adapter_count = args.segment_count;
        g.total_rank = total_rank(args);
        gemm(pool, g, workspace);
    }
    if (args.dweight != nullptr)
        gemm(pool,
             gradient(args.dweight, p.dweight_row_stride, rows_of(args.dy, args.y_dtype, 0, p.dy_row_stride), 1.0f,
                      columns_of(args.x, p.dtype, p.rows, k, p.x_row_stride, false), n, k, p.rows),
             workspace);
    if (args.dbias == nullptr) return;
    if (args.y_dtype == FTC_F32)
        bias_gradient(pool, args, static_cast<const float*>(args.dy));
    else
        bias_gradient(pool, args, static_cast<const uint16_t*>(args.dy));
}

int64_t workspace_floats(int32_t threads, const ftc_linear_workspace_params& p) {
    const int64_t cols = larger(larger(p.in_features, p.out_features), p.rank);
    const int64_t depth = larger(larger(block_depth(p.in_features, kWordDepths), block_depth(p.out_features, kWordDepths)),
                                 kGradientRows * kWordDepths);
    return (p.rows * p.rank + 15) / 16 * 16 +
           gemm_workspace_floats(threads, cols, depth, p.rank, p.dtype == FTC_BF16 ? p.rows : 0);
}

#if defined(FTC_ISA_avx512bf16)

// These units multiply bf16 words; fp32 activations take the kernels of AVX-512.
void forward_any(Pool& pool, const LinearArgs& args) {
    args.params.dtype == FTC_BF16 ? forward(pool, args) : avx512::linear_kernels().forward(pool, args);
}
void backward_any(Pool& pool, const LinearArgs& args) {
    args.params.dtype == FTC_BF16 ? backward(pool, args) : avx512::linear_kernels().backward(pool, args);
}
int64_t workspace_floats_any(int32_t threads, const ftc_linear_workspace_params& p) {
    return p.dtype == FTC_BF16 ? workspace_floats(threads, p) : avx512::linear_kernels().workspace_floats(threads, p);
}

#endif

} // namespace

LinearKernels linear_kernels() {
#if defined(FTC_ISA_avx512bf16)
    return {.forward = forward_any, .backward = backward_any, .workspace_floats = workspace_floats_any};
#else
    return {.forward = forward, .backward = backward, .workspace_floats = workspace_floats};
#endif
}

} // namespace ftc::FTC_ISA_NAMESPACE
