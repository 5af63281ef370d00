// Checks of accesses to shared memory: bounds, pending copies, memory never written, races within the block.
#include <sys/mman.h>

#include <new>

#include "execution.h"

namespace simt {

namespace {

const char* region_name(const SharedRegion& region) {
    return region.dynamic ? "dynamic shared memory" : "static shared memory";
}

[[noreturn]] void report_race(Fiber& fiber, const SharedRegion& region, size_t offset, uint32_t kind,
                              const SharedAccess& other, const void* pc) {
    set_current_fiber(&fiber);
    if (other.thread == kCopyEngine)
        fault_at_pc(pc, "race on %s+%zu: %s against %s by the copy engine for {pc:%p}, with no wait between",
                    region_name(region), offset, access_name(kind), access_name(other.kind), whole_pc(other.pc, pc));
    fault_at_pc(pc, "race on %s+%zu: %s against %s by thread %s at {pc:%p}, with no barrier between",
                region_name(region), offset, access_name(kind), access_name(other.kind),
                thread_name(*fiber.worker, other.thread).c_str(), whole_pc(other.pc, pc));
}

// Reads among reads: nothing to check. Of many readers those of different warps are kept, as they are the ones that a
// later write could be ordered after or not.
inline void remember_reader(const Fiber& fiber, SharedCell& cell, uint16_t mask, const void* pc) {
    uint32_t slot = cell.count;
    if (slot == kSharedSlots) {
        slot = fiber.warp % kSharedSlots;
        if (cell.accesses[slot].thread / 32 == fiber.warp && cell.accesses[slot].clock == fiber.clock) return;
    } else {
        for (uint32_t i = 0; i < slot; ++i) {
            SharedAccess& other = cell.accesses[i];
            if (other.thread != fiber.thread || other.clock != fiber.clock) continue;
            other.mask |= mask;
            return;
        }
        ++cell.count;
    }
    cell.accesses[slot] = {mask, static_cast<uint16_t>(fiber.thread), fiber.clock, kRead,
                           static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc))};
}

} // namespace

void check_shared(Fiber& fiber, SharedRegion& region, const void* p, uint32_t bytes, uint32_t kind, const void* pc) {
    Worker& worker = *fiber.worker;
    const size_t offset = static_cast<size_t>(static_cast<const char*>(p) - region.begin);
    if (offset + bytes > region.limit) {
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of %u bytes at offset %zu of %s, which has %zu", access_name(kind), bytes, offset,
                    region_name(region), region.limit);
    }
    size_t first = offset;
    const size_t end = offset + bytes;
    while (first < end) {
        const size_t granule = first / kGranule;
        const size_t last = std::min(end, (granule + 1) * kGranule);
        const auto mask = static_cast<uint16_t>(((1u << (last - first)) - 1u) << (first % kGranule));
        SharedCell& cell = region.cells[granule];
        if (cell.block != worker.block_serial) {
            cell.block = worker.block_serial;
            cell.written = cell.pending = 0;
            cell.count = 0;
        }
        if (cell.generation != worker.generation) {
            cell.generation = worker.generation;
            cell.count = 0;
            cell.any_write = 0;
        }
        if ((cell.pending & mask) != 0) {
            set_current_fiber(&fiber);
            fault_at_pc(pc, "%s of %s+%zu while an asynchronous copy to it is still in flight (missing wait)",
                        access_name(kind), region_name(region), first);
        }
        const bool settled = (cell.pending & mask) == 0 && (cell.written & mask) == mask;
        if (kind == kRead && settled && cell.any_write == 0) {
            remember_reader(fiber, cell, mask, pc);
            first = last;
            continue;
        }
        // A race says more than "never written", which may be its consequence: looked for first.
        SharedAccess* mine = nullptr;
        for (uint32_t i = 0; i < cell.count;) {
            SharedAccess& other = cell.accesses[i];
            if (other.thread == fiber.thread) {
                if (other.kind == kind && other.clock == fiber.clock) mine = &other;
            } else if ((other.mask & mask) != 0 && (kind | other.kind) != kRead && (kind & other.kind & kAtomic) == 0 &&
                       other.clock != 0xffff && !has_seen(fiber, other.thread, other.clock)) {
                report_race(fiber, region, first, kind, other, pc);
            }
            // What comes after a write of the same bytes is checked against that write.
            if (kind == kWrite && (other.mask & ~mask) == 0) {
                mine = nullptr;
                other = cell.accesses[--cell.count];
            } else {
                ++i;
            }
        }
        if (kind != kWrite && (cell.written & mask) != mask) {
            set_current_fiber(&fiber);
            fault_at_pc(pc, "%s of %s+%zu, which this block has not written (yet: a barrier may be missing)",
                        access_name(kind), region_name(region), first);
        }
        if (mine != nullptr) {
            mine->mask |= mask;
        } else {
            uint32_t slot = cell.count;
            if (slot == kSharedSlots)
                slot = static_cast<uint32_t>(next_random(worker) >> 32) % kSharedSlots;
            else
                ++cell.count;
            if (kind != kRead) cell.any_write = 1;
            cell.accesses[slot] = {mask, static_cast<uint16_t>(fiber.thread), fiber.clock, static_cast<uint16_t>(kind),
                                   static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc))};
        }
        if (kind != kRead) {
            cell.written |= mask;
            cell.last_writer = static_cast<uint16_t>(fiber.thread);
            cell.write_time = worker.proxy_fences;
        }
        first = last;
    }
}

void mark_pending(Fiber& fiber, const void* p, uint32_t bytes, bool pending) {
    SharedRegion* region = shared_region(*fiber.worker, p);
    if (region == nullptr) return;
    const size_t offset = static_cast<size_t>(static_cast<const char*>(p) - region->begin);
    const auto mask = static_cast<uint16_t>(((1u << bytes) - 1u) << (offset % kGranule)); // copies never straddle
    SharedCell& cell = region->cells[offset / kGranule];
    cell.pending = static_cast<uint16_t>(pending ? cell.pending | mask : cell.pending & ~mask);
}

void record_engine_write(Worker& worker, const void* p, uint32_t bytes, uint16_t engine_clock, const void* pc) {
    SharedRegion& region = *shared_region(worker, p);
    const size_t offset = static_cast<size_t>(static_cast<const char*>(p) - region.begin);
    const auto mask = static_cast<uint16_t>(((1u << bytes) - 1u) << (offset % kGranule));
    SharedCell& cell = region.cells[offset / kGranule];
    cell.block = worker.block_serial;
    cell.generation = worker.generation;
    cell.pending = static_cast<uint16_t>(cell.pending & ~mask);
    cell.written = static_cast<uint16_t>(cell.written | mask);
    cell.last_writer = kCopyEngine;
    cell.any_write = 1;
    cell.count = 1;
    cell.accesses[0] = {mask, kCopyEngine, engine_clock, kWrite,
                        static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc))};
}

bool visible_to_async(const Fiber& fiber, const void* p) {
    Worker& worker = *fiber.worker;
    const SharedRegion& region = *shared_region(worker, p);
    const SharedCell& cell = region.cells[static_cast<size_t>(static_cast<const char*>(p) - region.begin) / kGranule];
    if (cell.last_writer == kCopyEngine || cell.written == 0) return true;
    return worker.fibers[cell.last_writer].proxy_fence_time > cell.write_time ||
           fiber.proxy_fence_time > cell.write_time;
}

} // namespace simt
