#include "ops/rope/rope.h"
#include "api/check.h"

using namespace ftc;

namespace {

using Turn = void (*)(Pool&, const RopeArgs&);

void turn(const char* function, ftc_stream* stream, void* x, const int32_t* positions, const float* cos,
          const float* sin, const ftc_rope_params* params, Turn RopeKernels::*kernel) {
    check_stream(function, stream);
    check_params(function, params);
    check_dtype_f32(function, params->dtype);
    check_at_least(function, "rows", params->rows, 0);
    check_at_least(function, "heads", params->heads, 1);
    check_at_least(function, "head_dim", params->head_dim, 1);
    if (params->rope_dim < 0 || params->rope_dim > params->head_dim || params->rope_dim % 2 != 0)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: rope_dim is %" PRId64 ", expected an even number up to head_dim %" PRId64,
             function, params->rope_dim, params->head_dim);
    check_at_least(function, "row_stride", params->row_stride, params->heads * params->head_dim);
    if (params->rows == 0 || params->rope_dim == 0) return;
    check_pointer(function, "x", x);
    check_pointer(function, "positions", positions);
    check_pointer(function, "cos", cos);
    check_pointer(function, "sin", sin);
    for (int64_t row = 0; row < params->rows; ++row)
        if (positions[row] < 0 || positions[row] >= params->table_rows)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: positions[%" PRId64 "] is %d, expected it in [0, %" PRId64 ")",
                 function, row, static_cast<int>(positions[row]), params->table_rows);
    ftc_context& context = *stream->context;
    (context.kernels->rope.*kernel)(context.pool, {.x = static_cast<float*>(x),
                                                   .positions = positions,
                                                   .cos = cos,
                                                   .sin = sin,
                                                   .rows = params->rows,
                                                   .heads = params->heads,
                                                   .head_dim = params->head_dim,
                                                   .rope_dim = params->rope_dim,
                                                   .row_stride = params->row_stride});
}

} // namespace

ftc_status ftc_rope_forward(ftc_stream* stream, void* x, const int32_t* positions, const float* cos, const float* sin,
                            const ftc_rope_params* params) {
    return guard(__func__,
                 [&] { turn("ftc_rope_forward", stream, x, positions, cos, sin, params, &RopeKernels::rope_forward); });
}

ftc_status ftc_rope_backward(ftc_stream* stream, void* dx, const int32_t* positions, const float* cos, const float* sin,
                             const ftc_rope_params* params) {
    return guard(__func__, [&] {
        turn("ftc_rope_backward", stream, dx, positions, cos, sin, params, &RopeKernels::rope_backward);
    });
}
