#include "api/check.h"

using namespace ftc;

namespace {

void check_event(const char* function, const ftc_event* event, const ftc_stream* stream) {
    check_pointer(function, "event", event);
    check_stream(function, stream);
    if (&backend::context_of(*event) != &backend::context_of(*stream))
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: event and stream belong to different contexts, expected one", function);
}

} // namespace

ftc_status ftc_event_create(ftc_event** out, ftc_context* context) {
    return guard(__func__, [&] {
        check_pointer("ftc_event_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_event_create", "context", context);
        *out = backend::event_create(*context);
    });
}

void ftc_event_destroy(ftc_event* event) {
    if (event != nullptr) backend::event_destroy(event);
}

ftc_status ftc_event_record(ftc_event* event, ftc_stream* stream) {
    return guard(__func__, [&] {
        check_event("ftc_event_record", event, stream);
        backend::event_record(*event, *stream);
    });
}

ftc_status ftc_stream_wait_event(ftc_stream* stream, ftc_event* event) {
    return guard(__func__, [&] {
        check_event("ftc_stream_wait_event", event, stream);
        backend::stream_wait_event(*stream, *event);
    });
}
