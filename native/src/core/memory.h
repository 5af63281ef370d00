// Memory of the process: blocks, and how much of it may still be taken.
#pragma once

#include <cstdint>

namespace ftc {

// An owned, zeroed, 64-byte aligned block; from 2 MB on mapped on huge pages where the system grants them, and touched
// at once, so that what was promised to exist does. Throws std::bad_alloc.
class Memory {
public:
    Memory() = default;
    explicit Memory(int64_t bytes);
    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&& other) noexcept;
    ~Memory();

    void* data() const { return data_; }
    int64_t size() const { return size_; }

private:
    void* data_ = nullptr;
    int64_t size_ = 0;
    int64_t mapped_ = 0; // bytes mapped, 0 when on the heap
};

struct MachineLimits {
    int64_t memory_total_bytes;     // MemTotal, or the control group's limit if lower
    int64_t memory_available_bytes; // min(MemAvailable, limit - usage of the control groups)
    int32_t cpu_quota;              // ceil(quota of the control groups in CPUs); INT32_MAX without one
};

// Linux: reads /proc/meminfo, /proc/self/cgroup and /sys/fs/cgroup (versions 1 and 2) below root, "" in production.
// Windows: physical memory; root is not read.
MachineLimits read_machine_limits(const char* root);

// Throws OUT_OF_MEMORY for a host buffer the machine has no room for.
[[noreturn]] void fail_host_memory(int64_t size_bytes, int64_t available_bytes, int64_t used_bytes);

} // namespace ftc
