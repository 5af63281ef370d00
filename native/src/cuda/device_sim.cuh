// device.cuh for the simulator: the same names over native/sim. Each stands for one instruction.
#pragma once

#include "simt/simt.h"

#define FTC_DYNAMIC_SHARED(name) SIMT_DYNAMIC_SHARED(name)

#define FTC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                     \
    do {                                                                                                               \
        ::simt::launch(#kernel, FTC_UNWRAP kernel, grid, block, shared_bytes, stream __VA_OPT__(, ) __VA_ARGS__);      \
        ::ftc::cuda::check_launch(#kernel);                                                                            \
    } while (0)
#define FTC_UNWRAP(...) __VA_ARGS__

#define FTC_HAS_SM90A 1

namespace ftc::cuda {

using bf16 = simt::bf16;
using f16 = simt::f16;

inline float to_float(float x) {
    return x;
}
inline float to_float(bf16 x) {
    return __bfloat162float(x);
}
inline float to_float(f16 x) {
    return __half2float(x);
}
template <class T>
inline T from_float(float x) {
    return T(x);
}

inline uint32_t pack_bf16(float low, float high) {
    return static_cast<uint32_t>(bf16(high).bits) << 16 | bf16(low).bits;
}

inline uint4 load16_global(const void* p) {
    return *static_cast<const uint4*>(p);
}
inline uint2 load8_global(const void* p) {
    return *static_cast<const uint2*>(p);
}
inline void store16_global(void* p, uint4 v) {
    *static_cast<uint4*>(p) = v;
}
inline void store8_global(void* p, uint2 v) {
    *static_cast<uint2*>(p) = v;
}

inline uint4 load16_streaming(const void* p) {
    return *static_cast<const uint4*>(p);
}
inline void store16_streaming(void* p, uint4 v) {
    *static_cast<uint4*>(p) = v;
}

inline uint32_t shared_address(const void* p) {
    return simt::shared_address(p);
}

inline void copy16_async(void* shared, const void* global, int source_bytes = 16, SIMT_HERE) {
    simt::copy_async(shared, global, 16, source_bytes, where);
}
inline void copy_async_commit() {
    simt::copy_async_commit();
}
template <int Pending>
inline void copy_async_wait() {
    simt::copy_async_wait<Pending>();
}

inline void load_matrix_x4(uint32_t (&r)[4], const void* row, SIMT_HERE) {
    simt::load_matrix<4>(r, row, false, where);
}
inline void load_matrix_x2(uint32_t (&r)[2], const void* row, SIMT_HERE) {
    simt::load_matrix<2>(r, row, false, where);
}
inline void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row, SIMT_HERE) {
    simt::load_matrix<4>(r, row, true, where);
}
inline void load_matrix_x2_transposed(uint32_t (&r)[2], const void* row, SIMT_HERE) {
    simt::load_matrix<2>(r, row, true, where);
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    simt::mma_m16n8k16_bf16(d, a, b, where);
}

inline float exp2_fast(float x) {
    return __exp2f(x);
}
inline float reciprocal_fast(float x) {
    return __fdividef(1.0f, x);
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1], SIMT_HERE) {
    simt::mma_m16n8k8_bf16(d, a, b[0], where);
}

using simt::fence_barrier_init;
using simt::fence_proxy_async;
using simt::mbarrier_arrive;
using simt::mbarrier_arrive_expect;
using simt::mbarrier_init;
using simt::mbarrier_test;
using simt::mbarrier_wait;
using simt::named_barrier_arrive;
using simt::named_barrier_sync;
using simt::tma_load_2d;
using simt::wgmma_commit;
using simt::wgmma_descriptor;
using simt::wgmma_fence;
using simt::wgmma_wait;

inline void store_matrix_x4(void* row, const uint32_t (&r)[4], SIMT_HERE) {
    simt::store_matrix<4>(row, r, false, where);
}
inline void store_matrix_x4_transposed(void* row, const uint32_t (&r)[4], SIMT_HERE) {
    simt::store_matrix<4>(row, r, true, where);
}
template <int N, int TransposeA, int TransposeB>
inline void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, SIMT_HERE) {
    static_assert(N == 64 || N == 128 || N == 256);
    simt::wgmma_bf16<N>(d, a, b, accumulate, TransposeA != 0, TransposeB != 0, where);
}
template <int N, int TransposeB>
inline void wgmma_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate, SIMT_HERE) {
    static_assert(N == 64 || N == 128 || N == 256);
    simt::wgmma_bf16<N>(d, a, b, accumulate, TransposeB != 0, where);
}

} // namespace ftc::cuda
