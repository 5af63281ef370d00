// What each primitive computes, against plain loops.
#include <cmath>

#include "testing.h"

namespace {

using simt::bf16;
using simt::testing::Buffer;
using simt::testing::everywhere;

constexpr unsigned kAll = 0xffffffffu;

// One launch of a warp whose lanes each leave `count` numbers.
template <class Kernel, class... Arguments>
std::vector<int> per_lane(Kernel* kernel, int count, Arguments... arguments) {
    Buffer<int> y(static_cast<size_t>(32 * count));
    simt::launch("kernel", kernel, 1, 32, 0, nullptr, y, arguments...);
    return y.get();
}

__global__ void shuffle_kernel(int* y) {
    const int lane = static_cast<int>(threadIdx.x);
    int* mine = y + lane * 8;
    mine[0] = __shfl_sync(kAll, lane * 10, 5);
    mine[1] = __shfl_sync(kAll, lane * 10, 3, 8);
    mine[2] = __shfl_up_sync(kAll, lane, 2);
    mine[3] = __shfl_up_sync(kAll, lane, 3, 16);
    mine[4] = __shfl_down_sync(kAll, lane, 4);
    mine[5] = __shfl_down_sync(kAll, lane, 5, 8);
    mine[6] = __shfl_xor_sync(kAll, lane, 17);
    mine[7] = static_cast<int>(__shfl_xor_sync(kAll, 1.5 * lane, 1) * 2.0);
}
TEST(Semantics, Shuffles) {
    everywhere([] {
        const std::vector<int> y = per_lane(shuffle_kernel, 8);
        for (int lane = 0; lane < 32; ++lane) {
            const int* mine = y.data() + lane * 8;
            EXPECT_EQ(mine[0], 50);
            EXPECT_EQ(mine[1], (lane / 8 * 8 + 3) * 10);
            EXPECT_EQ(mine[2], lane < 2 ? lane : lane - 2);
            EXPECT_EQ(mine[3], lane % 16 < 3 ? lane : lane - 3);
            EXPECT_EQ(mine[4], lane > 27 ? lane : lane + 4);
            EXPECT_EQ(mine[5], lane % 8 > 2 ? lane : lane + 5);
            EXPECT_EQ(mine[6], lane ^ 17);
            EXPECT_EQ(mine[7], 3 * (lane ^ 1));
        }
    });
}

__global__ void vote_kernel(int* y) {
    const int lane = static_cast<int>(threadIdx.x);
    int* mine = y + lane * 10;
    mine[0] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
    mine[1] = __any_sync(kAll, lane == 31);
    mine[2] = __all_sync(kAll, lane < 31);
    mine[3] = static_cast<int>(__reduce_add_sync(kAll, static_cast<unsigned>(lane)));
    mine[4] = __reduce_min_sync(kAll, lane - 16);
    mine[5] = static_cast<int>(__reduce_max_sync(kAll, static_cast<unsigned>(lane - 16)));
    mine[6] = static_cast<int>(__match_any_sync(kAll, lane / 4));
    int same;
    mine[7] = static_cast<int>(__match_all_sync(kAll, lane / 32, &same)) + same;
    // Halves of the warp on their own.
    const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    mine[8] = static_cast<int>(__reduce_xor_sync(half, static_cast<unsigned>(lane)));
    mine[9] = __shfl_xor_sync(half, lane, 1);
}
TEST(Semantics, VotesReductionsMatches) {
    everywhere([] {
        const std::vector<int> y = per_lane(vote_kernel, 10);
        unsigned thirds = 0;
        for (int lane = 0; lane < 32; ++lane) thirds |= (lane % 3 == 0 ? 1u : 0u) << lane;
        for (int lane = 0; lane < 32; ++lane) {
            const int* mine = y.data() + lane * 10;
            EXPECT_EQ(static_cast<unsigned>(mine[0]), thirds);
            EXPECT_EQ(mine[1], 1);
            EXPECT_EQ(mine[2], 0);
            EXPECT_EQ(mine[3], 496);
            EXPECT_EQ(mine[4], -16);
            EXPECT_EQ(mine[5], -1);
            EXPECT_EQ(static_cast<unsigned>(mine[6]), 0xfu << (lane / 4 * 4));
            EXPECT_EQ(mine[7], 0); // all lanes match: ~0, plus 1
            EXPECT_EQ(mine[8], 0);
            EXPECT_EQ(mine[9], lane ^ 1);
        }
    });
}

__global__ void barrier_reduce_kernel(int* y) {
    y[threadIdx.x * 3] = __syncthreads_count(threadIdx.x % 2 == 0);
    y[threadIdx.x * 3 + 1] = __syncthreads_and(threadIdx.x < 32);
    y[threadIdx.x * 3 + 2] = __syncthreads_or(threadIdx.x == 7);
}
TEST(Semantics, BarriersThatReduce) {
    everywhere([] {
        const std::vector<int> y = per_lane(barrier_reduce_kernel, 3);
        for (int lane = 0; lane < 32; ++lane) {
            EXPECT_EQ(y[static_cast<size_t>(lane * 3)], 16);
            EXPECT_EQ(y[static_cast<size_t>(lane * 3 + 1)], 1);
            EXPECT_EQ(y[static_cast<size_t>(lane * 3 + 2)], 1);
        }
    });
}

__global__ void index_kernel(int* y) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    y[block * 24 + thread] = static_cast<int>(block * 100 + thread);
}
TEST(Semantics, Indices) {
    everywhere([] {
        Buffer<int> y(24 * 30);
        simt::launch("index_kernel", index_kernel, dim3(2, 3, 5), dim3(4, 3, 2), 0, nullptr, y);
        const std::vector<int> values = y.get();
        for (int i = 0; i < 24 * 30; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], i / 24 * 100 + i % 24);
    });
}

