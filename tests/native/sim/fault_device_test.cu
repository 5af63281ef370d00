// Seeded faults on device memory, between blocks and between streams, and their correct twins.
#include "testing.h"

namespace {

using simt::testing::Buffer;
using simt::testing::everywhere;
using simt::testing::expect_fault;

__global__ void copy_kernel(float* y, const float* x, int n) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = x[i];
}

TEST(FaultDevice, OutOfBoundsByOne) {
    const auto run = [](int n) {
        Buffer<float> x(100), y(100);
        x.fill(0);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x, n);
        cudaDeviceSynchronize();
    };
    expect_fault({"copy_kernel", "read of 4 bytes at byte 400 of an allocation of 400: out of bounds",
                  "fault_device_test.cu:12"},
                 [&] { run(101); });
    everywhere([&] { run(100); });
}

TEST(FaultDevice, BeforeTheBeginning) {
    const auto run = [](int shift) {
        Buffer<float> x(100), y(100);
        x.fill(0);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x + shift, 50);
        cudaDeviceSynchronize();
    };
    expect_fault({"read of 4 bytes, 4 before an allocation of 400: out of bounds"}, [&] { run(-1); });
    everywhere([&] { run(0); });
}

TEST(FaultDevice, MemoryNeverWritten) {
    const auto run = [](int written) {
        Buffer<float> x(100), y(100);
        cudaMemset(x, 0, static_cast<size_t>(written) * 4);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x, 100);
        cudaDeviceSynchronize();
    };
    expect_fault({"read of 4 bytes at byte 396", "nobody has written"}, [&] { run(99); });
    everywhere([&] { run(100); });
}

TEST(FaultDevice, ManagedMemorySaidToBeUnwritten) {
    const auto run = [](bool write_first) {
        float* x;
        cudaMallocManaged(&x, 200 * 4);
        Buffer<float> y(100), zeros(100);
        zeros.fill(0);
        for (int i = 0; i < 100; ++i) x[i] = 1.0f;
        simt::set_unwritten(x + 100, 400);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x, 100);
        if (write_first) simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, x + 100, zeros, 100);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x + 100, 100);
        cudaDeviceSynchronize();
        cudaFree(x);
    };
    expect_fault({"nobody has written"}, [&] { run(false); });
    everywhere([&] { run(true); });
}

TEST(FaultDevice, UseAfterFree) {
    const auto run = [](bool early) {
        float *x, *y;
        cudaMalloc(&x, 400);
        cudaMalloc(&y, 400);
        cudaMemset(x, 0, 400);
        if (early) cudaFree(x);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, y, x, 100);
        cudaDeviceSynchronize();
        if (!early) cudaFree(x);
        cudaFree(y);
    };
    expect_fault({"allocation of 400 that has been freed"}, [&] { run(true); });
    everywhere([&] { run(false); });
}

TEST(FaultDevice, OrdinaryHostMemory) {
    const auto run = [](bool managed) {
        static float ordinary[100];
        float* x = ordinary;
        if (managed) cudaMallocManaged(&x, sizeof ordinary);
        Buffer<float> y(100);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, x, y, 0);
        y.fill(0);
        std::vector<float> heap(100);
        simt::launch("copy_kernel", copy_kernel, 2, 64, 0, nullptr, managed ? x : heap.data(), y, 100);
        cudaDeviceSynchronize();
        if (managed) cudaFree(x);
    };
    expect_fault({"which is no device memory"}, [&] { run(false); });
    everywhere([&] { run(true); });
}

__global__ void vector_kernel(float4* y, const float* x, int shift) {
    y[threadIdx.x] = *reinterpret_cast<const float4*>(x + shift + 4 * static_cast<int>(threadIdx.x));
}
TEST(FaultDevice, MisalignedVector) {
    const auto run = [](int shift) {
        Buffer<float> x(256);
        Buffer<float4> y(32);
        x.fill(0);
        simt::launch("vector_kernel", vector_kernel, 1, 32, 0, nullptr, y, x, shift);
        cudaDeviceSynchronize();
    };
    expect_fault({"misaligned read of 16 bytes"}, [&] { run(2); });
    everywhere([&] { run(4); });
}

