// The part of device.cuh for sm_90a: mbarriers, bulk tensor copies (TMA), stmatrix and wgmma.
#pragma once

#include "cuda/device.cuh"

namespace ftc::cuda {

// ---- mbarriers (8 bytes of shared memory): a phase ends when all arrivals and all expected bytes have come.
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// Whether the phase of this parity has ended (the hardware may take its time to answer); and waiting until it has.
__device__ __forceinline__ bool mbarrier_test(uint64_t* barrier, uint32_t parity) {
    uint32_t ended;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(ended)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    return ended != 0;
}
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
    while (!mbarrier_test(barrier, parity)) {
    }
}
// After the initialisation of mbarriers that copies report to; and after ordinary stores to shared memory that wgmma or
// a bulk copy reads.
__device__ __forceinline__ void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void fence_proxy_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- TMA: the map's box at column x, row y; zero outside. Its bytes count on the barrier. By one thread.
__device__ __forceinline__ void tma_load_2d(void* shared, const CUtensorMap* map, int x, int y, uint64_t* barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(shared)), "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y) : "memory");
}

// ---- stmatrix: ldmatrix the other way.
__device__ __forceinline__ void store_matrix_x4(void* row, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
__device__ __forceinline__ void store_matrix_x4_transposed(void* row, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

// ---- wgmma m64nNk16: d = a b (+ d), bf16 in, fp32 sums, by a warpgroup. d: rows 16 warp + g and + 8 as in mma_bf16, for
// every 8 columns. Operands in shared memory by descriptor; swizzle 0: none, 1: 128 bytes, 2: 64, 3: 32.
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* shared, uint32_t leading_bytes, uint32_t stride_bytes, uint32_t swizzle) {
    return static_cast<uint64_t>((shared_address(shared) & 0x3ffff) >> 4) | static_cast<uint64_t>((leading_bytes & 0x3ffff) >> 4) << 16 |
           static_cast<uint64_t>((stride_bytes & 0x3ffff) >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}
__device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Pending>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// The accumulators d[i], d[i + 1], ... as operands of an instruction, and their names in its text.
#define FTC_FLOATS_8(d, i)                                                                                             \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define FTC_FLOATS_32(d, i) FTC_FLOATS_8(d, i), FTC_FLOATS_8(d, i + 8), FTC_FLOATS_8(d, i + 16), FTC_FLOATS_8(d, i + 24)
#define FTC_FLOATS_64(d) FTC_FLOATS_32(d, 0), FTC_FLOATS_32(d, 32)
#define FTC_FLOATS_128(d) FTC_FLOATS_64(d), FTC_FLOATS_32(d, 64), FTC_FLOATS_32(d, 96)

#define FTC_NAMES_32                                                                                                   \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define FTC_NAMES_64                                                                                                   \
    FTC_NAMES_32 "," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define FTC_NAMES_128                                                                                                  \
    FTC_NAMES_64 "," \
    "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
    "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
    "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
    "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

// One wgmma of n columns: `operands` follow the accumulators in the text, `inputs` in the list, `p` is operand `accumulate`.
#define FTC_WGMMA(n, accumulate, names, floats, operands, ...)                                                         \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" accumulate ", 0;\n"                                              \
                 "wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names "}, " operands ";\n}"              \
                 : floats                                                                                              \
                 : __VA_ARGS__)

// N columns; TransposeA and TransposeB: 1 when the rows (of M or N) run fastest in shared memory.
template <int N, int TransposeA, int TransposeB>
__device__ __forceinline__ void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
    static_assert(N == 64 || N == 128 || N == 256);
#define FTC_INPUTS "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(TransposeA), "n"(TransposeB)
    if constexpr (N == 64)
        FTC_WGMMA("64", "34", FTC_NAMES_32, FTC_FLOATS_32(d, 0), "%32, %33, p, 1, 1, %35, %36", FTC_INPUTS);
    else if constexpr (N == 128)
        FTC_WGMMA("128", "66", FTC_NAMES_64, FTC_FLOATS_64(d), "%64, %65, p, 1, 1, %67, %68", FTC_INPUTS);
    else
        FTC_WGMMA("256", "130", FTC_NAMES_128, FTC_FLOATS_128(d), "%128, %129, p, 1, 1, %131, %132", FTC_INPUTS);
#undef FTC_INPUTS
}
template <int N, int TransposeB>
__device__ __forceinline__ void wgmma_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    static_assert(N == 64 || N == 128 || N == 256);
#define FTC_INPUTS                                                                                                     \
    "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(TransposeB)
    if constexpr (N == 64)
        FTC_WGMMA("64", "37", FTC_NAMES_32, FTC_FLOATS_32(d, 0), "{%32,%33,%34,%35}, %36, p, 1, 1, %38", FTC_INPUTS);
    else if constexpr (N == 128)
        FTC_WGMMA("128", "69", FTC_NAMES_64, FTC_FLOATS_64(d), "{%64,%65,%66,%67}, %68, p, 1, 1, %70", FTC_INPUTS);
    else
        FTC_WGMMA("256", "133", FTC_NAMES_128, FTC_FLOATS_128(d), "{%128,%129,%130,%131}, %132, p, 1, 1, %134", FTC_INPUTS);
#undef FTC_INPUTS
}

} // namespace ftc::cuda
