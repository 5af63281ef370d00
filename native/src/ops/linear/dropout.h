// Dropout by counter: whether a feature of a token is dropped follows from what they are, see ftc_linear_params.
#pragma once

#include <cstdint>

namespace ftc {

struct Dropout {
    uint32_t key[2];
    uint32_t step;
    uint32_t threshold; // of 65536; 0: nothing drops
    float keep;         // 1 - threshold / 65536
    const uint32_t* samples;
    const uint32_t* positions;
};

} // namespace ftc

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

constexpr int kPhiloxLanes = 16; // counters at once: 128 features

// numbers[f] of features 8 * group .. of row `row`. Philox4x32-10, Salmon et al. 2011.
inline void philox_numbers(uint16_t numbers[8 * kPhiloxLanes], const Dropout& d, int64_t row, uint32_t group) {
    uint32_t c0[kPhiloxLanes], c1[kPhiloxLanes], c2[kPhiloxLanes], c3[kPhiloxLanes];
    for (uint32_t i = 0; i < kPhiloxLanes; i++) {
        c0[i] = group + i;
        c1[i] = d.positions[row];
        c2[i] = d.samples[row];
        c3[i] = d.step;
    }
    uint32_t key0 = d.key[0], key1 = d.key[1];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < kPhiloxLanes; i++) {
            const uint64_t product0 = uint64_t{0xD2511F53U} * c0[i];
            const uint64_t product1 = uint64_t{0xCD9E8D57U} * c2[i];
            const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1[i] ^ key0;
            const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3[i] ^ key1;
            c1[i] = static_cast<uint32_t>(product1);
            c3[i] = static_cast<uint32_t>(product0);
            c0[i] = next0;
            c2[i] = next2;
        }
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
    }
    for (int i = 0; i < kPhiloxLanes; i++) {
        const uint32_t words[4] = {c0[i], c1[i], c2[i], c3[i]};
        for (int w = 0; w < 4; w++) {
            numbers[8 * i + 2 * w] = static_cast<uint16_t>(words[w]);
            numbers[8 * i + 2 * w + 1] = static_cast<uint16_t>(words[w] >> 16);
        }
    }
}

// y[j] = dropout of x[j], feature first + j of row `row`; first % 8 == 0. Add: y[j] += it.
template <bool Add>
inline void apply_dropout(float* y, const float* x, int64_t count, const Dropout& d, int64_t row, int64_t first) {
    uint16_t numbers[8 * kPhiloxLanes];
    for (int64_t begin = 0; begin < count; begin += 8 * kPhiloxLanes) {
        philox_numbers(numbers, d, row, static_cast<uint32_t>((first + begin) / 8));
        const int64_t end = count - begin < 8 * kPhiloxLanes ? count - begin : 8 * kPhiloxLanes;
        for (int64_t j = 0; j < end; j++) {
            const float kept = numbers[j] < d.threshold ? 0.0f : x[begin + j] / d.keep;
            y[begin + j] = Add ? y[begin + j] + kept : kept;
        }
    }
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
