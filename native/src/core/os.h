// What differs between operating systems: pages, waiting on a word, the CPUs of this process. One implementation each,
// os_linux.cpp and os_windows.cpp.
#pragma once

#include <atomic>
#include <cstdint>

namespace ftc::os {

constexpr int64_t kHugePage = int64_t{2} << 20;

// Zeroed memory of at least `bytes` from the system, aligned to kHugePage and on huge pages where it grants them, every
// page already there. *mapped is what unmap() wants back. Throws std::bad_alloc.
void* map(int64_t bytes, int64_t* mapped);
void unmap(void* data, int64_t mapped);

// Memory of the heap, aligned to a power of two; bytes is a multiple of it. Throws std::bad_alloc.
void* allocate_aligned(int64_t alignment, int64_t bytes);
void free_aligned(void* data);

// Sleeps while word is `seen`; may return early.
void wait(std::atomic<uint32_t>& word, uint32_t seen);
void wake_all(std::atomic<uint32_t>& word);

// CPUs that the calling thread may run on.
int32_t affinity_cpus();

} // namespace ftc::os
