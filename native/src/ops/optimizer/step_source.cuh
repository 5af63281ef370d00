// Where an update takes the numbers that change from step to step: ftc_step_values and ftc_update_values in device memory,
// so that a graph captured once serves every step. NULL: the numbers the host computed from the params.
#pragma once

#include "cuda/device.cuh"
#include "ftc.h"
#include "ops/optimizer/adamw_scalars.h"

namespace ftc::cuda {

struct StepSource {
    const ftc_step_values* step;
    const ftc_update_values* update;
};

// The step's numbers in one load; {.gradient_scale = otherwise} where they stand nowhere.
__device__ __forceinline__ ftc_step_values load_step(const StepSource& source, float otherwise) {
    static_assert(sizeof(ftc_step_values) == 16);
    if (source.step == nullptr) return {0.0f, 0, otherwise, 0};
    const uint4 v = load16_global(source.step);
    return {__uint_as_float(v.x), v.y, __uint_as_float(v.z), static_cast<int32_t>(v.w)};
}

__device__ __forceinline__ ftc_update_values load_update(const ftc_update_values* update) {
    static_assert(sizeof(ftc_update_values) == 16);
    const uint4 v = load16_global(update);
    return {__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
}

// False when the step changes nothing.
__device__ __forceinline__ bool take_step(AdamwScalars& a, const StepSource& source) {
    const ftc_step_values step = load_step(source, a.gradient_scale);
    if (step.skip != 0) return false;
    a.gradient_scale = step.gradient_scale;
    if (source.update == nullptr) return true;
    const ftc_update_values update = load_update(source.update);
    a.decay = update.decay;
    a.step_size = update.step_size;
    a.v_correction = update.v_correction;
    return true;
}

} // namespace ftc::cuda
