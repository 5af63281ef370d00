#include "memory.h"

#include "shadow.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

namespace simt {

constinit ArenaView arena_view;

namespace {

struct Arena : ArenaView {
    std::mutex mutex;
    size_t chunks = 0;
    // Managed blocks of one chunk, which may be the heap of a test program, are used again at once, their pages kept.
    size_t spare[4096];
    size_t spares = 0;
    size_t cursor = 0;
    size_t used_bytes = 0;
    size_t total_bytes = 0;
    std::map<char*, Allocation> registered; // cudaHostRegister

    Arena() {
        const char* megabytes = std::getenv("FTC_SIM_MEMORY_MB");
        total_bytes = (megabytes != nullptr ? std::strtoull(megabytes, nullptr, 10) : 16384) << 20;
        for (size_t size = size_t{256} << 30; size >= size_t{1} << 30 && base == nullptr; size /= 2) reserve(size);
        if (base == nullptr) throw std::bad_alloc();
        arena_view = *this;
    }

    // All of it or nothing: memory, owners, cells and bits.
    void reserve(size_t size) {
        const size_t count = size / kChunkBytes;
        const size_t sizes[] = {size, count * sizeof(uint32_t), count * sizeof(Allocation),
                                size / kGranule * sizeof(GlobalCell), size / 8};
        void* parts[5] = {};
        bool complete = true;
        for (int i = 0; i < 5; ++i) complete = (parts[i] = map(sizes[i])) != nullptr && complete;
        if (!complete) {
            for (int i = 0; i < 5; ++i)
                if (parts[i] != nullptr) munmap(parts[i], sizes[i]);
            return;
        }
        base = static_cast<char*>(parts[0]);
        bytes = size;
        chunks = count;
        owner = static_cast<uint32_t*>(parts[1]);
        allocations = static_cast<Allocation*>(parts[2]);
        cells = static_cast<GlobalCell*>(parts[3]);
        written = static_cast<uint64_t*>(parts[4]);
    }

    static void* map(size_t size) {
        void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return p == MAP_FAILED ? nullptr : p;
    }

    // Gives the pages back, and with them what was known of their bytes.
    void forget(const Allocation& allocation) {
        const size_t offset = static_cast<size_t>(allocation.base - base);
        const size_t size = (allocation.bytes + kChunkBytes) / kChunkBytes * kChunkBytes;
        madvise(allocation.base, size, MADV_DONTNEED);
        madvise(cells + offset / kGranule, size / kGranule * sizeof(GlobalCell), MADV_DONTNEED);
        madvise(reinterpret_cast<char*>(written) + offset / 8, size / 8, MADV_DONTNEED);
    }

    bool chunk_is_free(size_t chunk) const { return owner[chunk] == 0 || allocations[owner[chunk] - 1].freed; }

