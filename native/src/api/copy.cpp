#include "api/check.h"

using namespace ftc;

namespace {

// Nothing to copy when false.
bool check_copy(const char* function, const ftc_stream* stream, const void* y, const void* x, int64_t size_bytes) {
    check_stream(function, stream);
    check_at_least(function, "size_bytes", size_bytes, 0);
    if (size_bytes == 0) return false;
    check_pointer(function, "destination", y);
    check_pointer(function, "source", x);
    return true;
}

} // namespace

ftc_status ftc_copy_from_host(ftc_stream* stream, void* device, const void* host, int64_t size_bytes) {
    return guard(__func__, [&] {
        if (check_copy("ftc_copy_from_host", stream, device, host, size_bytes))
            backend::copy_from_host(*stream, device, host, size_bytes);
    });
}

ftc_status ftc_copy_to_host(ftc_stream* stream, void* host, const void* device, int64_t size_bytes) {
    return guard(__func__, [&] {
        if (check_copy("ftc_copy_to_host", stream, host, device, size_bytes))
            backend::copy_to_host(*stream, host, device, size_bytes);
    });
}

ftc_status ftc_copy(ftc_stream* stream, void* y, const void* x, int64_t size_bytes) {
    return guard(__func__, [&] {
        if (check_copy("ftc_copy", stream, y, x, size_bytes)) backend::copy(*stream, y, x, size_bytes);
    });
}

ftc_status ftc_fill_zero(ftc_stream* stream, void* y, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_stream("ftc_fill_zero", stream);
        check_at_least("ftc_fill_zero", "size_bytes", size_bytes, 0);
        if (size_bytes == 0) return;
        check_pointer("ftc_fill_zero", "y", y);
        backend::fill_zero(*stream, y, size_bytes);
    });
}
