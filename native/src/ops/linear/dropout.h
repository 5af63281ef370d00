// Dropout by counter: whether a feature of a token is dropped follows from what they are, see ftc_linear_params.
#pragma once

#include <cstdint>

namespace ftc {

struct Dropout {
    uint32_t key[2];
    uint32_t step;
    uint32_t threshold; // of 65536; 0: nothing drops
    float keep;         // 1 - threshold / 65536
    const uint32_t* samples;
    const uint32_t* positions;
    const uint32_t* step_value; // [device] the step stands there, or NULL; CUDA only
};

} // namespace ftc