__global__ void atomic_kernel(int* y, float* f) {
    atomicAdd(&y[0], 1);
    atomicMax(&y[1], static_cast<int>(threadIdx.x));
    atomicMin(&y[2], -static_cast<int>(threadIdx.x));
    atomicCAS(&y[3], 0, 1);
    atomicOr(&y[4], 1 << (threadIdx.x % 32));
    atomicAdd(f, 0.5f);
}
TEST(Semantics, Atomics) {
    everywhere([] {
        Buffer<int> y(5);
        Buffer<float> f(1);
        y.fill(0);
        f.fill(0);
        simt::launch("atomic_kernel", atomic_kernel, 8, 64, 0, nullptr, y, f);
        EXPECT_EQ(y.get(), (std::vector<int>{512, 63, -63, 1, -1}));
        EXPECT_EQ(f.get()[0], 256.0f);
    });
}

TEST(Semantics, Bits) {
    EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7610u), 0x77661100u);
    EXPECT_EQ(__byte_perm(0x33228100u, 0u, 0x4491u), 0x0000ff81u);
    EXPECT_EQ(__funnelshift_l(0x80000000u, 1u, 1u), 3u);
    EXPECT_EQ(__funnelshift_r(0x80000000u, 1u, 4u), 0x18000000u);
    EXPECT_EQ(__umulhi(0xffffffffu, 0xffffffffu), 0xfffffffeu);
    EXPECT_EQ(__popc(0xf0f0u), 8);
    EXPECT_EQ(__clz(1), 31);
    EXPECT_EQ(__clz(0), 32);
    EXPECT_EQ(__ffs(8), 4);
    EXPECT_EQ(__brev(1u), 0x80000000u);
    EXPECT_EQ(__dp4a(0x01020304, 0x01010101, 5), 15);
    EXPECT_EQ(__float2int_rn(2.5f), 2);
    EXPECT_EQ(__float2int_rn(NAN), 0);
    EXPECT_EQ(__float2int_rz(1e20f), INT32_MAX);
    EXPECT_EQ(bf16(1.00390625f).bits, 0x3f80); // to even
    EXPECT_EQ(bf16(1.01171875f).bits, 0x3f82);
    EXPECT_EQ(bf16(NAN).bits, 0x7fff);
    EXPECT_EQ(static_cast<float>(simt::f16(65504.0f)), 65504.0f);
    EXPECT_EQ(simt::f16(1e6f).bits, 0x7c00);
}

