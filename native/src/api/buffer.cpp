#include <memory>

#include "api/check.h"

using namespace ftc;

ftc_status ftc_buffer_create(ftc_buffer** out, ftc_context* context, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_create", "out", out);
        *out = nullptr;
        check_pointer("ftc_buffer_create", "context", context);
        check_at_least("ftc_buffer_create", "size_bytes", size_bytes, 1);
        const int64_t available = available_bytes(*context, read_machine_limits(""));
        if (size_bytes > available)
            fail(FTC_ERROR_OUT_OF_MEMORY,
                 "ftc_buffer_create: %" PRId64 " bytes are needed, %" PRId64 " are free (%" PRId64
                 " in use by this context, limit %" PRId64 ", 0 = none)",
                 size_bytes, available, context->memory_used_bytes, context->memory_limit_bytes);
        auto buffer = std::make_unique<ftc_buffer>(ftc_buffer{context, Memory(size_bytes), nullptr, size_bytes});
        buffer->data = buffer->owned.data();
        context->memory_used_bytes += size_bytes;
        *out = buffer.release();
    });
}

ftc_status ftc_buffer_borrow(ftc_buffer** out, ftc_context* context, void* data, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_borrow", "out", out);
        *out = nullptr;
        check_pointer("ftc_buffer_borrow", "context", context);
        check_pointer("ftc_buffer_borrow", "data", data);
        check_at_least("ftc_buffer_borrow", "size_bytes", size_bytes, 1);
        *out = new ftc_buffer{context, Memory(), data, size_bytes};
    });
}

void ftc_buffer_destroy(ftc_buffer* buffer) {
    if (buffer == nullptr) return;
    if (buffer->owned.data() != nullptr) buffer->context->memory_used_bytes -= buffer->size_bytes;
    delete buffer;
}

ftc_status ftc_buffer_get_data(ftc_buffer* buffer, void** data, int64_t* size_bytes) {
    return guard(__func__, [&] {
        check_pointer("ftc_buffer_get_data", "buffer", buffer);
        if (data != nullptr) *data = buffer->data;
        if (size_bytes != nullptr) *size_bytes = buffer->size_bytes;
    });
}
