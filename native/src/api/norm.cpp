#include "api/check.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_stream* stream, const ftc_rms_norm_params* params) {
    check_stream(function, stream);
    check_params(function, params);
    check_activations(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "heads", params->heads, 1);
    check_at_least(function, "hidden_size", params->hidden_size, 1);
    const int64_t width = params->heads * params->hidden_size;
    check_at_least(function, "x_row_stride", params->x_row_stride, width);
    check_at_least(function, "y_row_stride", params->y_row_stride, width);
}

} // namespace

ftc_status ftc_rms_norm_forward(ftc_stream* stream, void* y, void* sum, float* rstd, const void* x,
                                const void* residual, const float* weight, const ftc_rms_norm_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_rms_norm_forward";
        check_shape(function, stream, params);
        const int64_t width = params->heads * params->hidden_size;
        if (params->rows == 0) return;
        check_elements(function, "y", y, params->dtype);
        check_elements(function, "x", x, params->dtype);
        check_pointer(function, "weight", weight);
        check_optional(function, "rstd", rstd, FTC_F32);
        check_optional(function, "residual", residual, params->dtype);
        if (residual != nullptr) {
            check_elements(function, "sum (needed with residual)", sum, params->dtype);
            check_at_least(function, "residual_row_stride", params->residual_row_stride, width);
            if (sum == residual && params->residual_row_stride != params->x_row_stride)
                fail(FTC_ERROR_INVALID_ARGUMENT,
                     "%s: sum is residual, but residual_row_stride is %" PRId64 " and x_row_stride %" PRId64
                     ", expected them equal",
                     function, params->residual_row_stride, params->x_row_stride);
        } else if (sum != nullptr) {
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: sum is given without residual, expected NULL", function);
        }
        if (y == x && params->y_row_stride != params->x_row_stride)
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "%s: y is x, but y_row_stride is %" PRId64 " and x_row_stride %" PRId64 ", expected them equal",
                 function, params->y_row_stride, params->x_row_stride);
        backend::rms_norm_forward(*stream, y, sum, rstd, x, residual, weight, *params);
    });
}

ftc_status ftc_rms_norm_backward(ftc_stream* stream, void* dx, float* dweight, const void* dy, const void* dsum,
                                 const void* x, const float* rstd, const float* weight,
                                 const ftc_rms_norm_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_rms_norm_backward";
        check_shape(function, stream, params);
        const int64_t width = params->heads * params->hidden_size;
        check_at_least(function, "dx_row_stride", params->dx_row_stride, width);
        if (dsum != nullptr) check_at_least(function, "residual_row_stride", params->residual_row_stride, width);
        if (params->rows == 0) return;
        check_elements(function, "dx", dx, params->dtype);
        check_elements(function, "dy", dy, params->dtype);
        check_elements(function, "x", x, params->dtype);
        check_pointer(function, "rstd", rstd);
        check_optional(function, "dweight", dweight, FTC_F32);
        check_optional(function, "dsum", dsum, params->dtype);
        check_pointer(function, "weight", weight);
        backend::rms_norm_backward(*stream, dx, dweight, dy, dsum, x, rstd, weight, *params);
    });
}
