// The test's side of the simulator: in which order threads run, what was found, what was counted.
#pragma once

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

// Launches run at once instead of at the next synchronisation (CUDA_LAUNCH_BLOCKING).
void set_launch_blocking(bool on);

// What the first faulty launch did wrong, with kernel, place and thread; empty when nothing was found. The device stays
// dead (every call fails) until reset_device.
std::string fault();
// Makes a dead device usable again: forgets the fault and queued work, keeps memory.
void reset_device();

} // namespace simt
