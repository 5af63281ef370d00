// Dropout by counter: whether a feature of a token is dropped follows from what they are, see ftc_linear_params.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc {

struct Dropout {
    uint32_t key[2];
    uint32_t step;
    uint32_t threshold; // of 65536; 0: nothing drops
    float keep;         // 1 - threshold / 65536
    const uint32_t* samples;
    const uint32_t* positions;
    const uint32_t* step_value; // [device] the step stands there, or NULL
};

inline uint32_t dropout_threshold(const ftc_lora_segment& segment) {
    return static_cast<uint32_t>(segment.dropout_probability * 65536.0f + 0.5f);
}

// Dropout of the segment's path, its arrays from `first_row` of the batch on.
inline Dropout dropout_of(const ftc_lora_segment& segment, const ftc_linear_params& params, int64_t first_row) {
    Dropout d{};
    d.key[0] = static_cast<uint32_t>(segment.dropout_seed);
    d.key[1] = static_cast<uint32_t>(segment.dropout_seed >> 32);
    d.step = params.dropout_step;
    d.threshold = dropout_threshold(segment);
    d.keep = 1.0f - static_cast<float>(d.threshold) / 65536.0f;
    if (d.threshold == 0) return d;
    d.samples = params.dropout_samples + first_row;
    d.positions = params.dropout_positions + first_row;
    d.step_value = params.step_values != nullptr ? &params.step_values->dropout_step : nullptr;
    return d;
}

} // namespace ftc
