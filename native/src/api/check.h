// Argument checks with one wording: where, what is, what was expected.
#pragma once

#include <cinttypes>
#include <cstdint>

#include "core/context.h"
#include "core/status.h"

namespace ftc {

inline void check_pointer(const char* function, const char* name, const void* pointer) {
    if (pointer == nullptr) fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is NULL, expected a pointer", function, name);
}

inline void check_at_least(const char* function, const char* name, int64_t value, int64_t smallest) {
    if (value >= smallest) return;
    if (smallest == 1) fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is %" PRId64 ", expected > 0", function, name, value);
    fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is %" PRId64 ", expected >= %" PRId64, function, name, value, smallest);
}

// struct_size of a params struct: this library knows exactly the size it was compiled with.
template <class Params>
void check_params(const char* function, const Params* params, const char* name = "params") {
    check_pointer(function, name, params);
    if (params->struct_size != sizeof(Params))
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: %s->struct_size is %u, expected %zu; header and library differ in version", function, name,
             params->struct_size, sizeof(Params));
}

inline void check_stream(const char* function, const ftc_stream* stream) {
    check_pointer(function, "stream", stream);
}

// Only fp32 activations are implemented on the CPU.
inline void check_dtype_f32(const char* function, int32_t dtype) {
    if (dtype == FTC_F32) return;
    if (dtype == FTC_BF16 || dtype == FTC_F16)
        fail(FTC_ERROR_UNSUPPORTED, "%s: dtype is %s, expected FTC_F32: the CPU library computes in fp32", function,
             dtype == FTC_BF16 ? "FTC_BF16" : "FTC_F16");
    fail(FTC_ERROR_INVALID_ARGUMENT, "%s: dtype is %d, expected FTC_F32", function, static_cast<int>(dtype));
}

} // namespace ftc