// ---- Matrix instructions

__global__ void matrix_round_trip_kernel(uint16_t* y, bool load_transposed, bool store_transposed) {
    SIMT_DYNAMIC_SHARED(shared);
    uint16_t* in = reinterpret_cast<uint16_t*>(shared); // four 8 x 8 matrices, then where they go
    uint16_t* out = in + 256;
    for (unsigned i = threadIdx.x; i < 256; i += 32) in[i] = static_cast<uint16_t>(i);
    __syncthreads();
    uint32_t r[4];
    simt::load_matrix<4>(r, in + threadIdx.x * 8, load_transposed);
    simt::store_matrix<4>(out + threadIdx.x * 8, r, store_transposed);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 256; i += 32) y[i] = out[i];
}
TEST(Semantics, LoadAndStoreMatrix) {
    everywhere([] {
        Buffer<uint16_t> y(256);
        for (const bool load : {false, true})
            for (const bool store : {false, true}) {
                simt::launch("matrix_round_trip_kernel", matrix_round_trip_kernel, 1, 32, 1024, nullptr, y, load,
                             store);
                const std::vector<uint16_t> values = y.get();
                for (unsigned i = 0; i < 256; ++i) {
                    const unsigned row = i / 8 % 8, column = i % 8, turned = i / 64 * 64 + column * 8 + row;
                    EXPECT_EQ(values[i], load != store ? turned : i);
                }
            }
    });
}

__global__ void matrix_layout_kernel(uint32_t* y) {
    SIMT_DYNAMIC_SHARED(shared);
    uint16_t* in = reinterpret_cast<uint16_t*>(shared);
    for (unsigned i = threadIdx.x; i < 64; i += 32) in[i] = static_cast<uint16_t>(i);
    __syncthreads();
    uint32_t r[1];
    simt::load_matrix<1>(r, in + threadIdx.x % 8 * 8, false);
    y[threadIdx.x] = r[0];
}
TEST(Semantics, LanesOfALoadedMatrix) {
    everywhere([] {
        Buffer<uint32_t> y(32);
        simt::launch("matrix_layout_kernel", matrix_layout_kernel, 1, 32, 128, nullptr, y);
        const std::vector<uint32_t> values = y.get();
        for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(values[lane], (lane * 2 + 1) << 16 | lane * 2);
    });
}

// Fragments gathered and results scattered by the layouts of the PTX manual.
template <int kK>
__global__ void mma_kernel(float* d, const bf16* a, const bf16* b) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
    const auto pair = [](bf16 low, bf16 high) { return static_cast<uint32_t>(high.bits) << 16 | low.bits; };
    float sums[4];
    for (unsigned i = 0; i < 4; ++i) sums[i] = static_cast<float>(i);
    if constexpr (kK == 16) {
        uint32_t fa[4], fb[2];
        for (unsigned i = 0; i < 4; ++i)
            fa[i] = pair(a[(g + i % 2 * 8) * 16 + t + i / 2 * 8], a[(g + i % 2 * 8) * 16 + t + i / 2 * 8 + 1]);
        for (unsigned i = 0; i < 2; ++i) fb[i] = pair(b[(t + i * 8) * 8 + g], b[(t + i * 8 + 1) * 8 + g]);
        simt::mma_m16n8k16_bf16(sums, fa, fb);
    } else {
        uint32_t fa[2];
        for (unsigned i = 0; i < 2; ++i) fa[i] = pair(a[(g + i * 8) * 8 + t], a[(g + i * 8) * 8 + t + 1]);
        simt::mma_m16n8k8_bf16(sums, fa, pair(b[t * 8 + g], b[(t + 1) * 8 + g]));
    }
    for (unsigned i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + t + i % 2] = sums[i] - static_cast<float>(i);
}
template <int kK>
void check_mma() {
    std::vector<bf16> av(16 * kK), bv(kK * 8);
    for (size_t i = 0; i < av.size(); ++i) av[i] = bf16(static_cast<float>(i * 7 % 31) - 15.0f);
    for (size_t i = 0; i < bv.size(); ++i) bv[i] = bf16(static_cast<float>(i * 11 % 29) - 14.0f);
    everywhere([&] {
        Buffer<bf16> a(av), b(bv);
        Buffer<float> d(16 * 8);
        simt::launch("mma_kernel", mma_kernel<kK>, 1, 32, 0, nullptr, d, a, b);
        const std::vector<float> result = d.get();
        for (size_t row = 0; row < 16; ++row)
            for (size_t column = 0; column < 8; ++column) {
                float expected = 0.0f;
                for (size_t k = 0; k < kK; ++k)
                    expected += static_cast<float>(av[row * kK + k]) * static_cast<float>(bv[k * 8 + column]);
                EXPECT_EQ(result[row * 8 + column], expected);
            }
    });
}
TEST(Semantics, MatrixProductOfSixteen) {
    check_mma<16>();
}
TEST(Semantics, MatrixProductOfEight) {
    check_mma<8>();
}

