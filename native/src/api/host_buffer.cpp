#include "api/check.h"

using namespace ftc;

ftc_status ftc_host_buffer_create(ftc_host_buffer** out, ftc_context* context, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_host_buffer_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_host_buffer_create", "context", context);
        check_at_least("ftc_host_buffer_create", "size_bytes", size_bytes, 1);
        *out = backend::host_buffer_create(*context, size_bytes);
    });
}

void ftc_host_buffer_destroy(ftc_host_buffer* buffer) {
    if (buffer != nullptr) backend::host_buffer_destroy(buffer);
}

ftc_status ftc_host_buffer_get_data(ftc_host_buffer* buffer, void** data, int64_t* size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_host_buffer_get_data", "buffer", buffer);
        backend::host_buffer_get_data(*buffer, data, size_bytes);
    });
}
