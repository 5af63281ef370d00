// Running a block: which of its threads goes on, and what ends it.
#include "execution.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

namespace simt {

constinit thread_local Fiber* tls_current_fiber = nullptr;

namespace {

uint32_t bits_above(uint32_t bit) {
    return bit >= 31 ? 0u : ~0u << (bit + 1);
}
uint32_t bits_below(uint32_t bit) {
    return (1u << bit) - 1u;
}
uint32_t lowest(uint32_t mask) {
    return static_cast<uint32_t>(__builtin_ctz(mask));
}
uint32_t highest(uint32_t mask) {
    return 31u - static_cast<uint32_t>(__builtin_clz(mask));
}
uint32_t random_bit(uint32_t mask, uint64_t random) {
    uint32_t skip = static_cast<uint32_t>(random % static_cast<uint32_t>(__builtin_popcount(mask)));
    while (skip-- > 0) mask &= mask - 1;
    return lowest(mask);
}

// The next after `from` in cyclic order, up or down.
uint32_t next_up(uint32_t mask, uint32_t from) {
    const uint32_t above = mask & bits_above(from);
    return lowest(above ? above : mask);
}
uint32_t next_down(uint32_t mask, uint32_t from) {
    const uint32_t below = mask & bits_below(from);
    return highest(below ? below : mask);
}

// A warp is run until its lanes wait, then the next warp; random takes any.
Fiber* choose(Worker& worker, uint32_t warp, uint32_t lane) {
    if (worker.runnable_warps == 0) return nullptr;
    switch (worker.launch->schedule) {
    case Schedule::ordered:
        if (worker.runnable[warp] != 0) {
            lane = next_up(worker.runnable[warp], lane);
        } else {
            warp = next_up(worker.runnable_warps, warp);
            lane = lowest(worker.runnable[warp]);
        }
        break;
    case Schedule::reversed:
        if (worker.runnable[warp] != 0) {
            lane = next_down(worker.runnable[warp], lane);
        } else {
            warp = next_down(worker.runnable_warps, warp);
            lane = highest(worker.runnable[warp]);
        }
        break;
    case Schedule::random:
        warp = random_bit(worker.runnable_warps, next_random(worker) >> 32);
        lane = random_bit(worker.runnable[warp], next_random(worker) >> 32);
        break;
    }
    return &worker.fibers[warp * 32 + lane];
}

// Nobody can run and somebody waits: says for what.
[[noreturn]] void deadlock(Worker& worker) {
    char text[1000];
    int length = std::snprintf(text, sizeof text, "deadlock:");
    const auto room = [&] { return sizeof text - static_cast<size_t>(length); };
    uint32_t listed = 0;
    for (uint32_t first = 0; first < worker.threads && listed < 4;) {
        const Fiber& fiber = worker.fibers[first];
        uint32_t last = first;
        while (last + 1 < worker.threads && worker.fibers[last + 1].waiting == fiber.waiting &&
               worker.fibers[last + 1].waits_at.line() == fiber.waits_at.line())
            ++last;
        if (fiber.waiting != Waiting::finished) {
            const char* what = fiber.waiting == Waiting::warp            ? "a warp-wide operation"
                               : fiber.waiting == Waiting::block_barrier ? "__syncthreads"
                               : fiber.waiting == Waiting::named_barrier ? "a named barrier"
                                                                         : "an mbarrier";
            length +=
                std::snprintf(text + length, room(), "%s threads %u to %u wait in %s at %.150s:%u", listed++ ? ";" : "",
                              first, last, what, fiber.waits_at.file_name(), fiber.waits_at.line());
        }
        first = last + 1;
    }
    if (worker.alive < worker.threads)
        std::snprintf(text + length, room(), "; %u threads have returned", worker.threads - worker.alive);
    fault_at(Where(), "%s", text);
}

void run_next(Worker& worker, Fiber& from) {
    Fiber* next = choose(worker, from.warp, from.lane);
    while (next == nullptr && run_async_work(worker)) next = choose(worker, from.warp, from.lane);
    if (next == nullptr) deadlock(worker);
    if (next == &from) return;
    tls_current_fiber = next;
    simt_switch_stack(&from.stack_pointer, next->stack_pointer);
    if (worker.launch->aborted.load(std::memory_order_relaxed)) leave_launch(worker);
}

void finish_thread(Fiber& fiber) {
    Worker& worker = *fiber.worker;
    on_thread_exit(fiber);
    fiber.waiting = Waiting::finished;
    worker.runnable[fiber.warp] &= ~(1u << fiber.lane);
    if (worker.runnable[fiber.warp] == 0) worker.runnable_warps &= ~(1u << fiber.warp);
    worker.finished[fiber.warp] |= 1u << fiber.lane;
    --worker.alive;
    if (worker.alive == 0) {
        check_block_async_at_end(worker);
        leave_launch(worker);
    }
    complete_warp_calls(worker, fiber.warp);
    complete_barrier_if_all_arrived(worker);
    run_next(worker, fiber);
    std::abort(); // a finished thread is never chosen
}

void fiber_entry() {
    Fiber& fiber = *tls_current_fiber;
    const LaunchRequest& request = fiber.worker->launch->request;
    request.invoke(request);
    finish_thread(fiber);
}

void run_block(Worker& worker, uint64_t number) {
    Launch& launch = *worker.launch;
    const dim3 grid = launch.request.grid, block = launch.request.block;
    worker.block_number = number;
    worker.block = {static_cast<uint32_t>(number % grid.x), static_cast<uint32_t>(number / grid.x % grid.y),
                    static_cast<uint32_t>(number / grid.x / grid.y)};
    worker.threads = worker.alive = launch.threads;
    worker.warps = (launch.threads + 31) / 32;
    worker.runnable_warps = worker.warps == 32 ? ~0u : (1u << worker.warps) - 1u;
    worker.at_barrier = 0;
    worker.random = (launch.seed + 1) * 0x9e3779b97f4a7c15u ^ (number + 1) * 0xbf58476d1ce4e5b9u;
    if (worker.random == 0) worker.random = 1;
    worker.until_pause = launch.schedule == Schedule::random ? 16 : 4096;
    for (uint32_t warp = 0; warp < worker.warps; ++warp) {
        const uint32_t lanes = std::min(32u, launch.threads - warp * 32);
        worker.runnable[warp] = lanes == 32 ? ~0u : (1u << lanes) - 1u;
        worker.finished[warp] = ~worker.runnable[warp];
        worker.in_call[warp] = 0;
    }
    for (uint32_t thread = 0; thread < launch.threads; ++thread) {
        Fiber& fiber = worker.fibers[thread];
        fiber.index = {thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
        fiber.waiting = Waiting::nothing;
        fiber.call = nullptr;
        fiber.copies.clear();
        fiber.committed_groups.clear();
        fiber.uncommitted = 0;
        fiber.stack_pointer = prepare_stack(fiber.stack, (thread * 192) % 4096, fiber_entry);
    }
    begin_block_memory(worker);
    Fiber* first = launch.schedule == Schedule::reversed ? &worker.fibers[launch.threads - 1] : choose(worker, 0, 31);
    tls_current_fiber = first;
    simt_switch_stack(&worker.main_stack_pointer, first->stack_pointer);
    tls_current_fiber = nullptr;
    end_block_counters(worker);
}

} // namespace

uint64_t next_random(Worker& worker) {
    uint64_t x = worker.random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return worker.random = x;
}

void make_runnable(Fiber& fiber) {
    fiber.waiting = Waiting::nothing;
    fiber.worker->runnable[fiber.warp] |= 1u << fiber.lane;
    fiber.worker->runnable_warps |= 1u << fiber.warp;
}

void make_waiting(Fiber& fiber, Waiting why, const Where& where) {
    Worker& worker = *fiber.worker;
    fiber.waiting = why;
    fiber.waits_at = where;
    worker.runnable[fiber.warp] &= ~(1u << fiber.lane);
    if (worker.runnable[fiber.warp] == 0) worker.runnable_warps &= ~(1u << fiber.warp);
}

void park(Fiber& fiber) {
    run_next(*fiber.worker, fiber);
}

void maybe_yield(Fiber& fiber) {
    Worker& worker = *fiber.worker;
    if (worker.launch->schedule == Schedule::random && (next_random(worker) >> 40 & 1) != 0) run_next(worker, fiber);
}

void leave_launch(Worker& worker) {
    void* abandoned;
    tls_current_fiber = nullptr;
    simt_switch_stack(&abandoned, worker.main_stack_pointer);
    std::abort();
}

void run_blocks(Worker& worker, Launch& launch) {
    worker.launch = &launch;
    begin_launch_memory(worker);
    begin_launch_counters(worker);
    while (!launch.aborted.load(std::memory_order_relaxed)) {
        const uint64_t turn = launch.next_block.fetch_add(1, std::memory_order_relaxed);
        if (turn >= launch.blocks) break;
        uint64_t number = turn;
        if (launch.schedule == Schedule::reversed) number = launch.blocks - 1 - turn;
        if (launch.schedule == Schedule::random)
            number = (turn * launch.permutation_factor + launch.permutation_offset) % launch.blocks;
        run_block(worker, number);
    }
    end_launch_counters(worker);
    worker.launch = nullptr;
}

Worker* make_worker(int number) {
    auto* worker = new Worker;
    worker->number = number;
    char* stacks = map_stacks(kMaxThreads);
    worker->fibers = new Fiber[kMaxThreads];
    for (uint32_t i = 0; i < kMaxThreads; ++i) {
        Fiber& fiber = worker->fibers[i];
        fiber.worker = worker;
        fiber.thread = i;
        fiber.warp = i / 32;
        fiber.lane = i % 32;
        fiber.stack = stacks + i * stack_stride();
    }
    void* window = mmap(nullptr, kWindowBytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window == MAP_FAILED) throw std::bad_alloc();
    worker->window = static_cast<char*>(window); // page aligned: any alignment a kernel may ask for
    return worker;
}

namespace detail {

uint3 thread_index() noexcept {
    return tls_current_fiber->index;
}
uint3 block_index() noexcept {
    return tls_current_fiber->worker->block;
}
uint3 block_dimensions() noexcept {
    const dim3 d = tls_current_fiber->worker->launch->request.block;
    return {d.x, d.y, d.z};
}
uint3 grid_dimensions() noexcept {
    const dim3 d = tls_current_fiber->worker->launch->request.grid;
    return {d.x, d.y, d.z};
}
void* dynamic_shared() noexcept {
    return tls_current_fiber->worker->window;
}
uint32_t shared_offset(const void* p) {
    return static_cast<uint32_t>(static_cast<const char*>(p) - tls_current_fiber->worker->window);
}
void trap(const char* message) {
    fault_at(Where(), "%s", message);
}

} // namespace detail

} // namespace simt

long long clock64() {
    return 0;
}
