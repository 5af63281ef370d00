// The test's side of the simulator: in which order threads run, what was found, what was counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "simt/types.h"

namespace simt {

enum class Schedule { ordered, reversed, random };

// The order of threads, blocks and streams from the next launch on. At start it is what FTC_SIM_SCHEDULE says
// ("ordered", "reversed" or "random:SEED"), ordered without it.
void set_schedule(Schedule schedule, uint64_t seed = 0);

// OS threads that run blocks, from the next launch on (FTC_SIM_WORKERS; 2).
void set_workers(int workers);

// After so many seconds a launch counts as one that never ends (FTC_SIM_TIMEOUT; 600).
void set_timeout(int seconds);

// Launches run at once instead of at the next synchronisation (CUDA_LAUNCH_BLOCKING).
void set_launch_blocking(bool on);

// What the first faulty launch did wrong, with kernel, place and thread; empty when nothing was found. The device stays
// dead (every call fails) until reset_device.
std::string fault();
// Makes a dead device usable again: forgets the fault and queued work, keeps memory.
void reset_device();

// Managed or pinned memory counts as written, since the host may write it unseen. This says that these bytes are not:
// a kernel that reads them before one has written them is at fault (a workspace, an output).
void set_unwritten(void* p, size_t bytes);

// ---- Counting. Off at start; slows launches down several times.

// One load or store instruction of a kernel, over all warps of the launch.
struct AccessSite {
    const void* pc = nullptr; // place_of(pc) is file and line
    bool shared = false, write = false;
    uint64_t accesses = 0; // by warps; shared memory: phases (16-byte accesses go by quarter-warps, 8-byte by halves)
    uint64_t bytes = 0;    // that the lanes of each access ask for, each byte once
    uint64_t sectors = 0;  // global: 32-byte sectors of each access
    uint64_t passes = 0;   // shared: as many as the fullest of 32 banks has words; accesses, if there are no conflicts
};

struct LaunchCounters {
    std::string kernel;
    dim3 grid, block;
    uint64_t global_read_bytes = 0, global_written_bytes = 0; // sums over sites
    uint64_t global_read_sectors = 0, global_written_sectors = 0;
    uint64_t read_footprint_bytes = 0, written_footprint_bytes = 0; // different 32-byte sectors of the launch, in bytes
    uint64_t shared_accesses = 0, shared_passes = 0;
    uint64_t mma = 0, mma_flops = 0; // warp-wide products; 2 m n k each
    uint64_t special = 0;            // operations of the special-function unit, by threads
    std::vector<AccessSite> sites;

    // Share of the bytes of the sectors moved that somebody asked for.
    double sector_efficiency() const;
    double passes_per_shared_access() const;
};

void set_counting(bool on);
// Of the launches (and copies, fills and library products) finished since the last call, in the order they ran.
std::vector<LaunchCounters> take_counters();
std::string place_of(const void* pc);

} // namespace simt
