#include "api/check.h"
#include "api/workspace.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_attention_params* p) {
    check_params(function, p);
    check_activations(function, p->dtype);
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

} // namespace

ftc_status ftc_attention_workspace_bytes(ftc_context* context, const ftc_attention_params* params, int32_t backward,
                                         int64_t* bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_attention_workspace_bytes";
        check_pointer(function, "context", context);
        check_pointer(function, "bytes", bytes);
        check_shape(function, params);
        *bytes = with_alignment(backend::attention_workspace_bytes(*context, *params, backward != 0));
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
        check_elements(function, "o", o, params->dtype);
        check_elements(function, "q", q, params->dtype);
        check_elements(function, "k", k, params->dtype);
        check_elements(function, "v", v, params->dtype);
        check_optional(function, "lse", lse, FTC_F32);
        check_optional(function, "key_begin", key_begin, FTC_F32);
        void* memory = check_workspace(function, workspace, workspace_bytes,
                                       backend::attention_workspace_bytes(backend::context_of(*stream), *params, false),
                                       "ftc_attention_workspace_bytes");
        backend::attention_forward(*stream, o, lse, q, k, v, key_begin, *params, memory);
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
        check_elements(function, "dk", dk, params->dtype);
        check_elements(function, "dv", dv, params->dtype);
        check_elements(function, "k", k, params->dtype);
        check_elements(function, "v", v, params->dtype);
        if (p.query_rows > 0) {
            check_elements(function, "dq", dq, params->dtype);
            check_elements(function, "dout", dout, params->dtype);
            check_elements(function, "q", q, params->dtype);
            check_elements(function, "o", o, params->dtype);
            check_pointer(function, "lse", lse);
        }
        void* memory = check_workspace(function, workspace, workspace_bytes,
                                       backend::attention_workspace_bytes(backend::context_of(*stream), p, true),
                                       "ftc_attention_workspace_bytes");
        backend::attention_backward(*stream, dq, dk, dv, dout, q, k, v, o, lse, key_begin, p, memory);
    });
}