    // First chunk of a free run, from the cursor on, around the end once.
    bool find_run(size_t count, size_t& first) const {
        for (const size_t from : {cursor, size_t{0}}) {
            size_t run = 0;
            for (size_t chunk = from; chunk < chunks; ++chunk) {
                run = chunk_is_free(chunk) ? run + 1 : 0;
                if (run == count) {
                    first = chunk + 1 - count;
                    return true;
                }
            }
        }
        return false;
    }
};

Arena& arena() {
    static Arena* the_arena = new (std::malloc(sizeof(Arena))) Arena; // outlives every static that frees device memory
    return *the_arena;
}

bool counts(MemoryKind kind) {
    return kind == MemoryKind::device || kind == MemoryKind::managed;
}

} // namespace

void* allocate(size_t bytes, MemoryKind kind) {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    if (counts(kind) && bytes > a.total_bytes - a.used_bytes) return nullptr;
    // At least a byte of every last chunk stays unused, so that the end of one is never the start of the next.
    const size_t count = (bytes + kChunkBytes) / kChunkBytes;
    size_t first;
    if (kind == MemoryKind::managed && count == 1 && a.spares > 0) {
        first = a.spare[--a.spares];
    } else {
        if (!a.find_run(count, first)) return nullptr;
        a.cursor = first + count;
    }
    for (size_t i = 0; i < count; ++i) a.owner[first + i] = static_cast<uint32_t>(first + 1);
    Allocation& allocation = a.allocations[first];
    allocation = {a.base + first * kChunkBytes, bytes, kind, false, kind == MemoryKind::device};
    if (counts(kind)) a.used_bytes += bytes;
    // Memory nobody has written holds NaNs, not zeros.
    if (kind == MemoryKind::device && bytes <= (size_t{64} << 20)) std::memset(allocation.base, 0xff, bytes);
    return allocation.base;
}

bool release(void* p, bool pinned) {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    auto* allocation = const_cast<Allocation*>(find_allocation(p));
    if (allocation == nullptr || allocation->base != p || allocation->freed ||
        allocation->kind == MemoryKind::registered)
        return false;
    if ((allocation->kind == MemoryKind::pinned) != pinned) return false;
    allocation->freed = true;
    if (counts(allocation->kind)) a.used_bytes -= allocation->bytes;
    if (allocation->kind == MemoryKind::managed && !allocation->tracked && allocation->bytes < kChunkBytes &&
        a.spares < std::size(a.spare))
        a.spare[a.spares++] = static_cast<size_t>(allocation->base - a.base) / kChunkBytes;
    else
        a.forget(*allocation);
    return true;
}

bool register_host(void* p, size_t bytes) {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    return a.registered
        .try_emplace(static_cast<char*>(p),
                     Allocation{static_cast<char*>(p), bytes, MemoryKind::registered, false, false})
        .second;
}

bool unregister_host(void* p) {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    return a.registered.erase(static_cast<char*>(p)) != 0;
}

const Allocation* find_registered(const void* p) {
    if (arena_view.base == nullptr) return nullptr;
    const Arena& a = arena();
    if (a.registered.empty()) return nullptr;
    auto next = a.registered.upper_bound(static_cast<char*>(const_cast<void*>(p)));
    if (next == a.registered.begin()) return nullptr;
    const Allocation& allocation = std::prev(next)->second;
    return static_cast<const char*>(p) < allocation.base + allocation.bytes ? &allocation : nullptr;
}

bool is_device_accessible(const void* p, size_t bytes) {
    const Allocation* allocation = find_allocation(p);
    if (allocation == nullptr || allocation->freed) return false;
    const size_t offset = static_cast<size_t>(static_cast<const char*>(p) - allocation->base);
    return offset <= allocation->bytes && bytes <= allocation->bytes - offset;
}

size_t device_memory_total() {
    return arena().total_bytes;
}
size_t device_memory_free() {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    return a.total_bytes - a.used_bytes;
}

void set_unwritten(void* p, size_t bytes) {
    if (bytes == 0 || !is_device_accessible(p, bytes) || !in_arena(p)) return;
    auto* allocation = const_cast<Allocation*>(find_allocation(p));
    if (!allocation->tracked) mark_written(allocation->base, allocation->bytes);
    allocation->tracked = true;
    const size_t begin = static_cast<size_t>(static_cast<char*>(p) - arena_view.base);
    for (size_t at = begin; at < begin + bytes; ++at) arena_view.written[at / 64] &= ~(uint64_t{1} << at % 64);
}

bool all_written(const void* p, size_t bytes) {
    size_t at = static_cast<size_t>(static_cast<const char*>(p) - arena_view.base);
    while (bytes > 0) {
        const size_t count = std::min(bytes, 64 - at % 64);
        const uint64_t mask = (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << at % 64;
        if ((__atomic_load_n(&arena_view.written[at / 64], __ATOMIC_RELAXED) & mask) != mask) return false;
        at += count;
        bytes -= count;
    }
    return true;
}

void mark_written(const void* p, size_t bytes) {
    if (!in_arena(p)) return;
    size_t at = static_cast<size_t>(static_cast<const char*>(p) - arena_view.base);
    while (bytes > 0) {
        if (at % 64 == 0 && bytes >= 64) {
            std::memset(arena_view.written + at / 64, 0xff, bytes / 64 * 8);
            at += bytes / 64 * 64;
            bytes %= 64;
            continue;
        }
        const size_t count = std::min(bytes, 64 - at % 64);
        const uint64_t mask = ((uint64_t{1} << count) - 1) << at % 64;
        __atomic_fetch_or(&arena_view.written[at / 64], mask, __ATOMIC_RELAXED);
        at += count;
        bytes -= count;
    }
}

} // namespace simt
