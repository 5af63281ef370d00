#include "api/check.h"
#include "api/check_weight.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_stream* stream, const ftc_embedding_params* params, int64_t cols) {
    check_stream(function, stream);
    check_params(function, params);
    check_activations(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "y_row_stride", params->y_row_stride, cols);
}

} // namespace

ftc_status ftc_embedding_forward(ftc_stream* stream, void* y, const int32_t* ids, const ftc_weight* weight,
                                 const ftc_embedding_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_embedding_forward";
        check_weight(function, weight);
        if (weight->format != FTC_WEIGHT_F32 && weight->format != FTC_WEIGHT_BF16)
            fail(FTC_ERROR_UNSUPPORTED,
                 "%s: weight->format is %s, expected FTC_WEIGHT_F32 or FTC_WEIGHT_BF16", function,
                 weight_format_name(weight->format));
        check_shape(function, stream, params, weight->cols);
        if (params->rows == 0) return;
        check_elements(function, "y", y, params->dtype);
        check_pointer(function, "ids", ids);
        backend::embedding_forward(*stream, y, ids, *weight, *params);
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
        check_elements(function, "dy", dy, params->dtype);
        check_pointer(function, "ids", ids);
        backend::embedding_backward(*stream, dweight, dy, ids, vocab_size, hidden_size, *params);
    });
}
