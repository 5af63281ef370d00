// What device code sees: CUDA's keywords and built-ins, executed on the CPU. Compile kernels with simt_add_kernels
// (CMakeLists.txt), so that every load and store is seen; README.md says what is checked and what is not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/cuda_runtime.h"
#include "simt/half.h"
#include "simt/hopper.h"
#include "simt/launch.h"
#include "simt/math.h"
#include "simt/matrix.h"
#include "simt/types.h"
#include "simt/warp.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
// An OS thread runs one block at a time, so what is local to it is shared by the block. constinit: without it arrays of
// class type get a run-time guard, which the checks would see as memory of its own.
#define __shared__ static thread_local constinit

namespace simt::detail {
uint3 thread_index() noexcept __attribute__((const));
uint3 block_index() noexcept __attribute__((const));
uint3 block_dimensions() noexcept __attribute__((const));
uint3 grid_dimensions() noexcept __attribute__((const));
void* dynamic_shared() noexcept __attribute__((const));
void trap(const char* message);
} // namespace simt::detail

#define threadIdx (::simt::detail::thread_index())
#define blockIdx (::simt::detail::block_index())
#define blockDim (::simt::detail::block_dimensions())
#define gridDim (::simt::detail::grid_dimensions())
constexpr int warpSize = 32;

// The block's dynamic shared memory, 1024-byte aligned.
#define SIMT_DYNAMIC_SHARED(name)                                                                                      \
    unsigned char* const name = static_cast<unsigned char*>(::simt::detail::dynamic_shared())

inline void __trap() {
    ::simt::detail::trap("__trap()");
}
long long clock64();
inline void __nanosleep(unsigned) {}

// Loads and stores with a cache hint are loads and stores.
template <class T>
__forceinline__ T __ldg(const T* p) {
    return *p;
}
template <class T>
__forceinline__ T __ldcs(const T* p) {
    return *p;
}
template <class T>
__forceinline__ T __ldcg(const T* p) {
    return *p;
}
template <class T>
__forceinline__ T __ldca(const T* p) {
    return *p;
}
template <class T>
__forceinline__ T __ldlu(const T* p) {
    return *p;
}
template <class T>
__forceinline__ void __stcs(T* p, T value) {
    *p = value;
}
template <class T>
__forceinline__ void __stcg(T* p, T value) {
    *p = value;
}
template <class T>
__forceinline__ void __stwt(T* p, T value) {
    *p = value;
}
