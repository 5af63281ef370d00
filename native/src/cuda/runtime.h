// The CUDA runtime, or the simulator's stand-in for it, and its errors as ours.
#pragma once

#if defined(FTC_SIM)
#include "simt/cuda_runtime.h"
#else
#include <cuda_runtime.h>
#endif

#include "core/status.h"

namespace ftc::cuda {

// Throws DEVICE (or OUT_OF_MEMORY) with the runtime's own words when a call failed: check(cudaX(...), "cudaX").
void check(cudaError_t error, const char* call);

// Throws DEVICE when the launch just made was refused, or an earlier one failed: the context is dead then.
void check_launch(const char* kernel);

} // namespace ftc::cuda
