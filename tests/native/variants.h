// The ways in which the library under test can compute the same thing: instruction sets of the CPU, schedules of the
// simulator, the one GPU. The program is linked with the variants_*.cpp of its library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ftc::testing {

// Memory that both host and device of the library under test reach.
void* device_allocate(size_t bytes);
void device_free(void* p);

template <class T>
struct DeviceAllocator {
    using value_type = T;
    DeviceAllocator() = default;
    template <class U>
    DeviceAllocator(const DeviceAllocator<U>&) {}
    T* allocate(size_t count) { return static_cast<T*>(device_allocate(count * sizeof(T))); }
    void deallocate(T* p, size_t) { device_free(p); }
    template <class U>
    bool operator==(const DeviceAllocator<U>&) const {
        return true;
    }
};

// What ops read and write in tests.
template <class T>
using Vector = std::vector<T, DeviceAllocator<T>>;

// Names of the variants this machine can run.
std::vector<std::string> variants();

// Contexts created from now on compute in this variant; "" is the default.
void select_variant(const std::string& variant);

// Variants that must agree bit for bit with `variant`, as far as they came earlier; "" = none.
std::string same_bits_as(const std::string& variant);

// Thread counts worth trying.
std::vector<int32_t> thread_counts();

// Whether a multiplication costs a thousand times what it should: tests then take fewer of their sizes.
bool is_simulated();

// Whether products of bf16 activations see weights of other formats rounded to bf16, or as they are.
bool rounds_weights(const std::string& variant);

} // namespace ftc::testing
