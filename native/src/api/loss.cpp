#include "api/check.h"
#include "api/check_weight.h"
#include "api/workspace.h"
#include "ops/loss/linear_cross_entropy.h"

using namespace ftc;

namespace {

int64_t needed_bytes(const ftc_context& context, int64_t rows, int64_t hidden_size, int64_t vocab_size) {
    return workspace_bytes_of(
        linear_cross_entropy_workspace_floats(*context.kernels, context.pool.threads(), rows, hidden_size, vocab_size));
}

void check_rows(const char* function, int64_t rows) {
    check_at_least(function, "rows", rows, 0);
    if (rows > INT32_MAX) fail(FTC_ERROR_INVALID_ARGUMENT, "%s: rows is %" PRId64 ", expected < 2^31", function, rows);
}

void check_targets(const char* function, const int32_t* targets, int64_t rows, int64_t vocab_size) {
    check_pointer(function, "targets", targets);
    for (int64_t row = 0; row < rows; ++row)
        if (targets[row] != FTC_IGNORE_INDEX && (targets[row] < 0 || targets[row] >= vocab_size))
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "%s: targets[%" PRId64 "] is %d, expected it in [0, %" PRId64 ") or FTC_IGNORE_INDEX (-100)", function,
                 row, static_cast<int>(targets[row]), vocab_size);
}

} // namespace

ftc_status ftc_linear_cross_entropy_workspace_bytes(ftc_context* context, int64_t rows, int64_t hidden_size,
                                                    int64_t vocab_size, int64_t* bytes) {
    return guard(__func__, [&] {
        const char* function = "ftc_linear_cross_entropy_workspace_bytes";
        check_pointer(function, "context", context);
        check_pointer(function, "bytes", bytes);
        check_rows(function, rows);
        check_at_least(function, "hidden_size", hidden_size, 1);
        check_at_least(function, "vocab_size", vocab_size, 1);
        *bytes = needed_bytes(*context, rows, hidden_size, vocab_size);
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
        check_dtype_f32(function, params->dtype);
        check_rows(function, params->rows);
        check_at_least(function, "x_row_stride", params->x_row_stride, weight->cols);
        if (dx != nullptr) check_at_least(function, "dx_row_stride", params->dx_row_stride, weight->cols);
        if (dweight != nullptr)
            check_at_least(function, "dweight_row_stride", params->dweight_row_stride, weight->cols);
        if (params->rows == 0) return;
        check_pointer(function, "nll", nll);
        check_pointer(function, "x", x);
        check_targets(function, targets, params->rows, weight->rows);
        ftc_context& context = *stream->context;
        float* memory = check_workspace(function, workspace, workspace_bytes,
                                        needed_bytes(context, params->rows, weight->cols, weight->rows),
                                        "ftc_linear_cross_entropy_workspace_bytes");
        linear_cross_entropy(*context.kernels, context.pool,
                             {.nll = nll,
                              .predictions = predictions,
                              .dx = static_cast<float*>(dx),
                              .dweight = dweight,
                              .x = static_cast<const float*>(x),
                              .weight = *weight,
                              .targets = targets,
                              .params = *params,
                              .workspace = memory});
    });
}
