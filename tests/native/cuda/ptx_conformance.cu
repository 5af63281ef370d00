// ptx_conformance --write|--check FILE: what every wrapper of cuda/device.cuh leaves in every lane's registers for fixed
// inputs. The simulator writes the file, where it is golden; a GPU's build of the same source is held against it, so that
// kernels proved on the simulator stand on the same instructions. Moves and roundings must agree bit for bit, sums of mma on
// small whole numbers too; sums in another order and the special-function unit within the tolerance beside them.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/device.cuh"
#include "cuda/runtime.h"

using namespace ftc::cuda;

namespace {

constexpr int kWords = 8; // results of a lane

// Numbers that differ in every lane and bit position: splitmix32.
__device__ __forceinline__ uint32_t mixed(uint32_t x) {
    x += 0x9e3779b9u;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}
// A whole number in [-8, 8).
__device__ __forceinline__ float whole(uint32_t x) {
    return static_cast<float>(static_cast<int>(mixed(x) % 16u) - 8);
}
// In [-1, 1).
__device__ __forceinline__ float fraction(uint32_t x) {
    return static_cast<float>(static_cast<int>(mixed(x) >> 8)) * 0x1p-23f - 1.0f;
}
__device__ __forceinline__ void put(uint32_t* out, int word, uint32_t value) {
    out[threadIdx.x * kWords + word] = value;
}

__global__ void __launch_bounds__(32) roundings(uint32_t* out, const uint4*) {
    const float a = fraction(threadIdx.x) * __uint_as_float((111u + threadIdx.x) << 23), b = fraction(threadIdx.x + 100);
    put(out, 0, pack_bf16(a, b));
    put(out, 1, __float_as_uint(low_bf16(mixed(threadIdx.x))));
    put(out, 2, __float_as_uint(high_bf16(mixed(threadIdx.x))));
    put(out, 3, __float_as_uint(to_float(from_float<bf16>(a))));
    put(out, 4, __float_as_uint(to_float(from_float<f16>(a))));
    put(out, 5, __float_as_uint(fmaf(a, b, 1.0f)));
    put(out, 6, __float_as_uint(a * b + 1.0f)); // two roundings: nothing is contracted
    put(out, 7, __float_as_uint(a / (b + 2.0f)));
}

__global__ void __launch_bounds__(32) roundings_of_special_values(uint32_t* out, const uint4*) {
    const uint32_t bits[] = {0u, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7f7fffffu, 0x00000001u, 0x3f808000u, 0x3f818000u};
    const float x = __uint_as_float(bits[threadIdx.x % 8]); // zeros, infinities, the largest, the smallest, two ties
    put(out, 0, pack_bf16(x, 1.0f));
    put(out, 1, __float_as_uint(to_float(from_float<bf16>(x))));
    put(out, 2, __float_as_uint(to_float(from_float<f16>(x))));
    for (int i = 3; i < kWords; i++) put(out, i, 0);
}

__global__ void __launch_bounds__(32) loads(uint32_t* out, const uint4* in) {
    const uint4 a = load16(in + threadIdx.x), b = load16_streaming(in + 31 - threadIdx.x);
    uint4* lane = reinterpret_cast<uint4*>(out + threadIdx.x * kWords);
    store16(lane, b);
    store16_streaming(lane + 1, a);
}

__global__ void __launch_bounds__(32) asynchronous_copies(uint32_t* out, const uint4* in) {
    __shared__ __align__(16) uint4 staged[64];
    copy16_async(staged + threadIdx.x, in + 31 - threadIdx.x);
    copy_async_commit();
    copy16_async(staged + 32 + threadIdx.x, in + threadIdx.x, threadIdx.x % 17); // the rest is zeroed
    copy_async_commit();
    copy_async_wait<1>();
    const uint4 first = staged[threadIdx.x];
    copy_async_wait<0>();
    const uint4 second = staged[32 + threadIdx.x];
    uint4* lane = reinterpret_cast<uint4*>(out + threadIdx.x * kWords);
    store16(lane, first);
    store16(lane + 1, second);
}

// A table of 64 rows of 16 bytes, each number naming its place.
__device__ __forceinline__ void fill_rows(uint4* rows) {
    for (uint32_t r = threadIdx.x; r < 64; r += 32)
        rows[r] = make_uint4(r << 16 | 0x0001u, r << 16 | 0x0203u, r << 16 | 0x0405u, r << 16 | 0x0607u);
    __syncthreads();
}

__global__ void __launch_bounds__(32) matrices(uint32_t* out, const uint4*) {
    __shared__ __align__(16) uint4 rows[64];
    fill_rows(rows);
    uint32_t four[4], two[2];
    load_matrix_x4(four, rows + (threadIdx.x * 7 + 3) % 64);
    load_matrix_x2(two, rows + threadIdx.x % 16 * 2);
    for (int i = 0; i < 4; i++) put(out, i, four[i]);
    for (int i = 0; i < 2; i++) put(out, 4 + i, two[i]);
    put(out, 6, 0);
    put(out, 7, 0);
}

__global__ void __launch_bounds__(32) matrices_transposed(uint32_t* out, const uint4*) {
    __shared__ __align__(16) uint4 rows[64];
    fill_rows(rows);
    uint32_t four[4], two[2];
    load_matrix_x4_transposed(four, rows + (threadIdx.x * 7 + 3) % 64);
    load_matrix_x2_transposed(two, rows + threadIdx.x % 16 * 2);
    for (int i = 0; i < 4; i++) put(out, i, four[i]);
    for (int i = 0; i < 2; i++) put(out, 4 + i, two[i]);
    put(out, 6, 0);
    put(out, 7, 0);
}

template <bool Whole>
__device__ __forceinline__ void product(uint32_t* out) {
    const auto number = [](uint32_t x) { return Whole ? whole(x) : fraction(x); };
    uint32_t a[4], b[2];
    float d[4];
    for (int i = 0; i < 4; i++) a[i] = pack_bf16(number(threadIdx.x * 16 + 2 * i), number(threadIdx.x * 16 + 2 * i + 1));
    for (int i = 0; i < 2; i++) b[i] = pack_bf16(number(threadIdx.x * 16 + 8 + 2 * i), number(threadIdx.x * 16 + 9 + 2 * i));
    for (int i = 0; i < 4; i++) d[i] = number(threadIdx.x * 16 + 12 + i);
    mma_bf16(d, a, b);
    mma_bf16(d, a, b);
    for (int i = 0; i < 4; i++) put(out, i, __float_as_uint(d[i]));
    for (int i = 4; i < kWords; i++) put(out, i, 0);
}
__global__ void __launch_bounds__(32) product_of_whole_numbers(uint32_t* out, const uint4*) {
    product<true>(out);
}
__global__ void __launch_bounds__(32) product_of_fractions(uint32_t* out, const uint4*) {
    product<false>(out);
}

__global__ void __launch_bounds__(32) special_functions(uint32_t* out, const uint4*) {
    const float x = 30.0f * fraction(threadIdx.x);
    put(out, 0, __float_as_uint(exp2_fast(x)));
    put(out, 1, __float_as_uint(reciprocal_fast(x)));
    put(out, 2, __float_as_uint(expf(0.1f * x)));
    put(out, 3, __float_as_uint(logf(fabsf(x) + 0.5f)));
    put(out, 4, __float_as_uint(rsqrtf(fabsf(x) + 0.5f)));
    put(out, 5, __float_as_uint(exp2f(x)));
    put(out, 6, __float_as_uint(log1pf(fabsf(x))));
    put(out, 7, __float_as_uint(sqrtf(fabsf(x))));
}

__global__ void __launch_bounds__(32) warp(uint32_t* out, const uint4*) {
    const uint32_t x = mixed(threadIdx.x);
    put(out, 0, __shfl_xor_sync(kAllLanes, x, 5));
    put(out, 1, __shfl_sync(kAllLanes, x, (threadIdx.x * 3) % 32));
    put(out, 2, __shfl_down_sync(kAllLanes, x, 3));
    put(out, 3, __shfl_up_sync(kAllLanes, x, 7));
    put(out, 4, __ballot_sync(kAllLanes, x & 1));
    put(out, 5, static_cast<uint32_t>(__popc(x)) | static_cast<uint32_t>(__clz(static_cast<int>(x))) << 8);
    put(out, 6, __byte_perm(x, ~x, 0x5140));
    put(out, 7, __umulhi(x, x));
}

struct Case {
    const char* name;
    float tolerance; // largest relative difference; 0: the same bits
    std::function<void(uint32_t*, const uint4*)> run;
};

#define FTC_CASE(kernel, tolerance)                                                                                    \
    {#kernel, tolerance, [](uint32_t* out, const uint4* in) { FTC_LAUNCH((kernel), 1, 32, 0, nullptr, out, in); }}

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        FTC_CASE(roundings, 0.0f),
        FTC_CASE(roundings_of_special_values, 0.0f),
        FTC_CASE(loads, 0.0f),
        FTC_CASE(asynchronous_copies, 0.0f),
        FTC_CASE(matrices, 0.0f),
        FTC_CASE(matrices_transposed, 0.0f),
        FTC_CASE(product_of_whole_numbers, 0.0f),
        FTC_CASE(product_of_fractions, 1e-5f),
        FTC_CASE(special_functions, 1e-6f),
        FTC_CASE(warp, 0.0f),
    };
    return all;
}

