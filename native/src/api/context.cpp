#include <algorithm>
#include <cstdio>
#include <memory>

#include "api/check.h"

namespace ftc {

int64_t available_bytes(const ftc_context& context, const MachineLimits& limits) {
    int64_t available = limits.memory_available_bytes;
    if (context.memory_limit_bytes > 0)
        available = std::min(available, context.memory_limit_bytes - context.memory_used_bytes);
    return std::max<int64_t>(available, 0);
}

} // namespace ftc

using namespace ftc;

ftc_status ftc_context_create(ftc_context** out, const ftc_context_params* params) {
    return guard(__func__, [&] {
        check_pointer("ftc_context_create", "out", out);
        *out = nullptr;
        check_params("ftc_context_create", params);
        if (params->device_index != 0)
            fail(FTC_ERROR_INVALID_ARGUMENT, "ftc_context_create: device_index is %d, expected 0 on the CPU",
                 params->device_index);
        if (params->threads < 0 || params->threads > 256)
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "ftc_context_create: threads is %d, expected 1..256, or 0 for all this process may use",
                 params->threads);
        check_at_least("ftc_context_create", "memory_limit_bytes", params->memory_limit_bytes, 0);
        int32_t threads = params->threads;
        if (threads == 0) threads = std::clamp(std::min(affinity_cpus(), read_machine_limits("").cpu_quota), 1, 256);
        *out = std::make_unique<ftc_context>(threads, choose_isa(), params->memory_limit_bytes).release();
    });
}

void ftc_context_destroy(ftc_context* context) {
    delete context;
}

ftc_status ftc_context_get_info(ftc_context* context, ftc_context_info* info) {
    return guard(__func__, [&] {
        check_pointer("ftc_context_get_info", "context", context);
        check_params("ftc_context_get_info", info, "info");
        const MachineLimits limits = read_machine_limits("");
        info->threads = context->pool.threads();
        info->memory_total_bytes = limits.memory_total_bytes;
        info->memory_available_bytes = available_bytes(*context, limits);
        info->memory_used_bytes = context->memory_used_bytes;
        std::snprintf(info->device_kind, sizeof(info->device_kind), "cpu");
        cpu_name(info->device_name, sizeof(info->device_name));
        std::snprintf(info->isa, sizeof(info->isa), "%s", context->kernels->isa);
    });
}
