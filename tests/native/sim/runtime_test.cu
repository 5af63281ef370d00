// The host's side: streams and events, graphs, memory, library products.
#include "simt/cublaslt.h"
#include "testing.h"

namespace {

using simt::testing::Buffer;
using simt::testing::everywhere;
using simt::testing::expect_fault;
using simt::testing::orders;

__global__ void add_kernel(float* y, float value, int n) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] += value;
}
__global__ void scale_kernel(float* y, const float* x, float factor, int n) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = x[i] * factor;
}

struct Streams {
    cudaStream_t first = nullptr, second = nullptr;
    cudaEvent_t event = nullptr;
    Streams() {
        cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    }
    ~Streams() {
        cudaStreamDestroy(first);
        cudaStreamDestroy(second);
        cudaEventDestroy(event);
    }
};

// Nothing has run before somebody waits; then all of it has, in order.
TEST(Runtime, LaunchesAreQueued) {
    everywhere([] {
        float* y;
        cudaMallocManaged(&y, 4);
        *y = 1.0f;
        Streams s;
        simt::launch("add", add_kernel, 1, 32, 0, s.first, y, 1.0f, 1);
        simt::launch("add", add_kernel, 1, 32, 0, s.first, y, 2.0f, 1);
        EXPECT_EQ(*y, 1.0f);
        EXPECT_EQ(cudaStreamSynchronize(s.first), cudaSuccess);
        EXPECT_EQ(*y, 4.0f);
        simt::set_launch_blocking(true);
        simt::launch("add", add_kernel, 1, 32, 0, s.first, y, 3.0f, 1);
        EXPECT_EQ(*y, 7.0f);
        simt::set_launch_blocking(false);
        cudaFree(y);
    });
}

// A double buffer: the side stream fills one half while the main one reads the other. Events in both directions.
template <bool kWaitBeforeRefill>
void double_buffer() {
    Streams s;
    cudaEvent_t used[2], filled[2];
    for (int i = 0; i < 2; ++i) {
        cudaEventCreateWithFlags(&used[i], cudaEventDisableTiming);
        cudaEventCreateWithFlags(&filled[i], cudaEventDisableTiming);
    }
    std::vector<float> ones(64 * 6, 1.0f);
    Buffer<float> x(ones), scratch(128), y(64 * 6);
    cudaDeviceSynchronize();
    for (int turn = 0; turn < 6; ++turn) {
        const int half = turn % 2;
        if (kWaitBeforeRefill && turn >= 2) cudaStreamWaitEvent(s.second, used[half]);
        simt::launch("fill", scale_kernel, 1, 64, 0, s.second, scratch + half * 64, x + turn * 64,
                     static_cast<float>(turn), 64);
        cudaEventRecord(filled[half], s.second);
        cudaStreamWaitEvent(s.first, filled[half]);
        simt::launch("use", scale_kernel, 1, 64, 0, s.first, y + turn * 64, scratch + half * 64, 2.0f, 64);
        cudaEventRecord(used[half], s.first);
    }
    cudaStreamSynchronize(s.first);
    cudaStreamSynchronize(s.second);
    for (int turn = 0; turn < 6 && kWaitBeforeRefill; ++turn)
        EXPECT_EQ(y.get()[static_cast<size_t>(turn * 64 + 5)], 2.0f * static_cast<float>(turn));
    for (int i = 0; i < 2; ++i) {
        cudaEventDestroy(used[i]);
        cudaEventDestroy(filled[i]);
    }
}
TEST(Runtime, DoubleBufferOnTwoStreams) {
    expect_fault({"another stream"}, [] { double_buffer<false>(); });
    everywhere([] { double_buffer<true>(); });
}

// A pinned source changed while the copy from it is queued.
TEST(Runtime, PinnedMemoryIsReadLate) {
    simt::set_schedule(simt::Schedule::ordered);
    float* pinned;
    cudaMallocHost(&pinned, 4);
    *pinned = 1.0f;
    Streams s;
    Buffer<float> y(1);
    cudaMemcpyAsync(y, pinned, 4, cudaMemcpyHostToDevice, s.first);
    *pinned = 2.0f;
    cudaStreamSynchronize(s.first);
    EXPECT_EQ(y.get()[0], 2.0f);
    float ordinary = 3.0f; // read before the call returns
    cudaMemcpyAsync(y, &ordinary, 4, cudaMemcpyHostToDevice, s.first);
    ordinary = 4.0f;
    cudaStreamSynchronize(s.first);
    EXPECT_EQ(y.get()[0], 3.0f);
    cudaFreeHost(pinned);
}

