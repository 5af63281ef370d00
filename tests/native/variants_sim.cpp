// The CUDA library on the simulator: its variants are the orders in which threads run, and all of them agree.
#include <new>

#include "simt/control.h"
#include "simt/cuda_runtime.h"
#include "variants.h"

namespace ftc::testing {

void* device_allocate(size_t bytes) {
    void* p = nullptr;
    if (cudaMallocManaged(&p, bytes == 0 ? 1 : bytes) != cudaSuccess) throw std::bad_alloc();
    return p;
}

void device_free(void* p) {
    cudaFree(p);
}

std::vector<std::string> variants() {
    return {"ordered", "reversed", "random_1", "random_2"};
}

void select_variant(const std::string& variant) {
    simt::reset_device();            // a fault fails the test that made it, not the ones after it
    simt::set_launch_blocking(true); // tests read results right after an op; asynchrony has tests of its own
    if (variant == "reversed")
        simt::set_schedule(simt::Schedule::reversed);
    else if (variant == "random_1" || variant == "random_2")
        simt::set_schedule(simt::Schedule::random, variant == "random_1" ? 1 : 2);
    else
        simt::set_schedule(simt::Schedule::ordered);
}

std::string same_bits_as(const std::string& variant) {
    return variant == "ordered" || variant.empty() ? "" : "ordered";
}

std::vector<int32_t> thread_counts() {
    return {1};
}

bool is_simulated() {
    return true;
}

bool rounds_weights(const std::string&) {
    return true;
}

} // namespace ftc::testing
