#include <cpuid.h>

#include <cstdio>
#include <cstring>

#include "core/isa.h"
#include "core/kernels.h"
#include "core/status.h"

namespace ftc {

namespace {

// Register state the operating system saves on a context switch.
uint64_t saved_state() {
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t{high} << 32) | low;
}

// AVX-512's kernels, but for linear layers on bf16 activations: those multiply pairs of bf16.
const Kernels& avx512bf16_kernels() {
    static const Kernels table = [] {
        Kernels kernels = avx512::kernels();
        kernels.isa = isa_name(Isa::avx512bf16);
        kernels.linear = avx512bf16::linear_kernels();
        kernels.peak = avx512bf16::peak_kernels();
        return kernels;
    }();
    return table;
}

constexpr bool all_set(uint32_t value, uint32_t bits) {
    return (value & bits) == bits;
}

} // namespace

std::span<const Isa> compiled_isas() {
    static constexpr Isa kIsas[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512bf16};
    return kIsas;
}

Isa best_isa() {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::portable;
    const uint32_t leaf1 = bit_FMA | bit_SSE4_1 | bit_SSE4_2 | bit_MOVBE | bit_POPCNT | bit_OSXSAVE | bit_AVX |
                           bit_F16C | bit_AES | bit_PCLMUL;
    if (!all_set(c, leaf1)) return Isa::portable;
    const uint64_t state = saved_state();
    if ((state & 0x6) != 0x6) return Isa::portable; // xmm, ymm
    uint32_t extended_c = 0;
    if (!__get_cpuid(0x80000001U, &a, &b, &extended_c, &d) || !all_set(extended_c, bit_LZCNT)) return Isa::portable;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Isa::portable;
    if (!all_set(b, bit_AVX2 | bit_BMI | bit_BMI2)) return Isa::portable;
    const bool wide_state = (state & 0xe0) == 0xe0; // k0-7, upper halves, zmm16-31
    if (!wide_state || !all_set(b, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL))
        return Isa::avx2;
    const bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && all_set(a, bit_AVX512BF16);
    return bf16 ? Isa::avx512bf16 : Isa::avx512;
}

bool has_wide_avx512() {
    // AMD says it in a leaf of its own, performance optimisation identifiers; Intel has no such leaf and no halves.
    static const bool wide = [] {
        constexpr uint32_t kFp512 = 1U << 3;
        uint32_t a = 0, b = 0, c = 0, d = 0;
        return !__get_cpuid(0x8000001aU, &a, &b, &c, &d) || all_set(a, kFp512);
    }();
    return wide;
}

const Kernels& kernels_for(Isa isa) {
    switch (isa) {
    case Isa::avx512bf16:
        return avx512bf16_kernels();
    case Isa::avx512:
        return avx512::kernels();
    case Isa::avx2:
        return avx2::kernels();
    case Isa::portable:
        return portable::kernels();
    default:
        fail(FTC_ERROR_INTERNAL, "kernels_for: %s is not compiled for x86-64", isa_name(isa));
    }
}

void cpu_name(char* name, int32_t size) {
    uint32_t brand[13] = {};
    uint32_t highest = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(0x80000000U, &highest, &b, &c, &d) && highest >= 0x80000004U) {
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t* part = brand + 4 * i;
            __get_cpuid(0x80000002U + i, part, part + 1, part + 2, part + 3);
        }
    }
    char text[sizeof(brand)];
    std::memcpy(text, brand, sizeof(brand));
    const char* start = text;
    while (*start == ' ') start++;
    std::snprintf(name, static_cast<size_t>(size), "%s", *start != '\0' ? start : "unknown CPU");
}

} // namespace ftc