TEST(Runtime, StreamOrderedFree) {
    everywhere([] {
        Streams s;
        float* y;
        cudaMallocAsync(&y, 256, s.first);
        cudaMemsetAsync(y, 0, 256, s.first);
        simt::launch("add", add_kernel, 1, 64, 0, s.first, y, 1.0f, 64);
        cudaFreeAsync(y, s.first);
        cudaStreamSynchronize(s.first);
    });
    expect_fault({"freed"}, [] {
        Streams s;
        float* y;
        cudaMallocAsync(&y, 256, s.first);
        cudaMemsetAsync(y, 0, 256, s.first);
        cudaFreeAsync(y, s.first);
        simt::launch("add", add_kernel, 1, 64, 0, s.first, y, 1.0f, 64);
        cudaStreamSynchronize(s.first);
    });
}

TEST(Runtime, MemoryIsCountedAndEnds) {
    size_t before, after, total;
    cudaMemGetInfo(&before, &total);
    {
        Buffer<char> x(1000000);
        cudaMemGetInfo(&after, &total);
        EXPECT_EQ(before - after, 1000000u);
    }
    cudaMemGetInfo(&after, &total);
    EXPECT_EQ(before, after);
    void* p;
    EXPECT_EQ(cudaMalloc(&p, total + 1), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaFree(&total), cudaErrorInvalidValue);
    cudaGetLastError();
}

