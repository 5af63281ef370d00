// Contexts, streams and memory of a GPU: the CUDA library's side of api/backend.h.
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

// What this context may still take: free memory of the device, or less by the caller's limit.
int64_t available_bytes(const ftc_context& context, int64_t* total = nullptr) {
    size_t free_bytes = 0, total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    if (total != nullptr) *total = static_cast<int64_t>(total_bytes);
    int64_t available = static_cast<int64_t>(free_bytes);
    if (context.memory_limit_bytes > 0)
        available = std::min(available, context.memory_limit_bytes - context.memory_used_bytes);
    return std::max<int64_t>(available, 0);
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
        if (stream->main_ready != nullptr) cudaEventDestroy(stream->main_ready);
        if (stream->side_ready != nullptr) cudaEventDestroy(stream->side_ready);
        if (stream->side_stream != nullptr) cudaStreamDestroy(stream->side_stream);
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
    check(cudaSetDevice(device), "cudaSetDevice");
    std::unique_ptr<ftc_context, Closer> context(new ftc_context);
    context->device = device;
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
    info.memory_available_bytes = available_bytes(context, &info.memory_total_bytes);
    info.memory_used_bytes = context.memory_used_bytes;
    std::snprintf(info.device_kind, sizeof(info.device_kind), "cuda");
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, context.device), "cudaGetDeviceProperties");
    std::snprintf(info.device_name, sizeof(info.device_name), "%.63s", properties.name);
    std::snprintf(info.isa, sizeof(info.isa), "sm_%d", context.compute_capability);
}

void enter(const ftc_stream& stream) {
    check(cudaSetDevice(stream.context->device), "cudaSetDevice");
}

void check_activations(const char* function, int32_t dtype) {
    if (dtype == FTC_F16)
        fail(FTC_ERROR_UNSUPPORTED,
             "%s: dtype is FTC_F16, expected FTC_BF16 or FTC_F32: the CUDA library computes in these", function);
}

ftc_stream* stream_create(ftc_context& context) {
    cuda::refuse_while_capturing("ftc_stream_create", context);
    check(cudaSetDevice(context.device), "cudaSetDevice");
    std::unique_ptr<ftc_stream, Closer> stream(new ftc_stream);
    stream->context = &context;
    check(cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check(cudaStreamCreateWithFlags(&stream->side_stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check(cudaEventCreateWithFlags(&stream->side_ready, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check(cudaEventCreateWithFlags(&stream->main_ready, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check(cudaMalloc(&stream->scratch, static_cast<size_t>(cuda::kScratchBytes)), "cudaMalloc");
    check(cudaMalloc(&stream->matmul_workspace, static_cast<size_t>(cuda::kMatmulWorkspaceBytes)), "cudaMalloc");
    return stream.release();
}

void stream_destroy(ftc_stream* stream) {
    Closer()(stream);
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

ftc_buffer* buffer_create(ftc_context& context, int64_t size_bytes) {
    cuda::refuse_while_capturing("ftc_buffer_create", context);
    check(cudaSetDevice(context.device), "cudaSetDevice");
    const int64_t available = available_bytes(context);
    const auto refuse = [&] {
        fail(FTC_ERROR_OUT_OF_MEMORY,
             "ftc_buffer_create: %" PRId64 " bytes are needed, %" PRId64 " are free on the GPU (%" PRId64
             " in use by this context, limit %" PRId64 ", 0 = none)",
             size_bytes, available, context.memory_used_bytes, context.memory_limit_bytes);
    };
    if (size_bytes > available) refuse();
    auto buffer = std::make_unique<ftc_buffer>(ftc_buffer{&context, nullptr, size_bytes, true});
    const cudaError_t error = cudaMalloc(&buffer->data, static_cast<size_t>(size_bytes));
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        refuse();
    }
    check(error, "cudaMalloc");
    const cudaError_t cleared = cudaMemset(buffer->data, 0, static_cast<size_t>(size_bytes));
    if (cleared == cudaSuccess) {
        check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); // streams of ours do not wait for the default one
        context.memory_used_bytes += size_bytes;
        return buffer.release();
    }
    cudaFree(buffer->data);
    check(cleared, "cudaMemset");
    return nullptr;
}

ftc_buffer* buffer_borrow(ftc_context& context, void* data, int64_t size_bytes) {
    return new ftc_buffer{&context, data, size_bytes, false};
}

void buffer_destroy(ftc_buffer* buffer) {
    if (buffer->owned) {
        cudaSetDevice(buffer->context->device);
        cudaFree(buffer->data); // waits for work that still uses it
        buffer->context->memory_used_bytes -= buffer->size_bytes;
    }
    delete buffer;
}

void buffer_get_data(ftc_buffer& buffer, void** data, int64_t* size_bytes) {
    if (data != nullptr) *data = buffer.data;
    if (size_bytes != nullptr) *size_bytes = buffer.size_bytes;
}

void copy_from_host(ftc_stream& stream, void* device, const void* host, int64_t size_bytes) {
    cuda::refuse_while_capturing("ftc_copy_from_host", *stream.context);
    check(cudaMemcpyAsync(device, host, static_cast<size_t>(size_bytes), cudaMemcpyHostToDevice, stream.handle),
          "cudaMemcpyAsync");
    // Pageable memory has been read when the call returns; pinned memory may still be in use.
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, host) != cudaSuccess) cudaGetLastError();
    if (attributes.type != cudaMemoryTypeUnregistered) check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
}

void copy_to_host(ftc_stream& stream, void* host, const void* device, int64_t size_bytes) {
    cuda::refuse_while_capturing("ftc_copy_to_host", *stream.context);
    check(cudaMemcpyAsync(host, device, static_cast<size_t>(size_bytes), cudaMemcpyDeviceToHost, stream.handle),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
}

void copy(ftc_stream& stream, void* y, const void* x, int64_t size_bytes) {
    check(cudaMemcpyAsync(y, x, static_cast<size_t>(size_bytes), cudaMemcpyDeviceToDevice, stream.handle),
          "cudaMemcpyAsync");
}

void fill_zero(ftc_stream& stream, void* y, int64_t size_bytes) {
    check(cudaMemsetAsync(y, 0, static_cast<size_t>(size_bytes), stream.handle), "cudaMemsetAsync");
}

} // namespace ftc::backend
