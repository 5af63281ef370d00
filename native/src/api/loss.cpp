#include "api/check.h"
#include "api/check_weight.h"
#include "api/workspace.h"

using namespace ftc;

namespace {

void check_rows(const char* function, int64_t rows) {
    check_at_least(function, "rows", rows, 0);
    if (rows > INT32_MAX) fail(FTC_ERROR_INVALID_ARGUMENT, "%s: rows is %" PRId64 ", expected < 2^31", function, rows);
}

} // namespace

ftc_status ftc_linear_cross_entropy_workspace_bytes(ftc_context* context,
                                                    const ftc_cross_entropy_workspace_params* params, int64_t* bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_cross_entropy_workspace_bytes";
        check_pointer(function, "context", context);
        check_pointer(function, "bytes", bytes);
        check_params(function, params);
        check_activations(function, params->dtype);
        check_rows(function, params->rows);
        check_at_least(function, "hidden_size", params->hidden_size, 1);
        check_at_least(function, "vocab_size", params->vocab_size, 1);
        *bytes = with_alignment(backend::linear_cross_entropy_workspace_bytes(*context, *params));
    });
}

ftc_status ftc_linear_cross_entropy(ftc_stream* stream, float* nll, int32_t* predictions, void* dx, float* dweight,
                                    const void* x, const ftc_weight* weight, const int32_t* targets,
                                    const ftc_cross_entropy_params* params, void* workspace, int64_t workspace_bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_cross_entropy";
        check_stream(function, stream);
        check_weight(function, weight);
        check_params(function, params);
        check_activations(function, params->dtype);
        check_rows(function, params->rows);
        check_at_least(function, "x_row_stride", params->x_row_stride, weight->cols);
        if (dx != nullptr) check_at_least(function, "dx_row_stride", params->dx_row_stride, weight->cols);
        if (dweight != nullptr)
            check_at_least(function, "dweight_row_stride", params->dweight_row_stride, weight->cols);
        if (params->trained_rows < 0 || params->trained_rows > params->rows)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: trained_rows is %d, expected it in [0, rows %" PRId64 "]", function,
                 static_cast<int>(params->trained_rows), params->rows);
        if (params->rows == 0) return;
        check_pointer(function, "nll", nll);
        check_elements(function, "x", x, params->dtype);
        check_pointer(function, "targets", targets);
        check_optional(function, "predictions", predictions, FTC_F32);
        check_optional(function, "dx", dx, params->dtype);
        check_optional(function, "dweight", dweight, FTC_F32);
        const ftc_cross_entropy_workspace_params shape{sizeof(shape), params->dtype,  weight->format, 0,
                                                       params->rows,  weight->cols, weight->rows};
        void* memory = check_workspace(function, workspace, workspace_bytes,
                                       backend::linear_cross_entropy_workspace_bytes(backend::context_of(*stream), shape),
                                       "ftc_linear_cross_entropy_workspace_bytes");
        backend::linear_cross_entropy(*stream, nll, predictions, dx, dweight, x, *weight, targets, *params, memory);
    });
}
