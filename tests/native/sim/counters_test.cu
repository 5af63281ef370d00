// What is counted, for accesses whose counts are known.
#include "testing.h"

namespace {

using simt::LaunchCounters;
using simt::testing::Buffer;
using simt::testing::orders;

// The counters of one launch, the same under every schedule.
template <class Launch>
LaunchCounters counted(Launch launch) {
    LaunchCounters first;
    for (const auto& order : orders())
        for (const int workers : {1, 2}) {
            simt::set_schedule(order.schedule, order.seed);
            simt::set_workers(workers);
            cudaDeviceSynchronize();
            simt::take_counters();
            simt::set_counting(true);
            launch();
            cudaDeviceSynchronize();
            simt::set_counting(false);
            EXPECT_EQ(simt::fault(), "");
            const auto list = simt::take_counters();
            EXPECT_EQ(list.size(), 1u);
            if (list.empty()) return first;
            const LaunchCounters& c = list[0];
            if (first.kernel.empty()) first = c;
            EXPECT_EQ(c.global_read_bytes, first.global_read_bytes) << order.name;
            EXPECT_EQ(c.global_read_sectors, first.global_read_sectors) << order.name;
            EXPECT_EQ(c.global_written_sectors, first.global_written_sectors) << order.name;
            EXPECT_EQ(c.shared_passes, first.shared_passes) << order.name;
            EXPECT_EQ(c.special, first.special) << order.name;
        }
    simt::set_schedule(simt::Schedule::ordered);
    return first;
}

__global__ void strided_kernel(float* y, const float* x, int stride, int n) {
    for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
         i += static_cast<int>(gridDim.x * blockDim.x))
        y[i] = __expf(x[i * stride]);
}

TEST(Counters, CoalescedAndStrided) {
    Buffer<float> x(1024 * 8), y(1024);
    x.fill(0);
    const LaunchCounters one =
        counted([&] { simt::launch("strided", strided_kernel, 2, 128, 0, nullptr, y, x, 1, 1024); });
    EXPECT_EQ(one.global_read_bytes, 4096u);
    EXPECT_EQ(one.global_read_sectors, 128u);
    EXPECT_EQ(one.global_written_bytes, 4096u);
    EXPECT_EQ(one.global_written_sectors, 128u);
    EXPECT_EQ(one.read_footprint_bytes, 4096u);
    EXPECT_EQ(one.sector_efficiency(), 1.0);
    EXPECT_EQ(one.special, 1024u);
    const LaunchCounters eight =
        counted([&] { simt::launch("strided", strided_kernel, 2, 128, 0, nullptr, y, x, 8, 1024); });
    EXPECT_EQ(eight.global_read_bytes, 4096u);
    EXPECT_EQ(eight.global_read_sectors, 1024u);
    EXPECT_EQ(eight.read_footprint_bytes, 32768u);
    // A tail that only some lanes run.
    const LaunchCounters tail =
        counted([&] { simt::launch("strided", strided_kernel, 2, 128, 0, nullptr, y, x, 1, 1000); });
    EXPECT_EQ(tail.global_read_bytes, 4000u);
    EXPECT_EQ(tail.global_read_sectors, 125u);
}

__global__ void broadcast_kernel(float4* y, const float4* x) {
    y[threadIdx.x] = x[0];
}
TEST(Counters, ABroadcastIsReadOnce) {
    Buffer<float4> x(1), y(64);
    x.fill(0);
    const LaunchCounters c = counted([&] { simt::launch("broadcast", broadcast_kernel, 1, 64, 0, nullptr, y, x); });
    EXPECT_EQ(c.global_read_bytes, 32u); // 16 a warp
    EXPECT_EQ(c.global_read_sectors, 2u);
    EXPECT_EQ(c.global_written_bytes, 1024u);
    EXPECT_EQ(c.global_written_sectors, 32u);
}

