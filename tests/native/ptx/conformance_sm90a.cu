// The wrappers of device_sm90a.cuh. Sums are of whole numbers, so that their order does not matter.
#if !defined(FTC_SIM)
#include <dlfcn.h>
#endif

#include "core/status.h"
#include "ptx/conformance.cuh"

namespace ftc::ptx {

using namespace ftc::cuda;

namespace {

// Matrices stored by both wrappers, each over lines in an order of its own.
__global__ void __launch_bounds__(32) stored_matrices(uint32_t* out, const uint4*) {
    __shared__ __align__(16) uint4 rows[64];
    for (uint32_t r = threadIdx.x; r < 64; r += 32) rows[r] = make_uint4(0, 0, 0, 0);
    __syncthreads();
    uint32_t plain[4], transposed[4];
    for (int i = 0; i < 4; i++) {
        plain[i] = mixed(threadIdx.x * 8 + i);
        transposed[i] = mixed(threadIdx.x * 8 + 4 + i);
    }
    store_matrix_x4(rows + (threadIdx.x * 7 + 3) % 32, plain);
    store_matrix_x4_transposed(rows + 32 + (threadIdx.x * 5 + 1) % 32, transposed);
    __syncthreads();
    uint4* lane = reinterpret_cast<uint4*>(out + threadIdx.x * kWords);
    store16(lane, rows[threadIdx.x]);
    store16(lane + 1, rows[32 + threadIdx.x]);
}

// Two warps hand a table over and back, through three phases of two mbarriers.
__global__ void __launch_bounds__(64) barriers_between_warps(uint32_t* out, const uint4*) {
    __shared__ uint64_t full, empty;
    __shared__ uint32_t values[32];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        mbarrier_init(&full, 32);
        mbarrier_init(&empty, 32);
        fence_barrier_init();
    }
    __syncthreads();
    uint32_t seen[3] = {};
    for (uint32_t phase = 0; phase < 3; phase++) {
        if (warp == 0) {
            if (phase > 0) mbarrier_wait(&empty, (phase - 1) & 1);
            values[lane] = mixed(phase * 32 + lane);
            mbarrier_arrive(&full);
        } else {
            mbarrier_wait(&full, phase & 1);
            seen[phase] = values[(lane + 5) % 32];
            mbarrier_arrive(&empty);
        }
    }
    for (int i = 0; i < kWords; i++) put(out, i, i < 3 ? seen[i] : 0);
}

constexpr uint32_t kBoxBytes = 1024;

// The box at (x, y) as it lies in shared memory, swizzle and zeros beyond the matrix included.
__global__ void __launch_bounds__(32) box(uint32_t* out, const __grid_constant__ CUtensorMap map, int x, int y) {
    FTC_DYNAMIC_SHARED(shared);
    __shared__ uint64_t barrier;
    uint32_t* lines = reinterpret_cast<uint32_t*>(shared);
    if (threadIdx.x == 0) {
        mbarrier_init(&barrier, 1);
        fence_barrier_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect(&barrier, kBoxBytes);
        tma_load_2d(lines, &map, x, y, &barrier);
    }
    mbarrier_wait(&barrier, 0);
    for (int i = 0; i < kWords; i++) put(out, i, lines[i * 32 + threadIdx.x]);
}

// Where element (row, k) of an operand [rows, 16] lies, in bytes: lines of 128 bytes swizzled, 64 rows to a line when
// transposed; or 8 x 8 blocks one after another.
__device__ __forceinline__ int place(int row, int k, bool transposed, bool swizzled) {
    if (!swizzled) return row / 8 * 256 + k / 8 * 128 + row % 8 * 16 + k % 8 * 2;
    const int at = transposed ? row / 64 * 2048 + k * 128 + row % 64 * 2 : row * 128 + k * 2;
    return at ^ (at >> 7 & 7) << 4;
}

constexpr int kTileBytesA = 64 * 128;
constexpr int kPlain = 0, kFromRegisters = 1, kTransposedB = 2, kTransposedBoth = 3, kWithoutSwizzle = 4;

// d[64, N] = 2 a b^T, a word of a lane the sum of (i + 1) times its accumulators i * 8 + word: every place counts.
template <int N, int Way>
__global__ void __launch_bounds__(128) product_of_warpgroup(uint32_t* out, const uint4*) {
    FTC_DYNAMIC_SHARED(tile_a);
    unsigned char* tile_b = tile_a + kTileBytesA;
    constexpr bool kSwizzled = Way != kWithoutSwizzle;
    constexpr int kA = Way == kTransposedBoth, kB = Way == kTransposedB || Way == kTransposedBoth;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const auto a_at = [](int row, int k) { return whole(static_cast<uint32_t>(row * 16 + k)); };
    for (int i = thread; i < 64 * 16; i += 128)
        *reinterpret_cast<bf16*>(tile_a + place(i / 16, i % 16, kA, kSwizzled)) = from_float<bf16>(a_at(i / 16, i % 16));
    for (int i = thread; i < N * 16; i += 128)
        *reinterpret_cast<bf16*>(tile_b + place(i / 16, i % 16, kB, kSwizzled)) =
            from_float<bf16>(whole(static_cast<uint32_t>(5000 + i)));
    fence_proxy_async();
    __syncthreads();
    const uint64_t a = wgmma_descriptor(tile_a, kA ? 2048 : 128, kSwizzled ? 1024 : 256, kSwizzled ? 1 : 0);
    const uint64_t b = wgmma_descriptor(tile_b, kB ? 2048 : 128, kSwizzled ? 1024 : 256, kSwizzled ? 1 : 0);
    float sums[N / 2];
    for (float& sum : sums) sum = 1.0f; // which the first product overwrites
    uint32_t fragment[4];
    for (int i = 0; i < 4; i++) {
        const int row = warp * 16 + lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
        fragment[i] = pack_bf16(a_at(row, k), a_at(row, k + 1));
    }
    wgmma_fence();
    for (int turn = 0; turn < 2; turn++) {
        if constexpr (Way == kFromRegisters)
            wgmma_bf16<N, kB>(sums, fragment, b, turn == 1);
        else
            wgmma_bf16<N, kA, kB>(sums, a, b, turn == 1);
    }
    wgmma_commit();
    wgmma_wait<0>();
    for (int word = 0; word < kWords; word++) {
        float total = 0.0f;
        for (int i = 0; i < N / 16; i++) total += static_cast<float>(i + 1) * sums[i * 8 + word];
        put(out, word, __float_as_uint(total));
    }
}

CUtensorMap map_of(const uint4* in, uint32_t box_columns, CUtensorMapSwizzle swizzle) {
    auto encode = &cuTensorMapEncodeTiled;
#if !defined(FTC_SIM)
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    encode = driver == nullptr ? nullptr : reinterpret_cast<decltype(encode)>(dlsym(driver, "cuTensorMapEncodeTiled"));
    if (encode == nullptr) throw Error(FTC_ERROR_DEVICE, "libcuda.so.1 has no cuTensorMapEncodeTiled");
#endif
    CUtensorMap map{};
    const uint64_t size[2] = {16, 16}, row_bytes[1] = {32};
    const uint32_t box[2] = {box_columns, 512 / box_columns}, strides[2] = {1, 1};
    const auto result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<uint4*>(in), size, row_bytes, box, strides,
                               CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (static_cast<int>(result) != 0) throw Error(FTC_ERROR_DEVICE, "cuTensorMapEncodeTiled failed");
    return map;
}

// The box begins inside the matrix of 16 x 16 and reaches past both its ends.
Case box_case(const char* name, uint32_t columns, CUtensorMapSwizzle swizzle) {
    return {name, 32, 0.0f, [=](uint32_t* out, const uint4* in) {
                FTC_LAUNCH((box), 1, 32, kBoxBytes, nullptr, out, map_of(in, columns, swizzle), 3, 2);
            }};
}

template <int N, int Way>
Case product_case(const char* name) {
    return {name, 128, 0.0f, [](uint32_t* out, const uint4* in) {
                FTC_LAUNCH((product_of_warpgroup<N, Way>), 1, 128, kTileBytesA + N * 128, nullptr, out, in);
            }};
}

} // namespace

const std::vector<Case>& cases_sm90a() {
    static const std::vector<Case> all = {
        FTC_CASE(stored_matrices, 32, 0.0f),
        FTC_CASE(barriers_between_warps, 64, 0.0f),
        box_case("box", 16, CU_TENSOR_MAP_SWIZZLE_NONE),
        box_case("box_32", 16, CU_TENSOR_MAP_SWIZZLE_32B),
        box_case("box_64", 32, CU_TENSOR_MAP_SWIZZLE_64B),
        box_case("box_128", 64, CU_TENSOR_MAP_SWIZZLE_128B),
        product_case<64, kPlain>("product_64"),
        product_case<64, kFromRegisters>("product_64_from_registers"),
        product_case<64, kTransposedB>("product_64_transposed_b"),
        product_case<64, kTransposedBoth>("product_64_transposed_both"),
        product_case<64, kWithoutSwizzle>("product_64_without_swizzle"),
        product_case<128, kPlain>("product_128"),
        product_case<128, kFromRegisters>("product_128_from_registers"),
        product_case<128, kTransposedB>("product_128_transposed_b"),
        product_case<256, kWithoutSwizzle>("product_256_without_swizzle"),
    };
    return all;
}

} // namespace ftc::ptx
