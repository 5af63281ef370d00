// What the driver takes of the device for a process that has no buffer yet. The runtime can only be asked once that has
// been taken, so the management library (NVML, part of the driver) is asked before and after; without it a usual figure
// is taken.
#include <map>
#include <mutex>

#include "cuda/context.h"

#if defined(FTC_SIM)

namespace ftc::cuda {

int64_t measure_driver_bytes(int32_t) {
    return 0;
}

} // namespace ftc::cuda

#else

#include <dlfcn.h>

namespace ftc::cuda {

namespace {

constexpr int64_t kUsualBytes = int64_t{512} << 20; // about what current drivers take on data-centre cards

// nvmlMemory_t
struct Memory {
    unsigned long long total, free, used;
};

// Bytes of the device that are in use; negative when NVML is not there.
int64_t used_bytes(int32_t device) {
    static void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return -1;
    const auto find = [&]<class F>(F*& function, const char* name) {
        function = reinterpret_cast<F*>(dlsym(library, name));
        return function != nullptr;
    };
    int (*init)() = nullptr;
    int (*shut_down)() = nullptr;
    int (*by_bus_id)(const char*, void**) = nullptr;
    int (*memory_info)(void*, Memory*) = nullptr;
    if (!find(init, "nvmlInit_v2") || !find(shut_down, "nvmlShutdown") ||
        !find(by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2") || !find(memory_info, "nvmlDeviceGetMemoryInfo"))
        return -1;
    char bus_id[32];
    if (cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), device) != cudaSuccess) {
        cudaGetLastError();
        return -1;
    }
    if (init() != 0) return -1;
    void* handle = nullptr;
    Memory memory{};
    const bool known = by_bus_id(bus_id, &handle) == 0 && memory_info(handle, &memory) == 0;
    shut_down();
    return known ? static_cast<int64_t>(memory.used) : -1;
}

} // namespace

int64_t measure_driver_bytes(int32_t device) {
    static std::mutex mutex;
    static std::map<int32_t, int64_t> measured; // the driver's context outlives ours, so the first time counts
    const std::lock_guard lock(mutex);
    if (const auto known = measured.find(device); known != measured.end()) return known->second;
    const int64_t before = used_bytes(device);
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaFree(nullptr), "cudaFree"); // makes the driver's context
    const int64_t after = before < 0 ? -1 : used_bytes(device);
    return measured[device] = after > before ? after - before : kUsualBytes;
}

} // namespace ftc::cuda

#endif
