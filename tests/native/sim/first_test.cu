// Whole small kernels: a reduction and a matrix product with cp.async, ldmatrix and mma.
#include "testing.h"

namespace {

using simt::bf16;
using simt::testing::Buffer;
using simt::testing::everywhere;

// y[block] = sum of x over the block's 256 values: shuffles in the warp, then shared memory.
__global__ void __launch_bounds__(256) sum_kernel(float* y, const float* x, int n) {
    __shared__ float partial[8];
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    float sum = i < n ? x[i] : 0.0f;
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        float total = 0.0f;
        for (int warp = 0; warp < 8; ++warp) total += partial[warp];
        y[blockIdx.x] = total;
    }
}

TEST(First, Reduction) {
    everywhere([] {
        const int n = 1000;
        std::vector<float> values(n);
        for (int i = 0; i < n; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i % 17);
        Buffer<float> x(values), y(4);
        simt::launch("sum_kernel", sum_kernel, 4, 256, 0, nullptr, y, x, n);
        const std::vector<float> sums = y.get();
        for (int block = 0; block < 4; ++block) {
            float expected = 0.0f;
            for (int i = block * 256; i < std::min(n, block * 256 + 256); ++i) expected += static_cast<float>(i % 17);
            EXPECT_EQ(sums[static_cast<size_t>(block)], expected);
        }
    });
}

constexpr int kTile = 64, kDepth = 32, kPad = 8;

// c[m, n] = a[m, k] b[n, k]^T, all sizes multiples of the tile; 4 warps of 32 x 32 outputs, two stages of cp.async.
__global__ void __launch_bounds__(128) matmul_kernel(float* c, const bf16* a, const bf16* b, int n, int k) {
    SIMT_DYNAMIC_SHARED(shared);
    constexpr int kRow = kDepth + kPad;
    bf16* tiles = reinterpret_cast<bf16*>(shared); // [stage][a, b][kTile][kRow]
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int row0 = static_cast<int>(blockIdx.y) * kTile, column0 = static_cast<int>(blockIdx.x) * kTile;
    auto tile = [&](int stage, int which) { return tiles + (stage * 2 + which) * kTile * kRow; };
    auto load = [&](int stage, int step) {
        for (int i = thread; i < kTile * kDepth / 8; i += 128) {
            const int row = i / (kDepth / 8), column = i % (kDepth / 8) * 8;
            simt::copy_async(tile(stage, 0) + row * kRow + column,
                             a + static_cast<int64_t>(row0 + row) * k + step * kDepth + column, 16, 16);
            simt::copy_async(tile(stage, 1) + row * kRow + column,
                             b + static_cast<int64_t>(column0 + row) * k + step * kDepth + column, 16, 16);
        }
        simt::copy_async_commit();
    };
    float sums[2][4][4] = {};
    const int wm = warp / 2 * 32, wn = warp % 2 * 32, steps = k / kDepth;
    load(0, 0);
    for (int step = 0; step < steps; ++step) {
        if (step + 1 < steps) {
            load((step + 1) % 2, step + 1);
            simt::copy_async_wait<1>();
        } else {
            simt::copy_async_wait<0>();
        }
        __syncthreads();
        for (int depth = 0; depth < kDepth; depth += 16) {
            uint32_t fa[2][4], fb[4][2];
            for (int i = 0; i < 2; ++i)
                simt::load_matrix<4>(
                    fa[i], tile(step % 2, 0) + (wm + i * 16 + lane % 16) * kRow + depth + lane / 16 * 8, false);
            for (int j = 0; j < 4; ++j)
                simt::load_matrix<2>(
                    fb[j], tile(step % 2, 1) + (wn + j * 8 + lane % 8) * kRow + depth + lane / 8 % 2 * 8, false);
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 4; ++j) simt::mma_m16n8k16_bf16(sums[i][j], fa[i], fb[j]);
        }
        __syncthreads();
    }
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
            for (int e = 0; e < 4; ++e) {
                const int row = row0 + wm + i * 16 + lane / 4 + e / 2 * 8,
                          column = column0 + wn + j * 8 + lane % 4 * 2 + e % 2;
                c[static_cast<int64_t>(row) * n + column] = sums[i][j][e];
            }
}

TEST(First, MatrixProduct) {
    everywhere([] {
        const int m = 128, n = 64, k = 96;
        std::vector<bf16> av(m * k), bv(n * k);
        for (size_t i = 0; i < av.size(); ++i) av[i] = bf16(static_cast<float>(i * 7 % 13) - 6.0f);
        for (size_t i = 0; i < bv.size(); ++i) bv[i] = bf16(static_cast<float>(i * 5 % 11) - 5.0f);
        Buffer<bf16> a(av), b(bv);
        Buffer<float> c(m * n);
        const size_t shared = 4 * kTile * (kDepth + kPad) * sizeof(bf16);
        simt::launch("matmul_kernel", matmul_kernel, dim3(n / kTile, m / kTile), 128, shared, nullptr, c, a, b, n, k);
        const std::vector<float> result = c.get();
        for (int i = 0; i < m; ++i)
            for (int j = 0; j < n; ++j) {
                float expected = 0.0f;
                for (int l = 0; l < k; ++l)
                    expected += static_cast<float>(av[static_cast<size_t>(i * k + l)]) *
                                static_cast<float>(bv[static_cast<size_t>(j * k + l)]);
                ASSERT_EQ(result[static_cast<size_t>(i * n + j)], expected) << i << ", " << j;
            }
    });
}

} // namespace
