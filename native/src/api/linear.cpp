#include <algorithm>
#include <utility>

#include "api/check.h"
#include "api/check_weight.h"
#include "api/workspace.h"

using namespace ftc;

namespace {

constexpr int64_t kMaxSize = int64_t{1} << 40; // products of sizes stay far from overflow

void check_segment(const char* function, const ftc_lora_segment& s, int32_t index, int64_t in_features,
                   const ftc_linear_params& p, bool backward) {
    if (s.struct_size != sizeof(ftc_lora_segment))
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: segments[%d].struct_size is %u, expected %zu; header and library differ in version", function, index,
             s.struct_size, sizeof(ftc_lora_segment));
    if (s.rank < 1)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: segments[%d].rank is %d, expected >= 1", function, index, s.rank);
    if (s.pool != 0 && s.pool != 1 && s.pool != 32 && s.pool != 64 && s.pool != 128)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: segments[%d].pool is %d, expected 0 or 1 (LoRA), or 32, 64 or 128 (QA-LoRA)", function, index, s.pool);
    if (s.pool > 1 && in_features % s.pool != 0)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: segments[%d].pool is %d, expected a divisor of the in-features %" PRId64, function, index, s.pool,
             in_features);
    if (s.row_begin < 0 || s.row_end < s.row_begin || s.row_end > p.rows)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: segments[%d] covers rows [%" PRId64 ", %" PRId64 "), expected them in [0, %" PRId64 ")", function,
             index, s.row_begin, s.row_end, p.rows);
    if (!(s.dropout_probability >= 0.0f && s.dropout_probability < 1.0f))
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: segments[%d].dropout_probability is %g, expected [0, 1)", function, index,
             static_cast<double>(s.dropout_probability));
    if (s.dropout_probability > 0.0f && (p.dropout_samples == nullptr || p.dropout_positions == nullptr))
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: segments[%d] drops features, but params->dropout_samples or dropout_positions is NULL, expected "
             "pointers",
             function, index);
    const bool reads_s = !backward || s.db != nullptr;
    if (s.a == nullptr || s.b == nullptr || (reads_s && s.s == nullptr))
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: segments[%d].%s is NULL, expected a pointer", function, index,
             s.a == nullptr   ? "a"
             : s.b == nullptr ? "b"
                              : "s");
    for (const auto& [name, pointer] : {std::pair<const char*, const float*>{"a", s.a}, {"b", s.b}, {"s", s.s}, {"da", s.da}, {"db", s.db}})
        check_optional(function, name, pointer, FTC_F32);
}

// Everything both directions have in common; returns the total rank.
int64_t check_linear(const char* function, ftc_stream* stream, const ftc_weight* weight,
                     const ftc_lora_segment* segments, int32_t segment_count, const ftc_linear_params* params,
                     bool backward) {
    check_stream(function, stream);
    check_weight(function, weight);
    check_params(function, params);
    check_activations(function, params->dtype);
    check_at_least(function, "params->rows", params->rows, 0);
    check_at_least(function, "params->x_border", params->x_border, 0);
    check_at_least(function, "params->dy_border", params->dy_border, 0);
    if (segment_count < 0 || segment_count > backend::kMaxSegments)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: segment_count is %d, expected 0..%d", function, segment_count,
             backend::kMaxSegments);
    if (segment_count > 0) check_pointer(function, "segments", segments);
    int64_t rank = 0;
    for (int32_t i = 0; i < segment_count; i++) {
        check_segment(function, segments[i], i, weight->cols, *params, backward);
        for (int32_t j = 0; j < i; j++) {
            if (segments[i].row_begin < segments[j].row_end && segments[j].row_begin < segments[i].row_end)
                fail(FTC_ERROR_INVALID_ARGUMENT, "%s: segments[%d] and segments[%d] overlap, expected disjoint rows",
                     function, j, i);
        }
        rank += segments[i].rank;
    }
    return rank;
}

// activation_border is that of x in forward, of dy in backward. Packed weights get their border in the workspace.
void* check_workspace(const char* function, ftc_stream* stream, const ftc_weight& weight, int64_t rank,
                      const ftc_linear_params& p, int32_t activation_border, void* workspace, int64_t workspace_bytes) {
    const bool wide = weight.format == FTC_WEIGHT_F32 || weight.format == FTC_WEIGHT_BF16;
    const int32_t border = wide ? std::min(activation_border, weight.border) : activation_border;
    const ftc_linear_workspace_params shape{
        sizeof(shape), p.dtype, weight.format, border, p.rows, weight.cols, weight.rows, rank};
    return ftc::check_workspace(function, workspace, workspace_bytes,
                                backend::linear_workspace_bytes(backend::context_of(*stream), shape), "ftc_linear_workspace_bytes");
}

} // namespace

