#include "ops/peak/peak.h"

#include "ops/linear/vector.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Enough chains to hide the latency of two units, few enough for the registers.
constexpr int kChains = kLanes == 16 ? 16 : 12;

// The compiler may neither drop the chains nor compute them ahead: it cannot see what is in a register.
inline void keep(Vec& v) {
    asm volatile("" : "+x"(v));
}

double f32(int64_t rounds) {
    Vec sum[kChains];
    Vec x = broadcast(0.5f);
    keep(x);
#pragma GCC unroll 16
    for (Vec& s : sum) {
        s = zero();
        keep(s); // or chains known to be equal become one
    }
#pragma GCC unroll 1
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (Vec& s : sum) s = fma(s, x, x);
    }
#pragma GCC unroll 16
    for (Vec& s : sum) keep(s);
    return 2.0 * kChains * kLanes * static_cast<double>(rounds);
}

#if defined(__AVX512BF16__)

double bf16(int64_t rounds) {
    Vec sum[kChains];
    Vec x = broadcast(0.5f);
    keep(x);
    const __m512bh pairs = reinterpret_cast<__m512bh>(x);
#pragma GCC unroll 16
    for (Vec& s : sum) {
        s = zero();
        keep(s); // or chains known to be equal become one
    }
#pragma GCC unroll 1
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (Vec& s : sum) s = _mm512_dpbf16_ps(s, pairs, pairs);
    }
#pragma GCC unroll 16
    for (Vec& s : sum) keep(s);
    return 4.0 * kChains * kLanes * static_cast<double>(rounds);
}

#else

double bf16(int64_t rounds) {
    return f32(rounds);
}

#endif

} // namespace

PeakKernels peak_kernels() {
    return {.f32 = f32, .bf16 = bf16};
}

} // namespace ftc::FTC_ISA_NAMESPACE
