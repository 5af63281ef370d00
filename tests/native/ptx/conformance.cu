// The wrappers every GPU from sm_80 has.
#include "ptx/conformance.cuh"

namespace ftc::ptx {

using namespace ftc::cuda;

namespace {

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

// m16n8k8, of whole numbers.
__global__ void __launch_bounds__(32) short_product(uint32_t* out, const uint4*) {
    uint32_t a[2], b[1];
    float d[4];
    for (int i = 0; i < 2; i++) a[i] = pack_bf16(whole(threadIdx.x * 16 + 2 * i), whole(threadIdx.x * 16 + 2 * i + 1));
    b[0] = pack_bf16(whole(threadIdx.x * 16 + 8), whole(threadIdx.x * 16 + 9));
    for (int i = 0; i < 4; i++) d[i] = whole(threadIdx.x * 16 + 12 + i);
    mma_bf16(d, a, b);
    for (int i = 0; i < 4; i++) put(out, i, __float_as_uint(d[i]));
    for (int i = 4; i < kWords; i++) put(out, i, 0);
}

// Warp 0 stores and goes on, warp 1 waits for it, warp 2 takes no part.
__global__ void __launch_bounds__(96) named_barriers(uint32_t* out, const uint4*) {
    __shared__ uint32_t values[32];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint32_t seen = 0;
    if (warp == 0) {
        values[lane] = mixed(lane);
        named_barrier_arrive(3, 64);
    } else if (warp == 1) {
        named_barrier_sync(3, 64);
        seen = values[31 - lane];
    }
    for (int i = 0; i < kWords; i++) put(out, i, i == 0 ? seen : 0);
}

} // namespace

const std::vector<Case>& cases() {
    static const std::vector<Case> all = {
        FTC_CASE(roundings, 32, 0.0f),
        FTC_CASE(roundings_of_special_values, 32, 0.0f),
        FTC_CASE(loads, 32, 0.0f),
        FTC_CASE(asynchronous_copies, 32, 0.0f),
        FTC_CASE(matrices, 32, 0.0f),
        FTC_CASE(matrices_transposed, 32, 0.0f),
        FTC_CASE(product_of_whole_numbers, 32, 0.0f),
        FTC_CASE(product_of_fractions, 32, 1e-5f),
        FTC_CASE(special_functions, 32, 1e-6f),
        FTC_CASE(warp, 32, 0.0f),
        FTC_CASE(named_barriers, 96, 0.0f),
        FTC_CASE(short_product, 32, 0.0f),
    };
    return all;
}

} // namespace ftc::ptx
