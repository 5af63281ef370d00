// mbarriers, bulk tensor copies, wgmma and named barriers: what they compute, and faults around them.
#include "testing.h"

namespace {

using simt::bf16;
using simt::testing::Buffer;
using simt::testing::everywhere;
using simt::testing::expect_fault;

CUtensorMap map_2d(const void* base, uint64_t columns, uint64_t rows, uint32_t box_columns, uint32_t box_rows,
                   CUtensorMapSwizzle swizzle) {
    CUtensorMap map{};
    const uint64_t size[2] = {columns, rows}, row_bytes[1] = {columns * 2};
    const uint32_t box[2] = {box_columns, box_rows}, strides[2] = {1, 1};
    EXPECT_EQ(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(base), size,
                                     row_bytes, box, strides, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                     CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
              0);
    return map;
}

// The box at (x, y) as it lies in shared memory.
__global__ void box_kernel(uint16_t* y, const __grid_constant__ CUtensorMap map, int x, int row, int elements) {
    SIMT_DYNAMIC_SHARED(shared);
    __shared__ uint64_t barrier;
    if (threadIdx.x == 0) {
        simt::mbarrier_init(&barrier, 1);
        simt::fence_barrier_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        simt::mbarrier_arrive_expect(&barrier, static_cast<uint32_t>(elements) * 2);
        simt::tma_load_2d(shared, &map, x, row, &barrier);
    }
    simt::mbarrier_wait(&barrier, 0);
    for (int i = static_cast<int>(threadIdx.x); i < elements; i += 32) y[i] = reinterpret_cast<uint16_t*>(shared)[i];
}

TEST(Hopper, BoxesAreSwizzledAndFilledWithZeros) {
    const int columns = 40, rows = 20;
    std::vector<uint16_t> values(columns * rows);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i + 1);
    everywhere([&] {
        Buffer<uint16_t> x(values);
        const struct {
            CUtensorMapSwizzle swizzle;
            uint32_t columns, mask;
        } cases[] = {{CU_TENSOR_MAP_SWIZZLE_NONE, 24, 0},
                     {CU_TENSOR_MAP_SWIZZLE_32B, 16, 1},
                     {CU_TENSOR_MAP_SWIZZLE_64B, 32, 3},
                     {CU_TENSOR_MAP_SWIZZLE_128B, 64, 7}};
        for (const auto& c : cases) {
            const uint32_t box_rows = 16, elements = c.columns * box_rows;
            Buffer<uint16_t> y(elements);
            const int x0 = 8, y0 = 10; // the box reaches past both ends
            simt::launch("box_kernel", box_kernel, 1, 32, elements * 2, nullptr, y,
                         map_2d(x, columns, rows, c.columns, box_rows, c.swizzle), x0, y0, static_cast<int>(elements));
            const std::vector<uint16_t> result = y.get();
            for (uint32_t r = 0; r < box_rows; ++r)
                for (uint32_t e = 0; e < c.columns; ++e) {
                    uint32_t at = (r * c.columns + e) * 2;
                    at ^= (at >> 7 & c.mask) << 4;
                    const int column = x0 + static_cast<int>(e), row = y0 + static_cast<int>(r);
                    const uint16_t expected = column < columns && row < rows
                                                  ? values[static_cast<size_t>(row * columns + column)]
                                                  : uint16_t{0};
                    ASSERT_EQ(result[at / 2], expected) << c.columns << ": " << r << ", " << e;
                }
        }
    });
}

// ---- wgmma against a plain loop, every way to hand over operands

enum class Way { plain_a_and_b, from_registers, transposed_b, transposed_both, no_swizzle };

constexpr int kN = 64;

// Where element (row, k) of a 64 x 16 operand lies, in bytes.
__device__ int place(int row, int k, bool transposed, bool swizzled) {
    int at;
    if (swizzled)
        at = transposed ? k * 128 + row * 2 : row * 128 + k * 2;
    else
        at = row / 8 * 256 + k / 8 * 128 + row % 8 * 16 + k % 8 * 2;
    return swizzled ? at ^ (at >> 7 & 7) << 4 : at;
}

