#include "api/check.h"
#include "api/check_weight.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_stream* stream, const ftc_embedding_params* params, int64_t cols) {
    check_stream(function, stream);
    check_params(function, params);
    check_dtype_f32(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "y_row_stride", params->y_row_stride, cols);
}

void check_ids(const char* function, const int32_t* ids, int64_t rows, int64_t vocab_size) {
    check_pointer(function, "ids", ids);
    for (int64_t row = 0; row < rows; ++row)
        if (ids[row] < 0 || ids[row] >= vocab_size)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: ids[%" PRId64 "] is %d, expected it in [0, %" PRId64 ")", function,
                 row, static_cast<int>(ids[row]), vocab_size);
}

} // namespace

ftc_status ftc_embedding_forward(ftc_stream* stream, void* y, const int32_t* ids, const ftc_weight* weight,
                                 const ftc_embedding_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_embedding_forward";
        check_weight(function, weight);
        if (weight->format != FTC_WEIGHT_F32 && weight->format != FTC_WEIGHT_BF16)
            fail(FTC_ERROR_UNSUPPORTED,
                 "%s: weight->format is FTC_WEIGHT_NF4, expected FTC_WEIGHT_F32 or FTC_WEIGHT_BF16", function);
        check_shape(function, stream, params, weight->cols);
        if (params->rows == 0) return;
        check_pointer(function, "y", y);
        check_ids(function, ids, params->rows, weight->rows);
        ftc_context& context = *stream->context;
        context.kernels->embedding.embedding_forward(context.pool, {.y = static_cast<float*>(y),
                                                                    .ids = ids,
                                                                    .weight = weight->data,
                                                                    .weight_is_bf16 = weight->format == FTC_WEIGHT_BF16,
                                                                    .rows = params->rows,
                                                                    .cols = weight->cols,
                                                                    .y_row_stride = params->y_row_stride,
                                                                    .weight_row_stride = weight->row_stride});
    });
}

ftc_status ftc_embedding_backward(ftc_stream* stream, float* dweight, const void* dy, const int32_t* ids,
                                  int64_t vocab_size, int64_t hidden_size, const ftc_embedding_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_embedding_backward";
        check_at_least(function, "vocab_size", vocab_size, 1);
        check_at_least(function, "hidden_size", hidden_size, 1);
        check_shape(function, stream, params, hidden_size);
        check_at_least(function, "dweight_row_stride", params->dweight_row_stride, hidden_size);
        if (params->rows == 0) return;
        check_pointer(function, "dweight", dweight);
        check_pointer(function, "dy", dy);
        check_ids(function, ids, params->rows, vocab_size);
        ftc_context& context = *stream->context;
        context.kernels->embedding.embedding_backward(context.pool, {.dweight = dweight,
                                                                     .dy = static_cast<const float*>(dy),
                                                                     .ids = ids,
                                                                     .rows = params->rows,
                                                                     .cols = hidden_size,
                                                                     .dy_row_stride = params->y_row_stride,
                                                                     .dweight_row_stride = params->dweight_row_stride});
    });
}
