#include "ops/optimizer/optimizer_reference.h"

#include "everywhere.h"

namespace ftc::testing {
namespace {

class Optimizer : public ::testing::TestWithParam<int64_t> {};

TEST_P(Optimizer, AdamwMatchesReference) {
    const int64_t count = GetParam();
    const Matrix p = Matrix::random(1, count, 0, 1), m = Matrix::random(1, count, 0, 2, 0.1f),
                 g = Matrix::random(1, count, 0, 4);
    Matrix v = Matrix::random(1, count, 0, 3, 0.1f);
    for (float& value : v.data) value = std::abs(value);
    ftc_adamw_params a{};
    a.struct_size = sizeof(a);
    a.learning_rate = 1e-2f;
    a.beta1 = 0.9f;
    a.beta2 = 0.999f;
    a.eps = 1e-8f;
    a.weight_decay = 0.1f;
    a.gradient_scale = 0.5f;
    a.step = 3;
    a.count = count;
    const auto exact = adamw_reference<double>(p, m, v, g, a);
    const auto naive = adamw_reference<float>(p, m, v, g, a);
    const auto results = run_everywhere([&](Device& device) {
        Matrix p1 = p, m1 = m, v1 = v;
        EXPECT_EQ(ftc_adamw_step(device, p1.ptr(), m1.ptr(), v1.ptr(), g.ptr(), &a), FTC_OK)
            << ftc_last_error_message();
        return Outputs{p1, m1, v1};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive.p, exact.p, isa + " parameter");
        expect_accurate(out[1], naive.m, exact.m, isa + " m");
        expect_accurate(out[2], naive.v, exact.v, isa + " v");
    }
}

// An ascending map of 256 values from `lowest` to 1, finer towards 0, as dynamic maps are.
Vector<float> state_map(double lowest) {
    Vector<float> map(256);
    for (int i = 0; i < 256; ++i) {
        const double x = lowest + (1.0 - lowest) * i / 255.0;
        map[size_t(i)] = static_cast<float>(x * x * x);
    }
    return map;
}

Matrix decoded(const Vector<uint8_t>& codes, const Vector<float>& absmax, const Vector<float>& map) {
    Matrix state(1, static_cast<int64_t>(codes.size()));
    for (size_t i = 0; i < codes.size(); ++i) state.data[i] = map[codes[i]] * absmax[i / 256];
    return state;
}

// codes and absmax hold `exact` as well as the map can.
void expect_encoded(const Vector<uint8_t>& codes, const Vector<float>& absmax, const Vector<float>& map,
                    const Vector<double>& exact, const std::string& what) {
    for (size_t block = 0; block * 256 < exact.size(); ++block) {
        const size_t end = std::min(exact.size(), block * 256 + 256);
        double largest = 0.0;
        for (size_t i = block * 256; i < end; ++i) largest = std::max(largest, std::abs(exact[i]));
        ASSERT_NEAR(static_cast<double>(absmax[block]), largest, 1e-6 * largest) << what << ", block " << block;
        for (size_t i = block * 256; i < end; ++i) {
            double nearest = std::numeric_limits<double>::infinity();
            for (const float value : map)
                nearest = std::min(nearest, std::abs(static_cast<double>(value) * largest - exact[i]));
            const double value = static_cast<double>(map[codes[i]]) * static_cast<double>(absmax[block]);
            ASSERT_LE(std::abs(value - exact[i]), nearest + 1e-6 * largest) << what << ", element " << i;
        }
    }
}

TEST_P(Optimizer, Adamw8bitMatchesReference) {
    const int64_t count = GetParam();
    const size_t blocks = static_cast<size_t>((count + 255) / 256);
    const Vector<float> m_map = state_map(-1.0), v_map = state_map(0.0);
    const Matrix p = Matrix::random(1, count, 0, 1), g = Matrix::random(1, count, 0, 4);
    Vector<uint8_t> m_codes(static_cast<size_t>(count)), v_codes(m_codes.size());
    for (size_t i = 0; i < m_codes.size(); ++i) {
        m_codes[i] = static_cast<uint8_t>(i * 37 % 256);
        v_codes[i] = static_cast<uint8_t>(100 + i * 53 % 156); // steps of ordinary size
    }
    Vector<float> m_absmax = random_floats(static_cast<int64_t>(blocks), 5), v_absmax(blocks, 0.25f);
    for (float& value : m_absmax) value = 0.1f + std::abs(value);
    ftc_adamw_params a{};
    a.struct_size = sizeof(a);
    a.learning_rate = 1e-2f;
    a.beta1 = 0.9f;
    a.beta2 = 0.999f;
    a.eps = 1e-8f;
    a.weight_decay = 0.1f;
    a.gradient_scale = 0.5f;
    a.step = 3;
    a.count = count;
    const Matrix m = decoded(m_codes, m_absmax, m_map), v = decoded(v_codes, v_absmax, v_map);
    const auto exact = adamw_reference<double>(p, m, v, g, a);
    const auto naive = adamw_reference<float>(p, m, v, g, a);
    const auto results = run_everywhere([&](Device& device) {
        Matrix p1 = p;
        Vector<uint8_t> m1 = m_codes, v1 = v_codes;
        Vector<float> m1_absmax = m_absmax, v1_absmax = v_absmax;
        EXPECT_EQ(device.wait(ftc_adamw_8bit_step(device, p1.ptr(), m1.data(), v1.data(), m1_absmax.data(),
                                                  v1_absmax.data(), g.ptr(), m_map.data(), v_map.data(), &a)),
                  FTC_OK)
            << ftc_last_error_message();
        expect_encoded(m1, m1_absmax, m_map, exact.m, "m");
        expect_encoded(v1, v1_absmax, v_map, exact.v, "v");
        return Outputs{p1, decoded(m1, m1_absmax, m_map), decoded(v1, v1_absmax, v_map)};
    });
    for (const auto& [variant, out] : results) expect_accurate(out[0], naive.p, exact.p, variant + " parameter");
}

TEST(Optimizer, Adamw8bitMapsMustAscend) {
    Device device;
    Vector<float> p(4), absmax(2), map = state_map(0.0), wrong = map;
    Vector<uint8_t> codes(8);
    wrong[7] = wrong[6];
    ftc_adamw_params a{};
    a.struct_size = sizeof(a);
    a.step = 1;
    a.count = 4;
    EXPECT_EQ(device.wait(ftc_adamw_8bit_step(device, p.data(), codes.data(), codes.data() + 4, absmax.data(),
                                              absmax.data() + 1, p.data(), map.data(), wrong.data(), &a)),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("ftc_adamw_8bit_step: v_map[7] is"), std::string::npos)
        << ftc_last_error_message();
}

TEST_P(Optimizer, SgdMatchesReference) {
    const int64_t count = GetParam();
    const Matrix p = Matrix::random(1, count, 0, 1), u = Matrix::random(1, count, 0, 2),
                 g = Matrix::random(1, count, 0, 3);
    ftc_sgd_params a{};
    a.struct_size = sizeof(a);
    a.learning_rate = 0.1f;
    a.momentum = 0.9f;
    a.weight_decay = 0.01f;
    a.gradient_scale = 2.0f;
    a.count = count;
    ftc_sgd_params plain = a;
    plain.momentum = 0.0f;
    const auto exact = sgd_reference<double>(p, u, g, a), exact_plain = sgd_reference<double>(p, u, g, plain);
    const auto naive = sgd_reference<float>(p, u, g, a), naive_plain = sgd_reference<float>(p, u, g, plain);
    const auto results = run_everywhere([&](Device& device) {
        Matrix p1 = p, u1 = u, p2 = p;
        EXPECT_EQ(ftc_sgd_step(device, p1.ptr(), u1.ptr(), g.ptr(), &a), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_sgd_step(device, p2.ptr(), nullptr, g.ptr(), &plain), FTC_OK) << ftc_last_error_message();
        return Outputs{p1, u1, p2};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive.p, exact.p, isa + " parameter");
        expect_accurate(out[1], naive.u, exact.u, isa + " velocity");
        expect_accurate(out[2], naive_plain.p, exact_plain.p, isa + " without momentum");
    }
}

TEST_P(Optimizer, SumOfSquaresIsExactToFp32) {
    const int64_t count = GetParam();
    const Vector<float> x = random_floats(count, 5);
    double exact = 0;
    for (const float value : x) exact += static_cast<double>(value) * static_cast<double>(value);
    for (const auto& [isa, out] : run_everywhere([&](Device& device) {
             Matrix sum(1, 1);
             EXPECT_EQ(ftc_sum_of_squares(device, sum.ptr(), x.data(), count), FTC_OK) << ftc_last_error_message();
             return Outputs{sum};
         }))
        EXPECT_EQ(out[0].at(0, 0), static_cast<float>(exact)) << isa;
}

INSTANTIATE_TEST_SUITE_P(Counts, Optimizer, ::testing::Values(0, 1, 16, 257, 16384, 40009));

TEST(Optimizer, SumOfSquaresPassesNotANumberAndInfinity) {
    Device device;
    Vector<float> sum(1), x(100, 1.0f);
    x[77] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(device.wait(ftc_sum_of_squares(device, sum.data(), x.data(), 100)), FTC_OK);
    EXPECT_TRUE(std::isinf(sum[0]));
    x[78] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(device.wait(ftc_sum_of_squares(device, sum.data(), x.data(), 100)), FTC_OK);
    EXPECT_TRUE(std::isnan(sum[0]));
}

TEST(Optimizer, ErrorsSayWhereAndWhat) {
    Device device;
    Vector<float> x_memory(4);
    float* x = x_memory.data();
    ftc_adamw_params a{};
    a.struct_size = sizeof(a);
    a.beta1 = 0.9f;
    a.beta2 = 1.0f;
    a.count = 4;
    EXPECT_EQ(ftc_adamw_step(device, x, x, x, x, &a), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_adamw_step: step is 0, expected > 0");
    a.step = 1;
    EXPECT_EQ(ftc_adamw_step(device, x, x, x, x, &a), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_adamw_step: beta2 is 1, expected it in [0, 1)");
    ftc_sgd_params s{};
    s.struct_size = sizeof(s);
    s.momentum = 0.9f;
    s.count = 4;
    EXPECT_EQ(ftc_sgd_step(device, x, nullptr, x, &s), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_sgd_step: velocity (needed with momentum) is NULL, expected a pointer");
}

} // namespace
} // namespace ftc::testing