__global__ void mma_s8_kernel(int* d, const int8_t* a, const int8_t* b) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 4;
    uint32_t fa[4] = {}, fb[2] = {};
    for (unsigned i = 0; i < 4; ++i)
        for (unsigned j = 0; j < 4; ++j)
            fa[i] |= static_cast<uint32_t>(static_cast<uint8_t>(a[(g + i % 2 * 8) * 32 + t + j + i / 2 * 16]))
                     << (8 * j);
    for (unsigned i = 0; i < 2; ++i)
        for (unsigned j = 0; j < 4; ++j)
            fb[i] |= static_cast<uint32_t>(static_cast<uint8_t>(b[(t + j + i * 16) * 8 + g])) << (8 * j);
    int32_t sums[4] = {};
    simt::mma_m16n8k32_s8(sums, fa, fb);
    for (unsigned i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
}
TEST(Semantics, MatrixProductOfBytes) {
    std::vector<int8_t> av(16 * 32), bv(32 * 8);
    for (size_t i = 0; i < av.size(); ++i) av[i] = static_cast<int8_t>(i * 37 % 255 - 127);
    for (size_t i = 0; i < bv.size(); ++i) bv[i] = static_cast<int8_t>(i * 53 % 255 - 127);
    everywhere([&] {
        Buffer<int8_t> a(av), b(bv);
        Buffer<int> d(16 * 8);
        simt::launch("mma_s8_kernel", mma_s8_kernel, 1, 32, 0, nullptr, d, a, b);
        const std::vector<int> result = d.get();
        for (size_t row = 0; row < 16; ++row)
            for (size_t column = 0; column < 8; ++column) {
                int expected = 0;
                for (size_t k = 0; k < 32; ++k) expected += av[row * 32 + k] * bv[k * 8 + column];
                EXPECT_EQ(result[row * 8 + column], expected);
            }
    });
}

__global__ void copy_zero_kernel(uint32_t* y, const uint32_t* x) {
    __shared__ __align__(16) uint32_t tile[32 * 4];
    simt::copy_async(&tile[threadIdx.x * 4], &x[threadIdx.x * 4], 16, static_cast<int>(threadIdx.x) % 5 * 4);
    simt::copy_async_commit();
    simt::copy_async_wait<0>();
    for (unsigned i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = tile[threadIdx.x * 4 + i];
}
TEST(Semantics, CopyAsyncFillsWithZeros) {
    std::vector<uint32_t> values(128);
    for (size_t i = 0; i < 128; ++i) values[i] = static_cast<uint32_t>(i + 1);
    everywhere([&] {
        Buffer<uint32_t> x(values), y(128);
        simt::launch("copy_zero_kernel", copy_zero_kernel, 1, 32, 0, nullptr, y, x);
        const std::vector<uint32_t> result = y.get();
        for (size_t i = 0; i < 128; ++i) EXPECT_EQ(result[i], i % 4 < i / 4 % 5 ? values[i] : 0u);
    });
}

} // namespace
