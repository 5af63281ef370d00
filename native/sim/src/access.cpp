// The compiler's thread-sanitizer hooks: every load and store of a kernel comes through here before it happens.
#include "execution.h"
#include "memory.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace simt {

namespace {

SharedCell* map_cells(size_t bytes) {
    const size_t size = (bytes / kGranule + 2) * sizeof(SharedCell);
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return static_cast<SharedCell*>(p);
}

struct ModuleSearch {
    const char* address;
    const char* begin = nullptr;
    const char* end = nullptr;
    const char* tls_begin = nullptr;
    size_t tls_bytes = 0;
};

// Finds the module that holds the address, in its code and data or in its thread-local segment of this thread.
int look_at_module(dl_phdr_info* info, size_t, void* data) {
    auto* search = static_cast<ModuleSearch*>(data);
    const char *begin = nullptr, *end = nullptr, *tls = nullptr;
    size_t tls_bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const auto& header = info->dlpi_phdr[i];
        if (header.p_type == PT_LOAD) {
            const char* start = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
            if (begin == nullptr || start < begin) begin = start;
            if (end == nullptr || start + header.p_memsz > end) end = start + header.p_memsz;
        } else if (header.p_type == PT_TLS) {
            tls = static_cast<const char*>(info->dlpi_tls_data);
            tls_bytes = header.p_memsz;
        }
    }
    const bool inside = search->address >= begin && search->address < end;
    const bool inside_tls = tls != nullptr && search->address >= tls && search->address < tls + tls_bytes;
    if (!inside && !inside_tls) return 0;
    search->begin = begin;
    search->end = end;
    search->tls_begin = inside_tls ? tls : nullptr;
    search->tls_bytes = tls_bytes;
    return 1;
}

// What is none of the usual: another thread's stack, the module's constants, host memory.
void check_unusual(Fiber& fiber, const void* p, uint32_t bytes, uint32_t kind, const void* pc) {
    Worker& worker = *fiber.worker;
    const char* address = static_cast<const char*>(p);
    const char* stacks = worker.fibers[0].stack;
    if (address >= stacks && address < stacks + kMaxThreads * stack_stride()) {
        const auto owner = static_cast<uint32_t>(static_cast<size_t>(address - stacks) / stack_stride());
        if (owner == fiber.thread) return;
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of a local variable of thread %s", access_name(kind), thread_name(worker, owner).c_str());
    }
    if (address >= worker.module_begin && address < worker.module_end) {
        if (kind == kRead) return;
        set_current_fiber(&fiber);
        fault_at_pc(pc, "%s of a constant or a variable of the program", access_name(kind));
    }
    check_global(fiber, p, bytes, kind, pc);
}

} // namespace

const char* access_name(uint32_t kind) {
    return kind == kRead ? "read" : kind == kWrite ? "write" : "atomic operation";
}

const void* whole_pc(uint32_t low, const void* near) {
    const auto here = reinterpret_cast<uintptr_t>(near);
    uintptr_t there = (here & ~uintptr_t{0xffffffff}) | low;
    if (there > here && there - here > 0x80000000u) there -= uintptr_t{1} << 32;
    if (here > there && here - there > 0x80000000u) there += uintptr_t{1} << 32;
    return reinterpret_cast<const void*>(there);
}

SharedRegion* shared_region(Worker& worker, const void* p) {
    const auto inside = [p](const SharedRegion& region) {
        return static_cast<size_t>(static_cast<const char*>(p) - region.begin) < region.bytes;
    };
    if (inside(worker.window_region)) return &worker.window_region;
    for (SharedRegion& region : worker.static_regions)
        if (inside(region)) return &region;
    if (in_arena(p)) return nullptr;
    // A module's thread-local segment that this worker has not met yet.
    const HostScope host;
    ModuleSearch search{static_cast<const char*>(p)};
    dl_iterate_phdr(look_at_module, &search);
    if (search.tls_begin == nullptr) return nullptr;
    worker.static_regions.push_back(
        {search.tls_begin, search.tls_bytes, search.tls_bytes, map_cells(search.tls_bytes), false});
    return &worker.static_regions.back();
}