std::vector<uint32_t> results(const Case& c) {
    const size_t bytes = 32 * kWords * sizeof(uint32_t);
    std::vector<uint32_t> host(32 * kWords), input(32 * 4);
    for (size_t i = 0; i < input.size(); i++) input[i] = static_cast<uint32_t>(i * 0x01010101u + 0x00010203u);
    void *out = nullptr, *in = nullptr;
    check(cudaMalloc(&out, bytes), "cudaMalloc");
    check(cudaMalloc(&in, input.size() * 4), "cudaMalloc");
    check(cudaMemcpy(in, input.data(), input.size() * 4, cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemset(out, 0xcc, bytes), "cudaMemset");
    c.run(static_cast<uint32_t*>(out), static_cast<const uint4*>(in));
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemcpy(host.data(), out, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
    cudaFree(out);
    cudaFree(in);
    return host;
}

float as_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

bool close(uint32_t actual, uint32_t golden, float tolerance) {
    if (actual == golden) return true;
    const float a = as_float(actual), g = as_float(golden);
    return std::abs(a - g) <= tolerance * std::max(1e-3f, std::abs(g));
}

// Lines of the file: case, then the words of all lanes in hexadecimal.
std::map<std::string, std::vector<uint32_t>> read(const std::string& path) {
    std::map<std::string, std::vector<uint32_t>> stored;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name >> std::hex;
        for (uint32_t word; words >> word;) stored[name].push_back(word);
    }
    return stored;
}

int run(const std::string& mode, const std::string& path) {
    if (mode == "--write") {
        std::ofstream file(path);
        for (const Case& c : cases()) {
            file << c.name;
            for (const uint32_t word : results(c)) file << ' ' << std::hex << word;
            file << '\n';
        }
        return file.good() ? 0 : 1;
    }
    const auto stored = read(path);
    int passed = 0, failed = 0;
    for (const Case& c : cases()) {
        const auto golden = stored.find(c.name);
        if (golden == stored.end() || golden->second.size() != 32 * kWords) {
            std::cout << c.name << ": not in " << path << "\n";
            failed++;
            continue;
        }
        const std::vector<uint32_t> actual = results(c);
        int wrong = 0;
        for (size_t i = 0; i < actual.size(); i++)
            if (!close(actual[i], golden->second[i], c.tolerance) && wrong++ < 3)
                std::printf("%s: lane %zu, word %zu is %08x (%g), expected %08x (%g)\n", c.name, i / kWords, i % kWords, actual[i],
                            static_cast<double>(as_float(actual[i])), golden->second[i], static_cast<double>(as_float(golden->second[i])));
        wrong == 0 ? passed++ : failed++;
    }
    std::printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    const std::string mode = argc == 3 ? argv[1] : "";
    if (mode != "--write" && mode != "--check") {
        std::fprintf(stderr, "usage: ptx_conformance --write|--check FILE\n");
        return 2;
    }
    try {
        return run(mode, argv[2]);
    } catch (const ftc::Error& error) {
        std::fprintf(stderr, "ptx_conformance: %s\n", error.message);
        return 1;
    }
}
