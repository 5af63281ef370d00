// Seeded faults inside a block, and their correct twins: each fault is found under every schedule, each twin is silent.
// What a missing barrier looks like depends on the order: a race with a write, or a read of what is not written yet.
#include "testing.h"

namespace {

using simt::testing::Buffer;
using simt::testing::everywhere;
using simt::testing::expect_fault;

constexpr unsigned kAll = 0xffffffffu;

// ---- Barriers

template <bool kBarrier>
__global__ void neighbour_kernel(float* y) {
    __shared__ float values[128];
    values[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (kBarrier) __syncthreads();
    y[threadIdx.x] = values[(threadIdx.x + 1) % 128];
}
TEST(FaultBlock, MissingBarrier) {
    expect_fault({"neighbour_kernel", "static shared memory", "fault_block_test.cu:20"}, [] {
        Buffer<float> y(128);
        simt::launch("neighbour_kernel", neighbour_kernel<false>, 1, 128, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<float> y(128);
        simt::launch("neighbour_kernel", neighbour_kernel<true>, 1, 128, 0, nullptr, y);
        EXPECT_EQ(y.get()[127], 0.0f);
    });
}

// A buffer read in one turn is overwritten in the next.
template <bool kSecondBarrier>
__global__ void loop_kernel(float* y) {
    __shared__ float tile[64];
    float sum = 0.0f;
    for (int turn = 0; turn < 3; ++turn) {
        tile[threadIdx.x] = static_cast<float>(turn);
        __syncthreads();
        sum += tile[63 - threadIdx.x];
        if (kSecondBarrier) __syncthreads();
    }
    y[threadIdx.x] = sum;
}
TEST(FaultBlock, WriteAfterReadAcrossTurns) {
    expect_fault({"race on static shared memory", "write", "read"}, [] {
        Buffer<float> y(64);
        simt::launch("loop_kernel", loop_kernel<false>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<float> y(64);
        simt::launch("loop_kernel", loop_kernel<true>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[5], 3.0f);
    });
}

template <bool kSync>
__global__ void warp_exchange_kernel(int* y) {
    __shared__ int values[64];
    values[threadIdx.x] = static_cast<int>(threadIdx.x);
    if (kSync) __syncwarp();
    y[threadIdx.x] = values[threadIdx.x ^ 1];
}
TEST(FaultBlock, MissingSyncwarp) {
    expect_fault({"static shared memory"}, [] {
        Buffer<int> y(64);
        simt::launch("warp_exchange_kernel", warp_exchange_kernel<false>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(64);
        simt::launch("warp_exchange_kernel", warp_exchange_kernel<true>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[4], 5);
    });
}

// __syncwarp orders a warp, not two.
template <bool kBlock>
__global__ void two_warps_kernel(int* y) {
    __shared__ int values[64];
    values[threadIdx.x] = static_cast<int>(threadIdx.x);
    if (kBlock)
        __syncthreads();
    else
        __syncwarp();
    y[threadIdx.x] = values[threadIdx.x ^ 32];
}
TEST(FaultBlock, SyncwarpWhereBlockIsNeeded) {
    expect_fault({"static shared memory"}, [] {
        Buffer<int> y(64);
        simt::launch("two_warps_kernel", two_warps_kernel<false>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(64);
        simt::launch("two_warps_kernel", two_warps_kernel<true>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[4], 36);
    });
}

template <bool kFaulty>
__global__ void divergent_kernel(int* y) {
    if (kFaulty && threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = 1;
}
TEST(FaultBlock, DivergentBarrier) {
    expect_fault({"divergent __syncthreads"}, [] {
        Buffer<int> y(64);
        simt::launch("divergent_kernel", divergent_kernel<true>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(64);
        simt::launch("divergent_kernel", divergent_kernel<false>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[63], 1);
    });
}

// Half of the warp waits for the block, the other half for the warp.
template <bool kFaulty>
__global__ void deadlock_kernel(int* y) {
    int value = static_cast<int>(threadIdx.x);
    if (kFaulty && threadIdx.x % 32 < 16) __syncthreads();
    value = __shfl_xor_sync(kAll, value, 1);
    if (!kFaulty || threadIdx.x % 32 >= 16) __syncthreads();
    y[threadIdx.x] = value;
}
TEST(FaultBlock, Deadlock) {
    expect_fault({"deadlock", "__syncthreads", "warp-wide"}, [] {
        Buffer<int> y(64);
        simt::launch("deadlock_kernel", deadlock_kernel<true>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(64);
        simt::launch("deadlock_kernel", deadlock_kernel<false>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[8], 9);
    });
}

// A plain store and atomics on one counter.
template <bool kBarrier>
__global__ void counter_kernel(int* y) {
    __shared__ int counter;
    if (threadIdx.x == 0) counter = 0;
    if (kBarrier) __syncthreads();
    atomicAdd(&counter, 1);
    __syncthreads();
    y[threadIdx.x] = counter;
}
TEST(FaultBlock, StoreAgainstAtomics) {
    expect_fault({"static shared memory", "atomic operation"}, [] {
        Buffer<int> y(64);
        simt::launch("counter_kernel", counter_kernel<false>, 1, 64, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(64);
        simt::launch("counter_kernel", counter_kernel<true>, 1, 64, 0, nullptr, y);
        EXPECT_EQ(y.get()[9], 64);
    });
}

// ---- Warp operations

template <bool kFaulty>
__global__ void branch_shuffle_kernel(int* y) {
    int value = static_cast<int>(threadIdx.x);
    if (!kFaulty || threadIdx.x < 16) value = __shfl_xor_sync(kAll, value, 1);
    y[threadIdx.x] = value;
}
TEST(FaultBlock, ShuffleInABranch) {
    // The other lanes return; whom the waiting ones then read decides what is reported, but they only read each other
    // here: on the device the result is right as well. Reading a lane that has gone is the fault.
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("branch_shuffle_kernel", branch_shuffle_kernel<false>, 1, 32, 0, nullptr, y);
        EXPECT_EQ(y.get()[4], 5);
    });
}

template <bool kFaulty>
__global__ void absent_lane_kernel(int* y, int n) {
    if (kFaulty && static_cast<int>(threadIdx.x) >= n) return;
    const int value = __shfl_down_sync(kAll, static_cast<int>(threadIdx.x), 8);
    y[threadIdx.x] = value;
}
TEST(FaultBlock, ShuffleFromALaneThatReturned) {
    expect_fault({"__shfl_down_sync reads lane", "does not take part"}, [] {
        Buffer<int> y(32);
        simt::launch("absent_lane_kernel", absent_lane_kernel<true>, 1, 32, 0, nullptr, y, 20);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("absent_lane_kernel", absent_lane_kernel<false>, 1, 32, 0, nullptr, y, 20);
        EXPECT_EQ(y.get()[3], 11);
    });
}

template <bool kFaulty>
__global__ void mask_kernel(int* y) {
    const unsigned mask = kFaulty ? 0x0000ffffu : kAll;
    y[threadIdx.x] = static_cast<int>(__ballot_sync(mask, threadIdx.x % 2));
}
TEST(FaultBlock, LaneOutsideItsMask) {
    expect_fault({"__ballot_sync", "not in its mask"}, [] {
        Buffer<int> y(32);
        simt::launch("mask_kernel", mask_kernel<true>, 1, 32, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("mask_kernel", mask_kernel<false>, 1, 32, 0, nullptr, y);
        EXPECT_EQ(static_cast<unsigned>(y.get()[0]), 0xaaaaaaaau);
    });
}

template <bool kFaulty>
__global__ void mixed_kernel(int* y) {
    int value = 0;
    if (kFaulty && threadIdx.x < 8)
        value = __any_sync(kAll, 1);
    else
        value = __shfl_sync(kAll, 7, 0);
    y[threadIdx.x] = value;
}
TEST(FaultBlock, DifferentOperationsOfOneWarp) {
    expect_fault({"__any_sync", "__shfl_sync", "waits in"}, [] {
        Buffer<int> y(32);
        simt::launch("mixed_kernel", mixed_kernel<true>, 1, 32, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("mixed_kernel", mixed_kernel<false>, 1, 32, 0, nullptr, y);
        EXPECT_EQ(y.get()[1], 7);
    });
}

template <bool kFaulty>
__global__ void partial_mma_kernel(float* y) {
    uint32_t a[4] = {}, b[2] = {};
    float d[4] = {};
    if (!kFaulty || threadIdx.x < 31) simt::mma_m16n8k16_bf16(d, a, b);
    y[threadIdx.x] = d[0];
}
TEST(FaultBlock, MatrixProductByPartOfAWarp) {
    expect_fault({"mma"}, [] {
        Buffer<float> y(32);
        simt::launch("partial_mma_kernel", partial_mma_kernel<true>, 1, 32, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<float> y(32);
        simt::launch("partial_mma_kernel", partial_mma_kernel<false>, 1, 32, 0, nullptr, y);
    });
}

// ---- Shared memory

template <bool kFaulty>
__global__ void dynamic_bounds_kernel(float* y) {
    SIMT_DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    values[threadIdx.x + (kFaulty ? 1 : 0)] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = values[threadIdx.x + (kFaulty ? 1 : 0)];
}
TEST(FaultBlock, DynamicSharedOutOfBounds) {
    expect_fault({"write of 4 bytes at offset 256 of dynamic shared memory, which has 256"}, [] {
        Buffer<float> y(64);
        simt::launch("dynamic_bounds_kernel", dynamic_bounds_kernel<true>, 1, 64, 256, nullptr, y);
    });
    everywhere([] {
        Buffer<float> y(64);
        simt::launch("dynamic_bounds_kernel", dynamic_bounds_kernel<false>, 1, 64, 256, nullptr, y);
    });
}

__global__ void static_bounds_kernel(float* y, int shift) {
    __shared__ float values[64];
    values[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = values[static_cast<int>(threadIdx.x) + shift];
}
TEST(FaultBlock, StaticSharedOutOfBounds) {
    expect_fault({"index 64 is outside its array"}, [] {
        Buffer<float> y(64);
        simt::launch("static_bounds_kernel", static_bounds_kernel, 1, 64, 0, nullptr, y, 1);
    });
    everywhere([] {
        Buffer<float> y(64);
        simt::launch("static_bounds_kernel", static_bounds_kernel, 1, 64, 0, nullptr, y, 0);
    });
}

__global__ void unwritten_shared_kernel(float* y, int written) {
    SIMT_DYNAMIC_SHARED(shared);
    float* values = reinterpret_cast<float*>(shared);
    if (static_cast<int>(threadIdx.x) < written) values[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = values[63 - threadIdx.x];
}
TEST(FaultBlock, SharedNeverWritten) {
    // A first launch writes the same bytes: what another block left there does not count.
    expect_fault({"read of dynamic shared memory+252, which this block has not written"}, [] {
        Buffer<float> y(64);
        simt::launch("unwritten_shared_kernel", unwritten_shared_kernel, 1, 64, 256, nullptr, y, 64);
        simt::launch("unwritten_shared_kernel", unwritten_shared_kernel, 1, 64, 256, nullptr, y, 63);
    });
    everywhere([] {
        Buffer<float> y(64);
        simt::launch("unwritten_shared_kernel", unwritten_shared_kernel, 1, 64, 256, nullptr, y, 64);
    });
}

template <bool kFaulty>
__global__ void local_kernel(int* y) {
    __shared__ int* pointer;
    int local = 5;
    if (threadIdx.x == 0) pointer = &local;
    __syncthreads();
    y[threadIdx.x] = *(kFaulty ? pointer : &local);
    __syncthreads();
    if (threadIdx.x == 0 && pointer == nullptr) y[0] = local;
}
TEST(FaultBlock, LocalVariableOfAnotherThread) {
    expect_fault({"local variable of thread (0,0,0)"}, [] {
        Buffer<int> y(32);
        simt::launch("local_kernel", local_kernel<true>, 1, 32, 0, nullptr, y);
    });
    everywhere([] {
        Buffer<int> y(32);
        simt::launch("local_kernel", local_kernel<false>, 1, 32, 0, nullptr, y);
    });
}

// ---- cp.async and ldmatrix

enum class Copy { correct, no_wait, wait_too_few, no_barrier, never_waited, overwrites_what_is_read };

template <Copy kCopy>
__global__ void copy_kernel(float4* y, const float4* x) {
    __shared__ float4 tile[2][32];
    const unsigned i = threadIdx.x;
    simt::copy_async(&tile[0][i], &x[i], 16, 16);
    simt::copy_async_commit();
    if (kCopy != Copy::overwrites_what_is_read) simt::copy_async(&tile[1][i], &x[32 + i], 16, 16);
    simt::copy_async_commit();
    if (kCopy == Copy::wait_too_few)
        simt::copy_async_wait<1>();
    else if (kCopy != Copy::no_wait && kCopy != Copy::never_waited)
        simt::copy_async_wait<0>();
    if (kCopy == Copy::never_waited) {
        y[i] = x[i];
        y[32 + i] = x[32 + i];
        return;
    }
    if (kCopy != Copy::no_barrier) __syncthreads();
    if (kCopy == Copy::overwrites_what_is_read) {
        y[i] = tile[0][31 - i];
        simt::copy_async(&tile[0][i], &x[32 + i], 16, 16); // others may still read it
        simt::copy_async_commit();
        simt::copy_async_wait<0>();
        return;
    }
    y[i] = tile[0][31 - i];
    y[32 + i] = tile[1][31 - i];
}
template <Copy kCopy>
void run_copy() {
    Buffer<float4> x(64), y(64);
    x.fill(0);
    simt::launch("copy_kernel", copy_kernel<kCopy>, 1, 32, 0, nullptr, y, x);
}
TEST(FaultBlock, CopyAsync) {
    expect_fault({"asynchronous copy to it is still in flight (missing wait)"}, [] { run_copy<Copy::no_wait>(); });
    expect_fault({"asynchronous copy to it is still in flight (missing wait)"}, [] { run_copy<Copy::wait_too_few>(); });
    expect_fault({"static shared memory"}, [] { run_copy<Copy::no_barrier>(); });
    expect_fault({"returns with 2 asynchronous copies it never waited for"}, [] { run_copy<Copy::never_waited>(); });
    expect_fault({"static shared memory"}, [] { run_copy<Copy::overwrites_what_is_read>(); });
    everywhere([] { run_copy<Copy::correct>(); });
}

__global__ void copy_alignment_kernel(float* y, const float* x, int shift) {
    __shared__ __align__(16) float tile[132];
    simt::copy_async(&tile[threadIdx.x * 4], x + threadIdx.x * 4 + static_cast<unsigned>(shift), 16, 16);
    simt::copy_async_commit();
    simt::copy_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x * 4];
}
TEST(FaultBlock, MisalignedCopyAsync) {
    expect_fault({"cp.async of 16 bytes", "misaligned"}, [] {
        Buffer<float> x(132), y(32);
        x.fill(0);
        simt::launch("copy_alignment_kernel", copy_alignment_kernel, 1, 32, 0, nullptr, y, x, 1);
    });
    everywhere([] {
        Buffer<float> x(132), y(32);
        x.fill(0);
        simt::launch("copy_alignment_kernel", copy_alignment_kernel, 1, 32, 0, nullptr, y, x, 4);
    });
}

__global__ void matrix_row_kernel(uint32_t* y, int rows) {
    SIMT_DYNAMIC_SHARED(shared);
    uint32_t* words = reinterpret_cast<uint32_t*>(shared);
    for (unsigned i = threadIdx.x; i < 8 * 4; i += 32) words[i] = i;
    __syncthreads();
    uint32_t r[1];
    simt::load_matrix<1>(r, shared + static_cast<int>(threadIdx.x) % rows * 16, false);
    y[threadIdx.x] = r[0];
}
TEST(FaultBlock, MatrixRowOutOfBounds) {
    expect_fault({"offset 128 of dynamic shared memory", "fault_block_test.cu"}, [] {
        Buffer<uint32_t> y(32);
        simt::launch(
            "matrix_row_kernel",
            +[](uint32_t* p, int) {
                SIMT_DYNAMIC_SHARED(shared);
                reinterpret_cast<uint32_t*>(shared)[threadIdx.x] = 1;
                __syncthreads();
                uint32_t r[1];
                simt::load_matrix<1>(r, shared + threadIdx.x * 16 + 16, false);
                p[threadIdx.x] = r[0];
            },
            1, 32, 128, nullptr, y, 0);
    });
    everywhere([] {
        Buffer<uint32_t> y(32);
        simt::launch("matrix_row_kernel", matrix_row_kernel, 1, 32, 128, nullptr, y, 8);
        EXPECT_EQ(y.get()[5], 5u);
    });
}

} // namespace