void check_access(Fiber& fiber, const void* p, uint32_t bytes, uint32_t kind, const void* pc) {
    Worker& worker = *fiber.worker;
    if (static_cast<size_t>(static_cast<const char*>(p) - worker.window) < kWindowBytes) {
        check_shared(fiber, worker.window_region, p, bytes, kind, pc);
        return;
    }
    if (in_arena(p)) {
        check_global(fiber, p, bytes, kind, pc);
        return;
    }
    if (SharedRegion* region = shared_region(worker, p))
        check_shared(fiber, *region, p, bytes, kind, pc);
    else
        check_unusual(fiber, p, bytes, kind, pc);
}

void begin_launch_memory(Worker& worker) {
    ++worker.generation;
    worker.launch_generation = worker.generation;
    if (worker.window_region.cells == nullptr)
        worker.window_region = {worker.window, kWindowBytes, 0, map_cells(kWindowBytes), true};
    worker.window_region.limit = worker.launch->request.shared_bytes;
    ModuleSearch search{static_cast<const char*>(worker.launch->request.kernel)};
    if (search.address < worker.module_begin || search.address >= worker.module_end) {
        dl_iterate_phdr(look_at_module, &search);
        worker.module_begin = search.begin;
        worker.module_end = search.end;
    }
}

void begin_block_memory(Worker& worker) {
    ++worker.block_serial;
    ++worker.generation;
    worker.block_generation = worker.generation;
    for (uint32_t i = 0; i < worker.threads; ++i) {
        Fiber& fiber = worker.fibers[i];
        fiber.clock = 1;
        fiber.view = nullptr;
        fiber.fence_generation = 0;
        fiber.proxy_fence_time = 0;
        fiber.count_epoch = 0;
    }
    worker.fenced_threads.clear();
    worker.seen.acquired.clear();
    worker.seen.index.clear();
    worker.seen.indexed = false;
    begin_block_async(worker);
}

void on_thread_exit(Fiber& fiber) {
    on_warp_exit_async(fiber);
    if (!fiber.copies.empty())
        fault_at_pc(fiber.copies[0].pc,
                    "a thread returns with %zu asynchronous copies it never waited for; the first began",
                    fiber.copies.size());
}

namespace {

// Another thread may be let in before an access: at random, or because the launch has been ended meanwhile.
__attribute__((noinline)) void pause(Fiber& fiber, const void* pc) {
    Worker& worker = *fiber.worker;
    if (worker.launch->aborted.load(std::memory_order_relaxed)) leave_launch(worker);
    if (worker.launch->overdue.load(std::memory_order_relaxed))
        fault_at_pc(pc, "has not ended in time; a thread still runs");
    if (worker.launch->schedule != Schedule::random) {
        worker.until_pause = 4096;
        return;
    }
    worker.until_pause = 1 + static_cast<uint32_t>(next_random(worker) >> 58);
    if ((next_random(worker) >> 60) == 0) run_async_work(worker);
    maybe_yield(fiber);
}

template <bool kAligned>
inline __attribute__((always_inline)) void touch(const void* p, uint32_t bytes, uint32_t kind, const void* pc) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return; // host code beside the kernels
    if (static_cast<size_t>(static_cast<const char*>(p) - fiber->stack) < kStackBytes) return;
    if (--fiber->worker->until_pause == 0) pause(*fiber, pc);
    if (kAligned && (reinterpret_cast<uintptr_t>(p) & (bytes - 1)) != 0)
        fault_at_pc(pc, "misaligned %s of %u bytes at %p", access_name(kind), bytes, p);
    check_access(*fiber, p, bytes, kind, pc);
    if (fiber->worker->counters != nullptr) count_access(*fiber, p, bytes, kind != kRead, pc);
}

} // namespace

} // namespace simt

