// Tensor-core and asynchronous-copy instructions of sm_80 under neutral names: one function an instruction.
#pragma once

#include <cstdint>

#include "simt/warp.h"

namespace simt {

namespace detail {
void copy_async(void* shared, const void* global, int bytes, int source_bytes, Where where);
void copy_async_commit();
void copy_async_wait(int pending);
uint32_t shared_offset(const void* p);
} // namespace detail

// Address in the 32-bit shared window.
inline uint32_t shared_address(const void* p) {
    return detail::shared_offset(p);
}

// cp.async: `bytes` (4, 8, 16) to shared memory, of which source_bytes come from global and the rest are zeroed.
inline void copy_async(void* shared, const void* global, int bytes, int source_bytes, SIMT_HERE) {
    detail::copy_async(shared, global, bytes, source_bytes, where);
}
inline void copy_async_commit() {
    detail::copy_async_commit();
}
template <int Pending>
inline void copy_async_wait() {
    detail::copy_async_wait(Pending);
}

// ldmatrix .x1/.x2/.x4: lane i gives the address of row i % 8 of matrix i / 8.
template <int Count>
inline void load_matrix(uint32_t (&r)[Count], const void* row, bool transposed, SIMT_HERE) {
    detail::warp_matrix(detail::WarpOp::load_matrix, row, r, Count, transposed, where);
}
// stmatrix, the other way.
template <int Count>
inline void store_matrix(void* row, const uint32_t (&r)[Count], bool transposed, SIMT_HERE) {
    detail::warp_matrix(detail::WarpOp::store_matrix, row, const_cast<uint32_t*>(r), Count, transposed, where);
}

// mma.sync, d = a b + d.
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    detail::warp_mma(detail::WarpOp::mma_bf16, d, a, b, where);
}
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    detail::warp_mma(detail::WarpOp::mma_f16, d, a, b, where);
}
inline void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], const uint32_t& b, SIMT_HERE) {
    detail::warp_mma(detail::WarpOp::mma_bf16_k8, d, a, &b, where);
}
inline void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_HERE) {
    detail::warp_mma(detail::WarpOp::mma_s8, d, a, b, where);
}

} // namespace simt