__constant__ float kTable[4] = {1, 2, 3, 4};
__global__ void table_kernel(float* y, bool write) {
    y[threadIdx.x] = kTable[threadIdx.x % 4];
    if (write) const_cast<volatile float&>(kTable[threadIdx.x % 4]) = 0.0f;
}
TEST(FaultDevice, WriteToAConstant) {
    const auto run = [](bool write) {
        Buffer<float> y(32);
        simt::launch("table_kernel", table_kernel, 1, 32, 0, nullptr, y, write);
        cudaDeviceSynchronize();
    };
    expect_fault({"write of a constant"}, [&] { run(true); });
    everywhere([&] { run(false); });
}

// ---- Between blocks

__global__ void one_address_kernel(int* y, int stride) {
    if (threadIdx.x == 0) y[static_cast<int>(blockIdx.x) * stride] = 1;
}
TEST(FaultDevice, TwoBlocksWriteOneAddress) {
    const auto run = [](int stride) {
        Buffer<int> y(8);
        simt::launch("one_address_kernel", one_address_kernel, 8, 32, 0, nullptr, y, stride);
        cudaDeviceSynchronize();
    };
    expect_fault({"race on device memory", "write against write by another block"}, [&] { run(0); });
    everywhere([&] { run(1); });
}

template <bool kAtomic>
__global__ void count_kernel(int* y) {
    if (kAtomic)
        atomicAdd(y, 1);
    else
        *y += 1;
}
TEST(FaultDevice, SumWithoutAtomics) {
    const auto run = [](auto kernel) {
        Buffer<int> y(1);
        y.fill(0);
        simt::launch("count_kernel", kernel, 4, 32, 0, nullptr, y);
        cudaDeviceSynchronize();
    };
    expect_fault({"race on device memory"}, [&] { run(count_kernel<false>); });
    everywhere([&] { run(count_kernel<true>); });
}

// A block reads what its neighbour writes in the same launch.
__global__ void stencil_kernel(float* y, const float* x, bool in_place) {
    const int i = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
    const float left = i > 0 ? x[i - 1] : 0.0f;
    __syncthreads();
    (in_place ? const_cast<float*>(x) : y)[i] = left;
}
TEST(FaultDevice, NeighbourBlockReadsWhatIsWritten) {
    const auto run = [](bool in_place) {
        Buffer<float> x(256), y(256);
        x.fill(0);
        simt::launch("stencil_kernel", stencil_kernel, 8, 32, 0, nullptr, y, x, in_place);
        cudaDeviceSynchronize();
    };
    expect_fault({"race on device memory", "by another block"}, [&] { run(true); });
    everywhere([&] { run(false); });
}

// The last block to finish sums what all have left.
enum class Last { correct, no_fence, no_counter, fence_before_writing };

template <Last kLast>
__global__ void last_block_kernel(float* y, float* partial, unsigned* counter, const float* x) {
    __shared__ bool is_last;
    const unsigned i = blockIdx.x * 64 + threadIdx.x;
    if (kLast == Last::fence_before_writing) __threadfence();
    partial[i] = x[i];
    if (kLast == Last::correct) __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        is_last = kLast == Last::no_counter ? blockIdx.x == 0 : atomicAdd(counter, 1u) == gridDim.x - 1;
    __syncthreads();
    if (!is_last) return;
    if (kLast == Last::correct) __threadfence();
    float sum = 0.0f;
    for (unsigned block = 0; block < gridDim.x; ++block) sum += partial[block * 64 + threadIdx.x];
    y[threadIdx.x] = sum;
    if (threadIdx.x == 0) *counter = 0;
}
template <Last kLast>
void run_last_block() {
    std::vector<float> ones(64 * 6, 1.0f);
    Buffer<float> x(ones), partial(64 * 6), y(64);
    Buffer<unsigned> counter(1);
    counter.fill(0);
    if (kLast == Last::no_counter) partial.fill(0);
    for (int turn = 0; turn < 2; ++turn)
        simt::launch("last_block_kernel", last_block_kernel<kLast>, 6, 64, 0, nullptr, y, partial, counter, x);
    if (kLast == Last::correct) {
        EXPECT_EQ(y.get()[7], 6.0f) << simt::fault();
    }
    cudaDeviceSynchronize();
}
TEST(FaultDevice, LastBlockSums) {
    expect_fault({"race on device memory", "by another block"}, [] { run_last_block<Last::no_fence>(); });
    expect_fault({"race on device memory", "by another block"}, [] { run_last_block<Last::no_counter>(); });
    expect_fault({"race on device memory", "by another block"}, [] { run_last_block<Last::fence_before_writing>(); });
    everywhere([] { run_last_block<Last::correct>(); });
}

