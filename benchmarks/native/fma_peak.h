// The multiply-add roof of one core: independent chains in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <ctime>
#include <string>

namespace ftc::bench {

// CPU time of this thread: what others do on a shared core does not count.
inline double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double wall_seconds() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

constexpr int64_t kPeakRounds = 4'000'000;

__attribute__((target("avx512f"), noinline)) inline float peak_avx512() {
    __m512 sum[16];
    for (auto& s : sum) s = _mm512_setzero_ps();
    const __m512 x = _mm512_set1_ps(0.5f);
    for (int64_t i = 0; i < kPeakRounds; i++)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) sum[j] = _mm512_fmadd_ps(sum[j], x, x);
    float total[16];
    for (int j = 1; j < 16; j++) sum[0] = _mm512_add_ps(sum[0], sum[j]);
    _mm512_storeu_ps(total, sum[0]);
    return total[0];
}

__attribute__((target("avx2,fma"), noinline)) inline float peak_avx2() {
    __m256 sum[12];
    for (auto& s : sum) s = _mm256_setzero_ps();
    const __m256 x = _mm256_set1_ps(0.5f);
    for (int64_t i = 0; i < kPeakRounds; i++)
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) sum[j] = _mm256_fmadd_ps(sum[j], x, x);
    float total[8];
    for (int j = 1; j < 12; j++) sum[0] = _mm256_add_ps(sum[0], sum[j]);
    _mm256_storeu_ps(total, sum[0]);
    return total[0];
}

// GFLOP/s of one core on `isa`, best of five; 0 for an instruction set without FMA.
inline double fma_peak(const std::string& isa) {
    double best = 0;
    for (int round = 0; round < 5; round++) {
        volatile float sink = 0;
        const double start = thread_seconds();
        double flops = 0;
        if (isa == "avx512") {
            sink = peak_avx512();
            flops = 2.0 * 16 * 16 * kPeakRounds;
        } else if (isa == "avx2") {
            sink = peak_avx2();
            flops = 2.0 * 12 * 8 * kPeakRounds;
        }
        (void)sink;
        const double rate = flops / (thread_seconds() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

} // namespace ftc::bench
