#include "api/check.h"

using namespace ftc;

ftc_status ftc_stream_create(ftc_stream** out, ftc_context* context) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_stream_create", "context", context);
        *out = backend::stream_create(*context, false);
    });
}

ftc_status ftc_stream_create_background(ftc_stream** out, ftc_context* context) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_create_background", "out", out);
        *out = nullptr;
        check_pointer("ftc_stream_create_background", "context", context);
        *out = backend::stream_create(*context, true);
    });
}

void ftc_stream_destroy(ftc_stream* stream) {
    if (stream != nullptr) backend::stream_destroy(stream);
}

ftc_status ftc_stream_synchronize(ftc_stream* stream) {
    return guard(__func__, [&] {
        check_stream("ftc_stream_synchronize", stream);
        backend::stream_synchronize(*stream);
    });
}
