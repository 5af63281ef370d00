#include "api/check.h"

using namespace ftc;

namespace {

// Nothing to turn when false.
bool check_rope(const char* function, const ftc_stream* stream, const void* x, const int32_t* positions,
                const float* cos, const float* sin, const ftc_rope_params* params) {
    check_stream(function, stream);
    check_params(function, params);
    check_activations(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "heads", params->heads, 1);
    check_at_least(function, "head_dim", params->head_dim, 1);
    if (params->rope_dim < 0 || params->rope_dim > params->head_dim || params->rope_dim % 2 != 0)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: rope_dim is %" PRId64 ", expected an even number up to head_dim %" PRId64,
             function, params->rope_dim, params->head_dim);
    check_at_least(function, "row_stride", params->row_stride, params->heads * params->head_dim);
    if (params->rows == 0 || params->rope_dim == 0) return false;
    check_elements(function, "x", x, params->dtype);
    check_pointer(function, "positions", positions);
    check_pointer(function, "cos", cos);
    check_pointer(function, "sin", sin);
    return true;
}

} // namespace

ftc_status ftc_rope_forward(ftc_stream* stream, void* x, const int32_t* positions, const float* cos, const float* sin,
                            const ftc_rope_params* params) {
    return guard(__func__, [&] {
        if (check_rope("ftc_rope_forward", stream, x, positions, cos, sin, params))
            backend::rope_forward(*stream, x, positions, cos, sin, *params);
    });
}

ftc_status ftc_rope_backward(ftc_stream* stream, void* dx, const int32_t* positions, const float* cos, const float* sin,
                             const ftc_rope_params* params) {
    return guard(__func__, [&] {
        if (check_rope("ftc_rope_backward", stream, dx, positions, cos, sin, params))
            backend::rope_backward(*stream, dx, positions, cos, sin, *params);
    });
}
