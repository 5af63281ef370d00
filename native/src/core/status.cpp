#include "core/status.h"

#include <cstdarg>
#include <cstdio>

namespace ftc {

namespace {
thread_local char g_last_error[sizeof(Error::message)] = "";
}

void fail(ftc_status status, const char* format, ...) {
    Error error{};
    error.status = status;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(error.message, sizeof(error.message), format, arguments);
    va_end(arguments);
    throw error;
}

ftc_status record_error(ftc_status status, const char* message) noexcept {
    std::snprintf(g_last_error, sizeof(g_last_error), "%s", message);
    return status;
}

const char* last_error_message() noexcept {
    return g_last_error;
}

} // namespace ftc