// Each thread reads and writes shared memory at its number times a stride, in words.
template <class T>
__global__ void bank_kernel(T* y, int stride) {
    SIMT_DYNAMIC_SHARED(shared);
    T* values = reinterpret_cast<T*>(shared);
    values[static_cast<int>(threadIdx.x) * stride] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = values[static_cast<int>(threadIdx.x) * stride];
}
template <class T>
LaunchCounters bank(int stride) {
    Buffer<T> y(32);
    y.fill(0);
    return counted([&] { simt::launch("bank", bank_kernel<T>, 1, 32, 32 * 33 * 4, nullptr, y, stride); });
}
TEST(Counters, BankConflicts) {
    EXPECT_EQ(bank<float>(1).shared_passes, 2u);
    EXPECT_EQ(bank<float>(2).shared_passes, 4u);
    EXPECT_EQ(bank<float>(32).shared_passes, 64u);
    EXPECT_EQ(bank<float>(33).shared_passes, 2u);
    EXPECT_EQ(bank<float>(32).shared_accesses, 2u);
    EXPECT_EQ(bank<float2>(1).shared_passes, 4u); // two half-warps, each at its best
    EXPECT_EQ(bank<float2>(1).passes_per_shared_access(), 1.0);
    EXPECT_EQ(bank<float4>(1).shared_passes, 8u); // four quarter-warps
    EXPECT_EQ(bank<float4>(2).shared_passes, 16u);
}

__global__ void matrix_kernel(float* y, int row_bytes) {
    SIMT_DYNAMIC_SHARED(shared);
    for (unsigned i = threadIdx.x; i < 16u * static_cast<unsigned>(row_bytes) / 4; i += 32)
        reinterpret_cast<uint32_t*>(shared)[i] = 0;
    __syncthreads();
    uint32_t a[4], b[2];
    simt::load_matrix<4>(a, shared + static_cast<int>(threadIdx.x % 16) * row_bytes + threadIdx.x / 16 * 16, false);
    simt::load_matrix<2>(b, shared + static_cast<int>(threadIdx.x % 8) * row_bytes + threadIdx.x / 8 % 2 * 16, false);
    float d[4] = {};
    simt::mma_m16n8k16_bf16(d, a, b);
    y[threadIdx.x] = d[0];
}
TEST(Counters, MatrixRows) {
    Buffer<float> y(32);
    const auto run = [&](int row_bytes) {
        return counted([&] {
            simt::launch("matrix", matrix_kernel, 1, 32, static_cast<size_t>(16 * row_bytes), nullptr, y, row_bytes);
        });
    };
    const LaunchCounters padded = run(144), plain = run(128);
    const auto of_loads = [](const LaunchCounters& c) {
        uint64_t passes = 0;
        for (const auto& site : c.sites) passes += site.shared && !site.write ? site.passes : 0;
        return passes;
    };
    EXPECT_EQ(of_loads(padded), 6u);
    EXPECT_EQ(of_loads(plain), 48u);
    EXPECT_EQ(plain.mma, 1u);
    EXPECT_EQ(plain.mma_flops, 4096u);
    for (const auto& site : plain.sites)
        EXPECT_NE(simt::place_of(site.pc).find("counters_test.cu:"), std::string::npos) << simt::place_of(site.pc);
}

__global__ void copy_async_kernel(float4* y, const float4* x) {
    __shared__ float4 tile[64];
    simt::copy_async(&tile[threadIdx.x], &x[threadIdx.x], 16, 16);
    simt::copy_async_commit();
    simt::copy_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
TEST(Counters, CopyAsync) {
    Buffer<float4> x(64), y(64);
    x.fill(0);
    const LaunchCounters c = counted([&] { simt::launch("copy_async", copy_async_kernel, 1, 64, 0, nullptr, y, x); });
    EXPECT_EQ(c.global_read_bytes, 1024u);
    EXPECT_EQ(c.global_read_sectors, 32u);
    EXPECT_EQ(c.shared_accesses, 16u); // 8 phases of writing, 8 of reading
    EXPECT_EQ(c.shared_passes, 16u);
}

} // namespace
