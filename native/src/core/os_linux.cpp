#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/os.h"

namespace ftc::os {

namespace {
constexpr int64_t kPage = 4096;

void* map_aligned(int64_t bytes) {
    const size_t reserved = static_cast<size_t>(bytes + kHugePage);
    void* raw = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (start + kHugePage - 1) & ~static_cast<uintptr_t>(kHugePage - 1);
    if (aligned > start) munmap(raw, aligned - start);
    const uintptr_t end = start + reserved;
    const uintptr_t used_end = aligned + static_cast<uintptr_t>(bytes);
    if (end > used_end) munmap(reinterpret_cast<void*>(used_end), end - used_end);
    return reinterpret_cast<void*>(aligned);
}

} // namespace

void* map(int64_t bytes, int64_t* mapped) {
    // A huge page that would stay half empty is a waste where there are many buffers: such an end gets small pages.
    const int64_t end = bytes % kHugePage, page = end > kHugePage / 2 ? kHugePage : kPage;
    *mapped = bytes - end + (end + page - 1) / page * page;
    void* data = map_aligned(*mapped);
    const size_t size = static_cast<size_t>(*mapped);
    madvise(data, size / kHugePage * kHugePage, MADV_HUGEPAGE);
    if (madvise(data, size, MADV_POPULATE_WRITE) != 0) std::memset(data, 0, size); // before Linux 5.14
    return data;
}

void unmap(void* data, int64_t mapped) {
    munmap(data, static_cast<size_t>(mapped));
}

void* allocate_aligned(int64_t alignment, int64_t bytes) {
    void* data = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(bytes));
    if (data == nullptr) throw std::bad_alloc();
    return data;
}

void free_aligned(void* data) {
    std::free(data);
}

void wait(std::atomic<uint32_t>& word, uint32_t seen) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}

void wake_all(std::atomic<uint32_t>& word) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

int32_t affinity_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
    return std::max(1, CPU_COUNT(&set));
}

} // namespace ftc::os
