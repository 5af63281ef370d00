// The CUDA runtime's C API over the simulated device.
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

#include "counters.h"
#include "launch.h"
#include "memory.h"
#include "shadow.h"
#include "stream.h"

using simt::device;
using simt::failed;
using Lock = simt::RuntimeLock;

namespace {

cudaError_t status() {
    return device().dead == cudaSuccess ? cudaSuccess : failed(device().dead);
}

// Calls that would wait, or change memory, are not allowed while a stream is captured.
bool capturing() {
    return device().captures > 0;
}

std::unordered_map<const void*, size_t>& opted_in() {
    static auto* sizes = new std::unordered_map<const void*, size_t>;
    return *sizes;
}

// Not under the device's lock, nor is free: a test program may make its whole heap of managed memory, and then the
// simulator itself comes here in the middle of a launch.
cudaError_t allocate(void** p, size_t bytes, simt::MemoryKind kind) {
    if (p == nullptr) return failed(cudaErrorInvalidValue);
    *p = nullptr;
    // Managed memory can be had on a dead device: it may be the heap of whoever reports the death.
    if (kind != simt::MemoryKind::managed && status() != cudaSuccess) return status();
    if (kind != simt::MemoryKind::managed && capturing()) return simt::forbidden_in_capture();
    if (bytes == 0) return cudaSuccess;
    try {
        *p = simt::allocate(bytes, kind);
    } catch (const std::bad_alloc&) { // not even the addresses could be reserved
    }
    return *p != nullptr ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}

cudaError_t free_memory(void* p, bool pinned) {
    if (p == nullptr) return cudaSuccess;
    if (simt::work_is_queued() && !Lock::held() && !simt::is_worker_thread()) { // cudaFree waits for the device
        const Lock lock;
        if (status() == cudaSuccess) simt::drain_all();
    }
    return simt::release(p, pinned) ? status() : failed(cudaErrorInvalidValue);
}

// A side of a copy: device memory must be all there; ordinary host memory is taken as it is.
bool side_is_valid(const void* p, size_t bytes, bool must_be_device, bool must_be_host) {
    if (p == nullptr) return bytes == 0;
    const simt::Allocation* allocation = simt::find_allocation(p);
    if (allocation == nullptr) return !must_be_device;
    if (must_be_host && allocation->kind == simt::MemoryKind::device) return false;
    return simt::is_device_accessible(p, bytes);
}

cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    const bool known = kind != cudaMemcpyDefault;
    if (!side_is_valid(to, bytes, to_device, known && !to_device)) return cudaErrorInvalidValue;
    if (!side_is_valid(from, bytes, from_device, known && !from_device)) return cudaErrorInvalidValue;
    return cudaSuccess;
}

bool is_ordinary_memory(const void* p) {
    return simt::find_allocation(p) == nullptr;
}

} // namespace

namespace simt {

size_t shared_limit(const void* kernel) {
    const auto entry = opted_in().find(kernel);
    return entry == opted_in().end() ? kSharedDefault : std::max(kSharedDefault, entry->second);
}

} // namespace simt

cudaError_t simt::detail::set_function_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || static_cast<size_t>(value) > kSharedOptIn) return failed(cudaErrorInvalidValue);
    opted_in()[kernel] = static_cast<size_t>(value);
    return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevicePointer:
        return "cudaErrorInvalidDevicePointer";
    case cudaErrorInvalidMemcpyDirection:
        return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorInsufficientDriver:
        return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidDeviceFunction:
        return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
        return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
        return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
        return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
        return "cudaErrorIllegalAddress";
    case cudaErrorLaunchOutOfResources:
        return "cudaErrorLaunchOutOfResources";
    case cudaErrorLaunchTimeout:
        return "cudaErrorLaunchTimeout";
    case cudaErrorMisalignedAddress:
        return "cudaErrorMisalignedAddress";
    case cudaErrorLaunchFailure:
        return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
        return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
        return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnjoined:
        return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation:
        return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent:
        return "cudaErrorCapturedEvent";
    case cudaErrorUnknown:
        return "cudaErrorUnknown";
    }
    return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevicePointer:
        return "invalid device pointer";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    default:
        return cudaGetErrorName(error);
    }
}

