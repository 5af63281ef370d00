// The rule every kernel is held to: at most twice as wrong as the naive computation in fp32, plus one ulp of the
// largest value.
#pragma once

#include "variants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace ftc::testing {

inline void expect_accurate(const Vector<float>& actual, const Vector<float>& naive,
                            const Vector<double>& exact, const char* what) {
    ASSERT_EQ(actual.size(), exact.size()) << what;
    ASSERT_EQ(naive.size(), exact.size()) << what;
    double worst = 0, naive_worst = 0, largest = 0;
    size_t at = 0;
    for (size_t i = 0; i < exact.size(); i++) {
        const double error = std::abs(static_cast<double>(actual[i]) - exact[i]);
        if (!(error <= worst)) {
            worst = error;
            at = i;
        }
        naive_worst = std::max(naive_worst, std::abs(static_cast<double>(naive[i]) - exact[i]));
        largest = std::max(largest, std::abs(exact[i]));
    }
    const float top = static_cast<float>(largest);
    const double ulp = static_cast<double>(std::nextafter(top, std::numeric_limits<float>::infinity()) - top);
    EXPECT_LE(worst, 2 * naive_worst + ulp)
        << what << ": element " << at << " is " << actual[at] << ", expected " << exact[at];
}

} // namespace ftc::testing
