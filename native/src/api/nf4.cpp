#include "api/check.h"

using namespace ftc;

ftc_status ftc_nf4_quantize(ftc_stream* stream, uint8_t* codes, float* absmax, const float* x, int64_t count) {
    return guard(__func__, [&] {
        const char* function = "ftc_nf4_quantize";
        check_stream(function, stream);
        check_at_least(function, "count", count, 0);
        if (count == 0) return;
        check_pointer(function, "codes", codes);
        check_pointer(function, "absmax", absmax);
        check_pointer(function, "x", x);
        stream->context->kernels->nf4_quantize.quantize(stream->context->pool, {codes, absmax, x, count});
    });
}

ftc_status ftc_nf4_quantize_absmax(ftc_stream* stream, uint8_t* codes, float* nested_absmax, float* nested_offset,
                                   const float* absmax, const float* nested_map, int64_t count) {
    return guard(__func__, [&] {
        const char* function = "ftc_nf4_quantize_absmax";
        check_stream(function, stream);
        check_at_least(function, "count", count, 1);
        check_pointer(function, "codes", codes);
        check_pointer(function, "nested_absmax", nested_absmax);
        check_pointer(function, "nested_offset", nested_offset);
        check_pointer(function, "absmax", absmax);
        check_pointer(function, "nested_map", nested_map);
        for (int i = 1; i < 256; i++)
            if (!(nested_map[i - 1] < nested_map[i]))
                fail(FTC_ERROR_INVALID_ARGUMENT, "%s: nested_map[%d] is %g after %g, expected ascending values",
                     function, i, static_cast<double>(nested_map[i]), static_cast<double>(nested_map[i - 1]));
        stream->context->kernels->nf4_quantize.quantize_absmax(
            stream->context->pool, {codes, nested_absmax, nested_offset, absmax, nested_map, count});
    });
}