cudaError_t cudaGetLastError() {
    const Lock lock;
    const cudaError_t error = device().last_error;
    device().last_error = device().dead; // a dead device stays dead
    return error;
}
cudaError_t cudaPeekAtLastError() {
    const Lock lock;
    return device().last_error;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* number) {
    *number = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int number) {
    return number == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
    if (number != 0) return failed(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = 1024;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = static_cast<int>(simt::kSharedDefault);
        break;
    case cudaDevAttrWarpSize:
        *value = 32;
        break;
    case cudaDevAttrMaxRegistersPerBlock:
        *value = 65536;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = 4;
        break;
    case cudaDevAttrIntegrated:
        *value = 0;
        break;
    case cudaDevAttrL2CacheSize:
        *value = 50 << 20;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = 2048;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = static_cast<int>(simt::kWindowBytes);
        break;
    case cudaDevAttrManagedMemory:
        *value = 1;
        break;
    case cudaDevAttrConcurrentManagedAccess:
        *value = 1;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = static_cast<int>(simt::kSharedOptIn);
        break;
    case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
    default:
        return failed(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
    if (number != 0) return failed(cudaErrorInvalidDevice);
    *properties = {};
    std::strcpy(properties->name, "SIMT simulator");
    properties->totalGlobalMem = simt::device_memory_total();
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = 12040;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 12040;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
    const Lock lock;
    if (capturing()) return simt::forbidden_in_capture();
    if (status() == cudaSuccess) simt::drain_all();
    return status();
}
cudaError_t cudaDeviceReset() {
    simt::reset_device();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
    const Lock lock;
    *free_bytes = simt::device_memory_free();
    *total_bytes = simt::device_memory_total();
    return status();
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
    return allocate(p, bytes, simt::MemoryKind::device);
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) {
    return allocate(p, bytes, simt::MemoryKind::device);
}
cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned) {
    return allocate(p, bytes, simt::MemoryKind::managed);
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
    return allocate(p, bytes, simt::MemoryKind::pinned);
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
    return allocate(p, bytes, simt::MemoryKind::pinned);
}
cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
    const Lock lock;
    return p != nullptr && bytes > 0 && simt::register_host(p, bytes) ? cudaSuccess : failed(cudaErrorInvalidValue);
}
cudaError_t cudaHostUnregister(void* p) {
    const Lock lock;
    if (status() == cudaSuccess) simt::drain_all();
    return simt::unregister_host(p) ? cudaSuccess : failed(cudaErrorInvalidValue);
}
cudaError_t cudaHostGetDevicePointer(void** pointer, void* host, unsigned) {
    *pointer = host;
    return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
    return free_memory(p, false);
}
cudaError_t cudaFreeHost(void* p) {
    return free_memory(p, true);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
    const Lock lock;
    if (p == nullptr) return cudaSuccess;
    const simt::Allocation* allocation = simt::find_allocation(p);
    if (allocation == nullptr || allocation->base != p || allocation->freed) return failed(cudaErrorInvalidValue);
    return simt::enqueue(simt::stream_or_default(stream), [p](simt_stream&) { simt::release(p, false); });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
    const Lock lock;
    const simt::Allocation* allocation = simt::find_allocation(p);
    *attributes = {cudaMemoryTypeUnregistered, 0, nullptr, const_cast<void*>(p)};
    if (allocation == nullptr || allocation->freed) return cudaSuccess;
    attributes->devicePointer = const_cast<void*>(p);
    switch (allocation->kind) {
    case simt::MemoryKind::device:
        attributes->type = cudaMemoryTypeDevice;
        attributes->hostPointer = nullptr;
        break;
    case simt::MemoryKind::managed:
        attributes->type = cudaMemoryTypeManaged;
        break;
    default:
        attributes->type = cudaMemoryTypeHost;
        break;
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width_bytes,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    if (width_bytes == 0 || height == 0) return cudaSuccess;
    if (to_pitch < width_bytes || from_pitch < width_bytes) return failed(cudaErrorInvalidValue);
    const size_t to_bytes = to_pitch * (height - 1) + width_bytes, from_bytes = from_pitch * (height - 1) + width_bytes;
    if (const cudaError_t error = check_copy(to, from, to_bytes, kind); error != cudaSuccess) return failed(error);
    if (const cudaError_t error = check_copy(to, from, from_bytes, kind); error != cudaSuccess && from_bytes > to_bytes)
        return failed(error);
    // From ordinary memory the runtime copies before it returns (through a buffer of its own).
    std::shared_ptr<std::vector<char>> staged;
    simt_stream* target = simt::stream_or_default(stream);
    if (is_ordinary_memory(from) && target->capture == nullptr) {
        staged = std::make_shared<std::vector<char>>(static_cast<const char*>(from),
                                                     static_cast<const char*>(from) + from_bytes);
        from = staged->data();
    }
    const cudaError_t error = simt::enqueue(target, [=](simt_stream& on) {
        const uint64_t serial = simt::begin_launch(on.view, on.slot, on.clock);
        if (staged == nullptr && !simt::bulk_access(serial, on.view, from, from_bytes, false, "cudaMemcpyAsync"))
            return;
        if (!simt::bulk_access(serial, on.view, to, to_bytes, true, "cudaMemcpyAsync")) return;
        for (size_t row = 0; row < height; ++row)
            std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                         width_bytes);
        simt::mark_written(to, to_bytes);
        simt::count_stream_work("cudaMemcpyAsync", width_bytes * height, width_bytes * height, 0);
    });
    // To ordinary memory it returns when the copy is done.
    if (error == cudaSuccess && is_ordinary_memory(to) && target->capture == nullptr) simt::drain_stream(target);
    return error == cudaSuccess ? status() : error;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    const Lock lock;
    if (capturing()) return simt::forbidden_in_capture();
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    if (error != cudaSuccess) return error;
    simt::drain_stream(simt::stream_or_default(nullptr));
    return status();
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width_bytes,
                         size_t height, cudaMemcpyKind kind) {
    const Lock lock;
    if (capturing()) return simt::forbidden_in_capture();
    const cudaError_t error = cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width_bytes, height, kind, nullptr);
    if (error != cudaSuccess) return error;
    simt::drain_stream(simt::stream_or_default(nullptr));
    return status();
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    if (bytes == 0) return cudaSuccess;
    if (!simt::is_device_accessible(p, bytes)) return failed(cudaErrorInvalidValue);
    return simt::enqueue(simt::stream_or_default(stream), [=](simt_stream& on) {
        const uint64_t serial = simt::begin_launch(on.view, on.slot, on.clock);
        if (!simt::bulk_access(serial, on.view, p, bytes, true, "cudaMemsetAsync")) return;
        std::memset(p, value, bytes);
        simt::mark_written(p, bytes);
        simt::count_stream_work("cudaMemsetAsync", 0, bytes, 0);
    });
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
    const Lock lock;
    if (capturing()) return simt::forbidden_in_capture();
    const cudaError_t error = cudaMemsetAsync(p, value, bytes, nullptr);
    if (error != cudaSuccess) return error;
    simt::drain_stream(simt::stream_or_default(nullptr));
    return status();
}
