#include "api/check.h"

using namespace ftc;

ftc_status ftc_stream_create(ftc_stream** out, ftc_context* context) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_stream_create", "context", context);
        *out = backend::stream_create(*context);
    });
}

ftc_status ftc_stream_create_background(ftc_stream** out, ftc_context* context, int32_t share_percent) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_create_background", "out", out);
        *out = nullptr;
        check_pointer("ftc_stream_create_background", "context", context);
        if (share_percent < 1 || share_percent > 100)
            fail(FTC_ERROR_INVALID_ARGUMENT, "ftc_stream_create_background: share_percent is %d, expected 1..100",
                 static_cast<int>(share_percent));
        *out = backend::stream_create_background(*context, share_percent);
    });
}

void ftc_stream_destroy(ftc_stream* stream) {
    if (stream != nullptr) backend::stream_destroy(stream);
}

ftc_status ftc_measure_peak(ftc_stream* stream, int32_t dtype, double* flops_per_second) {
    return guard(__func__, [&] {
        const char* function = "ftc_measure_peak";
        check_stream(function, stream);
        check_pointer(function, "flops_per_second", flops_per_second);
        if (dtype != FTC_F32 && dtype != FTC_BF16)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: dtype is %d, expected FTC_F32 or FTC_BF16", function, static_cast<int>(dtype));
        *flops_per_second = backend::measure_peak(*stream, dtype);
    });
}

ftc_status ftc_stream_synchronize(ftc_stream* stream) {
    return guard(__func__, [&] {
        check_stream("ftc_stream_synchronize", stream);
        backend::stream_synchronize(*stream);
    });
}
