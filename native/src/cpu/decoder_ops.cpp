// Embedding, RMSNorm, RoPE, SwiGLU and attention: the arguments of ftc.h to the kernels of the context.
#include <cinttypes>

#include "api/backend.h"
#include "core/context.h"
#include "core/status.h"
#include "ops/attention/attention_layout.h"

namespace ftc::backend {

namespace {

// Each value in [0, limit).
void check_range(const char* function, const char* name, const int32_t* values, int64_t rows, int64_t limit) {
    for (int64_t row = 0; row < rows; ++row)
        if (values[row] < 0 || values[row] >= limit)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s[%" PRId64 "] is %d, expected it in [0, %" PRId64 ")", function,
                 name, row, static_cast<int>(values[row]), limit);
}

void check_key_begin(const char* function, const int32_t* key_begin, int64_t query_rows) {
    if (key_begin == nullptr) return;
    for (int64_t row = 0; row < query_rows; ++row) {
        const int32_t smallest = row == 0 ? 0 : key_begin[row - 1];
        if (key_begin[row] < smallest)
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "%s: key_begin[%" PRId64
                 "] is %d, expected >= %d: key intervals begin at 0 or later and never go back",
                 function, row, static_cast<int>(key_begin[row]), static_cast<int>(smallest));
    }
}

RopeArgs rope_args(void* x, const int32_t* positions, const float* cos, const float* sin, const ftc_rope_params& p) {
    return {.x = x,
            .dtype = p.dtype,
            .positions = positions,
            .cos = cos,
            .sin = sin,
            .rows = p.rows,
            .heads = p.heads,
            .head_dim = p.head_dim,
            .rope_dim = p.rope_dim,
            .row_stride = p.row_stride};
}

} // namespace

void embedding_forward(ftc_stream& stream, void* y, const int32_t* ids, const ftc_weight& weight,
                       const ftc_embedding_params& params) {
    check_range("ftc_embedding_forward", "ids", ids, params.rows, weight.rows);
    ftc_context& context = *stream.context;
    context.kernels->embedding.embedding_forward(context.pool, {.y = y,
                                                                .dtype = params.dtype,
                                                                .ids = ids,
                                                                .weight = weight.data,
                                                                .weight_is_bf16 = weight.format == FTC_WEIGHT_BF16,
                                                                .rows = params.rows,
                                                                .cols = weight.cols,
                                                                .y_row_stride = params.y_row_stride,
                                                                .weight_row_stride = weight.row_stride});
}

void embedding_backward(ftc_stream& stream, float* dweight, const void* dy, const int32_t* ids, int64_t vocab_size,
                        int64_t hidden_size, const ftc_embedding_params& params) {
    check_range("ftc_embedding_backward", "ids", ids, params.rows, vocab_size);
    ftc_context& context = *stream.context;
    context.kernels->embedding.embedding_backward(context.pool, {.dweight = dweight,
                                                                 .dy = dy,
                                                                 .dtype = params.dtype,
                                                                 .ids = ids,
                                                                 .rows = params.rows,
                                                                 .cols = hidden_size,
                                                                 .dy_row_stride = params.y_row_stride,
                                                                 .dweight_row_stride = params.dweight_row_stride});
}

void rms_norm_forward(ftc_stream& stream, void* y, void* sum, float* rstd, const void* x, const void* residual,
                      const float* weight, const ftc_rms_norm_params& params) {
    ftc_context& context = *stream.context;
    context.kernels->norm.rms_norm_forward(context.pool, {.y = y,
                                                          .sum = sum,
                                                          .rstd = rstd,
                                                          .x = x,
                                                          .residual = residual,
                                                          .weight = weight,
                                                          .dtype = params.dtype,
                                                          .rows = params.rows,
                                                          .heads = params.heads,
                                                          .hidden_size = params.hidden_size,
                                                          .x_row_stride = params.x_row_stride,
                                                          .y_row_stride = params.y_row_stride,
                                                          .residual_row_stride = params.residual_row_stride,
                                                          .eps = params.eps});
}

