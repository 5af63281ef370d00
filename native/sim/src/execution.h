// The state of a running launch: workers (OS threads), the block each one runs, the threads of the block.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "counters.h"
#include "fiber.h"
#include "shadow.h"
#include "simt/control.h"
#include "simt/simt.h"

namespace simt {

using detail::LaunchRequest;
using detail::WarpOp;
using detail::Where;

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxWarps = kMaxThreads / 32;
constexpr size_t kWindowBytes = 228 * 1024; // shared memory of a multiprocessor
constexpr size_t kSharedOptIn = 227 * 1024;
constexpr size_t kSharedDefault = 48 * 1024;

struct Worker;
struct WorkerCounters;
struct AsyncState;

// Which launches have happened before a piece of work (stream.h).
struct StreamView;
bool happened_before(uint64_t launch, const StreamView& view);

// What one lane brings to a warp-wide operation.
struct WarpCall {
    WarpOp op;
    uint8_t count = 0; // matrices of load_matrix and store_matrix
    bool transposed = false;
    uint32_t mask;
    uint64_t value = 0;
    uint64_t result = 0;
    int32_t operand = 0; // source lane, delta or lane mask of a shuffle
    int32_t width = 32;
    const void* row = nullptr;
    void* registers = nullptr; // d of a matrix product
    const void* a = nullptr;
    const void* b = nullptr;
    const void* pc = nullptr;
    const detail::WgmmaCall* wgmma = nullptr;
    Where where;
};

enum class Waiting : uint8_t { nothing, warp, block_barrier, named_barrier, mbarrier, finished };

// cp.async, between issue and the wait that covers it.
struct PendingCopy {
    char* to;
    const char* from;
    uint32_t bytes;
    uint32_t source_bytes;
    const void* pc;
};

struct Fiber {
    void* stack_pointer = nullptr;
    char* stack = nullptr;
    Worker* worker = nullptr;
    uint32_t thread = 0, warp = 0, lane = 0;
    uint3 index{};
    Waiting waiting = Waiting::nothing;
    WarpCall* call = nullptr;
    Where waits_at;
    int barrier_value = 0;
    std::vector<PendingCopy> copies;        // in order of issue
    std::vector<uint32_t> committed_groups; // copies in each committed group, oldest first
    uint32_t uncommitted = 0;               // copies not yet in a group

    uint16_t clock = 1;       // see shadow.h
    uint16_t* view = nullptr; // null: of nobody; the warp's row or own_view
    std::vector<uint16_t> own_view;
    uint32_t fence_generation = 0; // last __threadfence; 0 = none in this block
    uint32_t fence_clock = 0;
    uint32_t proxy_fence_time = 0; // last fence.proxy.async
    uint32_t count_epoch = 0;      // warp-wide operations and barriers passed, see counters.cpp
};

// The first fault of a launch. Places stand in the text as "{pc:0x...}" until the host resolves them.
struct Launch {
    LaunchRequest request;
    uint64_t serial = 0;
    uint64_t blocks = 0;
    uint32_t threads = 0;
    Schedule schedule = Schedule::ordered;
    uint64_t seed = 0;
    uint64_t permutation_factor = 1, permutation_offset = 0;
    std::atomic<uint64_t> next_block{0};
    std::atomic<bool> aborted{false};
    std::atomic<bool> overdue{false}; // runs for too long: the next thread to look says where
    std::string fault;                // written once, by whoever set aborted
    const StreamView* view = nullptr; // which earlier launches are ordered before this one; null: all
    std::atomic<bool> fences_used{false};
    BlockOrder block_order;
    LaunchCounters* counters = nullptr; // null: not counted
    std::mutex counters_mutex;
    Footprint footprint;
};

struct Worker {
    int number = 0;
    Launch* launch = nullptr;
    void* main_stack_pointer = nullptr;
    char* window = nullptr; // dynamic shared memory
    Fiber* fibers = nullptr;
    uint64_t random = 1;
    uint32_t until_pause = 0; // memory accesses until another thread may be let in

    // The block being run.
    uint3 block{};
    uint64_t block_number = 0;
    uint32_t threads = 0, warps = 0, alive = 0;
    uint32_t runnable[kMaxWarps] = {}; // lanes
    uint32_t runnable_warps = 0;
    uint32_t in_call[kMaxWarps] = {};  // lanes waiting with a WarpCall
    uint32_t finished[kMaxWarps] = {}; // lanes that have returned, or never existed
    uint32_t at_barrier = 0;
    Where barrier_where;
    int barrier_kind = -1;
    int barrier_result = 0;

