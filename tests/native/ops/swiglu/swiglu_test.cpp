#include "ops/swiglu/swiglu_reference.h"

#include "bf16_matrix.h"
#include "everywhere.h"

namespace ftc::testing {
namespace {

ftc_swiglu_params params_of(const Matrix& gate, int64_t y_stride, int64_t dgate_stride) {
    ftc_swiglu_params p{};
    p.struct_size = sizeof(p);
    p.rows = gate.rows;
    p.cols = gate.cols;
    p.gate_row_stride = gate.stride;
    p.y_row_stride = y_stride;
    p.dgate_row_stride = dgate_stride;
    return p;
}

class Swiglu : public ::testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(Swiglu, MatchesReference) {
    const auto [rows, cols] = GetParam();
    Matrix gate = Matrix::random(rows, cols, padding_of(cols, 3), 1, 8.0f);
    if (rows > 2) { // far out on both sides: no overflow, no NaN
        gate.at(1, 0) = -200.0f;
        gate.at(2, 0) = 200.0f;
    }
    const Matrix up = Matrix::random(rows, cols, padding_of(cols, 3), 2),
                 dy = Matrix::random(rows, cols, padding_of(cols, 1), 3);
    const auto exact = swiglu_reference<double>(gate, up);
    const auto naive = swiglu_reference<float>(gate, up);
    const auto exact_gradient = swiglu_backward_reference<double>(dy, gate, up);
    const auto naive_gradient = swiglu_backward_reference<float>(dy, gate, up);
    const auto results = run_everywhere([&](Device& device) {
        Matrix y(rows, cols, padding_of(cols, 2)), dgate(rows, cols, 4), dup(rows, cols, 4), gate2 = gate, up2 = up;
        ftc_swiglu_params p = params_of(gate, y.stride, dgate.stride);
        EXPECT_EQ(ftc_swiglu_forward(device, y.ptr(), gate.ptr(), up.ptr(), &p), FTC_OK) << ftc_last_error_message();
        p = params_of(gate, dy.stride, dgate.stride);
        EXPECT_EQ(ftc_swiglu_backward(device, dgate.ptr(), dup.ptr(), dy.ptr(), gate.ptr(), up.ptr(), &p), FTC_OK);
        p = params_of(gate, dy.stride, gate2.stride);
        EXPECT_EQ(ftc_swiglu_backward(device, gate2.ptr(), up2.ptr(), dy.ptr(), gate2.ptr(), up2.ptr(), &p), FTC_OK);
        return Outputs{y, dgate, dup, gate2, up2};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive, exact, isa + " y");
        expect_accurate(out[1], naive_gradient.dgate, exact_gradient.dgate, isa + " dgate");
        expect_accurate(out[2], naive_gradient.dup, exact_gradient.dup, isa + " dup");
        expect_accurate(out[3], naive_gradient.dgate, exact_gradient.dgate, isa + " dgate in place");
        expect_accurate(out[4], naive_gradient.dup, exact_gradient.dup, isa + " dup in place");
    }
}

TEST_P(Swiglu, Bf16MatchesReference) {
    const auto [rows, cols] = GetParam();
    const int64_t padding = padding_of(cols, 3);
    Matrix wide = Matrix::random(rows, cols, 0, 1, 8.0f);
    if (rows > 2) {
        wide.at(1, 0) = -200.0f;
        wide.at(2, 0) = 200.0f;
    }
    const Bf16Matrix gate = Bf16Matrix::rounded(wide, padding), up = Bf16Matrix::random(rows, cols, padding, 2);
    const Bf16Matrix dy = Bf16Matrix::random(rows, cols, padding, 3);
    const Matrix wide_gate = gate.widened(), wide_up = up.widened(), wide_dy = dy.widened();
    const auto exact = swiglu_reference<double>(wide_gate, wide_up);
    const auto naive = swiglu_reference<float>(wide_gate, wide_up);
    const auto exact_gradient = swiglu_backward_reference<double>(wide_dy, wide_gate, wide_up);
    const auto naive_gradient = swiglu_backward_reference<float>(wide_dy, wide_gate, wide_up);
    const auto results = run_everywhere([&](Device& device) {
        Bf16Matrix y(rows, cols, padding), gate2 = gate, up2 = up;
        ftc_swiglu_params p = params_of(wide_gate, y.stride, gate.stride);
        p.dtype = FTC_BF16;
        p.gate_row_stride = gate.stride;
        EXPECT_EQ(device.wait(ftc_swiglu_forward(device, y.ptr(), gate.ptr(), up.ptr(), &p)), FTC_OK)
            << ftc_last_error_message();
        EXPECT_EQ(
            device.wait(ftc_swiglu_backward(device, gate2.ptr(), up2.ptr(), dy.ptr(), gate2.ptr(), up2.ptr(), &p)),
            FTC_OK)
            << ftc_last_error_message();
        return Outputs{y.widened(), gate2.widened(), up2.widened()};
    });
    for (const auto& [variant, out] : results) {
        expect_accurate_bf16(out[0], naive, exact, variant + " y");
        expect_accurate_bf16(out[1], naive_gradient.dgate, exact_gradient.dgate, variant + " dgate in place");
        expect_accurate_bf16(out[2], naive_gradient.dup, exact_gradient.dup, variant + " dup in place");
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Swiglu,
                         ::testing::Values(std::pair{0, 5}, std::pair{1, 1}, std::pair{3, 16}, std::pair{5, 257},
                                           std::pair{131, 67}, std::pair{3, 17000}));

TEST(Swiglu, NotANumberStaysOne) {
    Matrix gate(1, 16), up(1, 16);
    gate.at(0, 3) = std::numeric_limits<float>::quiet_NaN();
    up.at(0, 5) = std::numeric_limits<float>::quiet_NaN();
    run_everywhere([&](Device& device) {
        Matrix y(1, 16);
        const ftc_swiglu_params p = params_of(gate, 16, 16);
        EXPECT_EQ(ftc_swiglu_forward(device, y.ptr(), gate.ptr(), up.ptr(), &p), FTC_OK);
        for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(std::isnan(y.at(0, i)), i == 3 || i == 5) << i;
        return Outputs{};
    });
}

TEST(Swiglu, ErrorsSayWhereAndWhat) {
    Device device;
    Matrix gate(2, 4);
    ftc_swiglu_params p = params_of(gate, 3, 4);
    EXPECT_EQ(ftc_swiglu_forward(device, gate.ptr(), gate.ptr(), gate.ptr(), &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_swiglu_forward: y_row_stride is 3, expected >= 4");
    p.struct_size = 8;
    EXPECT_EQ(ftc_swiglu_forward(device, gate.ptr(), gate.ptr(), gate.ptr(), &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(ftc_swiglu_forward(nullptr, gate.ptr(), gate.ptr(), gate.ptr(), &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_swiglu_forward: stream is NULL, expected a pointer");
}

} // namespace
} // namespace ftc::testing
