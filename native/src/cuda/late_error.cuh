// Kernels note what only they can see is wrong, and stay in bounds; ftc_stream_synchronize reports it.
#pragma once

#include "cuda/context.h"
#include "cuda/device.cuh"

namespace ftc::cuda {

// The first one stays.
__device__ __forceinline__ void record_late_error(LateError* error, LateErrorKind kind, int64_t index, int64_t value,
                                                  int64_t limit) {
    if (atomicCAS(&error->kind, static_cast<int32_t>(kLateNone), static_cast<int32_t>(kind)) != kLateNone) return;
    error->index = index;
    error->value = value;
    error->limit = limit;
}

} // namespace ftc::cuda
