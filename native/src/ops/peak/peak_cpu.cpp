#include "ops/peak/peak.h"

#include "ops/linear/word.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Enough chains to hide the latency of two units, few enough for the registers.
constexpr int kChains = kLanes == 16 ? 16 : 12;

// The compiler may neither drop the chains nor compute them ahead: it cannot see what is in a register.
inline void keep(Vec& v) {
#if defined(FTC_ISA_neon)
    asm volatile("" : "+w"(v));
#else
    asm volatile("" : "+x"(v));
#endif
}

inline Vec multiply_add_f32(Vec x, Vec sum) {
    return fma(sum, x, x);
}

#if defined(FTC_ISA_avx512bf16)
inline Vec multiply_add_bf16(Vec x, Vec sum) {
    return multiply_words(x, x, sum);
}
#else
constexpr auto multiply_add_bf16 = multiply_add_f32;
#endif

// Products is how many multiply-adds a lane does at a time.
template <Vec (*Multiply)(Vec x, Vec sum), int Products>
double run_chains(int64_t rounds) {
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
        for (Vec& s : sum) s = Multiply(x, s);
    }
#pragma GCC unroll 16
    for (Vec& s : sum) keep(s);
    return 2.0 * Products * kChains * kLanes * static_cast<double>(rounds);
}

} // namespace

PeakKernels peak_kernels() {
    return {.f32 = run_chains<multiply_add_f32, 1>, .bf16 = run_chains<multiply_add_bf16, kWordDepths>};
}

} // namespace ftc::FTC_ISA_NAMESPACE
