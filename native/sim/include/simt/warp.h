// What the threads of a warp and of a block do together, and atomics.
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "simt/types.h"

namespace simt::detail {

using Where = std::source_location;

enum class WarpOp : uint8_t {
    sync,
    shfl_index,
    shfl_up,
    shfl_down,
    shfl_xor,
    ballot,
    any,
    all,
    reduce_add,
    reduce_min,
    reduce_max,
    reduce_and,
    reduce_or,
    reduce_xor,
    reduce_min_signed,
    reduce_max_signed,
    match_any,
    match_all,
    load_matrix,
    store_matrix,
    mma_bf16,
    mma_f16,
    mma_s8,
    mma_bf16_k8,
    wgmma,
    wgmma_commit,
    wgmma_wait
};

// Each returns when every lane of the mask has come; the last one to arrive computes the results of all.
uint64_t warp_shuffle(WarpOp op, uint32_t mask, uint64_t value, int operand, int width, Where where);
uint64_t warp_collect(WarpOp op, uint32_t mask, uint64_t value, Where where);
void warp_matrix(WarpOp op, const void* row, void* registers, int count, bool transposed, Where where);
void warp_mma(WarpOp op, void* d, const void* a, const void* b, Where where);
void block_barrier(Where where);
int block_barrier_reduce(int predicate, int kind, Where where); // kind 0 count, 1 and, 2 or
void thread_fence(int scope);                                   // 0 block, 1 device, 2 system

template <class T>
inline __attribute__((always_inline)) T shuffle(WarpOp op, uint32_t mask, T value, int operand, int width,
                                                Where where) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_destructible_v<T>);
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = warp_shuffle(op, mask, bits, operand, width, where);
    T result;
    __builtin_memcpy(static_cast<void*>(&result), &bits, sizeof(T));
    return result;
}

inline __attribute__((always_inline)) uint64_t collect(WarpOp op, uint32_t mask, uint64_t value, Where where) {
    return warp_collect(op, mask, value, where);
}

// Checks an atomic operation on size bytes at p by the current thread; called before it is done.
void atomic_access(const void* p, unsigned size);

} // namespace simt::detail

#define SIMT_HERE ::simt::detail::Where where = ::simt::detail::Where::current()

inline void __syncthreads(SIMT_HERE) {
    ::simt::detail::block_barrier(where);
}
inline int __syncthreads_count(int predicate, SIMT_HERE) {
    return ::simt::detail::block_barrier_reduce(predicate, 0, where);
}
inline int __syncthreads_and(int predicate, SIMT_HERE) {
    return ::simt::detail::block_barrier_reduce(predicate, 1, where);
}
inline int __syncthreads_or(int predicate, SIMT_HERE) {
    return ::simt::detail::block_barrier_reduce(predicate, 2, where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_HERE) {
    ::simt::detail::collect(::simt::detail::WarpOp::sync, mask, 0, where);
}
inline void __threadfence_block() {
    ::simt::detail::thread_fence(0);
}
inline void __threadfence() {
    ::simt::detail::thread_fence(1);
}
inline void __threadfence_system() {
    ::simt::detail::thread_fence(2);
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_HERE) {
    return ::simt::detail::shuffle(::simt::detail::WarpOp::shfl_index, mask, value, lane, width, where);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
    return ::simt::detail::shuffle(::simt::detail::WarpOp::shfl_up, mask, value, static_cast<int>(delta), width, where);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
    return ::simt::detail::shuffle(::simt::detail::WarpOp::shfl_down, mask, value, static_cast<int>(delta), width,
                                   where);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, SIMT_HERE) {
    return ::simt::detail::shuffle(::simt::detail::WarpOp::shfl_xor, mask, value, lane_mask, width, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<unsigned>(::simt::detail::collect(::simt::detail::WarpOp::ballot, mask, predicate != 0, where));
}
inline int __any_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<int>(::simt::detail::collect(::simt::detail::WarpOp::any, mask, predicate != 0, where));
}
inline int __all_sync(unsigned mask, int predicate, SIMT_HERE) {
    return static_cast<int>(::simt::detail::collect(::simt::detail::WarpOp::all, mask, predicate != 0, where));
}
#define SIMT_REDUCE(name, type, operation)                                                                             \
    inline type name(unsigned mask, type value, SIMT_HERE) {                                                           \
        return static_cast<type>(                                                                                      \
            ::simt::detail::collect(::simt::detail::WarpOp::operation, mask, static_cast<uint32_t>(value), where));    \
    }
SIMT_REDUCE(__reduce_add_sync, unsigned, reduce_add)
SIMT_REDUCE(__reduce_add_sync, int, reduce_add)
SIMT_REDUCE(__reduce_min_sync, unsigned, reduce_min)
SIMT_REDUCE(__reduce_max_sync, unsigned, reduce_max)
SIMT_REDUCE(__reduce_min_sync, int, reduce_min_signed)
SIMT_REDUCE(__reduce_max_sync, int, reduce_max_signed)
SIMT_REDUCE(__reduce_and_sync, unsigned, reduce_and)
SIMT_REDUCE(__reduce_or_sync, unsigned, reduce_or)
SIMT_REDUCE(__reduce_xor_sync, unsigned, reduce_xor)
#undef SIMT_REDUCE
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, SIMT_HERE) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    return static_cast<unsigned>(::simt::detail::collect(::simt::detail::WarpOp::match_any, mask, bits, where));
}
template <class T>
inline unsigned __match_all_sync(unsigned mask, T value, int* predicate, SIMT_HERE) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    const uint64_t result = ::simt::detail::collect(::simt::detail::WarpOp::match_all, mask, bits, where);
    *predicate = result != 0;
    return static_cast<unsigned>(result);
}

