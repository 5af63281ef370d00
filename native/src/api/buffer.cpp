#include "api/check.h"

using namespace ftc;

ftc_status ftc_buffer_create(ftc_buffer** out, ftc_context* context, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_buffer_create", "context", context);
        check_at_least("ftc_buffer_create", "size_bytes", size_bytes, 1);
        *out = backend::buffer_create(*context, size_bytes);
    });
}

ftc_status ftc_buffer_borrow(ftc_buffer** out, ftc_context* context, void* data, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_borrow", "out", out);
        *out = nullptr;
        check_pointer("ftc_buffer_borrow", "context", context);
        check_pointer("ftc_buffer_borrow", "data", data);
        check_at_least("ftc_buffer_borrow", "size_bytes", size_bytes, 1);
        *out = backend::buffer_borrow(*context, data, size_bytes);
    });
}

void ftc_buffer_destroy(ftc_buffer* buffer) {
    if (buffer != nullptr) backend::buffer_destroy(buffer);
}

ftc_status ftc_buffer_get_data(ftc_buffer* buffer, void** data, int64_t* size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_get_data", "buffer", buffer);
        backend::buffer_get_data(*buffer, data, size_bytes);
    });
}
