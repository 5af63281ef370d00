// Memory traffic of the CUDA kernels, counted on the simulator and held against what the algorithm cannot do without.
// Speed of most of them is memory's, so this is a statement about speed that needs no GPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "testing.h"

namespace ftc::testing {

// A shape, and the bytes every implementation has to read and write for it.
struct Work {
    std::string shape;
    double bytes;
};

struct TrafficCase {
    std::string op;
    std::string kernels; // launches counted are those of kernels whose name contains this
    Work counted;        // on the simulator, scaled down
    Work real;           // as models have it
    std::function<void(Device&)> run;
    // Blocks read a small operand again (a few rows of X, an adapter), which the L2 cache holds: memory sees each byte
    // once, and bytes are counted so.
    bool cached = false;
    double budget = 1.05; // bytes moved over what the algorithm cannot do without
};

std::vector<TrafficCase> elementwise_traffic();
std::vector<TrafficCase> quant_traffic();
std::vector<TrafficCase> linear_traffic();
std::vector<TrafficCase> attention_traffic();

// Memory for a case, as much as one op of a real model takes: host memory of the machine, managed.
template <class T>
struct Memory {
    Vector<T> values;
    explicit Memory(int64_t count, T value = T{}) : values(static_cast<size_t>(count), value) {}
    operator T*() { return values.data(); }
};

using Bf16 = uint16_t;
constexpr Bf16 kBf16One = 0x3f80;

} // namespace ftc::testing
