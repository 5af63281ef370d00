// The compiler's thread-sanitizer hooks: every load and store of a kernel comes through here before it happens.
#include "execution.h"

namespace simt {

void check_access(Fiber&, const void*, uint32_t, uint32_t, const void*) {}
void begin_block_memory(Worker&) {}
void on_thread_exit(Fiber&) {}
void on_block_barrier(Worker&) {}
void on_warp_sync(Worker&, uint32_t, uint32_t) {}

namespace detail {
void atomic_access(const void*, unsigned) {}
void thread_fence(int) {}
void count_special() noexcept {}
} // namespace detail

namespace {

inline __attribute__((always_inline)) void touch(const void* p, uint32_t bytes, uint32_t kind, const void* pc) {
    Fiber* fiber = current_fiber();
    if (fiber == nullptr) return;
    if (static_cast<size_t>(static_cast<const char*>(p) - fiber->stack) < kStackBytes) return;
    Worker& worker = *fiber->worker;
    if (worker.until_preemption != 0 && --worker.until_preemption == 0) {
        worker.until_preemption = 1 + static_cast<uint32_t>(next_random(worker) >> 58);
        maybe_yield(*fiber);
    }
    check_access(*fiber, p, bytes, kind, pc);
}

} // namespace

} // namespace simt

#define SIMT_HOOK extern "C" __attribute__((visibility("default"))) void
#define SIMT_ACCESS_HOOKS(bytes)                                                                                       \
    SIMT_HOOK __tsan_read##bytes(void* p) { simt::touch(p, bytes, simt::kRead, __builtin_return_address(0)); }         \
    SIMT_HOOK __tsan_write##bytes(void* p) { simt::touch(p, bytes, simt::kWrite, __builtin_return_address(0)); }       \
    SIMT_HOOK __tsan_unaligned_read##bytes(void* p) { simt::touch(p, bytes, simt::kRead, __builtin_return_address(0)); } \
    SIMT_HOOK __tsan_unaligned_write##bytes(void* p) { simt::touch(p, bytes, simt::kWrite, __builtin_return_address(0)); } \
    SIMT_HOOK __tsan_volatile_read##bytes(void* p) { simt::touch(p, bytes, simt::kRead, __builtin_return_address(0)); } \
    SIMT_HOOK __tsan_volatile_write##bytes(void* p) { simt::touch(p, bytes, simt::kWrite, __builtin_return_address(0)); }
SIMT_ACCESS_HOOKS(1)
SIMT_ACCESS_HOOKS(2)
SIMT_ACCESS_HOOKS(4)
SIMT_ACCESS_HOOKS(8)
SIMT_ACCESS_HOOKS(16)
SIMT_HOOK __tsan_read_range(void* p, size_t bytes) { simt::touch(p, static_cast<uint32_t>(bytes), simt::kRead, __builtin_return_address(0)); }
SIMT_HOOK __tsan_write_range(void* p, size_t bytes) { simt::touch(p, static_cast<uint32_t>(bytes), simt::kWrite, __builtin_return_address(0)); }
SIMT_HOOK __tsan_init() {}
SIMT_HOOK __tsan_func_entry(void*) {}
SIMT_HOOK __tsan_func_exit() {}
SIMT_HOOK __tsan_vptr_update(void*, void*) {}
SIMT_HOOK __tsan_vptr_read(void*) {}

// Host code beside the kernels may use atomics and guarded statics; they work as without the sanitizer.
#define SIMT_ATOMIC_HOOKS(bits, type)                                                                                  \
    extern "C" type __tsan_atomic##bits##_load(const volatile type* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
    SIMT_HOOK __tsan_atomic##bits##_store(volatile type* p, type value, int) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_exchange(volatile type* p, type value, int) { return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_fetch_add(volatile type* p, type value, int) { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_fetch_sub(volatile type* p, type value, int) { return __atomic_fetch_sub(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_fetch_and(volatile type* p, type value, int) { return __atomic_fetch_and(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_fetch_or(volatile type* p, type value, int) { return __atomic_fetch_or(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" type __tsan_atomic##bits##_fetch_xor(volatile type* p, type value, int) { return __atomic_fetch_xor(p, value, __ATOMIC_SEQ_CST); } \
    extern "C" int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type value, int, int) { \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);             \
    }                                                                                                                  \
    extern "C" int __tsan_atomic##bits##_compare_exchange_weak(volatile type* p, type* expected, type value, int, int) { \
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
