#include "cuda/runtime.h"

namespace ftc::cuda {

void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    cudaGetLastError(); // a failed call must not be reported again by the next launch
    const ftc_status status = error == cudaErrorMemoryAllocation ? FTC_ERROR_OUT_OF_MEMORY : FTC_ERROR_DEVICE;
    fail(status, "%s failed: %s (%s)", call, cudaGetErrorString(error), cudaGetErrorName(error));
}

void check_launch(const char* kernel) {
    const cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return;
    fail(FTC_ERROR_DEVICE, "the launch of %s failed: %s (%s)", kernel, cudaGetErrorString(error),
         cudaGetErrorName(error));
}

} // namespace ftc::cuda
