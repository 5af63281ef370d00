#include "core/scalar_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace ftc::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A number between 0 and 1 from a counter.
double uniform(uint64_t i) {
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9ULL;
    i = (i ^ (i >> 27)) * 0x94d049bb133111ebULL;
    return static_cast<double>((i ^ (i >> 31)) >> 11) * 0x1p-53;
}

TEST(ScalarMath, LogIsWithinItsErrorBound) {
    double worst = 0.0;
    for (uint64_t i = 1; i < 200'000; i++) {
        // All magnitudes, and every second one near 1, where the logarithm vanishes.
        const double x =
            i % 2 == 0 ? std::ldexp(0.5 + uniform(i), static_cast<int>(i % 2040) - 1060) : 0.5 + uniform(i);
        const long double exact = std::log(static_cast<long double>(x));
        const double ulp =
            std::nextafter(std::abs(static_cast<double>(exact)), kInfinity) - std::abs(static_cast<double>(exact));
        worst = std::max(worst, static_cast<double>(std::abs(static_cast<long double>(natural_log(x)) - exact)) / ulp);
    }
    EXPECT_LE(worst, 2.0);
}

TEST(ScalarMath, LogOfWhatHasNone) {
    EXPECT_EQ(natural_log(1.0), 0.0);
    EXPECT_EQ(natural_log(0.0), -kInfinity);
    EXPECT_EQ(natural_log(kInfinity), kInfinity);
    EXPECT_TRUE(std::isnan(natural_log(-1.0)));
    EXPECT_TRUE(std::isnan(natural_log(std::nan(""))));
}

TEST(ScalarMath, PowersAreThoseOfRepeatedMultiplication) {
    EXPECT_EQ(integer_power(0.9, 0), 1.0);
    EXPECT_EQ(integer_power(0.9, 1), 0.9);
    for (const double base : {0.9, 0.999, 0.99})
        for (const int64_t n : {2, 3, 17, 1000, 123457})
            EXPECT_NEAR(integer_power(base, n), std::pow(base, static_cast<double>(n)),
                        std::pow(base, static_cast<double>(n)) * static_cast<double>(n) * 0x1p-52);
    EXPECT_EQ(integer_power(0.9, int64_t{1} << 40), 0.0);
}

// The bits are the same on every system: this sum over the bits was written down once.
TEST(ScalarMath, BitsAreTheSameEverywhere) {
    uint64_t bits = 0;
    for (uint64_t i = 1; i < 100'000; i++) {
        bits = bits * 31 +
               std::bit_cast<uint64_t>(natural_log(std::ldexp(0.5 + uniform(i), static_cast<int>(i % 200) - 100)));
        bits =
            bits * 31 + std::bit_cast<uint64_t>(integer_power(0.5 + uniform(i) / 2.0, static_cast<int64_t>(i % 3000)));
    }
    EXPECT_EQ(bits, 0xae2e88e59ff4780fULL);
}

} // namespace
} // namespace ftc::testing
