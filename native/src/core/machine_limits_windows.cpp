#include <windows.h>

#include <climits>

#include "core/memory.h"

namespace ftc {

MachineLimits read_machine_limits(const char*) {
    MEMORYSTATUSEX memory{};
    memory.dwLength = sizeof(memory);
    MachineLimits limits{INT64_MAX, INT64_MAX, INT32_MAX};
    if (GlobalMemoryStatusEx(&memory) == 0) return limits;
    limits.memory_total_bytes = static_cast<int64_t>(memory.ullTotalPhys);
    limits.memory_available_bytes = static_cast<int64_t>(memory.ullAvailPhys);
    return limits;
}

} // namespace ftc
