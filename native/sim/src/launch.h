// Running one launch on the worker threads, and the settings of control.h.
#pragma once

#include <string>

#include "execution.h"

namespace simt {

struct Settings {
    Schedule schedule = Schedule::ordered;
    uint64_t seed = 0;
    int workers = 2;
    bool launch_blocking = false;
    bool counting = false;
    int timeout_seconds = 600;
};
Settings& settings();

// Whether the calling thread is one of those that run blocks.
bool is_worker_thread();

// Most dynamic shared memory a launch of the kernel may ask for.
size_t shared_limit(const void* kernel);

// Runs every block; returns the fault, empty when there was none.
std::string run_launch(const LaunchRequest& request, uint64_t serial, const StreamView& view);

} // namespace simt