#define SIMT_HOOK extern "C" __attribute__((visibility("default"))) void
#define SIMT_ACCESS_HOOKS(bytes)                                                                                       \
    SIMT_HOOK __tsan_read##bytes(void* p) {                                                                            \
        simt::touch<true>(p, bytes, simt::kRead, __builtin_return_address(0));                                         \
    }                                                                                                                  \
    SIMT_HOOK __tsan_write##bytes(void* p) {                                                                           \
        simt::touch<true>(p, bytes, simt::kWrite, __builtin_return_address(0));                                        \
    }                                                                                                                  \
    SIMT_HOOK __tsan_unaligned_read##bytes(void* p) {                                                                  \
        simt::touch<false>(p, bytes, simt::kRead, __builtin_return_address(0));                                        \
    }                                                                                                                  \
    SIMT_HOOK __tsan_unaligned_write##bytes(void* p) {                                                                 \
        simt::touch<false>(p, bytes, simt::kWrite, __builtin_return_address(0));                                       \
    }                                                                                                                  \
    SIMT_HOOK __tsan_volatile_read##bytes(void* p) {                                                                   \
        simt::touch<true>(p, bytes, simt::kRead, __builtin_return_address(0));                                         \
    }                                                                                                                  \
    SIMT_HOOK __tsan_volatile_write##bytes(void* p) {                                                                  \
        simt::touch<true>(p, bytes, simt::kWrite, __builtin_return_address(0));                                        \
    }
SIMT_ACCESS_HOOKS(1)
SIMT_ACCESS_HOOKS(2)
SIMT_ACCESS_HOOKS(4)
SIMT_ACCESS_HOOKS(8)
SIMT_ACCESS_HOOKS(16)
SIMT_HOOK __tsan_read_range(void* p, size_t bytes) {
    simt::touch<false>(p, static_cast<uint32_t>(bytes), simt::kRead, __builtin_return_address(0));
}
SIMT_HOOK __tsan_write_range(void* p, size_t bytes) {
    simt::touch<false>(p, static_cast<uint32_t>(bytes), simt::kWrite, __builtin_return_address(0));
}
SIMT_HOOK __tsan_init() {}
SIMT_HOOK __tsan_func_entry(void*) {}
SIMT_HOOK __tsan_func_exit() {}
SIMT_HOOK __tsan_vptr_update(void*, void*) {}
SIMT_HOOK __tsan_vptr_read(void*) {}

// Host code beside the kernels may use atomics and guarded statics; they work as without the sanitizer.
#define SIMT_ATOMIC_HOOKS(bits, type)                                                                                  \
    extern "C" type __tsan_atomic##bits##_load(const volatile type* p, int) {                                          \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                   \
    }                                                                                                                  \
    SIMT_HOOK __tsan_atomic##bits##_store(volatile type* p, type value, int) {                                         \
        __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                                  \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_exchange(volatile type* p, type value, int) {                                \
        return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                                        \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_fetch_add(volatile type* p, type value, int) {                               \
        return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_fetch_sub(volatile type* p, type value, int) {                               \
        return __atomic_fetch_sub(p, value, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_fetch_and(volatile type* p, type value, int) {                               \
        return __atomic_fetch_and(p, value, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_fetch_or(volatile type* p, type value, int) {                                \
        return __atomic_fetch_or(p, value, __ATOMIC_SEQ_CST);                                                          \
    }                                                                                                                  \
    extern "C" type __tsan_atomic##bits##_fetch_xor(volatile type* p, type value, int) {                               \
        return __atomic_fetch_xor(p, value, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                  \
    extern "C" int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type value, int,    \
                                                                 int) {                                                \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);             \
    }                                                                                                                  \
    extern "C" int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type value, int,      \
                                                               int) {                                                  \
        return __atomic_compare_exchange_n(p, expected, value, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
    }
SIMT_ATOMIC_HOOKS(8, uint8_t)
SIMT_ATOMIC_HOOKS(16, uint16_t)
SIMT_ATOMIC_HOOKS(32, uint32_t)
SIMT_ATOMIC_HOOKS(64, uint64_t)

// -fsanitize=bounds: an index past an array of known size.
SIMT_HOOK __ubsan_handle_out_of_bounds(void*, unsigned long index) {
    if (simt::current_fiber() == nullptr) std::abort();
    simt::fault_at_pc(__builtin_return_address(0), "index %ld is outside its array", static_cast<long>(index));
}
SIMT_HOOK __ubsan_handle_out_of_bounds_abort(void* data, unsigned long index) {
    __ubsan_handle_out_of_bounds(data, index);
}