// As in CUDA's own sample: thread 0 writes, fences and counts.
__global__ void thread_zero_kernel(float* y, float* partial, unsigned* counter) {
    __shared__ bool is_last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = 1.0f;
        __threadfence();
        is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float sum = 0.0f;
        for (unsigned block = 0; block < gridDim.x; ++block) sum += partial[block];
        *y = sum;
    }
}
TEST(FaultDevice, ThreadZeroCounts) {
    everywhere([] {
        Buffer<float> y(1), partial(40);
        Buffer<unsigned> counter(1);
        counter.fill(0);
        for (int turn = 0; turn < 3; ++turn)
            simt::launch("thread_zero_kernel", thread_zero_kernel, 40, 32, 0, nullptr, y, partial, counter);
        EXPECT_EQ(y.get()[0], 40.0f);
    });
}

// ---- Between streams

TEST(FaultDevice, StreamsWithoutAnEvent) {
    const auto run = [](bool wait) {
        Buffer<float> x(64), y(64), z(64);
        x.fill(0);
        cudaDeviceSynchronize();
        cudaStream_t first, second;
        cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
        cudaEvent_t written;
        cudaEventCreateWithFlags(&written, cudaEventDisableTiming);
        simt::launch("copy_kernel", copy_kernel, 1, 64, 0, first, y, x, 64);
        cudaEventRecord(written, first);
        if (wait) cudaStreamWaitEvent(second, written);
        simt::launch("copy_kernel", copy_kernel, 1, 64, 0, second, z, y, 64);
        cudaStreamSynchronize(second);
        cudaStreamSynchronize(first);
        cudaEventDestroy(written);
        cudaStreamDestroy(first);
        cudaStreamDestroy(second);
    };
    expect_fault({"copy_kernel"}, [&] { run(false); }); // a race, or memory never written, by the order
    everywhere([&] { run(true); });
}

TEST(FaultDevice, CopyBesideAKernel) {
    const auto run = [](bool wait) {
        Buffer<float> x(64), y(64);
        x.fill(0);
        y.fill(0);
        cudaDeviceSynchronize();
        cudaStream_t first, second;
        cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
        simt::launch("copy_kernel", copy_kernel, 1, 64, 0, first, y, x, 64);
        if (wait) cudaStreamSynchronize(first);
        cudaMemsetAsync(y, 0, 256, second);
        cudaDeviceSynchronize();
        cudaStreamDestroy(first);
        cudaStreamDestroy(second);
    };
    expect_fault({"work of another stream"}, [&] { run(false); });
    everywhere([&] { run(true); });
}

// A block that waits for one that may not have begun.
__global__ void spin_kernel(volatile int* flag, int setter) {
    if (static_cast<int>(blockIdx.x) == setter) *flag = 1;
    while (*flag == 0 && setter < 0) {
    }
}
TEST(FaultDevice, ALaunchThatNeverEnds) {
    simt::set_timeout(1);
    Buffer<int> flag(1);
    flag.fill(0);
    simt::launch("spin_kernel", spin_kernel, 1, 32, 0, nullptr, flag, -1);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_NE(simt::fault().find("has not ended in time; a thread still runs, at "), std::string::npos)
        << simt::fault();
    EXPECT_NE(simt::fault().find("fault_device_test.cu"), std::string::npos) << simt::fault();
    simt::reset_device();
    simt::set_timeout(600);
    simt::launch("spin_kernel", spin_kernel, 1, 32, 0, nullptr, flag, 0);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure); // 32 threads write one address
    simt::reset_device();
}

TEST(FaultDevice, SharedMemoryNotAskedFor) {
    Buffer<float> x(4), y(4);
    x.fill(0);
    simt::launch("copy_kernel", copy_kernel, 1, 32, 49 * 1024, nullptr, y, x, 4);
    EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFuncSetAttribute(copy_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024), cudaSuccess);
    simt::launch("copy_kernel", copy_kernel, 1, 32, 49 * 1024, nullptr, y, x, 4);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaFuncSetAttribute(copy_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 * 1024),
              cudaErrorInvalidValue);
    cudaGetLastError();
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST(FaultDevice, ADeadDeviceStaysDead) {
    Buffer<float> x(4), y(4);
    simt::launch("copy_kernel", copy_kernel, 1, 32, 0, nullptr, y, x, 4);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaMemset(x, 0, 16), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    simt::reset_device();
    EXPECT_EQ(cudaMemset(x, 0, 16), cudaSuccess);
    EXPECT_EQ(simt::fault(), "");
}

} // namespace
