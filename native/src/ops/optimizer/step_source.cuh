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

__device__ __forceinline__ bool is_skipped(const StepSource& source) {
    return source.step != nullptr && source.step->skip != 0;
}

// False when the step changes nothing.
__device__ __forceinline__ bool take_step(AdamwScalars& a, const StepSource& source) {
    if (is_skipped(source)) return false;
    if (source.step != nullptr) a.gradient_scale = source.step->gradient_scale;
    if (source.update == nullptr) return true;
    a.decay = source.update->decay;
    a.step_size = source.update->step_size;
    a.v_correction = source.update->v_correction;
    return true;
}

} // namespace ftc::cuda
