// Contexts, streams and events of a GPU: the CUDA library's side of api/backend.h.
#include "cuda/context.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "api/backend.h"
#include "cuda/matmul.h"

namespace ftc::backend {

using cuda::check;
using cuda::LateError;

namespace {

constexpr int32_t kOldestCapability = 80;

int32_t attribute(cudaDeviceAttr which, int32_t device) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
}

int32_t compute_capability(int32_t device) {
    return 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
           attribute(cudaDevAttrComputeCapabilityMinor, device);
}

[[noreturn]] void fail_late(const LateError& e) {
    const auto outside = [&](const char* function, const char* array) {
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s[%" PRId64 "] is %" PRId64 ", expected it in [0, %" PRId64 ")", function,
             array, e.index, e.value, e.limit);
    };
    const auto backwards = [&](const char* function) {
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "%s: key_begin[%" PRId64 "] is %" PRId64 ", expected >= %" PRId64
             ": key intervals begin at 0 or later and never go back",
             function, e.index, e.value, e.limit);
    };
    const auto falls = [&](const char* function, const char* map) {
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s[%" PRId64 "] is not above the value before it, expected ascending values",
             function, map, e.index);
    };
    switch (e.kind) {
    case cuda::kLateEmbeddingForwardId: outside("ftc_embedding_forward", "ids"); break;
    case cuda::kLateEmbeddingBackwardId: outside("ftc_embedding_backward", "ids"); break;
    case cuda::kLateRopeForwardPosition: outside("ftc_rope_forward", "positions"); break;
    case cuda::kLateRopeBackwardPosition: outside("ftc_rope_backward", "positions"); break;
    case cuda::kLateAttentionForwardKeyBegin: backwards("ftc_attention_forward"); break;
    case cuda::kLateAttentionBackwardKeyBegin: backwards("ftc_attention_backward"); break;
    case cuda::kLateNestedMap: falls("ftc_nf4_quantize_absmax", "nested_map"); break;
    case cuda::kLateAdamwMeanMap: falls("ftc_adamw_8bit_step", "m_map"); break;
    case cuda::kLateAdamwSquareMap: falls("ftc_adamw_8bit_step", "v_map"); break;
    case cuda::kLateCrossEntropyTrainedRows:
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "ftc_linear_cross_entropy: %" PRId64 " targets are not FTC_IGNORE_INDEX, expected at most trained_rows %" PRId64,
             e.value, e.limit);
    case cuda::kLateCrossEntropyTarget:
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "ftc_linear_cross_entropy: targets[%" PRId64 "] is %" PRId64 ", expected it in [0, %" PRId64
             ") or FTC_IGNORE_INDEX (-100)",
             e.index, e.value, e.limit);
    default: break;
    }
    fail(FTC_ERROR_INTERNAL, "the device recorded a mistake of unknown kind %d", static_cast<int>(e.kind));
}

// Release what context_create and stream_create took, as far as they got.
struct Closer {
    void operator()(ftc_context* context) const {
        cudaSetDevice(context->device);
        cuda::close_cublaslt(context->cublaslt);
        if (context->late_error != nullptr) cudaFree(context->late_error);
        if (context->late_error_host != nullptr) cudaFreeHost(context->late_error_host);
        delete context;
    }
    void operator()(ftc_stream* stream) const {
        cudaSetDevice(stream->context->device);
        if (stream->context->capturing == stream) { // what was recorded so far is dropped
            cudaGraph_t recorded = nullptr;
            if (cudaStreamEndCapture(stream->handle, &recorded) == cudaSuccess) cudaGraphDestroy(recorded);
            stream->context->capturing = nullptr;
        }
        if (stream->handle != nullptr) cudaStreamSynchronize(stream->handle);
        if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
        if (stream->scratch != nullptr) cudaFree(stream->scratch);
        if (stream->matmul_workspace != nullptr) cudaFree(stream->matmul_workspace);
        delete stream;
    }
};

} // namespace

int32_t device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        cudaGetLastError();
        if (error == cudaErrorInsufficientDriver)
            fail(FTC_ERROR_UNSUPPORTED,
                 "no NVIDIA driver that this library can use was found: %s. Install or update the driver (nvidia-smi "
                 "shows its version), or use the CPU library",
                 cudaGetErrorString(error));
        if (error == cudaErrorNoDevice)
            fail(FTC_ERROR_UNSUPPORTED, "no NVIDIA GPU was found: %s. Is CUDA_VISIBLE_DEVICES set to nothing?",
                 cudaGetErrorString(error));
        fail(FTC_ERROR_UNSUPPORTED, "the GPUs cannot be listed: %s (%s)", cudaGetErrorString(error),
             cudaGetErrorName(error));
    }
    return count;
}

