#include <cmath>

#include "api/check.h"
#include "api/check_weight.h"

using namespace ftc;

ftc_status ftc_int8_quantize(ftc_stream* stream, int8_t* codes, float* scale, const float* x, int64_t rows,
                             int64_t cols, int64_t x_row_stride) {
    return guard(__func__, [&] {
        const char* function = "ftc_int8_quantize";
        check_stream(function, stream);
        check_at_least(function, "rows", rows, 0);
        check_at_least(function, "cols", cols, 1);
        if (rows == 0) return;
        check_pointer(function, "codes", codes);
        check_pointer(function, "scale", scale);
        check_pointer(function, "x", x);
        check_at_least(function, "x_row_stride", x_row_stride, cols);
        backend::int8_quantize(*stream, codes, scale, x, rows, cols, x_row_stride);
    });
}

ftc_status ftc_affine_quantize(ftc_stream* stream, uint8_t* codes, float* scale, float* minimum, const float* x,
                               const ftc_affine_quantize_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_affine_quantize";
        check_stream(function, stream);
        check_params(function, params);
        check_at_least(function, "params->rows", params->rows, 0);
        check_at_least(function, "params->cols", params->cols, 1);
        check_affine(function, "params->", params->bits, params->group_size, params->cols);
        if (params->search != 0 && params->search != 1)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: params->search is %d, expected 0 or 1", function,
                 static_cast<int>(params->search));
        if (params->rows == 0) return;
        check_pointer(function, "codes", codes);
        check_pointer(function, "scale", scale);
        check_pointer(function, "minimum", minimum);
        check_pointer(function, "x", x);
        check_at_least(function, "params->x_row_stride", params->x_row_stride, params->cols);
        backend::affine_quantize(*stream, codes, scale, minimum, x, *params);
    });
}

ftc_status ftc_affine_merge(ftc_stream* stream, float* minimum, const float* b, const float* a, int64_t rows,
                            int64_t groups, int32_t rank, int32_t group_size, float scaling) {
    return guard(__func__, [&] {
        const char* function = "ftc_affine_merge";
        check_stream(function, stream);
        check_at_least(function, "rows", rows, 0);
        check_at_least(function, "groups", groups, 1);
        check_at_least(function, "rank", rank, 1);
        if (group_size != 32 && group_size != 64 && group_size != 128)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: group_size is %d, expected 32, 64 or 128", function,
                 static_cast<int>(group_size));
        if (!std::isfinite(scaling))
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: scaling is %g, expected a finite number", function,
                 static_cast<double>(scaling));
        if (rows == 0) return;
        check_pointer(function, "minimum", minimum);
        check_pointer(function, "b", b);
        check_pointer(function, "a", a);
        backend::affine_merge(*stream, minimum, b, a, rows, groups, rank, group_size, scaling);
    });
}
