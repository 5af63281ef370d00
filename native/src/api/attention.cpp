#include "api/check.h"
#include "api/workspace.h"
#include "ops/attention/attention_layout.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_attention_params* p) {
    check_params(function, p);
    check_dtype_f32(function, p->dtype);
    check_at_least(function, "query_rows", p->query_rows, 0);
    check_at_least(function, "key_rows", p->key_rows, 0);
    check_at_least(function, "first_query", p->first_query, 0);
    if (p->first_query + p->query_rows > p->key_rows)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: first_query + query_rows is %" PRId64 ", expected at most key_rows %" PRId64, function,
             p->first_query + p->query_rows, p->key_rows);
    check_at_least(function, "key_value_heads", p->key_value_heads, 1);
    if (p->heads < 1 || p->heads % p->key_value_heads != 0)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: heads is %d, expected a multiple of key_value_heads %d", function,
             p->heads, p->key_value_heads);
    if (p->head_dim < 1 || p->head_dim > 256)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: head_dim is %d, expected 1..256", function, p->head_dim);
}

void check_strides(const char* function, const ftc_attention_params& p) {
    const int64_t query_width = int64_t{p.heads} * p.head_dim, key_width = int64_t{p.key_value_heads} * p.head_dim;
    check_at_least(function, "q_row_stride", p.q_row_stride, query_width);
    check_at_least(function, "k_row_stride", p.k_row_stride, key_width);
    check_at_least(function, "v_row_stride", p.v_row_stride, key_width);
    check_at_least(function, "o_row_stride", p.o_row_stride, query_width);
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

int64_t needed_bytes(const ftc_attention_params& p, int32_t threads, bool backward) {
    const int64_t floats =
        backward ? attention_backward_layout(p, threads).floats : attention_forward_floats(p, threads);
    return workspace_bytes_of(floats);
}

const float* floats(const void* p) {
    return static_cast<const float*>(p);
}
float* floats(void* p) {
    return static_cast<float*>(p);
}

} // namespace

ftc_status ftc_attention_workspace_bytes(ftc_context* context, const ftc_attention_params* params, int32_t backward,
                                         int64_t* bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_attention_workspace_bytes";
        check_pointer(function, "context", context);
        check_pointer(function, "bytes", bytes);
        check_shape(function, params);
        *bytes = needed_bytes(*params, context->pool.threads(), backward != 0);
    });
}

ftc_status ftc_attention_forward(ftc_stream* stream, void* o, float* lse, const void* q, const void* k, const void* v,
                                 const int32_t* key_begin, const ftc_attention_params* params, void* workspace,
                                 int64_t workspace_bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_attention_forward";
        check_stream(function, stream);
        check_shape(function, params);
        check_strides(function, *params);
        if (params->query_rows == 0) return;
        check_pointer(function, "o", o);
        check_pointer(function, "q", q);
        check_pointer(function, "k", k);
        check_pointer(function, "v", v);
        check_key_begin(function, key_begin, params->query_rows);
        ftc_context& context = *stream->context;
        float* memory =
            check_workspace(function, workspace, workspace_bytes, needed_bytes(*params, context.pool.threads(), false),
                            "ftc_attention_workspace_bytes");
        context.kernels->attention.attention_forward(context.pool, {.o = floats(o),
                                                                    .lse = lse,
                                                                    .q = floats(q),
                                                                    .k = floats(k),
                                                                    .v = floats(v),
                                                                    .key_begin = key_begin,
                                                                    .shape = *params,
                                                                    .workspace = memory});
    });
}

ftc_status ftc_attention_backward(ftc_stream* stream, void* dq, void* dk, void* dv, const void* dout, const void* q,
                                  const void* k, const void* v, const void* o, const float* lse,
                                  const int32_t* key_begin, const ftc_attention_params* params, void* workspace,
                                  int64_t workspace_bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_attention_backward";
        check_stream(function, stream);
        check_shape(function, params);
        const ftc_attention_params& p = *params;
        check_strides(function, p);
        const int64_t query_width = int64_t{p.heads} * p.head_dim, key_width = int64_t{p.key_value_heads} * p.head_dim;
        check_at_least(function, "dq_row_stride", p.dq_row_stride, query_width);
        check_at_least(function, "dk_row_stride", p.dk_row_stride, key_width);
        check_at_least(function, "dv_row_stride", p.dv_row_stride, key_width);
        check_at_least(function, "do_row_stride", p.do_row_stride, query_width);
        if (p.key_rows == 0) return;
        check_pointer(function, "dk", dk);
        check_pointer(function, "dv", dv);
        check_pointer(function, "k", k);
        check_pointer(function, "v", v);
        if (p.query_rows > 0) {
            check_pointer(function, "dq", dq);
            check_pointer(function, "dout", dout);
            check_pointer(function, "q", q);
            check_pointer(function, "o", o);
            check_pointer(function, "lse", lse);
        }
        check_key_begin(function, key_begin, p.query_rows);
        ftc_context& context = *stream->context;
        float* memory = check_workspace(function, workspace, workspace_bytes,
                                        needed_bytes(p, context.pool.threads(), true), "ftc_attention_workspace_bytes");
        context.kernels->attention.attention_backward(context.pool, {.dq = floats(dq),
                                                                     .dk = floats(dk),
                                                                     .dv = floats(dv),
                                                                     .dout = floats(dout),
                                                                     .q = floats(q),
                                                                     .k = floats(k),
                                                                     .v = floats(v),
                                                                     .o = floats(o),
                                                                     .lse = lse,
                                                                     .key_begin = key_begin,
                                                                     .shape = p,
                                                                     .workspace = memory});
    });
}
