// The linear layer on CUDA: one dense product by cuBLASLt with LoRA in its border, around it the skinny products.
//
//   forward   Y  = [X | scaling S] [W | B]^T            S  = drop(X) A^T
//   backward  dX = [dY | dS] [W ; A]                    dS = scaling dY B,  dB += scaling dY^T S,  dA += dS^T drop(X)
//
// The weight's border is written before each product (r (N + K) elements against N K). Packed weights, and weights of
// another dtype than the activations, are dequantised into a scratch of the workspace, which always has a border. Without
// a border in X or dY, and in backward with dropout (whose mask touches dS A alone), LoRA is added afterwards. Few rows
// multiply quantised weights packed.
#include "cuda/device.cuh"
#include "api/backend.h"
#include "cuda/matmul.h"
#include "ops/linear/border_cuda.h"
#include "ops/linear/dropout.h"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/lora_partial.h"
#include "ops/linear/packed_product_cuda.h"
#include "ops/linear/pool.h"
#include "ops/quant/dequantize_cuda.h"

namespace ftc::cuda {

// Bytes of partial sums: what the products over rows, the split products and the sums over column blocks need.
int64_t lora_partial_bytes(int64_t rows, int64_t width, int64_t rank) {
    const int64_t transposed = transposed_parts_up_to(rows) * width * rank;
    const int64_t blocks = (width + up_columns(32) - 1) / up_columns(32);
    const int64_t splits = 128 < (width + 511) / 512 ? 128 : (width + 511) / 512;
    const int64_t down = (blocks > splits ? blocks : splits) * rows * rank;
    return (transposed + down + 64) * static_cast<int64_t>(sizeof(float));
}

void lora_down(ftc_stream& stream, int32_t dtype, const LoraDown& args) {
    if (args.pool > 1) return lora_down_pooled(stream, dtype, args);
    dtype == FTC_BF16 ? lora_down_bf16(stream, args) : lora_down_f32(stream, args);
}
void lora_up_backward(ftc_stream& stream, int32_t dtype, const LoraUpBackward& args) {
    dtype == FTC_BF16 ? lora_up_backward_bf16(stream, args) : lora_up_backward_f32(stream, args);
}
void lora_down_backward(ftc_stream& stream, int32_t dtype, const LoraDownBackward& args) {
    if (args.pool > 1) return lora_down_backward_pooled(stream, dtype, args);
    dtype == FTC_BF16 ? lora_down_backward_bf16(stream, args) : lora_down_backward_f32(stream, args);
}
void lora_add(ftc_stream& stream, int32_t dtype, const LoraAdd& args) {
    dtype == FTC_BF16 ? lora_add_bf16(stream, args) : lora_add_f32(stream, args);
}

namespace {

constexpr int64_t round_up(int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}
int64_t bytes_of(int32_t dtype) {
    return dtype == FTC_BF16 ? 2 : 4;
}
// Columns of the border that `rank` fills: whole 16-byte chunks.
int64_t padded_rank(int64_t rank) {
    return round_up(rank, 8);
}
// log2 of a power of two.
int32_t shift_of(int32_t x) {
    int32_t shift = 0;
    while ((1 << shift) < x) ++shift;
    return shift;
}
bool is_packed(int32_t format) {
    return format != FTC_WEIGHT_F32 && format != FTC_WEIGHT_BF16;
}
bool needs_scratch(int32_t format, int32_t dtype) {
    return !(format == FTC_WEIGHT_F32 && dtype == FTC_F32) && !(format == FTC_WEIGHT_BF16 && dtype == FTC_BF16);
}

// The workspace, cut up.
struct Workspace {
    char* weight;  // scratch [out + border, in + border], or the partial sums of a packed product
    float* ds;     // [rows, rank]
    char* partial;
    int64_t bytes;

    Workspace(void* base, int32_t dtype, int32_t format, int64_t rows, int64_t in, int64_t out, int64_t rank) {
        int64_t at = 0;
        const auto take = [&](int64_t size) {
            char* p = static_cast<char*>(base) + at;
            at += round_up(size, 256);
            return p;
        };
        const int64_t border = padded_rank(rank);
        const int64_t packed_rows = rows < kMostPackedRows ? rows : kMostPackedRows;
        const int64_t scratch = needs_scratch(format, dtype) ? (out + border) * scratch_stride(in, rank) * bytes_of(dtype) : 0;
        const int64_t partial_sums = is_packed(format) ? packed_product_partial_bytes(packed_rows, in, out) : 0;
        weight = take(scratch > partial_sums ? scratch : partial_sums);
        ds = reinterpret_cast<float*>(take(rows * rank * 4));
        partial = take(lora_partial_bytes(rows, in > out ? in : out, rank > 0 ? rank : 1));
        bytes = at;
    }
    static int64_t scratch_stride(int64_t in, int64_t rank) { return round_up(in + padded_rank(rank), 8); }
};

// The weight as the product reads it: activations' dtype, with or without a border.
struct Dense {
    char* data;
    int64_t row_stride;
    bool bordered;
};

struct Call {
    ftc_stream& stream;
    const ftc_weight& weight;
    const ftc_lora_segment* segments;
    int32_t segment_count;
    const ftc_linear_params& params;
    int64_t rank = 0; // of all segments
    bool drops = false;
    Workspace workspace;

