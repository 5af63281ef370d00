// Device, managed and pinned memory: one large reserved range of addresses, handed out in chunks, with shadow memory
// beside it. Addresses are not reused before the range has been gone through once, so use after free is seen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

enum class MemoryKind : uint8_t { device, managed, pinned, registered };

struct Allocation {
    char* base;
    size_t bytes;
    MemoryKind kind;
    bool freed;
};

constexpr size_t kChunkBytes = 64 * 1024;

// nullptr when the device (or the machine) has not that much left.
void* allocate(size_t bytes, MemoryKind kind);
// Returns false when p is not the start of a live allocation of that sort.
bool release(void* p, bool pinned);
bool register_host(void* p, size_t bytes);
bool unregister_host(void* p);

// The allocation whose chunks hold p (p itself may lie outside its bytes), freed ones included; nullptr when none.
const Allocation* find_allocation(const void* p);
// True when [p, p + bytes) lies in one live allocation.
bool is_device_accessible(const void* p, size_t bytes);

size_t device_memory_total();
size_t device_memory_free();

// True for addresses of the reserved range, allocated or not.
bool in_arena(const void* p);

} // namespace simt
