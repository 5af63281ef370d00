#include "ops/convert/convert.h"

#include "core/simd.h"
#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

FTC_INLINE uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

FTC_INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

FTC_INLINE uint16_t bf16_of(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40u;
    return uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

FTC_INLINE float of_bf16(uint16_t x) {
    return float_of(uint32_t(x) << 16);
}

// condition ? a : b without a branch, so that loops over it become vectors.
FTC_INLINE uint32_t choose(bool condition, uint32_t a, uint32_t b) {
    const uint32_t mask = 0u - uint32_t(condition);
    return (a & mask) | (b & ~mask);
}

// Normal: re-bias the exponent (127 -> 15) and round 13 bits away. Subnormal: adding 0.5 puts the unit 2^-24 into the
// last bit of the mantissa, so the addition itself rounds. Comparisons are signed: AVX2 has no others.
FTC_INLINE uint16_t f16_of(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    const uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    uint32_t half = choose(int32_t(magnitude) < (113 << 23), subnormal, normal);
    half = choose(int32_t(magnitude) >= 0x47800000, 0x7c00u, half); // 65536 and up: infinity
    half = choose(int32_t(magnitude) > 0x7f800000, nan, half);
    return uint16_t(half | sign);
}

FTC_INLINE float of_f16(uint16_t x) {
    const uint32_t magnitude = uint32_t(x) & 0x7fffu;
    const uint32_t sign = (uint32_t(x) & 0x8000u) << 16;
    const uint32_t normal = (magnitude << 13) + (112u << 23);
    const uint32_t subnormal = bits_of(float(int32_t(magnitude)) * 0x1p-24f);
    const uint32_t special = (magnitude << 13) + (224u << 23);
    uint32_t bits = choose(int32_t(magnitude) < 0x0400, subnormal, normal);
    bits = choose(int32_t(magnitude) >= 0x7c00, special, bits);
    return float_of(bits | sign);
}

struct F32 {
    using Storage = float;
    static float read(float x) { return x; }
    FTC_INLINE float write(float x) { return x; }
};
struct Bf16 {
    using Storage = uint16_t;
    FTC_INLINE float read(uint16_t x) { return of_bf16(x); }
    FTC_INLINE uint16_t write(float x) { return bf16_of(x); }
};
struct F16 {
    using Storage = uint16_t;
    FTC_INLINE float read(uint16_t x) { return of_f16(x); }
    FTC_INLINE uint16_t write(float x) { return f16_of(x); }
};

template <typename To, typename From>
void convert_array(Pool& pool, const ConvertArgs& a) {
    constexpr int64_t kPartElements = 16384;
    auto* y = static_cast<typename To::Storage*>(a.y);
    const auto* x = static_cast<const typename From::Storage*>(a.x);
    parallel_for(pool, (a.count + kPartElements - 1) / kPartElements, [&](int64_t part, int32_t) {
        const int64_t end = (part + 1) * kPartElements < a.count ? (part + 1) * kPartElements : a.count;
        for (int64_t i = part * kPartElements; i < end; ++i) y[i] = To::write(From::read(x[i]));
    });
}

template <typename To>
void convert_to(Pool& pool, const ConvertArgs& a) {
    switch (a.x_dtype) {
    case FTC_F32:
        return convert_array<To, F32>(pool, a);
    case FTC_BF16:
        return convert_array<To, Bf16>(pool, a);
    default:
        return convert_array<To, F16>(pool, a);
    }
}

void convert(Pool& pool, const ConvertArgs& a) {
    switch (a.y_dtype) {
    case FTC_F32:
        return convert_to<F32>(pool, a);
    case FTC_BF16:
        return convert_to<Bf16>(pool, a);
    default:
        return convert_to<F16>(pool, a);
    }
}

} // namespace

ConvertKernels convert_kernels() {
    return {convert};
}

} // namespace ftc::FTC_ISA_NAMESPACE