    Call(ftc_stream& s, const ftc_weight& w, const ftc_lora_segment* list, int32_t count, const ftc_linear_params& p,
         void* memory)
        : stream(s), weight(w), segments(list), segment_count(count), params(p), rank(total(list, count)),
          workspace(memory, p.dtype, w.format, p.rows, w.cols, w.rows, rank) {
        for (int32_t i = 0; i < count; ++i) drops = drops || dropout_threshold(list[i]) > 0;
    }
    static int64_t total(const ftc_lora_segment* list, int32_t count) {
        int64_t sum = 0;
        for (int32_t i = 0; i < count; ++i) sum += list[i].rank;
        return sum;
    }
    // The segment's first column in a border, to which every segment adds its rank, an empty one too.
    int64_t column_of(int32_t segment) const { return total(segments, segment); }

    int64_t element_bytes() const { return bytes_of(params.dtype); }
    char* at(const void* base, int64_t element) const {
        return static_cast<char*>(const_cast<void*>(base)) + element * element_bytes();
    }
    // Whether the product takes the packed weight as it is.
    bool multiplies_packed() const {
        return params.dtype == FTC_BF16 && params.rows <= stream.context->packed_rows && packed_product_takes(weight);
    }
    PackedProduct product(void* y, int64_t y_row_stride, const void* x, int64_t x_row_stride, const float* bias) const {
        return {y,    y_row_stride, x, x_row_stride, params.rows, weight, bias, params.accumulate != 0,
                reinterpret_cast<float*>(workspace.weight)};
    }

