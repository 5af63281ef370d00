#include <malloc.h>
#include <windows.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "core/os.h"

namespace ftc::os {

// Large pages need a privilege that users do not have: these are of 4 KB, zeroed by the system and touched here.
void* map(int64_t bytes, int64_t* mapped) {
    void* data = VirtualAlloc(nullptr, static_cast<SIZE_T>(bytes), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (data == nullptr) throw std::bad_alloc();
    std::memset(data, 0, static_cast<size_t>(bytes));
    *mapped = bytes;
    return data;
}

void unmap(void* data, int64_t) {
    VirtualFree(data, 0, MEM_RELEASE);
}

void* allocate_aligned(int64_t alignment, int64_t bytes) {
    void* data = _aligned_malloc(static_cast<size_t>(bytes), static_cast<size_t>(alignment));
    if (data == nullptr) throw std::bad_alloc();
    return data;
}

void free_aligned(void* data) {
    _aligned_free(data);
}

void wait(std::atomic<uint32_t>& word, uint32_t seen) {
    WaitOnAddress(&word, &seen, sizeof(seen), INFINITE);
}

void wake_all(std::atomic<uint32_t>& word) {
    WakeByAddressAll(&word);
}

int32_t affinity_cpus() {
    DWORD_PTR process = 0, system = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system) == 0) return 1;
    return std::max(1, std::popcount(process));
}

} // namespace ftc::os
