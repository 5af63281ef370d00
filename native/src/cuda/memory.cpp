// Buffers of the device and of the host, copies and fills: the CUDA library's side of api/backend.h.
#include "core/memory.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <initializer_list>
#include <memory>

#include "api/backend.h"
#include "cuda/context.h"

namespace ftc::cuda {

int64_t available_bytes(const ftc_context& context, int64_t* total) {
    size_t free_bytes = 0, total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    if (total != nullptr) *total = static_cast<int64_t>(total_bytes);
    int64_t available = static_cast<int64_t>(free_bytes);
    if (context.memory_limit_bytes > 0)
        available = std::min(available, context.memory_limit_bytes - context.memory_used_bytes);
    return std::max<int64_t>(available, 0);
}

int64_t taken_bytes() {
    size_t free_bytes = 0, total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    return static_cast<int64_t>(total_bytes - free_bytes);
}

} // namespace ftc::cuda

namespace ftc::backend {

using cuda::check;

namespace {

bool in_host_buffer(const ftc_context& context, const void* p, int64_t size_bytes) {
    const char* at = static_cast<const char*>(p);
    auto next = context.host_buffers.upper_bound(at);
    if (next == context.host_buffers.begin()) return false;
    const auto& [start, size] = *std::prev(next);
    return at - start < size && size_bytes <= size - (at - start);
}

// The direction of a copy; where host buffers stand for device memory the runtime finds it out by the addresses.
cudaMemcpyKind kind_of(const ftc_stream& stream, std::initializer_list<const void*> device, cudaMemcpyKind otherwise) {
    for (const void* p : device)
        if (in_host_buffer(*stream.context, p, 1)) return cudaMemcpyDefault;
    return otherwise;
}

} // namespace

ftc_buffer* buffer_create(ftc_context& context, int64_t size_bytes) {
    cuda::refuse_while_capturing("ftc_buffer_create", context);
    check(cudaSetDevice(context.device), "cudaSetDevice");
    const int64_t available = cuda::available_bytes(context);
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

ftc_host_buffer* host_buffer_create(ftc_context& context, int64_t size_bytes) {
    cuda::refuse_while_capturing("ftc_host_buffer_create", context);
    check(cudaSetDevice(context.device), "cudaSetDevice");
    const int64_t available = read_machine_limits("").memory_available_bytes;
    const auto refuse = [&] { fail_host_memory(size_bytes, available, context.host_memory_used_bytes); };
    if (size_bytes > available) refuse();
    auto buffer = std::make_unique<ftc_host_buffer>(ftc_host_buffer{&context, nullptr, size_bytes});
    const cudaError_t error = cudaHostAlloc(&buffer->data, static_cast<size_t>(size_bytes), cudaHostAllocMapped);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        refuse();
    }
    check(error, "cudaHostAlloc");
    std::memset(buffer->data, 0, static_cast<size_t>(size_bytes));
    context.host_buffers.emplace(static_cast<const char*>(buffer->data), size_bytes);
    context.host_memory_used_bytes += size_bytes;
    return buffer.release();
}

void host_buffer_destroy(ftc_host_buffer* buffer) {
    ftc_context& context = *buffer->context;
    cudaSetDevice(context.device);
    cudaDeviceSynchronize(); // copies may be under way
    context.host_buffers.erase(static_cast<const char*>(buffer->data));
    context.host_memory_used_bytes -= buffer->size_bytes;
    cudaFreeHost(buffer->data);
    delete buffer;
}

void host_buffer_get_data(ftc_host_buffer& buffer, void** data, int64_t* size_bytes) {
    if (data != nullptr) *data = buffer.data;
    if (size_bytes != nullptr) *size_bytes = buffer.size_bytes;
}

void copy_from_host(ftc_stream& stream, void* device, const void* host, int64_t size_bytes) {
    const bool enqueued_only = in_host_buffer(*stream.context, host, size_bytes);
    if (!enqueued_only) cuda::refuse_while_capturing("ftc_copy_from_host", *stream.context);
    check(cudaMemcpyAsync(device, host, static_cast<size_t>(size_bytes),
                          kind_of(stream, {device}, cudaMemcpyHostToDevice), stream.handle),
          "cudaMemcpyAsync");
    if (enqueued_only) return;
    // Pageable memory has been read when the call returns; memory pinned by others may still be in use.
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, host) != cudaSuccess) cudaGetLastError();
    if (attributes.type != cudaMemoryTypeUnregistered)
        check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
}

void copy_to_host(ftc_stream& stream, void* host, const void* device, int64_t size_bytes) {
    const bool enqueued_only = in_host_buffer(*stream.context, host, size_bytes);
    if (!enqueued_only) cuda::refuse_while_capturing("ftc_copy_to_host", *stream.context);
    check(cudaMemcpyAsync(host, device, static_cast<size_t>(size_bytes),
                          kind_of(stream, {device}, cudaMemcpyDeviceToHost), stream.handle),
          "cudaMemcpyAsync");
    if (enqueued_only) return;
    check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
}

void copy(ftc_stream& stream, void* y, const void* x, int64_t size_bytes) {
    check(cudaMemcpyAsync(y, x, static_cast<size_t>(size_bytes), kind_of(stream, {y, x}, cudaMemcpyDeviceToDevice),
                          stream.handle),
          "cudaMemcpyAsync");
}

void fill_zero(ftc_stream& stream, void* y, int64_t size_bytes) {
    check(cudaMemsetAsync(y, 0, static_cast<size_t>(size_bytes), stream.handle), "cudaMemsetAsync");
}

} // namespace ftc::backend
