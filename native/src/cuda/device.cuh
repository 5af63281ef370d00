// What a kernel stands on: the only header a `*_cuda.cu` includes for device code, and the only file with inline PTX.
// (device_sm90a.cuh, which it includes, is its part for Hopper.) Compiled by nvcc it is CUDA; compiled by g++ with FTC_SIM the same names come from native/sim, which executes them on
// the CPU. Rules for kernels: README.md of this folder.
#pragma once

#include <cstdint>

#if defined(FTC_SIM)
#include "simt/simt.h"
#else
#include <cuda.h> // CUtensorMap
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#if CUDART_VERSION < 13000
// Removed or changed in CUDA 13: whatever compiles here compiles there.
#undef cudaStreamGetCaptureInfo // a macro in CUDA 12
#pragma GCC poison clockRate memoryClockRate computeMode deviceOverlap kernelExecTimeoutEnabled maxTexture1DLinear
#pragma GCC poison singleToDoublePrecisionPerfRatio cooperativeMultiDeviceLaunch cudaMemPrefetchAsync cudaMemAdvise
#pragma GCC poison cudaGetDriverEntryPoint cudaGraphAddNode cudaMemcpyBatchAsync
#endif
#endif

namespace ftc::cuda {

// Keeps the first error of a launch for the calling op, which fails with a sentence (runtime.cpp).
void check_launch(const char* kernel);

} // namespace ftc::cuda

#if !defined(FTC_SIM)

// The block's dynamic shared memory, 1024-byte aligned.
#define FTC_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

// FTC_LAUNCH((kernel<int, 4>), grid, block, shared_bytes, stream, arguments...)
#define FTC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                     \
    do {                                                                                                               \
        FTC_UNWRAP kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__);                                         \
        ::ftc::cuda::check_launch(#kernel);                                                                            \
    } while (0)
#define FTC_UNWRAP(...) __VA_ARGS__

// wgmma, TMA and friends exist in this pass of the compiler: that of sm_90a, and the host's, which only sees kernels' names.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
#define FTC_HAS_SM90A 1
#endif

#else
#include "cuda/device_sim.cuh"
#endif // !FTC_SIM

namespace ftc::cuda {

#if !defined(FTC_SIM)
using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ __forceinline__ float to_float(float x) {
    return x;
}
__device__ __forceinline__ float to_float(bf16 x) {
    return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(f16 x) {
    return __half2float(x);
}
template <class T>
__device__ __forceinline__ T from_float(float x); // rounded to nearest even
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
    return __float2half_rn(x);
}

// Two floats to a bf16 pair in one register, `low` in the low half; and back.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
#endif // !FTC_SIM

__device__ __forceinline__ float low_bf16(uint32_t pair) {
    return __uint_as_float(pair << 16);
}
__device__ __forceinline__ float high_bf16(uint32_t pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

constexpr uint32_t kAllLanes = 0xffffffffu;

// 16-byte loads and stores. `streaming` data is read once and should leave the cache first.
__device__ __forceinline__ uint4 load16(const void* p) {
    return *static_cast<const uint4*>(p);
}
__device__ __forceinline__ void store16(void* p, uint4 v) {
    *static_cast<uint4*>(p) = v;
}

#if !defined(FTC_SIM)
// The same for global memory alone, of 16 and 8 bytes, as one instruction for certain: nvcc takes plain assignments of a
// uint4 apart and does not always put them together again.
__device__ __forceinline__ uint4 load16_global(const void* p) {
    uint4 v;
    asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(__cvta_generic_to_global(p)));
    return v;
}
__device__ __forceinline__ uint2 load8_global(const void* p) {
    uint2 v;
    asm volatile("ld.global.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(__cvta_generic_to_global(p)));
    return v;
}
__device__ __forceinline__ void store16_global(void* p, uint4 v) {
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ void store8_global(void* p, uint2 v) {
    asm volatile("st.global.v2.u32 [%0], {%1,%2};" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y) : "memory");
}

__device__ __forceinline__ uint4 load16_streaming(const void* p) {
    return __ldcs(static_cast<const uint4*>(p));
}
__device__ __forceinline__ void store16_streaming(void* p, uint4 v) {
    __stcs(static_cast<uint4*>(p), v);
}

// Address in the shared window, as the instructions below want it.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- cp.async (sm_80): 16 bytes to shared memory, of which source_bytes (0..16) are copied and the rest zeroed.
__device__ __forceinline__ void copy16_async(void* shared, const void* global, int source_bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
}
__device__ __forceinline__ void copy_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most `Pending` committed groups of this thread are in flight.
template <int Pending>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// ---- ldmatrix: lane i gives the address of row i % 8 of matrix i / 8; `_transposed` hands out columns.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void load_matrix_x2(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void load_matrix_x2_transposed(uint32_t (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}

// ---- mma.sync m16n8k16, bf16 in, fp32 out: d = a b + d.
// With g = lane / 4, t = lane % 4: a = rows g, g+8, g, g+8 at columns 2t, 2t, 2t+8, 2t+8 (pairs); b = rows 2t, 2t+8
// (pairs) of column g; d = rows g, g, g+8, g+8 at columns 2t, 2t+1, 2t, 2t+1.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// m16n8k8: a = rows g, g+8 at columns 2t (pairs); b = rows 2t (pair) of column g.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

// ---- Named barriers: barrier `id` (1 to 15) of `threads` threads, a multiple of 32. Who arrives does not wait.
__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// 2^x with the special-function unit (2 ulp), flushing subnormals.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// 1 / x with the special-function unit (1 ulp), flushing subnormals.
__device__ __forceinline__ float reciprocal_fast(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif // !FTC_SIM

} // namespace ftc::cuda

#if !defined(FTC_SIM) && defined(FTC_HAS_SM90A)
#include "cuda/device_sm90a.cuh"
#endif