#define SIMT_ATOMIC(name, type, expression)                                                                            \
    inline type name(type* p, type value) {                                                                            \
        ::simt::detail::atomic_access(p, sizeof(type));                                                                \
        return ::simt::detail::atomic_update(p, [value](type old) -> type { return expression; });                     \
    }

namespace simt::detail {
// Not instrumented: atomic_access has recorded the access.
template <class T, class Update>
__attribute__((no_sanitize("thread"), noinline)) T atomic_update(T* p, Update update) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
    Bits* bits = reinterpret_cast<Bits*>(p);
    Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED);
    while (true) {
        const Bits wanted = __builtin_bit_cast(Bits, update(__builtin_bit_cast(T, old)));
        if (__atomic_compare_exchange_n(bits, &old, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return __builtin_bit_cast(T, old);
    }
}
} // namespace simt::detail

SIMT_ATOMIC(atomicAdd, int, old + value)
SIMT_ATOMIC(atomicAdd, unsigned, old + value)
SIMT_ATOMIC(atomicAdd, unsigned long long, old + value)
SIMT_ATOMIC(atomicAdd, float, old + value)
SIMT_ATOMIC(atomicAdd, double, old + value)
SIMT_ATOMIC(atomicSub, int, old - value)
SIMT_ATOMIC(atomicSub, unsigned, old - value)
SIMT_ATOMIC(atomicMin, int, old < value ? old : value)
SIMT_ATOMIC(atomicMin, unsigned, old < value ? old : value)
SIMT_ATOMIC(atomicMin, unsigned long long, old < value ? old : value)
SIMT_ATOMIC(atomicMin, long long, old < value ? old : value)
SIMT_ATOMIC(atomicMax, int, old > value ? old : value)
SIMT_ATOMIC(atomicMax, unsigned, old > value ? old : value)
SIMT_ATOMIC(atomicMax, unsigned long long, old > value ? old : value)
SIMT_ATOMIC(atomicMax, long long, old > value ? old : value)
SIMT_ATOMIC(atomicAnd, unsigned, old& value)
SIMT_ATOMIC(atomicAnd, int, old& value)
SIMT_ATOMIC(atomicOr, unsigned, old | value)
SIMT_ATOMIC(atomicOr, int, old | value)
SIMT_ATOMIC(atomicXor, unsigned, old ^ value)
SIMT_ATOMIC(atomicExch, int, (static_cast<void>(old), value))
SIMT_ATOMIC(atomicExch, unsigned, (static_cast<void>(old), value))
SIMT_ATOMIC(atomicExch, unsigned long long, (static_cast<void>(old), value))
SIMT_ATOMIC(atomicExch, float, (static_cast<void>(old), value))
SIMT_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
SIMT_ATOMIC(atomicDec, unsigned, old == 0u || old > value ? value : old - 1u)
#undef SIMT_ATOMIC

#define SIMT_COMPARE_AND_SWAP(type)                                                                                    \
    inline type atomicCAS(type* p, type compare, type value) {                                                         \
        ::simt::detail::atomic_access(p, sizeof(type));                                                                \
        return ::simt::detail::atomic_update(p, [=](type old) -> type { return old == compare ? value : old; });       \
    }
SIMT_COMPARE_AND_SWAP(int)
SIMT_COMPARE_AND_SWAP(unsigned)
SIMT_COMPARE_AND_SWAP(unsigned long long)
SIMT_COMPARE_AND_SWAP(unsigned short)
#undef SIMT_COMPARE_AND_SWAP
