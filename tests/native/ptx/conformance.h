// ptx_conformance: what every wrapper of cuda/device.cuh leaves in every lane's registers for fixed inputs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cuda/runtime.h"

namespace ftc::ptx {

constexpr int kWords = 8; // results of a lane

struct Case {
    const char* name;
    int threads;
    float tolerance; // largest relative difference; 0: the same bits
    std::function<void(uint32_t* out, const uint4* in)> run;
};

const std::vector<Case>& cases();
const std::vector<Case>& cases_sm90a(); // by instructions that only compute capability 9.0 has

} // namespace ftc::ptx