template <Way kWay>
__global__ void wgmma_kernel(float* d, const bf16* a, const bf16* b) {
    SIMT_DYNAMIC_SHARED(shared);
    constexpr bool kSwizzled = kWay != Way::no_swizzle;
    constexpr bool kTransposedA = kWay == Way::transposed_both,
                   kTransposedB = kTransposedA || kWay == Way::transposed_b;
    unsigned char* tile_a = shared;
    unsigned char* tile_b = shared + 8192;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    for (int i = thread; i < 64 * 16; i += 128) {
        *reinterpret_cast<bf16*>(tile_a + place(i / 16, i % 16, kTransposedA, kSwizzled)) = a[i];
        *reinterpret_cast<bf16*>(tile_b + place(i / 16, i % 16, kTransposedB, kSwizzled)) = b[i];
    }
    // Rows of 128 bytes of which only 32 are used: the rest is not read.
    simt::fence_proxy_async();
    __syncthreads();
    const uint64_t descriptor_a = simt::wgmma_descriptor(tile_a, 128, kSwizzled ? 1024 : 256, kSwizzled ? 1 : 0);
    const uint64_t descriptor_b = simt::wgmma_descriptor(tile_b, 128, kSwizzled ? 1024 : 256, kSwizzled ? 1 : 0);
    float sums[kN / 2];
    for (float& sum : sums) sum = 1.0f;
    simt::wgmma_fence();
    for (int turn = 0; turn < 2; ++turn) {
        if (kWay == Way::from_registers) {
            uint32_t fragment[4];
            for (int i = 0; i < 4; ++i) {
                const int row = warp * 16 + lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
                fragment[i] = static_cast<uint32_t>(a[row * 16 + k + 1].bits) << 16 | a[row * 16 + k].bits;
            }
            simt::wgmma_bf16<kN>(sums, fragment, descriptor_b, turn == 1, kTransposedB);
        } else {
            simt::wgmma_bf16<kN>(sums, descriptor_a, descriptor_b, turn == 1, kTransposedA, kTransposedB);
        }
    }
    simt::wgmma_commit();
    simt::wgmma_wait<0>();
    for (int i = 0; i < kN / 2; ++i)
        d[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * kN + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

template <Way kWay>
void check_wgmma() {
    std::vector<bf16> av(64 * 16), bv(kN * 16);
    for (size_t i = 0; i < av.size(); ++i) {
        av[i] = bf16(static_cast<float>(i * 7 % 23) - 11.0f);
        bv[i] = bf16(static_cast<float>(i * 5 % 19) - 9.0f);
    }
    everywhere([&] {
        Buffer<bf16> a(av), b(bv);
        Buffer<float> d(64 * kN);
        simt::launch("wgmma_kernel", wgmma_kernel<kWay>, 1, 128, 16384, nullptr, d, a, b);
        const std::vector<float> result = d.get();
        for (size_t i = 0; i < 64; ++i)
            for (size_t j = 0; j < kN; ++j) {
                float expected = 0.0f;
                for (size_t k = 0; k < 16; ++k)
                    expected += static_cast<float>(av[i * 16 + k]) * static_cast<float>(bv[j * 16 + k]);
                ASSERT_EQ(result[i * kN + j], 2.0f * expected) << i << ", " << j;
            }
    });
}
TEST(Hopper, WgmmaFromSharedMemory) {
    check_wgmma<Way::plain_a_and_b>();
}
TEST(Hopper, WgmmaFromRegisters) {
    check_wgmma<Way::from_registers>();
}
TEST(Hopper, WgmmaTransposedB) {
    check_wgmma<Way::transposed_b>();
}
TEST(Hopper, WgmmaTransposedBoth) {
    check_wgmma<Way::transposed_both>();
}
TEST(Hopper, WgmmaWithoutSwizzle) {
    check_wgmma<Way::no_swizzle>();
}

// ---- A matrix product with a producer warp, and what happens when one line of it is missing

enum class Flaw {
    none,
    no_full_wait,
    no_empty_wait,
    no_wgmma_wait,
    early_release,
    wrong_bytes,
    barrier_not_initialised,
    initialised_late,
    never_arrives
};

// c[64, 64] = a[64, k] b[64, k]^T; two stages of 64 x 64 tiles; warp 4 copies, warps 0 to 3 multiply.
template <Flaw kFlaw>
__global__ void __launch_bounds__(160) pipeline_kernel(float* c, const __grid_constant__ CUtensorMap map_a,
                                                       const __grid_constant__ CUtensorMap map_b, int steps) {
    SIMT_DYNAMIC_SHARED(shared);
    __shared__ uint64_t full[2], empty[2];
    constexpr int kTileBytes = 64 * 64 * 2;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    if (thread == 0 && kFlaw != Flaw::barrier_not_initialised)
        for (int stage = 0; stage < 2; ++stage) {
            simt::mbarrier_init(&full[stage], 1);
            simt::mbarrier_init(&empty[stage], 4);
        }
    simt::fence_barrier_init();
    if (kFlaw != Flaw::initialised_late) __syncthreads();
    if (warp == 4) {
        if (lane != 0) return;
        for (int step = 0; step < steps; ++step) {
            const int stage = step % 2;
            if (kFlaw != Flaw::no_empty_wait && step >= 2)
                simt::mbarrier_wait(&empty[stage], static_cast<uint32_t>(step / 2 - 1) & 1);
            simt::mbarrier_arrive_expect(&full[stage], (kFlaw == Flaw::wrong_bytes ? 3 : 2) * kTileBytes);
            simt::tma_load_2d(shared + stage * 2 * kTileBytes, &map_a, step * 64, 0, &full[stage]);
            simt::tma_load_2d(shared + (stage * 2 + 1) * kTileBytes, &map_b, step * 64, 0, &full[stage]);
        }
        return;
    }
    float sums[32] = {};
    for (int step = 0; step < steps; ++step) {
        const int stage = step % 2;
        if (kFlaw != Flaw::no_full_wait) simt::mbarrier_wait(&full[stage], static_cast<uint32_t>(step / 2) & 1);
        if (kFlaw == Flaw::early_release && lane == 0) simt::mbarrier_arrive(&empty[stage]);
        simt::wgmma_fence();
        for (int k = 0; k < 64; k += 16) {
            const uint64_t a = simt::wgmma_descriptor(shared + stage * 2 * kTileBytes + k * 2, 16, 1024, 1);
            const uint64_t b = simt::wgmma_descriptor(shared + (stage * 2 + 1) * kTileBytes + k * 2, 16, 1024, 1);
            simt::wgmma_bf16<64>(sums, a, b, true, false, false);
        }
        simt::wgmma_commit();
        if (kFlaw != Flaw::no_wgmma_wait) simt::wgmma_wait<0>();
        if (kFlaw != Flaw::early_release && kFlaw != Flaw::never_arrives && lane == 0)
            simt::mbarrier_arrive(&empty[stage]);
    }
    for (int i = 0; i < 32; ++i)
        c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

template <Flaw kFlaw>
void run_pipeline() {
    const int steps = 5, k = steps * 64;
    std::vector<bf16> av(64 * k), bv(64 * k);
    for (size_t i = 0; i < av.size(); ++i) {
        av[i] = bf16(static_cast<float>(i * 7 % 5) - 2.0f);
        bv[i] = bf16(static_cast<float>(i * 3 % 7) - 3.0f);
    }
    Buffer<bf16> a(av), b(bv);
    Buffer<float> c(64 * 64);
    const size_t shared = 4 * 64 * 64 * 2;
    simt::launch("pipeline_kernel", pipeline_kernel<kFlaw>, 1, 160, shared, nullptr, c,
                 map_2d(a, k, 64, 64, 64, CU_TENSOR_MAP_SWIZZLE_128B),
                 map_2d(b, k, 64, 64, 64, CU_TENSOR_MAP_SWIZZLE_128B), steps);
    cudaDeviceSynchronize();
    if (kFlaw != Flaw::none || !simt::fault().empty()) return;
    const std::vector<float> result = c.get();
    for (size_t i = 0; i < 64; ++i)
        for (size_t j = 0; j < 64; ++j) {
            float expected = 0.0f;
            for (size_t l = 0; l < static_cast<size_t>(k); ++l)
                expected += static_cast<float>(av[i * k + l]) * static_cast<float>(bv[j * k + l]);
            ASSERT_EQ(result[i * 64 + j], expected) << i << ", " << j;
        }
}

TEST(Hopper, PipelineOfCopiesAndProducts) {
    everywhere([] { run_pipeline<Flaw::none>(); });
}
TEST(Hopper, FaultNoFullWait) {
    expect_fault({"shared memory"}, [] { run_pipeline<Flaw::no_full_wait>(); });
}
TEST(Hopper, FaultNoEmptyWait) {
    expect_fault({"hopper_test.cu"},
                 [] { run_pipeline<Flaw::no_empty_wait>(); }); // the stage's full barrier is early too
}
TEST(Hopper, FaultNoWgmmaWait) {
    expect_fault({"hopper_test.cu"}, [] { run_pipeline<Flaw::no_wgmma_wait>(); });
}
TEST(Hopper, FaultTileGivenBackBeforeTheProductIsDone) {
    expect_fault({"shared memory"}, [] { run_pipeline<Flaw::early_release>(); });
}
TEST(Hopper, FaultMoreBytesExpectedThanCome) {
    expect_fault({"deadlock", "an mbarrier"}, [] { run_pipeline<Flaw::wrong_bytes>(); });
}
TEST(Hopper, FaultBarrierNotInitialised) {
    expect_fault({"hopper_test.cu"}, [] { run_pipeline<Flaw::barrier_not_initialised>(); });
}
TEST(Hopper, FaultBarrierUsedBeforeItsInitialisationIsSeen) {
    expect_fault({"hopper_test.cu"}, [] { run_pipeline<Flaw::initialised_late>(); });
}
TEST(Hopper, FaultNobodyArrives) {
    expect_fault({"deadlock", "an mbarrier"}, [] { run_pipeline<Flaw::never_arrives>(); });
}

template <bool kFence>
__global__ void proxy_kernel(float* d) {
    SIMT_DYNAMIC_SHARED(shared);
    for (unsigned i = threadIdx.x; i < 4096; i += 128) reinterpret_cast<uint32_t*>(shared)[i] = 0;
    if (kFence) simt::fence_proxy_async();
    __syncthreads();
    float sums[4] = {};
    simt::wgmma_bf16<8>(sums, simt::wgmma_descriptor(shared, 16, 1024, 1),
                        simt::wgmma_descriptor(shared + 8192, 16, 1024, 1), false, false, false);
    simt::wgmma_commit();
    simt::wgmma_wait<0>();
    d[threadIdx.x] = sums[0];
}
TEST(Hopper, FaultStoresWithoutProxyFence) {
    expect_fault({"no fence.proxy.async"}, [] {
        Buffer<float> d(128);
        simt::launch("proxy_kernel", proxy_kernel<false>, 1, 128, 16384, nullptr, d);
    });
    everywhere([] {
        Buffer<float> d(128);
        simt::launch("proxy_kernel", proxy_kernel<true>, 1, 128, 16384, nullptr, d);
    });
}

// ---- Named barriers: warp 0 produces, warp 1 consumes; warps 2 and 3 do not take part.
template <bool kFaulty>
__global__ void named_kernel(int* y) {
    __shared__ int values[32];
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    if (warp == 0) {
        values[lane] = lane * lane;
        simt::named_barrier_arrive(1, 64);
    } else if (warp == 1) {
        if (!kFaulty) simt::named_barrier_sync(1, 64);
        y[lane] = values[31 - lane];
        if (kFaulty) simt::named_barrier_sync(1, 64);
    }
}
TEST(Hopper, NamedBarrier) {
    expect_fault({"static shared memory"}, [] {
        Buffer<int> y(32);
        simt::launch("named_kernel", named_kernel<true>, 1, 128, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("named_kernel", named_kernel<false>, 1, 128, 0, nullptr, y);
        EXPECT_EQ(y.get()[1], 900);
    });
}

// Threads that store and arrive, and threads that wait and load.
template <bool kFaulty>
__global__ void arrive_kernel(int* y) {
    __shared__ uint64_t barrier;
    __shared__ int values[32];
    if (threadIdx.x == 0) simt::mbarrier_init(&barrier, 32);
    __syncthreads();
    if (threadIdx.x < 32) {
        if (kFaulty) simt::mbarrier_arrive(&barrier);
        values[threadIdx.x] = static_cast<int>(threadIdx.x);
        if (!kFaulty) simt::mbarrier_arrive(&barrier);
    } else {
        while (!simt::mbarrier_test(&barrier, 0)) simt::mbarrier_wait(&barrier, 0);
        y[threadIdx.x - 32] = values[63 - threadIdx.x];
    }
}
TEST(Hopper, MbarrierBetweenWarps) {
    expect_fault({"static shared memory"}, [] {
        Buffer<int> y(32);
        simt::launch("arrive_kernel", arrive_kernel<true>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("arrive_kernel", arrive_kernel<false>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[4], 27);
    });
}

} // namespace
