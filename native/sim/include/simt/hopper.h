// Instructions of sm_90a under neutral names: mbarriers, bulk tensor copies (TMA, two dimensions), wgmma; and the named
// barriers that every GPU has.
#pragma once

#include <cstdint>

#include "simt/cuda_runtime.h"
#include "simt/warp.h"

namespace simt {

namespace detail {
void named_barrier(int id, int threads, bool wait, Where where);
void mbarrier_init(uint64_t* barrier, uint32_t count, Where where);
void mbarrier_arrive(uint64_t* barrier, uint32_t count, uint32_t expected_bytes, bool arrive, Where where);
bool mbarrier_test(uint64_t* barrier, uint32_t parity, Where where);
void mbarrier_wait(uint64_t* barrier, uint32_t parity, Where where);
void fence_proxy_async();
void tma_load_2d(void* shared, const CUtensorMap* map, int x, int y, uint64_t* barrier, Where where);

struct WgmmaCall {
    int n;             // columns
    float* d;          // n / 2 accumulators of the lane
    const uint32_t* a; // fragment in registers, or null: a_descriptor
    uint64_t a_descriptor, b_descriptor;
    bool accumulate, a_transposed, b_transposed;
};
void wgmma(const WgmmaCall& call, Where where);
void wgmma_commit(Where where);
void wgmma_wait(int pending, Where where);
} // namespace detail

// bar.sync and bar.arrive: barrier `id` (1 to 15) of `threads` threads, a multiple of 32.
inline void named_barrier_sync(int id, int threads, SIMT_HERE) {
    detail::named_barrier(id, threads, true, where);
}
inline void named_barrier_arrive(int id, int threads, SIMT_HERE) {
    detail::named_barrier(id, threads, false, where);
}

// An mbarrier is 8 bytes of shared memory. A phase ends when `count` arrivals and all expected bytes have come.
inline void mbarrier_init(uint64_t* barrier, uint32_t count, SIMT_HERE) {
    detail::mbarrier_init(barrier, count, where);
}
inline void mbarrier_arrive(uint64_t* barrier, SIMT_HERE) {
    detail::mbarrier_arrive(barrier, 1, 0, true, where);
}
inline void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes, SIMT_HERE) {
    detail::mbarrier_arrive(barrier, 1, bytes, true, where);
}
inline void mbarrier_expect(uint64_t* barrier, uint32_t bytes, SIMT_HERE) {
    detail::mbarrier_arrive(barrier, 0, bytes, false, where);
}
// Whether the phase of this parity has ended; and waiting until it has.
inline bool mbarrier_test(uint64_t* barrier, uint32_t parity, SIMT_HERE) {
    return detail::mbarrier_test(barrier, parity, where);
}
inline void mbarrier_wait(uint64_t* barrier, uint32_t parity, SIMT_HERE) {
    detail::mbarrier_wait(barrier, parity, where);
}

// fence.mbarrier_init and fence.proxy.async.
inline void fence_barrier_init() {
    detail::fence_proxy_async();
}
inline void fence_proxy_async() {
    detail::fence_proxy_async();
}

// Copies the map's box at (x, y) to shared memory and counts its bytes on the barrier; what lies outside is zero.
inline void tma_load_2d(void* shared, const CUtensorMap* map, int x, int y, uint64_t* barrier, SIMT_HERE) {
    detail::tma_load_2d(shared, map, x, y, barrier, where);
}

// The shared-memory descriptor of wgmma: swizzle 0 none, 1 = 128 bytes, 2 = 64, 3 = 32.
uint64_t wgmma_descriptor(const void* shared, uint32_t leading_bytes, uint32_t stride_bytes, uint32_t swizzle);

inline void wgmma_fence() {}
inline void wgmma_commit(SIMT_HERE) {
    detail::wgmma_commit(where);
}
template <int Pending>
inline void wgmma_wait(SIMT_HERE) {
    detail::wgmma_wait(Pending, where);
}

// d[64, N] = a[64, 16] b[16, N] (+ d) in bf16 with fp32 sums, by the four warps of a warpgroup.
template <int N>
inline void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, bool a_transposed, bool b_transposed,
                       SIMT_HERE) {
    detail::wgmma({N, d, nullptr, a, b, accumulate, a_transposed, b_transposed}, where);
}
template <int N>
inline void wgmma_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate, bool b_transposed,
                       SIMT_HERE) {
    detail::wgmma({N, d, a, 0, b, accumulate, false, b_transposed}, where);
}

} // namespace simt
