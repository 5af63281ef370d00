// Device, managed and pinned memory: one large reserved range of addresses, handed out in chunks, with shadow memory
// beside it. Addresses are not reused before the range has been gone through once, so use after free is seen.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shadow.h"

namespace simt {

enum class MemoryKind : uint8_t { device, managed, pinned, registered };

struct Allocation {
    char* base;
    size_t bytes;
    MemoryKind kind;
    bool freed;
    bool tracked; // what has been written is known, bit by bit
};

constexpr size_t kChunkBytes = 64 * 1024;

// nullptr when the device (or the machine) has not that much left.
void* allocate(size_t bytes, MemoryKind kind);
// Returns false when p is not the start of a live allocation of that sort.
bool release(void* p, bool pinned);
bool register_host(void* p, size_t bytes);
bool unregister_host(void* p);

// Where the range and what is known about it lie; all null before the first allocation.
struct ArenaView {
    char* base = nullptr;
    size_t bytes = 0;
    uint32_t* owner = nullptr;         // per chunk: 1 + first chunk of the allocation that has or had it, 0 = none
    Allocation* allocations = nullptr; // at the allocation's first chunk
    GlobalCell* cells = nullptr;       // one for every 16 bytes
    uint64_t* written = nullptr;       // one bit for every byte
};
extern constinit ArenaView arena_view;

// True for addresses of the reserved range, allocated or not.
inline bool in_arena(const void* p) {
    return static_cast<size_t>(static_cast<const char*>(p) - arena_view.base) < arena_view.bytes;
}
const Allocation* find_registered(const void* p);
// The allocation whose chunks hold p (p itself may lie outside its bytes), freed ones included; nullptr when none.
inline const Allocation* find_allocation(const void* p) {
    if (!in_arena(p)) return find_registered(p);
    const uint32_t owner =
        arena_view.owner[static_cast<size_t>(static_cast<const char*>(p) - arena_view.base) / kChunkBytes];
    return owner == 0 ? nullptr : &arena_view.allocations[owner - 1];
}
inline GlobalCell* global_cell(const void* p) {
    return arena_view.cells + static_cast<size_t>(static_cast<const char*>(p) - arena_view.base) / kGranule;
}
// True when [p, p + bytes) lies in one live allocation.
bool is_device_accessible(const void* p, size_t bytes);

size_t device_memory_total();
size_t device_memory_free();

} // namespace simt
