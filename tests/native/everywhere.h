// How a kernel is held against its definition: in every variant of the library, with every thread count, and as accurate
// as plain fp32.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "accuracy.h"
#include "matrix.h"

namespace ftc::testing {

using Outputs = Vector<Matrix>;

inline void expect_same_bits(const Outputs& a, const Outputs& b, const std::string& what) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(a[i].data.size(), b[i].data.size());
        if (a[i].data.empty()) continue;
        EXPECT_EQ(std::memcmp(a[i].ptr(), b[i].ptr(), a[i].data.size() * sizeof(float)), 0) << what << ", output " << i;
    }
}

// Runs the op in every variant of the library and with every thread count. Thread counts must agree bit for bit, and so
// must the variants that promise it; padding must be untouched. Returns one set of outputs per variant.
inline Vector<std::pair<std::string, Outputs>> run_everywhere(const std::function<Outputs(Device&)>& op) {
    Vector<std::pair<std::string, Outputs>> results;
    for (const std::string& variant : variants()) {
        Outputs first;
        for (const int32_t threads : thread_counts()) {
            Device device(variant, threads);
            Outputs outputs = op(device);
            for (const Matrix& m : outputs) m.expect_padding_untouched(variant);
            if (threads == 1)
                first = std::move(outputs);
            else
                expect_same_bits(first, outputs, variant + " with " + std::to_string(threads) + " threads");
        }
        for (const auto& [other, bits] : results)
            if (other == same_bits_as(variant)) expect_same_bits(bits, first, other + " and " + variant);
        results.emplace_back(variant, std::move(first));
    }
    return results;
}

// The largest error of actual against exact may be twice that of the naive fp32 computation plus one ulp of the largest
// exact value. exact and naive are dense [rows, cols].
inline void expect_accurate(const Matrix& actual, const Vector<float>& naive, const Vector<double>& exact,
                            const std::string& what) {
    ASSERT_EQ(exact.size(), static_cast<size_t>(actual.rows * actual.cols)) << what;
    ASSERT_EQ(naive.size(), exact.size()) << what;
    double largest = 0.0, naive_error = 0.0, error = 0.0;
    for (int64_t r = 0; r < actual.rows; ++r)
        for (int64_t c = 0; c < actual.cols; ++c) {
            const size_t i = static_cast<size_t>(r * actual.cols + c);
            const double value = static_cast<double>(actual.at(r, c));
            if (std::isnan(exact[i]) || std::isinf(exact[i])) {
                ASSERT_TRUE(std::isnan(exact[i]) ? std::isnan(value) : value == exact[i])
                    << what << " at " << r << ", " << c;
                continue;
            }
            ASSERT_TRUE(std::isfinite(value))
                << what << " at " << r << ", " << c << " is " << value << ", expected " << exact[i];
            largest = std::max(largest, std::abs(exact[i]));
            naive_error = std::max(naive_error, std::abs(static_cast<double>(naive[i]) - exact[i]));
            error = std::max(error, std::abs(value - exact[i]));
        }
    const float top = static_cast<float>(largest);
    const double ulp =
        static_cast<double>(std::nextafter(top, std::numeric_limits<float>::infinity())) - static_cast<double>(top);
    EXPECT_LE(error, 2.0 * naive_error + ulp)
        << what << ": naive error " << naive_error << ", largest value " << largest;
}

} // namespace ftc::testing
