// What a block has under way beside its threads.
#pragma once

#include <deque>
#include <unordered_map>
#include <vector>

#include "execution.h"

namespace simt {

// Clocks that who passes a barrier takes over; valid in one generation.
struct ReleasedClocks {
    std::vector<uint16_t> clocks;
    uint32_t generation = 0;

    // Adds what the thread has seen and done, and moves its clock on.
    void release(Fiber& fiber);
    void release_engine(Worker& worker, uint16_t clock);
    void clear(const Worker& worker);
    // The thread has seen all that was released.
    void acquire(Fiber& fiber) const;
};

struct Mbarrier {
    uint32_t count = 0, arrived = 0;
    int64_t bytes_to_come = 0;
    uint32_t phase = 0;
    ReleasedClocks arriving; // of the current phase
    ReleasedClocks ended;    // of the phases before
    std::vector<Fiber*> waiters;
};

struct NamedBarrier {
    int threads = 0, arrived = 0;
    ReleasedClocks arriving;
    std::vector<Fiber*> waiters;
};

struct BulkCopy {
    char* shared;
    CUtensorMap map;
    int x, y;
    uint64_t* barrier;
    const void* pc;
    Where where;
};

// One wgmma of one warp, from issue to wait.
struct PendingWgmma {
    detail::WgmmaCall call;
    float* d[32];
    uint32_t a[32][4];
    std::vector<float> before; // accumulators at issue, [lane][n / 2]
    const void* pc;
    Where where;
};

struct AsyncState {
    std::unordered_map<const void*, Mbarrier> mbarriers;
    NamedBarrier named[16];
    std::deque<BulkCopy> copies;
    uint16_t engine_clock = 0;
    std::vector<PendingWgmma> wgmma[kMaxWarps];
    std::vector<uint32_t> wgmma_groups[kMaxWarps]; // sizes, oldest first
    uint32_t wgmma_uncommitted[kMaxWarps] = {};
    bool used = false;
};

AsyncState& async_state(Worker& worker);
void complete_bytes(Worker& worker, uint64_t* barrier, uint32_t bytes, uint16_t engine_clock);
void run_bulk_copy(Worker& worker, const BulkCopy& copy);

} // namespace simt