    // Memory (shadow.h). Serials go on from block to block; global records count generations from the launch's first.
    uint32_t block_serial = 0;
    uint32_t generation = 0;
    uint32_t launch_generation = 0; // at the launch's start
    uint32_t block_generation = 0;  // at the block's start
    std::vector<uint16_t> warp_views[kMaxWarps];
    uint32_t warp_view_generation[kMaxWarps] = {};
    SharedRegion window_region;
    std::deque<SharedRegion> static_regions; // entries stay where they are
    const char* module_begin = nullptr;      // of the kernel's module: its constants may be read
    const char* module_end = nullptr;
    std::vector<uint32_t> fenced_threads;
    SeenBlocks seen;
    WorkerCounters* counters = nullptr; // null: not counted
    uint32_t proxy_fences = 1;
    AsyncState* async = nullptr; // mbarriers, bulk copies, wgmma (async.h)
};

// The device thread that the calling OS thread runs; null outside of kernels.
extern constinit thread_local Fiber* tls_current_fiber;
inline Fiber* current_fiber() {
    return tls_current_fiber;
}
inline void set_current_fiber(Fiber* fiber) {
    tls_current_fiber = fiber;
}

void make_runnable(Fiber& fiber);
void make_waiting(Fiber& fiber, Waiting why, const Where& where);
// Gives the OS thread to another fiber; returns when this one is runnable and chosen.
void park(Fiber& fiber);
// Lets a random schedule go on with another thread here.
void maybe_yield(Fiber& fiber);
uint64_t next_random(Worker& worker);

// Runs blocks of the launch until none is left.
void run_blocks(Worker& worker, Launch& launch);
Worker* make_worker(int number);

// Completes the warp-wide operations of `warp` that no longer wait for anybody. Returns true when `self`'s was among
// them.
bool complete_warp_calls(Worker& worker, uint32_t warp);
void complete_barrier_if_all_arrived(Worker& worker);

// Records the launch's first fault with the place of the current thread, ends the launch; does not return.
[[noreturn]] void fault_at(const Where& where, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void fault_at_pc(const void* pc, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void leave_launch(Worker& worker);
std::string resolve_places(const std::string& text);
// The kernel with its template arguments, as far as the debug information says; else as it was launched.
std::string kernel_name(const LaunchRequest& request);
struct ThreadName {
    char text[48];
    const char* c_str() const { return text; }
};
ThreadName thread_name(const Worker& worker, uint32_t thread);

// While one lives, the OS thread counts as running host code: what it does (with whichever instrumented copy of a
// library function the linker took) is not checked.
class HostScope {
public:
    HostScope() : fiber_(current_fiber()) { set_current_fiber(nullptr); }
    ~HostScope() { set_current_fiber(fiber_); }
    HostScope(const HostScope&) = delete;
    HostScope& operator=(const HostScope&) = delete;

private:
    Fiber* fiber_;
};

// Access checks. `fiber` may be the thread itself or one that issued the operation.
enum AccessKind : uint32_t { kRead = 0, kWrite = 1, kAtomic = 2 };
void check_access(Fiber& fiber, const void* p, uint32_t bytes, uint32_t kind, const void* pc);
// The region of shared memory that holds p, if any.
SharedRegion* shared_region(Worker& worker, const void* p);
void check_shared(Fiber& fiber, SharedRegion& region, const void* p, uint32_t bytes, uint32_t kind, const void* pc);
// A write by the copy engine, checked when it was issued: takes the place of all that is known of the bytes.
void record_engine_write(Worker& worker, const void* p, uint32_t bytes, uint16_t engine_clock, const void* pc);
// Whether 16 bytes that an asynchronous instruction reads were made visible to it by a fence.
bool visible_to_async(const Fiber& fiber, const void* p);
void check_global(Fiber& fiber, const void* p, uint32_t bytes, uint32_t kind, const void* pc);
// The target of a cp.async is pending from issue to completion.
void mark_pending(Fiber& fiber, const void* p, uint32_t bytes, bool pending);
const char* access_name(uint32_t kind);
const void* whole_pc(uint32_t low, const void* near);

// True when `fiber` has synchronised with what `thread` did at `clock` of this generation.
inline bool has_seen(const Fiber& fiber, uint32_t thread, uint32_t clock) {
    return thread == fiber.thread || (fiber.view != nullptr && fiber.view[thread] >= clock);
}
uint16_t* own_view(Fiber& fiber); // the thread's view, its own from now on
void advance_clock(Fiber& fiber);
bool block_was_seen(Worker& worker, const GlobalAccess& access);

// Counting (counters.cpp). The lanes of a warp that run the same instruction for the same time make one access.
void begin_launch_counters(Worker& worker);
void end_block_counters(Worker& worker);
void end_launch_counters(Worker& worker);
void count_access(Fiber& fiber, const void* p, uint32_t bytes, bool write, const void* pc);
// Rows of 16 bytes that a warp reads or writes in phases of eight.
void count_matrix_rows(Worker& worker, const void* const* rows, uint32_t count, bool write, const void* pc);
void count_mma(Worker& worker, uint64_t flops);
void count_bulk(Worker& worker, const void* p, size_t bytes, bool write, const void* pc);

// What other files do for the block's life.
void begin_launch_memory(Worker& worker);
void begin_block_memory(Worker& worker);
void on_thread_exit(Fiber& fiber);
void on_block_barrier(Worker& worker);
void on_warp_sync(Worker& worker, uint32_t warp, uint32_t lanes);
void enter_warp_call(WarpCall& call);
void begin_block_async(Worker& worker);
void check_block_async_at_end(Worker& worker);
// Lets one outstanding bulk copy happen; false when there is none.
bool run_async_work(Worker& worker);
void on_warp_exit_async(Fiber& fiber);
void resolve_wgmma(Worker& worker, uint32_t warp, WarpCall** calls);
void resolve_matrix(Worker& worker, uint32_t warp, WarpCall** calls);

} // namespace simt
