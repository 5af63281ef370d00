#include "api/check.h"

using namespace ftc;

namespace {

void check_shape(const char* function, const ftc_stream* stream, const ftc_swiglu_params* params) {
    check_stream(function, stream);
    check_params(function, params);
    check_activations(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "cols", params->cols, 1);
    check_at_least(function, "gate_row_stride", params->gate_row_stride, params->cols);
    check_at_least(function, "y_row_stride", params->y_row_stride, params->cols);
}

} // namespace

ftc_status ftc_swiglu_forward(ftc_stream* stream, void* y, const void* gate, const void* up,
                              const ftc_swiglu_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_swiglu_forward";
        check_shape(function, stream, params);
        if (params->rows == 0) return;
        check_elements(function, "y", y, params->dtype);
        check_elements(function, "gate", gate, params->dtype);
        check_elements(function, "up", up, params->dtype);
        backend::swiglu_forward(*stream, y, gate, up, *params);
    });
}

ftc_status ftc_swiglu_backward(ftc_stream* stream, void* dgate, void* dup, const void* dy, const void* gate,
                               const void* up, const ftc_swiglu_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_swiglu_backward";
        check_shape(function, stream, params);
        check_at_least(function, "dgate_row_stride", params->dgate_row_stride, params->cols);
        if (params->rows == 0) return;
        check_elements(function, "dgate", dgate, params->dtype);
        check_elements(function, "dup", dup, params->dtype);
        check_elements(function, "dy", dy, params->dtype);
        check_elements(function, "gate", gate, params->dtype);
        check_elements(function, "up", up, params->dtype);
        backend::swiglu_backward(*stream, dgate, dup, dy, gate, up, *params);
    });
}
