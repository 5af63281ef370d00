// The clipping factor and whether a step counts, decided on the device: norm = sqrt(sum),
// gradient_scale = min(1, clip_norm / (norm + 1e-6)) in double; skip when sum or one of the losses is not finite.
// One block; bytes: 4 a loss.
#include "api/backend.h"
#include "cuda/context.h"
#include "cuda/device.cuh"

namespace ftc::cuda {
namespace {

constexpr int kThreads = 512;

__device__ __forceinline__ bool is_finite(float x) {
    return (__float_as_uint(x) & 0x7fffffffu) < 0x7f800000u;
}

__global__ void __launch_bounds__(kThreads)
    clip_gradients_kernel(ftc_step_values* values, const float* sum, const float* nll, int64_t count, float clip_norm) {
    __shared__ uint32_t broken[kThreads / 32];
    bool finite = true;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) finite = finite && is_finite(nll[i]);
    const uint32_t votes = __ballot_sync(kAllLanes, !finite);
    if (threadIdx.x % 32 == 0) broken[threadIdx.x / 32] = votes;
    __syncthreads();
    if (threadIdx.x != 0) return;
    const float squares = *sum;
    uint32_t any = is_finite(squares) ? 0u : 1u;
    for (int w = 0; w < kThreads / 32; w++) any |= broken[w];
    const double factor = static_cast<double>(clip_norm) / (sqrt(static_cast<double>(squares)) + 1e-6);
    values->gradient_scale = clip_norm > 0.0f && factor < 1.0 ? static_cast<float>(factor) : 1.0f;
    values->skip = any != 0 ? 1 : 0;
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void clip_gradients(ftc_stream& stream, ftc_step_values* values, const float* sum, const float* nll, int64_t count,
                    float clip_norm) {
    FTC_LAUNCH((clip_gradients_kernel), 1, kThreads, 0, stream.handle, values, sum, nll, count, clip_norm);
}

} // namespace ftc::backend
