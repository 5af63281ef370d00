// What stands behind the opaque handles of ftc.h.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "core/kernels.h"
#include "core/memory.h"
#include "core/pool.h"
#include "ftc.h"

struct ftc_context {
    ftc_context(int32_t threads, ftc::Isa chosen, int64_t memory_limit)
        : isa(chosen), kernels(&ftc::kernels_for(chosen)), memory_limit_bytes(memory_limit), pool(threads) {}

    ftc::Isa isa;
    const ftc::Kernels* kernels;
    int64_t memory_limit_bytes; // 0: none
    int64_t memory_used_bytes = 0;
    int64_t host_memory_used_bytes = 0;
    ftc::Pool pool;
};

struct ftc_stream {
    ftc_context* context; // ops run inside the call: a CPU stream has nothing of its own
};

struct ftc_event {
    ftc_context* context; // what a CPU stream was given is done, so there is nothing to remember
};

struct ftc_host_buffer {
    ftc_context* context;
    ftc::Memory memory;
};

struct ftc_buffer {
    ftc_context* context;
    ftc::Memory owned; // empty when borrowed
    void* data;
    int64_t size_bytes;
};

namespace ftc {

// min(MemAvailable, control group limit - usage, memory_limit_bytes - used) of this moment.
int64_t available_bytes(const ftc_context& context, const MachineLimits& limits);

} // namespace ftc