    // wants_border: X or dY has one, and the product should carry LoRA.
    Dense dense(bool wants_border) const {
        if (needs_scratch(weight.format, params.dtype)) {
            const int64_t stride = Workspace::scratch_stride(weight.cols, rank);
            dequantize_into(stream.handle, *stream.context, workspace.weight, params.dtype, stride, weight, 0, weight.rows);
            return {workspace.weight, stride, wants_border};
        }
        char* data = static_cast<char*>(const_cast<void*>(weight.data));
        return {data, weight.row_stride, wants_border && weight.border >= padded_rank(rank)};
    }
    // A border of `length` by the padded rank (or the other way round): segment after segment, the rest zero.
    void fill_border(const Block& border, bool ranks_are_columns, bool with_b) const {
        int64_t done = 0;
        const auto part = [&](int64_t count) {
            Block b = border;
            b.data = at(border.data, ranks_are_columns ? done : done * border.row_stride);
            (ranks_are_columns ? b.cols : b.rows) = count;
            done += count;
            return b;
        };
        for (int32_t i = 0; i < segment_count; ++i)
            write_block(stream, params.dtype, part(segments[i].rank), with_b ? segments[i].b : segments[i].a,
                        with_b ? 1 : pool_of(segments[i]));
        if (done < padded_rank(rank)) fill_zero_block(stream, params.dtype, part(padded_rank(rank) - done));
    }
    // Zeroes the border of X or dY where the segments leave gaps; returns its address.
    void* open_border(const void* matrix, int64_t row_stride, int64_t cols) const {
        void* border = at(matrix, cols);
        const bool whole = segment_count == 1 && segments[0].row_begin == 0 && segments[0].row_end == params.rows &&
                           segments[0].rank == padded_rank(rank);
        if (!whole) fill_zero_block(stream, params.dtype, {border, row_stride, params.rows, padded_rank(rank)});
        return border;
    }
};

// The dense products, with LoRA inside where the weight has a border.
void multiply_forward(const Call& call, const Dense& dense, void* y, const void* x, bool adds) {
    const ftc_linear_params& p = call.params;
    matmul(call.stream, {.m = p.rows,
                         .n = call.weight.rows,
                         .k = call.weight.cols + (dense.bordered ? padded_rank(call.rank) : 0),
                         .a = x,
                         .a_row_stride = p.x_row_stride,
                         .a_transposed = false,
                         .b = dense.data,
                         .b_row_stride = dense.row_stride,
                         .b_transposed = true,
                         .d = y,
                         .d_row_stride = p.y_row_stride,
                         .dtype = p.dtype,
                         .d_dtype = p.dtype,
                         .alpha = 1.0f,
                         .beta = adds || p.accumulate != 0 ? 1.0f : 0.0f});
}

void multiply_backward(const Call& call, const Dense& dense, void* dx, const void* dy) {
    const ftc_linear_params& p = call.params;
    matmul(call.stream, {.m = p.rows,
                         .n = call.weight.cols,
                         .k = call.weight.rows + (dense.bordered ? padded_rank(call.rank) : 0),
                         .a = dy,
                         .a_row_stride = p.dy_row_stride,
                         .a_transposed = false,
                         .b = dense.data,
                         .b_row_stride = dense.row_stride,
                         .b_transposed = false,
                         .d = dx,
                         .d_row_stride = p.dx_row_stride,
                         .dtype = p.dtype,
                         .d_dtype = p.dtype,
                         .alpha = 1.0f,
                         .beta = p.accumulate != 0 ? 1.0f : 0.0f});
}

void forward(Call& call, void* y, const void* x, const float* bias) {
    const ftc_linear_params& p = call.params;
    const ftc_weight& w = call.weight;
    const int64_t border = padded_rank(call.rank);
    const bool packed = call.multiplies_packed();
    Dense dense{};
    if (!packed) dense = call.dense(call.rank > 0 && p.x_border >= border);
    if (dense.bordered)
        call.fill_border({call.at(dense.data, w.cols), dense.row_stride, w.rows, border}, true, true);
    void* tail = dense.bordered ? call.open_border(x, p.x_row_stride, w.cols) : nullptr;
    for (int32_t i = 0; i < call.segment_count; ++i) {
        const ftc_lora_segment& s = call.segments[i];
        if (s.row_begin == s.row_end) continue;
        Tail into{};
        if (tail != nullptr) into = {call.at(tail, s.row_begin * p.x_row_stride + call.column_of(i)), p.x_row_stride, s.scaling};
        lora_down(call.stream, p.dtype, {.s = s.s,
                                         .tail = into,
                                         .x = call.at(x, s.row_begin * p.x_row_stride),
                                         .x_row_stride = p.x_row_stride,
                                         .a = s.a,
                                         .rows = s.row_end - s.row_begin,
                                         .k = w.cols,
                                         .rank = s.rank,
                                         .pool = s.pool,
                                         .dropout = dropout_of(s, p, s.row_begin),
                                         .partial = call.workspace.partial});
    }
    if (packed) {
        const PackedProduct product = call.product(y, p.y_row_stride, x, p.x_row_stride, bias);
        const bool one_adapter = call.segment_count == 1 && call.segments[0].row_begin == 0 && call.segments[0].row_end == p.rows;
        if (p.rows <= kDecodeRows && (call.segment_count == 0 || one_adapter)) {
            const ftc_lora_segment none{};
            const ftc_lora_segment& s = one_adapter ? call.segments[0] : none;
            packed_decode(call.stream, {.product = product, .s = s.s, .b = s.b, .rank = s.rank, .scaling = s.scaling});
            return;
        }
        packed_product(call.stream, product, false);
    } else {
        if (bias != nullptr)
            write_bias(call.stream, p.dtype, {y, p.y_row_stride, p.rows, w.rows}, bias, p.accumulate != 0);
        multiply_forward(call, dense, y, x, bias != nullptr);
    }
    for (int32_t i = 0; i < call.segment_count && !dense.bordered; ++i) {
        const ftc_lora_segment& s = call.segments[i];
        if (s.row_begin == s.row_end) continue;
        lora_add(call.stream, p.dtype, {.y = call.at(y, s.row_begin * p.y_row_stride),
                                        .y_row_stride = p.y_row_stride,
                                        .v = s.s,
                                        .u = s.b,
                                        .column_stride = s.rank,
                                        .rank_stride = 1,
                                        .rows = s.row_end - s.row_begin,
                                        .cols = w.rows,
                                        .rank = s.rank,
                                        .repeat_shift = 0,
                                        .scale = s.scaling,
                                        .dropout = {}});
    }
}

void backward(Call& call, void* dx, float* dweight, float* dbias, const void* dy, const void* x) {
    const ftc_linear_params& p = call.params;
    const ftc_weight& w = call.weight;
    const int64_t border = padded_rank(call.rank);
    const bool packed = dx != nullptr && call.multiplies_packed();
    Dense dense{};
    if (dx != nullptr && !packed) dense = call.dense(call.rank > 0 && !call.drops && p.dy_border >= border);
    if (dense.bordered) call.fill_border({call.at(dense.data, w.rows * dense.row_stride), dense.row_stride, border, w.cols}, false, false);
    void* tail = dense.bordered ? call.open_border(dy, p.dy_row_stride, w.rows) : nullptr;
    for (int32_t i = 0; i < call.segment_count; ++i) {
        const ftc_lora_segment& s = call.segments[i];
        const int64_t rows = s.row_end - s.row_begin;
        if (rows == 0) continue;
        float* ds = call.workspace.ds + s.row_begin * call.rank; // disjoint: at least rows * rank floats apart
        Tail into{};
        if (tail != nullptr) into = {call.at(tail, s.row_begin * p.dy_row_stride + call.column_of(i)), p.dy_row_stride, 1.0f};
        if (dx == nullptr && s.da == nullptr && s.db == nullptr) continue;
        lora_up_backward(call.stream, p.dtype, {.ds = ds,
                                                .tail = into,
                                                .db = s.db,
                                                .dy = call.at(dy, s.row_begin * p.dy_row_stride),
                                                .dy_row_stride = p.dy_row_stride,
                                                .b = s.b,
                                                .s = s.s,
                                                .rows = rows,
                                                .n = w.rows,
                                                .rank = s.rank,
                                                .scaling = s.scaling,
                                                .partial = call.workspace.partial});
        if (s.da == nullptr) continue;
        lora_down_backward(call.stream, p.dtype, {.da = s.da,
                                                  .ds = ds,
                                                  .x = call.at(x, s.row_begin * p.x_row_stride),
                                                  .x_row_stride = p.x_row_stride,
                                                  .rows = rows,
                                                  .k = w.cols,
                                                  .rank = s.rank,
                                                  .pool = s.pool,
                                                  .dropout = dropout_of(s, p, s.row_begin),
                                                  .partial = call.workspace.partial});
    }
    if (packed)
        packed_product(call.stream, call.product(dx, p.dx_row_stride, dy, p.dy_row_stride, nullptr), true);
    else if (dx != nullptr)
        multiply_backward(call, dense, dx, dy);
    for (int32_t i = 0; i < call.segment_count && dx != nullptr && !dense.bordered; ++i) {
        const ftc_lora_segment& s = call.segments[i];
        if (s.row_begin == s.row_end) continue;
        lora_add(call.stream, p.dtype, {.y = call.at(dx, s.row_begin * p.dx_row_stride),
                                        .y_row_stride = p.dx_row_stride,
                                        .v = call.workspace.ds + s.row_begin * call.rank,
                                        .u = s.a,
                                        .column_stride = 1,
                                        .rank_stride = w.cols / pool_of(s),
                                        .rows = s.row_end - s.row_begin,
                                        .cols = w.cols,
                                        .rank = s.rank,
                                        .repeat_shift = shift_of(pool_of(s)),
                                        .scale = 1.0f / static_cast<float>(pool_of(s)),
                                        .dropout = dropout_of(s, p, s.row_begin)});
    }
    if (dweight != nullptr)
        matmul(call.stream, {.m = w.rows,
                             .n = w.cols,
                             .k = p.rows,
                             .a = dy,
                             .a_row_stride = p.dy_row_stride,
                             .a_transposed = true,
                             .b = x,
                             .b_row_stride = p.x_row_stride,
                             .b_transposed = false,
                             .d = dweight,
                             .d_row_stride = p.dweight_row_stride,
                             .dtype = p.dtype,
                             .d_dtype = FTC_F32,
                             .alpha = 1.0f,
                             .beta = 1.0f});
    if (dbias != nullptr)
        add_column_sums(call.stream, p.dtype, dbias, {const_cast<void*>(dy), p.dy_row_stride, p.rows, w.rows},
                        call.workspace.partial);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void linear_get_layout(ftc_context&, int64_t in_features, int64_t out_features, int64_t rank, int32_t,
                       ftc_linear_layout& layout) {
    const int64_t border = cuda::padded_rank(rank);
    layout.border = static_cast<int32_t>(border);
    layout.x_row_stride = cuda::round_up(in_features + border, 8);
    layout.y_row_stride = cuda::round_up(out_features + border, 8);
    layout.weight_row_stride = cuda::round_up(in_features + border, 8);
}

int64_t linear_workspace_bytes(ftc_context&, const ftc_linear_workspace_params& p) {
    return cuda::Workspace(nullptr, p.dtype, p.weight_format, p.rows, p.in_features, p.out_features, p.rank).bytes;
}

void linear_forward(ftc_stream& stream, void* y, const void* x, const ftc_weight& weight, const float* bias,
                    const ftc_lora_segment* segments, int32_t segment_count, const ftc_linear_params& params,
                    void* workspace) {
    cuda::Call call(stream, weight, segments, segment_count, params, workspace);
    cuda::forward(call, y, x, bias);
}

void linear_backward(ftc_stream& stream, void* dx, float* dweight, float* dbias, const void* dy, const void* x,
                     const ftc_weight& weight, const ftc_lora_segment* segments, int32_t segment_count,
                     const ftc_linear_params& params, void* workspace) {
    cuda::Call call(stream, weight, segments, segment_count, params, workspace);
    cuda::backward(call, dx, dweight, dbias, dy, x);
}

} // namespace ftc::backend
