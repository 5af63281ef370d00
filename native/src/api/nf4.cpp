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
        backend::nf4_quantize(*stream, codes, absmax, x, count);
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
        backend::nf4_quantize_absmax(*stream, codes, nested_absmax, nested_offset, absmax, nested_map, count);
    });
}
