// Attention of api/backend.h on CUDA: which kernels a call takes, what it may ask for, and the workspace.
#include <cinttypes>
#include <cmath>

#include "api/backend.h"
#include "core/status.h"
#include "ops/attention/attention_cuda.h"

namespace ftc::backend {

using namespace ftc::cuda;

namespace {

// What the kernels cannot do is refused by name.
void check_supported(const char* function, const ftc_attention_params& p) {
    const int32_t widest = p.dtype == FTC_BF16 ? kBf16MaxHeadDim : kF32MaxHeadDim;
    if (p.head_dim > widest)
        fail(FTC_ERROR_UNSUPPORTED,
             "%s: head_dim is %d, the CUDA library has attention for head_dim up to %d in FTC_BF16 and up to %d in "
             "FTC_F32",
             function, p.head_dim, kBf16MaxHeadDim, kF32MaxHeadDim);
    constexpr int64_t kRows = int64_t{1} << 30;
    if (p.key_rows > kRows)
        fail(FTC_ERROR_UNSUPPORTED, "%s: key_rows is %" PRId64 ", the CUDA library has attention for up to %" PRId64,
             function, p.key_rows, kRows);
    if (p.heads > 65535)
        fail(FTC_ERROR_UNSUPPORTED, "%s: heads is %d, the CUDA library has attention for up to 65535", function,
             p.heads);
}

void check_scale(const char* function, const ftc_attention_params& p) {
    if (p.dtype == FTC_BF16 && !(p.scale > 0.0f && std::isfinite(p.scale)))
        fail(FTC_ERROR_UNSUPPORTED, "%s: scale is %g, the CUDA library has attention in FTC_BF16 for scale > 0",
             function, static_cast<double>(p.scale));
}

AttentionShape shape_of(const ftc_stream& stream, const ftc_attention_params& p, const int32_t* key_begin) {
    AttentionShape s{};
    s.query_rows = static_cast<int>(p.query_rows);
    s.key_rows = static_cast<int>(p.key_rows);
    s.first_query = static_cast<int>(p.first_query);
    s.heads = p.heads;
    s.key_value_heads = p.key_value_heads;
    s.group = p.heads / p.key_value_heads;
    s.head_dim = p.head_dim;
    s.scale = p.scale;
    s.q_row_stride = p.q_row_stride;
    s.k_row_stride = p.k_row_stride;
    s.v_row_stride = p.v_row_stride;
    s.o_row_stride = p.o_row_stride;
    s.dq_row_stride = p.dq_row_stride;
    s.dk_row_stride = p.dk_row_stride;
    s.dv_row_stride = p.dv_row_stride;
    s.do_row_stride = p.do_row_stride;
    s.key_begin = key_begin;
    s.late_error = stream.context->late_error;
    return s;
}

} // namespace

// Forward keeps room for decoding whatever the rows: a workspace made for the largest batch is enough for any other.
int64_t attention_workspace_bytes(ftc_context&, const ftc_attention_params& p, bool backward) {
    check_supported("ftc_attention_workspace_bytes", p);
    const int64_t floats = backward ? 2 * p.heads * statistics_rows(p.query_rows) : attention_decode_floats(p);
    return floats * static_cast<int64_t>(sizeof(float));
}

void attention_forward(ftc_stream& stream, void* o, float* lse, const void* q, const void* k, const void* v,
                       const int32_t* key_begin, const ftc_attention_params& p, void* workspace) {
    check_supported("ftc_attention_forward", p);
    check_scale("ftc_attention_forward", p);
    const AttentionForward call{shape_of(stream, p, key_begin), o, lse, q, k, v, static_cast<float*>(workspace)};
    if (p.query_rows <= kDecodeRows)
        attention_decode(stream.handle, call, p.dtype);
    else if (p.dtype == FTC_BF16)
        attention_forward_bf16(stream.handle, call);
    else
        attention_forward_f32(stream.handle, call);
}

void attention_backward(ftc_stream& stream, void* dq, void* dk, void* dv, const void* dout, const void* q,
                        const void* k, const void* v, const void* o, const float* lse, const int32_t* key_begin,
                        const ftc_attention_params& p, void* workspace) {
    check_supported("ftc_attention_backward", p);
    check_scale("ftc_attention_backward", p);
    const AttentionBackward call{shape_of(stream, p, key_begin), dq, dk, dv, dout, q, k, v, o, lse,
                                 static_cast<float*>(workspace)};
    if (p.query_rows > 0) attention_statistics(stream.handle, call, p.dtype);
    if (p.dtype == FTC_BF16)
        attention_backward_bf16(stream.handle, call);
    else
        attention_backward_f32(stream.handle, call);
}

} // namespace ftc::backend
