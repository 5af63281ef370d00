// Errors inside the library: thrown as Error, turned into an ftc_status and a thread-local message by guard().
#pragma once

#include <cstddef>
#include <exception>
#include <new>

#include "ftc.h"

namespace ftc {

struct Error {
    ftc_status status;
    char message[512];
};

// Throws Error with a message in printf form.
#if defined(_WIN32)
#define FTC_PRINTF gnu_printf // what mingw-w64 calls printf is not C99's
#else
#define FTC_PRINTF printf
#endif
[[noreturn]] void fail(ftc_status status, const char* format, ...) __attribute__((format(FTC_PRINTF, 2, 3)));
#undef FTC_PRINTF

// Keeps the message for ftc_last_error_message() and returns status.
ftc_status record_error(ftc_status status, const char* message) noexcept;
const char* last_error_message() noexcept;

// Runs the body of an exported function; whatever it throws becomes a status.
template <class Body>
ftc_status guard(const char* function, Body&& body) noexcept {
    try {
        body();
        return FTC_OK;
    } catch (const Error& error) {
        return record_error(error.status, error.message);
    } catch (const std::bad_alloc&) {
        return record_error(FTC_ERROR_OUT_OF_MEMORY, function);
    } catch (const std::exception& error) {
        return record_error(FTC_ERROR_INTERNAL, error.what());
    } catch (...) {
        return record_error(FTC_ERROR_INTERNAL, function);
    }
}

} // namespace ftc
