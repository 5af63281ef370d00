// core/simd.h as this test program is built. The other instruction sets are compared with it, bit for bit or by
// accuracy, by the tests of every op.
#define FTC_ISA_NAMESPACE simd_under_test

#include "core/simd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace ftc::testing {
namespace {

using namespace ftc::simd_under_test;

std::vector<float> exp_of(const std::vector<float>& x) {
    std::vector<float> y(x.size());
    for_each_group(static_cast<int64_t>(x.size()), [&](int64_t i, int64_t n) {
        store_group(simd_under_test::exp(load_group(x.data() + i, n)), y.data() + i, n);
    });
    return y;
}

TEST(Simd, ExpIsWithinItsErrorBound) {
    std::vector<float> x;
    for (int i = -872990; i < 887220; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
    const std::vector<float> y = exp_of(x);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double exact = std::exp(static_cast<double>(x[i]));
        const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
        worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / ulp);
    }
    EXPECT_LE(worst, 1.3);
}

TEST(Simd, ExpAtTheEndsAndBeyond) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> y =
        exp_of({infinity, -infinity, nan, 0.0f, -0.0f, 88.73f, 1e30f, -87.31f, -1e30f, 88.7228f});
    EXPECT_EQ(y[0], infinity);
    EXPECT_EQ(y[1], 0.0f);
    EXPECT_TRUE(std::isnan(y[2]));
    EXPECT_EQ(y[3], 1.0f);
    EXPECT_EQ(y[4], 1.0f);
    EXPECT_EQ(y[5], infinity);
    EXPECT_EQ(y[6], infinity);
    EXPECT_EQ(y[7], 0.0f);
    EXPECT_EQ(y[8], 0.0f);
    EXPECT_TRUE(std::isfinite(y[9]));
}

TEST(Simd, PartialLoadsAndStoresTouchNothingElse) {
    for (int64_t count = 0; count <= kLanes; ++count) {
        std::vector<float> x(static_cast<size_t>(count)), y(16, -1.0f); // a load past the end is seen by the sanitizer
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) + 1.0f;
        const f32x16 v = load_partial(x.data(), count);
        float all[16];
        store(v, all);
        store_partial(v, y.data(), count);
        for (size_t i = 0; i < 16; ++i) {
            const bool inside = static_cast<int64_t>(i) < count;
            EXPECT_EQ(all[i], inside ? x[i] : 0.0f);
            EXPECT_EQ(y[i], inside ? x[i] : -1.0f);
        }
    }
}

TEST(Simd, Bf16WidensExactlyAndRoundsToNearestEven) {
    const auto widened = [](uint32_t half) {
        const uint32_t bits = half << 16;
        float x;
        std::memcpy(&x, &bits, sizeof(x));
        return x;
    };
    for (uint32_t half = 0; half < 0x10000; half += 16) {
        bf16 halves[16];
        for (uint32_t i = 0; i < 16; ++i) halves[i].bits = static_cast<uint16_t>(half + i);
        float wide[16];
        store(load(halves), wide);
        for (uint32_t i = 0; i < 16; ++i) {
            const float expected = widened(half + i);
            EXPECT_EQ(std::memcmp(wide + i, &expected, sizeof(float)), 0) << half + i;
        }
        // Just below, at and just above the middle between this number and the next.
        for (const uint32_t below : {0x0000U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
            float x[16];
            bf16 rounded[16];
            for (uint32_t i = 0; i < 16; ++i) {
                const uint32_t bits = ((half + i) << 16) | below;
                std::memcpy(x + i, &bits, sizeof(float));
            }
            store(load(x), rounded);
            for (uint32_t i = 0; i < 16; ++i) {
                const bool up = below > 0x8000U || (below == 0x8000U && i % 2 == 1);
                const uint32_t expected = std::isnan(x[i]) ? 0xffffU : half + i + (up ? 1U : 0U);
                EXPECT_EQ(rounded[i].bits, expected) << half + i << " and " << below;
            }
        }
    }
}

TEST(Simd, PartialLoadsAndStoresOfBf16TouchNothingElse) {
    for (int64_t count = 0; count <= kLanes; ++count) {
        std::vector<bf16> x(static_cast<size_t>(count)), y(16, bf16{0x1234});
        for (size_t i = 0; i < x.size(); ++i) x[i].bits = static_cast<uint16_t>(0x3f80 + i);
        const f32x16 v = load_partial(x.data(), count);
        bf16 all[16];
        store(v, all);
        store_partial(v, y.data(), count);
        for (size_t i = 0; i < 16; ++i) {
            const bool inside = static_cast<int64_t>(i) < count;
            EXPECT_EQ(all[i].bits, inside ? x[i].bits : 0);
            EXPECT_EQ(y[i].bits, inside ? x[i].bits : 0x1234);
        }
    }
}

TEST(Simd, SumFoldsHalvesAndMaximumFindsTheLargest) {
    float x[16];
    for (int i = 0; i < 16; ++i) x[i] = std::ldexp(i % 3 == 0 ? -1.1f : 1.3f, i);
    float folded[16];
    std::memcpy(folded, x, sizeof(x));
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) folded[i] += folded[i + half];
    EXPECT_EQ(simd_under_test::sum(load(x)), folded[0]);
    EXPECT_EQ(max_lane(load(x)), x[14]);
}

} // namespace
} // namespace ftc::testing
