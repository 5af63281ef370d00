#include "api/check.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_stream* stream, const ftc_rms_norm_params* params) {
    check_stream(function, stream);
    check_params(function, params);
    check_dtype_f32(function, params->dtype);
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
        check_pointer(function, "y", y);
        check_pointer(function, "x", x);
        check_pointer(function, "weight", weight);
        if (residual != nullptr) {
            check_pointer(function, "sum (needed with residual)", sum);
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
        ftc_context& context = *stream->context;
        context.kernels->norm.rms_norm_forward(context.pool, {.y = static_cast<float*>(y),
                                                              .sum = static_cast<float*>(sum),
                                                              .rstd = rstd,
                                                              .x = static_cast<const float*>(x),
                                                              .residual = static_cast<const float*>(residual),
                                                              .weight = weight,
                                                              .rows = params->rows,
                                                              .heads = params->heads,
                                                              .hidden_size = params->hidden_size,
                                                              .x_row_stride = params->x_row_stride,
                                                              .y_row_stride = params->y_row_stride,
                                                              .residual_row_stride = params->residual_row_stride,
                                                              .eps = params->eps});
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
        check_pointer(function, "dx", dx);
        check_pointer(function, "dy", dy);
        check_pointer(function, "x", x);
        check_pointer(function, "rstd", rstd);
        check_pointer(function, "weight", weight);
        ftc_context& context = *stream->context;
        context.kernels->norm.rms_norm_backward(context.pool, {.dx = static_cast<float*>(dx),
                                                               .dweight = dweight,
                                                               .dy = static_cast<const float*>(dy),
                                                               .dsum = static_cast<const float*>(dsum),
                                                               .x = static_cast<const float*>(x),
                                                               .rstd = rstd,
                                                               .weight = weight,
                                                               .rows = params->rows,
                                                               .heads = params->heads,
                                                               .hidden_size = params->hidden_size,
                                                               .x_row_stride = params->x_row_stride,
                                                               .dy_row_stride = params->y_row_stride,
                                                               .dsum_row_stride = params->residual_row_stride,
                                                               .dx_row_stride = params->dx_row_stride});
    });
}
