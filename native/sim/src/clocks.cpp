// Who has synchronised with whom (shadow.h explains generations, clocks and views).
#include <algorithm>
#include <cstring>

#include "execution.h"

namespace simt {

namespace {

void join(uint16_t* into, const uint16_t* from, uint32_t threads) {
    for (uint32_t i = 0; i < threads; ++i) into[i] = std::max(into[i], from[i]);
    into[kCopyEngine] = std::max(into[kCopyEngine], from[kCopyEngine]);
}

// The row that the lanes of a warp share while they always synchronise together.
uint16_t* warp_view(Worker& worker, uint32_t warp) {
    std::vector<uint16_t>& row = worker.warp_views[warp];
    if (row.empty()) row.resize(kClocks);
    if (worker.warp_view_generation[warp] != worker.generation) {
        std::fill(row.begin(), row.end(), uint16_t{0});
        worker.warp_view_generation[warp] = worker.generation;
    }
    return row.data();
}

// Adds to `known` what the history's first `count` entries had published, and what they had seen.
void index_history(SeenBlocks& seen, const AtomicHistory& history, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const Published& published = history.published[i];
        std::vector<const Published*>& known =
            seen.index[static_cast<uint64_t>(published.worker) << 32 | published.first_generation];
        if (std::find(known.begin(), known.end(), &published) != known.end()) continue;
        known.push_back(&published);
        for (const auto& [other, size] : published.acquired)
            if (other != &history) index_history(seen, *other, size);
    }
}

uint32_t relative_generation(const Worker& worker, uint32_t generation) {
    return std::min(generation - worker.launch_generation, kGenerationLimit);
}

} // namespace

uint16_t* own_view(Fiber& fiber) {
    if (fiber.own_view.empty()) fiber.own_view.resize(kClocks);
    uint16_t* own = fiber.own_view.data();
    if (fiber.view == own) return own;
    if (fiber.view == nullptr)
        std::fill(fiber.own_view.begin(), fiber.own_view.end(), uint16_t{0});
    else
        std::memcpy(own, fiber.view, kClocks * sizeof(uint16_t));
    return fiber.view = own;
}

// A clock that has come to its end stays there; records with it are taken as ordered.
void advance_clock(Fiber& fiber) {
    if (fiber.clock != 0xffff) ++fiber.clock;
}

void on_warp_sync(Worker& worker, uint32_t warp, uint32_t lanes) {
    Fiber* fibers = worker.fibers + warp * 32;
    uint16_t* row = warp_view(worker, warp);
    const uint32_t threads = worker.threads;
    if (lanes == static_cast<uint32_t>(~worker.finished[warp])) {
        for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
            Fiber& fiber = fibers[__builtin_ctz(rest)];
            if (fiber.view != nullptr && fiber.view != row) join(row, fiber.view, threads);
        }
        for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
            Fiber& fiber = fibers[__builtin_ctz(rest)];
            row[fiber.thread] = fiber.clock;
            advance_clock(fiber);
            fiber.view = row;
        }
        return;
    }
    uint16_t joined[kClocks] = {};
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        Fiber& fiber = fibers[__builtin_ctz(rest)];
        if (fiber.view != nullptr) join(joined, fiber.view, threads);
        joined[fiber.thread] = std::max(joined[fiber.thread], fiber.clock);
    }
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        Fiber& fiber = fibers[__builtin_ctz(rest)];
        std::memcpy(own_view(fiber), joined, sizeof joined);
        advance_clock(fiber);
    }
}

void on_block_barrier(Worker& worker) {
    ++worker.generation;
    for (uint32_t i = 0; i < worker.threads; ++i) {
        worker.fibers[i].clock = 1;
        worker.fibers[i].view = nullptr;
    }
}

bool block_was_seen(Worker& worker, const GlobalAccess& access) {
    SeenBlocks& seen = worker.seen;
    if (seen.acquired.empty()) return false;
    const HostScope host;
    const std::lock_guard lock(worker.launch->block_order.mutex);
    if (!seen.indexed) {
        for (const auto& [history, count] : seen.acquired) index_history(seen, *history, count);
        seen.indexed = true;
    }
    // The block is the last of its worker that began at or before the record's generation.
    auto next = seen.index.upper_bound(static_cast<uint64_t>(access.worker) << 32 | access.generation);
    if (next == seen.index.begin()) return false;
    const auto& [key, known] = *std::prev(next);
    if (key >> 32 != access.worker) return false;
    for (const Published* published : known) {
        if (access.generation < published->before_generation) return true;
        for (const Published::Mark& mark : published->marks)
            if (mark.thread == access.thread && (access.generation < mark.generation ||
                                                 (access.generation == mark.generation && access.clock <= mark.clock)))
                return true;
    }
    return false;
}

namespace detail {

void thread_fence(int scope) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    if (scope == 0) return;
    const HostScope host;
    worker.launch->fences_used.store(true, std::memory_order_relaxed);
    if (fiber.fence_generation == 0) worker.fenced_threads.push_back(fiber.thread);
    fiber.fence_generation = worker.generation;
    fiber.fence_clock = fiber.clock;
    advance_clock(fiber);
}

void atomic_access(const void* p, unsigned size) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    const void* pc = __builtin_return_address(0);
    maybe_yield(fiber);
    check_access(fiber, p, size, kAtomic, pc);
    count_access(fiber, p, size, true, pc);
    Launch& launch = *worker.launch;
    if (!launch.fences_used.load(std::memory_order_relaxed) || shared_region(worker, p) != nullptr) return;
    {
        const HostScope host;
        const std::lock_guard lock(launch.block_order.mutex);
        AtomicHistory& history = launch.block_order.histories[p];
        // Acquire: what others published at this address before.
        auto known = std::find_if(worker.seen.acquired.begin(), worker.seen.acquired.end(),
                                  [&](const auto& entry) { return entry.first == &history; });
        if (known == worker.seen.acquired.end())
            worker.seen.acquired.emplace_back(&history, history.published.size());
        else
            known->second = history.published.size();
        worker.seen.indexed = false;
        worker.seen.index.clear();
        // Release: what this block had done before the thread's fence, and other threads before theirs when a barrier
        // lies between their fence and this.
        if (fiber.fence_generation != 0) {
            Published published{static_cast<uint32_t>(worker.number),
                                relative_generation(worker, worker.block_generation),
                                relative_generation(worker, fiber.fence_generation),
                                {},
                                worker.seen.acquired};
            published.marks.push_back({fiber.thread, relative_generation(worker, worker.generation),
                                       std::min<uint32_t>(fiber.clock, kClockLimit)});
            for (const uint32_t thread : worker.fenced_threads) {
                const Fiber& other = worker.fibers[thread];
                if (thread != fiber.thread && other.fence_generation < worker.generation)
                    published.marks.push_back({thread, relative_generation(worker, other.fence_generation),
                                               std::min<uint32_t>(other.fence_clock, kClockLimit)});
            }
            history.published.push_back(std::move(published));
        }
    }
    advance_clock(fiber);
}

} // namespace detail

} // namespace simt