TEST(Runtime, CopiesAreChecked) {
    Buffer<float> x(10);
    x.fill(0);
    float host[20] = {};
    EXPECT_EQ(cudaMemcpy(x, host, 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemcpy(host, x, 44, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemcpy(host, host + 10, 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT_EQ(cudaMemcpy(host, x, 40, cudaMemcpyDefault), cudaSuccess);
    cudaPointerAttributes attributes;
    EXPECT_EQ(cudaPointerGetAttributes(&attributes, x + 3), cudaSuccess);
    EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
    EXPECT_EQ(cudaPointerGetAttributes(&attributes, host), cudaSuccess);
    EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
    cudaGetLastError();
}

// ---- Graphs

TEST(Runtime, GraphOfTwoStreams) {
    everywhere([] {
        Streams s;
        cudaEvent_t back;
        cudaEventCreateWithFlags(&back, cudaEventDisableTiming);
        std::vector<float> ones(64, 1.0f);
        Buffer<float> x(ones), y(64), z(64);
        y.fill(0);
        z.fill(0);
        cudaDeviceSynchronize();
        ASSERT_EQ(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeGlobal), cudaSuccess);
        simt::launch("add", add_kernel, 1, 64, 0, s.first, x, 1.0f, 64);
        cudaEventRecord(s.event, s.first);
        cudaStreamWaitEvent(s.second, s.event);
        simt::launch("scale", scale_kernel, 1, 64, 0, s.second, y, x, 10.0f, 64);
        cudaEventRecord(back, s.second);
        cudaStreamWaitEvent(s.first, back);
        simt::launch("scale", scale_kernel, 1, 64, 0, s.first, z, y, 2.0f, 64);
        cudaGraph_t graph;
        ASSERT_EQ(cudaStreamEndCapture(s.first, &graph), cudaSuccess);
        cudaGraphExec_t exec;
        ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
        EXPECT_EQ(x.get()[0], 1.0f); // captured, not run
        for (int turn = 0; turn < 3; ++turn) EXPECT_EQ(cudaGraphLaunch(exec, s.first), cudaSuccess);
        EXPECT_EQ(cudaStreamSynchronize(s.first), cudaSuccess);
        EXPECT_EQ(z.get()[63], 80.0f);
        cudaGraphExecDestroy(exec);
        cudaGraphDestroy(graph);
        cudaEventDestroy(back);
    });
}

TEST(Runtime, CaptureThatDoesNotComeTogether) {
    Streams s;
    Buffer<float> y(64);
    y.fill(0);
    ASSERT_EQ(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeGlobal), cudaSuccess);
    cudaEventRecord(s.event, s.first);
    cudaStreamWaitEvent(s.second, s.event);
    simt::launch("add", add_kernel, 1, 64, 0, s.second, y, 1.0f, 64);
    cudaGraph_t graph;
    EXPECT_EQ(cudaStreamEndCapture(s.first, &graph), cudaErrorStreamCaptureUnjoined);
    cudaGetLastError();
}

// What a graph holds is the work with the arguments it was captured with, done anew at every launch: kernels, fills, copies,
// library products, whatever the memory they name holds by then.
TEST(Runtime, GraphsDoTheirWorkAnewEachTime) {
    everywhere([] {
        Streams s;
        std::vector<float> ones(64, 1.0f);
        Buffer<float> x(ones), y(64), z(64);
        y.fill(0);
        z.fill(0);
        float* pinned;
        ASSERT_EQ(cudaMallocHost(&pinned, 64 * sizeof(float)), cudaSuccess);
        cudaDeviceSynchronize();
        ASSERT_EQ(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        float factor = 3.0f;
        simt::launch("scale", scale_kernel, 1, 64, 0, s.first, y, x, factor, 64);
        factor = 1e9f; // arguments were taken at the launch
        EXPECT_EQ(cudaMemsetAsync(z, 0, 32 * sizeof(float), s.first), cudaSuccess);
        EXPECT_EQ(cudaMemcpyAsync(static_cast<float*>(z) + 32, y, 32 * sizeof(float), cudaMemcpyDeviceToDevice, s.first), cudaSuccess);
        EXPECT_EQ(cudaMemcpyAsync(pinned, z, 64 * sizeof(float), cudaMemcpyDeviceToHost, s.first), cudaSuccess);
        cudaGraph_t graph;
        ASSERT_EQ(cudaStreamEndCapture(s.first, &graph), cudaSuccess);
        cudaGraphExec_t exec;
        ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
        cudaGraphDestroy(graph);
        for (int turn = 1; turn <= 3; ++turn) {
            simt::launch("add", add_kernel, 1, 64, 0, s.first, x, 1.0f, 64); // 2, 3, 4
            ASSERT_EQ(cudaGraphLaunch(exec, s.first), cudaSuccess);
            ASSERT_EQ(cudaStreamSynchronize(s.first), cudaSuccess);
            EXPECT_EQ(pinned[0], 0.0f);
            EXPECT_EQ(pinned[63], 3.0f * static_cast<float>(1 + turn));
            z.fill(0x3f);
            cudaDeviceSynchronize();
        }
        cudaGraphExecDestroy(exec);
        cudaFreeHost(pinned);
    });
}

// A race between a graph and another stream is found as one of kernels is.
TEST(Runtime, GraphsRaceLikeTheirKernels) {
    const auto race = [](bool waits) {
        Streams s;
        std::vector<float> ones(64, 1.0f);
        Buffer<float> x(ones), y(64);
        y.fill(0);
        cudaDeviceSynchronize();
        cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal);
        simt::launch("scale", scale_kernel, 1, 64, 0, s.first, y, x, 2.0f, 64);
        cudaGraph_t graph;
        cudaStreamEndCapture(s.first, &graph);
        cudaGraphExec_t exec;
        cudaGraphInstantiate(&exec, graph);
        cudaGraphLaunch(exec, s.first);
        if (waits) {
            cudaEventRecord(s.event, s.first);
            cudaStreamWaitEvent(s.second, s.event);
        }
        simt::launch("add", add_kernel, 1, 64, 0, s.second, y, 1.0f, 64);
        cudaDeviceSynchronize();
        cudaGraphExecDestroy(exec);
        cudaGraphDestroy(graph);
    };
    expect_fault({"race on device memory"}, [&] { race(false); });
    everywhere([&] { race(true); });
}

// A capture does not survive waiting, allocating or waiting for what lies outside of it; the stream does.
TEST(Runtime, CapturesThatAreLost) {
    Streams s;
    Buffer<float> y(64);
    y.fill(0);
    cudaEvent_t outside;
    cudaEventCreateWithFlags(&outside, cudaEventDisableTiming);
    cudaEventRecord(outside, s.second);
    cudaDeviceSynchronize();
    void* p;
    const std::pair<const char*, std::function<cudaError_t()>> mistakes[] = {
        {"cudaMalloc", [&] { return cudaMalloc(&p, 16); }},
        {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(s.first); }},
        {"cudaDeviceSynchronize", [&] { return cudaDeviceSynchronize(); }},
        {"cudaStreamWaitEvent", [&] { return cudaStreamWaitEvent(s.first, outside); }},
    };
    for (const auto& [name, mistake] : mistakes) {
        ASSERT_EQ(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal), cudaSuccess) << name;
        simt::launch("add", add_kernel, 1, 64, 0, s.first, y, 1.0f, 64);
        EXPECT_NE(mistake(), cudaSuccess) << name;
        cudaGraph_t graph;
        EXPECT_EQ(cudaStreamEndCapture(s.first, &graph), cudaErrorStreamCaptureInvalidated) << name;
        EXPECT_EQ(graph, nullptr) << name;
        cudaGetLastError();
        EXPECT_EQ(cudaStreamSynchronize(s.first), cudaSuccess) << name;
    }
    EXPECT_EQ(y.get()[0], 0.0f);
    // An event of a capture that has ended is nothing to wait for.
    ASSERT_EQ(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    cudaEventRecord(s.event, s.first);
    cudaGraph_t graph;
    ASSERT_EQ(cudaStreamEndCapture(s.first, &graph), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(s.second, s.event), cudaErrorCapturedEvent);
    cudaGetLastError();
    cudaGraphDestroy(graph);
    cudaEventDestroy(outside);
}

// ---- Library products

// D[m, n] = alpha A B + beta D, column-major, A [m, k], B [k, n], each side transposed in memory or not.
std::vector<float> product(bool transpose_a, bool transpose_b, uint64_t m, uint64_t n, uint64_t k, uint64_t d_rows) {
    using namespace simt::lt;
    std::vector<float> av(m * k), bv(k * n), dv(d_rows * n, 1.0f);
    for (size_t i = 0; i < av.size(); ++i) av[i] = static_cast<float>(i % 7) - 3.0f;
    for (size_t i = 0; i < bv.size(); ++i) bv[i] = static_cast<float>(i % 5) - 2.0f;
    Buffer<float> a(av), b(bv), d(dv);
    void *handle, *desc, *la, *lb, *ld;
    create(&handle);
    desc_create(&desc, 68, 0);
    const int32_t ta = transpose_a, tb = transpose_b;
    desc_set(desc, 3, &ta, 4);
    desc_set(desc, 4, &tb, 4);
    layout_create(&la, 0, ta ? k : m, ta ? m : k, static_cast<int64_t>(ta ? k : m));
    layout_create(&lb, 0, tb ? n : k, tb ? k : n, static_cast<int64_t>(tb ? n : k));
    layout_create(&ld, 0, m, n, static_cast<int64_t>(m));
    const float alpha = 2.0f, beta = 0.5f;
    EXPECT_EQ(matmul(handle, desc, &alpha, a, la, b, lb, &beta, d, ld, d, ld, nullptr, nullptr, 0, nullptr), 0);
    std::vector<float> result;
    if (cudaDeviceSynchronize() == cudaSuccess) result = d.get();
    for (void* layout : {la, lb, ld}) layout_destroy(layout);
    desc_destroy(desc);
    destroy(handle);
    if (result.empty()) return result;
    for (uint64_t i = 0; i < m; ++i)
        for (uint64_t j = 0; j < n; ++j) {
            float expected = 0.0f;
            for (uint64_t l = 0; l < k; ++l)
                expected += av[ta ? i * k + l : l * m + i] * bv[tb ? l * n + j : j * k + l];
            EXPECT_EQ(result[j * m + i], 2.0f * expected + 0.5f) << i << ", " << j;
        }
    return result;
}
TEST(Runtime, LibraryProducts) {
    everywhere([] {
        for (const bool ta : {false, true})
            for (const bool tb : {false, true}) product(ta, tb, 5, 3, 7, 5);
    });
    expect_fault({"cublasLtMatmul", "column 2 of C", "outside"}, [] { product(false, false, 5, 3, 7, 4); });
}

} // namespace
