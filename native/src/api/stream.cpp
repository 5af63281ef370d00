#include <memory>

#include "api/check.h"

using namespace ftc;

ftc_status ftc_stream_create(ftc_stream** out, ftc_context* context) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_stream_create", "context", context);
        *out = new ftc_stream{context};
    });
}

void ftc_stream_destroy(ftc_stream* stream) {
    delete stream;
}

// Ops run inside their call, so nothing is ever pending.
ftc_status ftc_stream_synchronize(ftc_stream* stream) {
    return guard(__func__, [&] { check_stream("ftc_stream_synchronize", stream); });
}