ftc_context* context_create(const ftc_context_params& params) {
    const int32_t device = params.device_index;
    const int32_t capability = compute_capability(device);
    if (capability < kOldestCapability)
        fail(FTC_ERROR_UNSUPPORTED,
             "ftc_context_create: GPU %d has compute capability %d.%d, expected 8.0 or newer (Ampere and later)", device,
             capability / 10, capability % 10);
    const int64_t driver_bytes = cuda::measure_driver_bytes(device);
    check(cudaSetDevice(device), "cudaSetDevice");
    std::unique_ptr<ftc_context, Closer> context(new ftc_context);
    context->device = device;
    context->driver_bytes = driver_bytes;
    context->taken_at_start = cuda::taken_bytes();
    context->compute_capability = capability;
    context->multiprocessors = attribute(cudaDevAttrMultiProcessorCount, device);
    context->shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    context->memory_limit_bytes = params.memory_limit_bytes;
    check(cudaMalloc(reinterpret_cast<void**>(&context->late_error), sizeof(LateError)), "cudaMalloc");
    check(cudaMemset(context->late_error, 0, sizeof(LateError)), "cudaMemset");
    check(cudaHostAlloc(reinterpret_cast<void**>(&context->late_error_host), sizeof(LateError), cudaHostAllocDefault),
          "cudaHostAlloc");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return context.release();
}

void context_destroy(ftc_context* context) {
    Closer()(context);
}

void context_get_info(ftc_context& context, ftc_context_info& info) {
    check(cudaSetDevice(context.device), "cudaSetDevice");
    info.threads = 0;
    info.captures_graphs = 1;
    info.reserved = 0;
    info.memory_available_bytes = cuda::available_bytes(context, &info.memory_total_bytes);
    info.memory_used_bytes = context.memory_used_bytes;
    info.host_memory_used_bytes = context.host_memory_used_bytes;
    const int64_t beside_buffers = cuda::taken_bytes() - context.taken_at_start - context.memory_used_bytes;
    info.memory_overhead_bytes = context.driver_bytes + std::max<int64_t>(beside_buffers, 0);
    std::snprintf(info.device_kind, sizeof(info.device_kind), "cuda");
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, context.device), "cudaGetDeviceProperties");
    std::snprintf(info.device_name, sizeof(info.device_name), "%.63s", properties.name);
    std::snprintf(info.isa, sizeof(info.isa), "sm_%d", context.compute_capability);
}

void enter(const ftc_stream& stream) {
    check(cudaSetDevice(stream.context->device), "cudaSetDevice");
}

bool needs_aligned_elements() {
    return true;
}

namespace {

// Of the highest or the lowest priority the device has.
std::unique_ptr<ftc_stream, Closer> new_stream(ftc_context& context, bool background) {
    check(cudaSetDevice(context.device), "cudaSetDevice");
    std::unique_ptr<ftc_stream, Closer> stream(new ftc_stream);
    stream->context = &context;
    int lowest = 0, highest = 0; // the lower, the larger the number
    check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&stream->handle, cudaStreamNonBlocking, background ? lowest : highest),
          "cudaStreamCreateWithPriority");
    check(cudaMalloc(&stream->scratch, static_cast<size_t>(cuda::kScratchBytes)), "cudaMalloc");
    return stream;
}

} // namespace

ftc_stream* stream_create(ftc_context& context) {
    cuda::refuse_while_capturing("ftc_stream_create", context);
    auto stream = new_stream(context, false);
    check(cudaMalloc(&stream->matmul_workspace, static_cast<size_t>(cuda::kMatmulWorkspaceBytes)), "cudaMalloc");
    return stream.release();
}

ftc_stream* stream_create_background(ftc_context& context, int32_t share_percent) {
    cuda::refuse_while_capturing("ftc_stream_create_background", context);
    auto stream = new_stream(context, true);
    stream->dequantise_blocks = std::max(1, context.multiprocessors * share_percent / 100);
    return stream.release();
}

void stream_destroy(ftc_stream* stream) {
    Closer()(stream);
}

double measure_peak(ftc_stream&, int32_t) {
    fail(FTC_ERROR_UNSUPPORTED, "ftc_measure_peak: the CUDA library measures no roof; a GPU's is in its maker's tables");
}

void stream_synchronize(ftc_stream& stream) {
    const ftc_context& context = *stream.context;
    cuda::refuse_while_capturing("ftc_stream_synchronize", context);
    check(cudaMemcpyAsync(context.late_error_host, context.late_error, sizeof(LateError), cudaMemcpyDeviceToHost,
                          stream.handle),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
    const LateError error = *context.late_error_host;
    if (error.kind == cuda::kLateNone) return;
    check(cudaMemsetAsync(context.late_error, 0, sizeof(LateError), stream.handle), "cudaMemsetAsync");
    check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
    fail_late(error);
}

ftc_context& context_of(const ftc_stream& stream) {
    return *stream.context;
}

ftc_context& context_of(const ftc_event& event) {
    return *event.context;
}

ftc_event* event_create(ftc_context& context) {
    check(cudaSetDevice(context.device), "cudaSetDevice");
    auto event = std::make_unique<ftc_event>(ftc_event{&context, nullptr});
    check(cudaEventCreateWithFlags(&event->handle, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return event.release();
}

void event_destroy(ftc_event* event) {
    cudaSetDevice(event->context->device);
    cudaEventDestroy(event->handle);
    delete event;
}

void event_record(ftc_event& event, ftc_stream& stream) {
    check(cudaEventRecord(event.handle, stream.handle), "cudaEventRecord");
}

void stream_wait_event(ftc_stream& stream, ftc_event& event) {
    check(cudaStreamWaitEvent(stream.handle, event.handle, 0), "cudaStreamWaitEvent");
}

} // namespace ftc::backend