ftc_status ftc_linear_get_layout(ftc_context* context, int64_t in_features, int64_t out_features, int64_t rank,
                                 int32_t dtype, ftc_linear_layout* layout) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_get_layout";
        check_pointer(function, "context", context);
        check_at_least(function, "in_features", in_features, 1);
        check_at_least(function, "out_features", out_features, 1);
        check_at_least(function, "rank", rank, 0);
        check_activations(function, dtype);
        check_params(function, layout, "layout");
        backend::linear_get_layout(*context, in_features, out_features, rank, dtype, *layout);
    });
}

ftc_status ftc_linear_workspace_bytes(ftc_context* context, const ftc_linear_workspace_params* params,
                                      int64_t* bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_workspace_bytes";
        check_pointer(function, "context", context);
        check_pointer(function, "bytes", bytes);
        check_params(function, params);
        check_activations(function, params->dtype);
        check_at_least(function, "rows", params->rows, 0);
        check_at_least(function, "in_features", params->in_features, 1);
        check_at_least(function, "out_features", params->out_features, 1);
        check_at_least(function, "rank", params->rank, 0);
        check_at_least(function, "border", params->border, 0);
        if (params->rows > kMaxSize || params->rank > (int64_t{1} << 20))
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "%s: rows is %" PRId64 ", rank is %" PRId64 ", expected them below 2^40 and 2^20", function,
                 params->rows, params->rank);
        *bytes = with_alignment(backend::linear_workspace_bytes(*context, *params));
    });
}

ftc_status ftc_linear_forward(ftc_stream* stream, void* y, const void* x, const ftc_weight* weight, const float* bias,
                              const ftc_lora_segment* segments, int32_t segment_count, const ftc_linear_params* params,
                              void* workspace, int64_t workspace_bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_forward";
        const int64_t rank = check_linear(function, stream, weight, segments, segment_count, params, false);
        if (params->rows == 0) return;
        check_elements(function, "y", y, params->dtype);
        check_elements(function, "x", x, params->dtype);
        check_optional(function, "bias", bias, FTC_F32);
        check_at_least(function, "params->x_row_stride", params->x_row_stride, weight->cols + params->x_border);
        check_at_least(function, "params->y_row_stride", params->y_row_stride, weight->rows);
        void* memory =
            check_workspace(function, stream, *weight, rank, *params, params->x_border, workspace, workspace_bytes);
        backend::linear_forward(*stream, y, x, *weight, bias, segments, segment_count, *params, memory);
    });
}

ftc_status ftc_linear_backward(ftc_stream* stream, void* dx, float* dweight, float* dbias, const void* dy,
                               const void* x, const ftc_weight* weight, const ftc_lora_segment* segments,
                               int32_t segment_count, const ftc_linear_params* params, void* workspace,
                               int64_t workspace_bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_backward";
        const int64_t rank = check_linear(function, stream, weight, segments, segment_count, params, true);
        if (params->rows == 0) return;
        check_elements(function, "dy", dy, params->dtype);
        check_optional(function, "dx", dx, params->dtype);
        check_optional(function, "dweight", dweight, FTC_F32);
        check_optional(function, "dbias", dbias, FTC_F32);
        check_at_least(function, "params->dy_row_stride", params->dy_row_stride, weight->rows + params->dy_border);
        if (dx != nullptr) check_at_least(function, "params->dx_row_stride", params->dx_row_stride, weight->cols);
        bool reads_x = dweight != nullptr;
        for (int32_t i = 0; i < segment_count; i++) reads_x = reads_x || segments[i].da != nullptr;
        if (reads_x) {
            check_elements(function, "x", x, params->dtype);
            check_at_least(function, "params->x_row_stride", params->x_row_stride, weight->cols);
        }
        if (dweight != nullptr)
            check_at_least(function, "params->dweight_row_stride", params->dweight_row_stride, weight->cols);
        void* memory =
            check_workspace(function, stream, *weight, rank, *params, params->dy_border, workspace, workspace_bytes);
        backend::linear_backward(*stream, dx, dweight, dbias, dy, x, *weight, segments, segment_count, *params,
                                 memory);
    });
}

ftc_status ftc_linear_tune(ftc_stream* stream, int64_t* packed_rows) {
    return guard(__func__, [&] {
        check_stream("ftc_linear_tune", stream);
        check_pointer("ftc_linear_tune", "packed_rows", packed_rows);
        *packed_rows = backend::linear_tune(*stream, *packed_rows);
    });
}