void rms_norm_backward(ftc_stream& stream, void* dx, float* dweight, const void* dy, const void* dsum, const void* x,
                       const float* rstd, const float* weight, const ftc_rms_norm_params& params) {
    ftc_context& context = *stream.context;
    context.kernels->norm.rms_norm_backward(context.pool, {.dx = dx,
                                                           .dweight = dweight,
                                                           .dy = dy,
                                                           .dsum = dsum,
                                                           .x = x,
                                                           .rstd = rstd,
                                                           .weight = weight,
                                                           .dtype = params.dtype,
                                                           .rows = params.rows,
                                                           .heads = params.heads,
                                                           .hidden_size = params.hidden_size,
                                                           .x_row_stride = params.x_row_stride,
                                                           .dy_row_stride = params.y_row_stride,
                                                           .dsum_row_stride = params.residual_row_stride,
                                                           .dx_row_stride = params.dx_row_stride});
}

void rope_forward(ftc_stream& stream, void* x, const int32_t* positions, const float* cos, const float* sin,
                  const ftc_rope_params& params) {
    check_range("ftc_rope_forward", "positions", positions, params.rows, params.table_rows);
    stream.context->kernels->rope.rope_forward(stream.context->pool, rope_args(x, positions, cos, sin, params));
}

void rope_backward(ftc_stream& stream, void* dx, const int32_t* positions, const float* cos, const float* sin,
                   const ftc_rope_params& params) {
    check_range("ftc_rope_backward", "positions", positions, params.rows, params.table_rows);
    stream.context->kernels->rope.rope_backward(stream.context->pool, rope_args(dx, positions, cos, sin, params));
}

void swiglu_forward(ftc_stream& stream, void* y, const void* gate, const void* up, const ftc_swiglu_params& params) {
    ftc_context& context = *stream.context;
    context.kernels->swiglu.swiglu_forward(context.pool, {.y = y,
                                                          .gate = gate,
                                                          .up = up,
                                                          .dtype = params.dtype,
                                                          .rows = params.rows,
                                                          .cols = params.cols,
                                                          .gate_row_stride = params.gate_row_stride,
                                                          .y_row_stride = params.y_row_stride});
}

void swiglu_backward(ftc_stream& stream, void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                     const ftc_swiglu_params& params) {
    ftc_context& context = *stream.context;
    context.kernels->swiglu.swiglu_backward(context.pool, {.dgate = dgate,
                                                           .dup = dup,
                                                           .dy = dy,
                                                           .gate = gate,
                                                           .up = up,
                                                           .dtype = params.dtype,
                                                           .rows = params.rows,
                                                           .cols = params.cols,
                                                           .gate_row_stride = params.gate_row_stride,
                                                           .dy_row_stride = params.y_row_stride,
                                                           .dgate_row_stride = params.dgate_row_stride});
}

int64_t attention_workspace_bytes(ftc_context& context, const ftc_attention_params& params, bool backward) {
    const int32_t threads = context.pool.threads();
    const int64_t count = backward ? attention_backward_layout(params, threads).floats
                                   : attention_forward_floats(params, threads);
    return count * static_cast<int64_t>(sizeof(float));
}

void attention_forward(ftc_stream& stream, void* o, float* lse, const void* q, const void* k, const void* v,
                       const int32_t* key_begin, const ftc_attention_params& params, void* workspace) {
    check_key_begin("ftc_attention_forward", key_begin, params.query_rows);
    ftc_context& context = *stream.context;
    context.kernels->attention.attention_forward(context.pool, {.o = o,
                                                                .lse = lse,
                                                                .q = q,
                                                                .k = k,
                                                                .v = v,
                                                                .key_begin = key_begin,
                                                                .shape = params,
                                                                .workspace = static_cast<float*>(workspace)});
}

void attention_backward(ftc_stream& stream, void* dq, void* dk, void* dv, const void* dout, const void* q,
                        const void* k, const void* v, const void* o, const float* lse, const int32_t* key_begin,
                        const ftc_attention_params& params, void* workspace) {
    check_key_begin("ftc_attention_backward", key_begin, params.query_rows);
    ftc_context& context = *stream.context;
    context.kernels->attention.attention_backward(context.pool, {.dq = dq,
                                                                 .dk = dk,
                                                                 .dv = dv,
                                                                 .dout = dout,
                                                                 .q = q,
                                                                 .k = k,
                                                                 .v = v,
                                                                 .o = o,
                                                                 .lse = lse,
                                                                 .key_begin = key_begin,
                                                                 .shape = params,
                                                                 .workspace = static_cast<float*>(workspace)});
}

} // namespace ftc::backend
