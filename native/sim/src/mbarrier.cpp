// mbarriers and named barriers: who arrives releases what it has done, who passes acquires it.
#include <algorithm>
#include <cstring>

#include "async.h"

namespace simt {

void ReleasedClocks::clear(const Worker& worker) {
    clocks.assign(kClocks, 0);
    generation = worker.generation;
}

void ReleasedClocks::release(Fiber& fiber) {
    const Worker& worker = *fiber.worker;
    if (clocks.empty() || generation != worker.generation) clear(worker);
    if (fiber.view != nullptr)
        for (uint32_t i = 0; i < kClocks; ++i) clocks[i] = std::max(clocks[i], fiber.view[i]);
    clocks[fiber.thread] = std::max(clocks[fiber.thread], fiber.clock);
    advance_clock(fiber);
}

void ReleasedClocks::release_engine(Worker& worker, uint16_t clock) {
    if (clocks.empty() || generation != worker.generation) clear(worker);
    clocks[kCopyEngine] = std::max(clocks[kCopyEngine], clock);
}

void ReleasedClocks::acquire(Fiber& fiber) const {
    if (clocks.empty() || generation != fiber.worker->generation) return; // an older generation is ordered anyway
    uint16_t* view = own_view(fiber);
    for (uint32_t i = 0; i < kClocks; ++i) view[i] = std::max(view[i], clocks[i]);
}

AsyncState& async_state(Worker& worker) {
    if (worker.async == nullptr) worker.async = new AsyncState;
    worker.async->used = true;
    return *worker.async;
}

void begin_block_async(Worker& worker) {
    if (worker.async == nullptr || !worker.async->used) return;
    delete worker.async;
    worker.async = nullptr;
}

void check_block_async_at_end(Worker& worker) {
    if (worker.async == nullptr || worker.async->copies.empty()) return;
    fault_at(worker.async->copies.front().where, "the block ends with %zu bulk copies in flight",
             worker.async->copies.size());
}

namespace {

Mbarrier& find_barrier(Fiber& fiber, uint64_t* barrier, Where where) {
    AsyncState& state = async_state(*fiber.worker);
    const auto entry = state.mbarriers.find(barrier);
    if (entry == state.mbarriers.end()) {
        set_current_fiber(&fiber);
        fault_at(where, "an mbarrier is used that has not been initialised");
    }
    return entry->second;
}

void end_phase_if_complete(Worker& worker, Mbarrier& b) {
    if (b.arrived != b.count || b.bytes_to_come != 0) return;
    b.arrived = 0;
    ++b.phase;
    // The phase's clocks join those of the phases before.
    if (!b.arriving.clocks.empty() && b.arriving.generation == worker.generation) {
        if (b.ended.clocks.empty() || b.ended.generation != worker.generation) b.ended.clear(worker);
        for (uint32_t i = 0; i < kClocks; ++i) b.ended.clocks[i] = std::max(b.ended.clocks[i], b.arriving.clocks[i]);
        b.arriving.clear(worker);
    }
    for (Fiber* waiter : b.waiters) make_runnable(*waiter);
    b.waiters.clear();
}

// Using an mbarrier is like an atomic operation on it: it must not race with its initialisation.
void touch_barrier(Fiber& fiber, uint64_t* barrier, uint32_t kind, const void* pc, Where where) {
    if ((reinterpret_cast<uintptr_t>(barrier) & 7) != 0 || shared_region(*fiber.worker, barrier) == nullptr)
        fault_at(where, "an mbarrier at %p, expected 8 aligned bytes of shared memory", static_cast<void*>(barrier));
    check_access(fiber, barrier, 8, kind, pc);
}

} // namespace

void complete_bytes(Worker& worker, uint64_t* barrier, uint32_t bytes, uint16_t engine_clock) {
    Mbarrier& b = async_state(worker).mbarriers[barrier];
    b.bytes_to_come -= bytes;
    b.arriving.release_engine(worker, engine_clock);
    end_phase_if_complete(worker, b);
}

namespace detail {

void mbarrier_init(uint64_t* barrier, uint32_t count, Where where) {
    Fiber& fiber = *current_fiber();
    touch_barrier(fiber, barrier, kWrite, __builtin_return_address(0), where);
    if (count == 0) fault_at(where, "an mbarrier of 0 arrivals");
    const HostScope host;
    AsyncState& state = async_state(*fiber.worker);
    const auto [entry, fresh] = state.mbarriers.try_emplace(barrier);
    if (!fresh) {
        set_current_fiber(&fiber);
        fault_at(where, "an mbarrier is initialised again");
    }
    entry->second.count = count;
}

void mbarrier_arrive(uint64_t* barrier, uint32_t count, uint32_t expected_bytes, bool arrive, Where where) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    touch_barrier(fiber, barrier, kAtomic, __builtin_return_address(0), where);
    {
        const HostScope host;
        Mbarrier& b = find_barrier(fiber, barrier, where);
        b.bytes_to_come += expected_bytes;
        if (arrive) {
            if (b.arrived + count > b.count) {
                set_current_fiber(&fiber);
                fault_at(where, "more arrivals at an mbarrier than the %u it was initialised with", b.count);
            }
            b.arriving.release(fiber);
            b.arrived += count;
        }
        end_phase_if_complete(worker, b);
    }
    maybe_yield(fiber);
}

bool mbarrier_test(uint64_t* barrier, uint32_t parity, Where where) {
    Fiber& fiber = *current_fiber();
    touch_barrier(fiber, barrier, kAtomic, __builtin_return_address(0), where);
    const HostScope host;
    Mbarrier& b = find_barrier(fiber, barrier, where);
    if ((b.phase & 1) == (parity & 1)) return false;
    b.ended.acquire(fiber);
    return true;
}

void mbarrier_wait(uint64_t* barrier, uint32_t parity, Where where) {
    Fiber& fiber = *current_fiber();
    touch_barrier(fiber, barrier, kAtomic, __builtin_return_address(0), where);
    while (true) {
        {
            const HostScope host;
            Mbarrier& b = find_barrier(fiber, barrier, where);
            if ((b.phase & 1) != (parity & 1)) {
                b.ended.acquire(fiber);
                return;
            }
            b.waiters.push_back(&fiber);
            make_waiting(fiber, Waiting::mbarrier, where);
        }
        park(fiber);
    }
}

void fence_proxy_async() {
    Fiber& fiber = *current_fiber();
    fiber.proxy_fence_time = ++fiber.worker->proxy_fences;
}

void named_barrier(int id, int threads, bool wait, Where where) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    if (id < 0 || id > 15 || threads <= 0 || threads % 32 != 0)
        fault_at(where, "named barrier %d of %d threads, expected 0 to 15 and a multiple of 32", id, threads);
    bool complete = false;
    {
        const HostScope host;
        NamedBarrier& b = async_state(worker).named[id];
        if (b.arrived != 0 && b.threads != threads) {
            set_current_fiber(&fiber);
            fault_at(where, "named barrier %d for %d threads, while others wait there for %d", id, threads, b.threads);
        }
        b.threads = threads;
        b.arriving.release(fiber);
        ++b.arrived;
        complete = b.arrived == threads;
        if (complete) {
            for (Fiber* waiter : b.waiters) {
                b.arriving.acquire(*waiter);
                make_runnable(*waiter);
            }
            if (wait) b.arriving.acquire(fiber);
            b.waiters.clear();
            b.arrived = 0;
            b.arriving.clear(worker);
        } else if (wait) {
            b.waiters.push_back(&fiber);
            make_waiting(fiber, Waiting::named_barrier, where);
        }
    }
    if (wait && !complete)
        park(fiber);
    else
        maybe_yield(fiber);
}

} // namespace detail

} // namespace simt
