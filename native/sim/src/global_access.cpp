// Checks of accesses to device memory: bounds, freed memory, memory never written, races within and between blocks and
// between streams.
#include <cstring>

#include "execution.h"
#include "memory.h"

namespace simt {

namespace {

// How an earlier access of the same or of a concurrent launch relates to this one.
bool is_ordered(Fiber& fiber, const GlobalAccess& other) {
    Worker& worker = *fiber.worker;
    if (other.clock == kClockLimit || other.generation == kGenerationLimit) return true;
    const uint32_t block_begin = worker.block_generation - worker.launch_generation;
    if (other.worker == static_cast<uint32_t>(worker.number) && other.generation >= block_begin) {
        const uint32_t now = worker.generation - worker.launch_generation;
        return other.generation < now || has_seen(fiber, other.thread, other.clock);
    }
    return block_was_seen(worker, other);
}

bool same_block(const Worker& worker, const GlobalAccess& other) {
    return other.worker == static_cast<uint32_t>(worker.number) &&
           other.generation >= worker.block_generation - worker.launch_generation;
}

[[noreturn]] void report_race(Fiber& fiber, const Allocation& allocation, const char* p, uint32_t kind,
                              const GlobalAccess& other, uint32_t other_pc, const void* pc) {
    set_current_fiber(&fiber);
    const size_t offset = static_cast<size_t>(p - allocation.base);
    if (same_block(*fiber.worker, other))
        fault_at_pc(pc,
                    "race on device memory (byte %zu of %zu): %s against %s by thread %s of the same block at {pc:%p}, "
                    "with no barrier between",
                    offset, allocation.bytes, access_name(kind), access_name(other.kind),
                    thread_name(*fiber.worker, other.thread).c_str(), whole_pc(other_pc, pc));
    fault_at_pc(pc, "race on device memory (byte %zu of %zu): %s against %s by another block at {pc:%p}", offset,
                allocation.bytes, access_name(kind), access_name(other.kind), whole_pc(other_pc, pc));
}

bool conflict(const GlobalAccess& other, uint32_t mask, uint32_t kind) {
    return (other.mask & mask) != 0 && (kind | other.kind) != kRead && (kind & other.kind & kAtomic) == 0;
}

void check_cell(Fiber& fiber, const Allocation& allocation, const char* p, uint32_t mask, uint32_t kind,
                const void* pc) {
    Worker& worker = *fiber.worker;
    Launch& launch = *worker.launch;
    GlobalCell& cell = *global_cell(p);
    const uint64_t header = __atomic_load_n(&cell.header, __ATOMIC_ACQUIRE);
    uint32_t count = static_cast<uint32_t>(header & 0xff);
    const uint64_t serial = header >> 32;
    if (serial != launch.serial) {
        if (serial != 0 && launch.view != nullptr && !happened_before(serial, *launch.view))
            for (uint32_t i = 0; i < count; ++i)
                if (const GlobalAccess other = GlobalAccess::unpack(cell.accesses[i]); conflict(other, mask, kind)) {
                    set_current_fiber(&fiber);
                    fault_at_pc(pc,
                                "race on device memory (byte %zu of %zu): %s against %s by work of another stream, "
                                "with no event or synchronisation between",
                                static_cast<size_t>(p - allocation.base), allocation.bytes, access_name(kind),
                                access_name(other.kind));
                }
        count = 0;
    }
    const GlobalAccess mine{mask,
                            fiber.thread,
                            kind,
                            static_cast<uint32_t>(worker.number),
                            std::min<uint32_t>(fiber.clock, kClockLimit),
                            std::min(worker.generation - worker.launch_generation, kGenerationLimit)};
    const uint64_t bits = mine.pack();
    bool any_write = count != 0 && (header & 0x100) != 0;
    uint32_t slot = count;
    // Reads among reads: nothing to check, and a few of many are enough to see a later write.
    if (kind == kRead && count == kGlobalSlots && !any_write && (next_random(worker) & 7) != 0) return;
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t other_bits = __atomic_load_n(&cell.accesses[i], __ATOMIC_RELAXED);
        if (other_bits == bits) return;
        const GlobalAccess other = GlobalAccess::unpack(other_bits);
        if (conflict(other, mask, kind)) {
            if (!is_ordered(fiber, other)) report_race(fiber, allocation, p, kind, other, cell.pcs[i], pc);
            // What comes after a write of the same bytes is checked against that write.
            if (kind == kWrite && (other.mask & ~mask) == 0) slot = i;
        } else if (other.thread == fiber.thread && other.kind == kind && other.clock == mine.clock &&
                   other.generation == mine.generation && other.worker == mine.worker) {
            __atomic_store_n(&cell.accesses[i], other_bits | mask, __ATOMIC_RELAXED);
            return;
        }
    }
    if (slot == kGlobalSlots) {
        // Full. Readers are many and one is enough to see a later write: rarely replaced. A write always gets a place.
        if (kind == kRead && (next_random(worker) & 7) != 0) return;
        slot = static_cast<uint32_t>(next_random(worker) >> 32) % kGlobalSlots;
    }
    __atomic_store_n(&cell.accesses[slot], bits, __ATOMIC_RELAXED);
    cell.pcs[slot] = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc));
    const bool changed = kind != kRead && !any_write;
    any_write = any_write || kind != kRead;
    if (slot >= count || serial != launch.serial || changed)
        __atomic_store_n(&cell.header, launch.serial << 32 | (any_write ? 0x100u : 0u) | std::max(count, slot + 1),
                         __ATOMIC_RELEASE);
}

} // namespace

void check_global(Fiber& fiber, const void* address, uint32_t bytes, uint32_t kind, const void* pc) {
    const char* p = static_cast<const char*>(address);
    const Allocation* allocation = find_allocation(p);
    if (allocation == nullptr) {
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of %u bytes at %p, which is no device memory", access_name(kind), bytes, address);
    }
    const size_t offset = static_cast<size_t>(p - allocation->base);
    if (offset > allocation->bytes) {
        const Allocation* next = find_allocation(p + 1024);
        if (next != nullptr && next != allocation && !next->freed && in_arena(next->base)) {
            set_current_fiber(&fiber);
            fault_at_pc(pc, "%s of %u bytes, %zu before an allocation of %zu: out of bounds", access_name(kind), bytes,
                        static_cast<size_t>(next->base - p), next->bytes);
        }
    }
    if (allocation->freed) {
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of %u bytes at byte %zu of an allocation of %zu that has been freed", access_name(kind),
                    bytes, offset, allocation->bytes);
    }
    if (offset > allocation->bytes || bytes > allocation->bytes - offset) {
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of %u bytes at byte %zu of an allocation of %zu: out of bounds", access_name(kind), bytes,
                    offset, allocation->bytes);
    }
    if (allocation->kind == MemoryKind::registered) return; // has no cells
    const bool known = !allocation->tracked || all_written(p, bytes);
    const char* first = p;
    const char* end = p + bytes;
    while (first < end) {
        const size_t start = reinterpret_cast<uintptr_t>(first) % kGranule;
        const char* last = std::min(end, first - start + kGranule);
        const uint32_t mask = ((1u << (last - first)) - 1u) << start;
        check_cell(fiber, *allocation, first, mask, kind, pc);
        first = last;
    }
    if (!known) {
        if (kind != kWrite) {
            set_current_fiber(&fiber);
            fault_at_pc(pc, "%s of %u bytes at byte %zu of an allocation of %zu, which nobody has written",
                        access_name(kind), bytes, offset, allocation->bytes);
        }
        mark_written(p, bytes);
    }
}

} // namespace simt
