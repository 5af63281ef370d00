#include "cuda/runtime.h"

#include <cstdio>
#include <string>

#if defined(FTC_SIM)
#include "simt/control.h"
#endif

namespace ftc::cuda {

namespace {

constexpr int kLastCaptureError = 908; // cudaErrorStreamCaptureWrongThread

// A mistake in recording leaves the context alive: ending the capture makes the stream usable again.
void check_capture(cudaError_t error, const char* what) {
    if (error < cudaErrorStreamCaptureUnsupported || error > kLastCaptureError) return;
    fail(FTC_ERROR_UNSUPPORTED,
         "%s: what was enqueued since ftc_stream_begin_capture cannot be recorded: %s (%s)", what,
         cudaGetErrorString(error), cudaGetErrorName(error));
}

// The simulator says what a kernel did wrong; the runtime only that it did.
[[noreturn]] void fail_device([[maybe_unused]] cudaError_t error, const char* what) {
#if defined(FTC_SIM)
    const std::string fault = simt::fault();
    if (!fault.empty()) fail(FTC_ERROR_DEVICE, "%s failed: %s", what, fault.c_str());
#endif
    fail(FTC_ERROR_DEVICE, "%s failed: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

} // namespace

void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    cudaGetLastError(); // a failed call must not be reported again by the next launch
    check_capture(error, call);
    if (error == cudaErrorMemoryAllocation)
        fail(FTC_ERROR_OUT_OF_MEMORY, "%s failed: %s (%s)", call, cudaGetErrorString(error), cudaGetErrorName(error));
    fail_device(error, call);
}

void check_launch(const char* kernel) {
    const cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return;
    check_capture(error, kernel);
    char what[256];
    std::snprintf(what, sizeof(what), "the launch of %s", kernel);
    fail_device(error, what);
}

} // namespace ftc::cuda
