#include "api/check.h"

using namespace ftc;

ftc_status ftc_get_device_count(int32_t* count) {
    return guard(__func__, [&] {
        check_pointer("ftc_get_device_count", "count", count);
        *count = 0;
        *count = backend::device_count();
    });
}

ftc_status ftc_context_create(ftc_context** out, const ftc_context_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_context_create";
        check_pointer(function, "out", out);
        *out = nullptr;
        check_params(function, params);
        const int32_t devices = backend::device_count();
        if (params->device_index < 0 || params->device_index >= devices)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: device_index is %d, expected it in [0, %d)", function,
                 params->device_index, devices);
        if (params->threads < 0 || params->threads > 256)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: threads is %d, expected 1..256, or 0 for all this process may use",
                 function, params->threads);
        check_at_least(function, "memory_limit_bytes", params->memory_limit_bytes, 0);
        *out = backend::context_create(*params);
    });
}

void ftc_context_destroy(ftc_context* context) {
    if (context != nullptr) backend::context_destroy(context);
}

ftc_status ftc_context_get_info(ftc_context* context, ftc_context_info* info) {
    return guard(__func__, [&] {
        check_pointer("ftc_context_get_info", "context", context);
        check_params("ftc_context_get_info", info, "info");
        backend::context_get_info(*context, *info);
    });
}
