// Counters of finished work (counters.cpp).
#pragma once

#include <cstdint>
#include <unordered_set>
#include <utility>

#include "simt/control.h"

namespace simt {

// Sectors read and written by all workers of a launch.
using Footprint = std::pair<std::unordered_set<uint64_t>, std::unordered_set<uint64_t>>;

// Sums the sites up and keeps the result for take_counters().
void finish_counters(LaunchCounters counters);
// A copy, a fill or a library's product.
void count_stream_work(const char* name, uint64_t read_bytes, uint64_t written_bytes, uint64_t flops);

} // namespace simt
