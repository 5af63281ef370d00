// Argument checks with one wording: where, what is, what was expected.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <type_traits>

#include "api/backend.h"
#include "core/status.h"

namespace ftc {

// Where the device loads an element only from a multiple of its size, an address must be one. NULL passes.
inline void check_address(const char* function, const char* name, const void* pointer, size_t element_bytes) {
    if (reinterpret_cast<uintptr_t>(pointer) % element_bytes == 0 || !backend::needs_aligned_elements()) return;
    fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is %p, expected an address that is a multiple of %zu, the size of its elements", function,
         name, pointer, element_bytes);
}

template <class T>
void check_pointer(const char* function, const char* name, const T* pointer) {
    if (pointer == nullptr) fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is NULL, expected a pointer", function, name);
    if constexpr (std::is_arithmetic_v<T>) check_address(function, name, pointer, sizeof(T));
}

// A pointer to elements of this dtype; the optional ones may be NULL.
inline void check_optional(const char* function, const char* name, const void* pointer, int32_t dtype) {
    check_address(function, name, pointer, dtype == FTC_F32 ? 4 : 2);
}
inline void check_elements(const char* function, const char* name, const void* pointer, int32_t dtype) {
    check_pointer(function, name, pointer);
    check_optional(function, name, pointer, dtype);
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
    backend::enter(*stream);
}

// The types of activations that both libraries compute on.
inline void check_activations(const char* function, int32_t dtype) {
    if (dtype != FTC_F32 && dtype != FTC_BF16 && dtype != FTC_F16)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: dtype is %d, expected FTC_F32 or FTC_BF16", function,
             static_cast<int>(dtype));
    if (dtype == FTC_F16)
        fail(FTC_ERROR_UNSUPPORTED, "%s: dtype is FTC_F16, expected FTC_F32 or FTC_BF16: no op computes in fp16", function);
}

} // namespace ftc
