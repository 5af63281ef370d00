#include <algorithm>
#include <cstring>

#include "api/check.h"

using namespace ftc;

namespace {

constexpr int64_t kChunk = int64_t{1} << 20; // enough work to wake a thread for

void copy_bytes(const char* function, ftc_stream* stream, void* y, const void* x, int64_t size_bytes) {
    check_stream(function, stream);
    check_at_least(function, "size_bytes", size_bytes, 0);
    if (size_bytes == 0) return;
    check_pointer(function, "destination", y);
    check_pointer(function, "source", x);
    parallel_for(stream->context->pool, (size_bytes + kChunk - 1) / kChunk, [=](int64_t part, int32_t) {
        const int64_t begin = part * kChunk;
        std::memcpy(static_cast<char*>(y) + begin, static_cast<const char*>(x) + begin,
                    static_cast<size_t>(std::min(kChunk, size_bytes - begin)));
    });
}

} // namespace

ftc_status ftc_copy_from_host(ftc_stream* stream, void* device, const void* host, int64_t size_bytes) {
    return guard(__func__, [&] { copy_bytes("ftc_copy_from_host", stream, device, host, size_bytes); });
}

ftc_status ftc_copy_to_host(ftc_stream* stream, void* host, const void* device, int64_t size_bytes) {
    return guard(__func__, [&] { copy_bytes("ftc_copy_to_host", stream, host, device, size_bytes); });
}

ftc_status ftc_copy(ftc_stream* stream, void* y, const void* x, int64_t size_bytes) {
    return guard(__func__, [&] { copy_bytes("ftc_copy", stream, y, x, size_bytes); });
}

ftc_status ftc_fill_zero(ftc_stream* stream, void* y, int64_t size_bytes) {
    return guard(__func__, [&] {
        check_stream("ftc_fill_zero", stream);
        check_at_least("ftc_fill_zero", "size_bytes", size_bytes, 0);
        if (size_bytes == 0) return;
        check_pointer("ftc_fill_zero", "y", y);
        parallel_for(stream->context->pool, (size_bytes + kChunk - 1) / kChunk, [=](int64_t part, int32_t) {
            const int64_t begin = part * kChunk;
            std::memset(static_cast<char*>(y) + begin, 0, static_cast<size_t>(std::min(kChunk, size_bytes - begin)));
        });
    });
}
