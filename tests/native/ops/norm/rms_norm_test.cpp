#include "ops/norm/rms_norm_reference.h"

#include "bf16_matrix.h"
#include "everywhere.h"

namespace ftc::testing {
namespace {

struct Shape {
    int64_t rows, heads, hidden_size;
    bool residual;
};

ftc_rms_norm_params params_of(const Shape& s) {
    ftc_rms_norm_params p{};
    p.struct_size = sizeof(p);
    p.rows = s.rows;
    p.heads = s.heads;
    p.hidden_size = s.hidden_size;
    p.eps = 1e-5f;
    return p;
}

class RmsNorm : public ::testing::TestWithParam<Shape> {};

TEST_P(RmsNorm, ForwardMatchesReference) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.hidden_size;
    const Matrix x = Matrix::random(s.rows, width, padding_of(width, 3), 1, 2.0f),
                 residual = Matrix::random(s.rows, width, padding_of(width, 5), 2);
    const Vector<float> weight = random_floats(s.hidden_size, 3);
    const Matrix* r = s.residual ? &residual : nullptr;
    const auto exact = rms_norm_forward_reference<double>(x, r, weight, s.heads, 1e-5f);
    const auto naive = rms_norm_forward_reference<float>(x, r, weight, s.heads, 1e-5f);
    const auto results = run_everywhere([&](Device& device) {
        Matrix y(s.rows, width, padding_of(width, 7)), sum(s.rows, width, padding_of(width, 3)), rstd(s.rows, s.heads);
        ftc_rms_norm_params p = params_of(s);
        p.x_row_stride = x.stride;
        p.y_row_stride = y.stride;
        p.residual_row_stride = residual.stride;
        EXPECT_EQ(ftc_rms_norm_forward(device, y.ptr(), s.residual ? sum.ptr() : nullptr, rstd.ptr(), x.ptr(),
                                       s.residual ? residual.ptr() : nullptr, weight.data(), &p),
                  FTC_OK)
            << ftc_last_error_message();
        return Outputs{y, sum, rstd};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive.y, exact.y, isa + " y");
        if (s.residual) expect_accurate(out[1], naive.sum, exact.sum, isa + " sum");
        expect_accurate(out[2], naive.rstd, exact.rstd, isa + " rstd");
    }
}

TEST_P(RmsNorm, BackwardMatchesReference) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.hidden_size;
    const Matrix t = Matrix::random(s.rows, width, padding_of(width, 3), 1, 2.0f),
                 dy = Matrix::random(s.rows, width, padding_of(width, 2), 2),
                 dsum = Matrix::random(s.rows, width, padding_of(width, 5), 4);
    const Vector<float> weight = random_floats(s.hidden_size, 3), dweight = random_floats(s.hidden_size, 5);
    Matrix rstd(s.rows, s.heads);
    const auto forward = rms_norm_forward_reference<double>(t, nullptr, weight, s.heads, 1e-5f);
    for (size_t i = 0; i < forward.rstd.size(); ++i) rstd.data[i] = static_cast<float>(forward.rstd[i]);
    const Matrix* d = s.residual ? &dsum : nullptr;
    const auto exact = rms_norm_backward_reference<double>(dy, d, t, rstd, weight, s.heads, dweight);
    const auto naive = rms_norm_backward_reference<float>(dy, d, t, rstd, weight, s.heads, dweight);
    const auto results = run_everywhere([&](Device& device) {
        Matrix dx(s.rows, width, padding_of(width, 7)), dw(1, s.hidden_size, 4);
        std::copy(dweight.begin(), dweight.end(), dw.data.begin());
        ftc_rms_norm_params p = params_of(s);
        p.x_row_stride = t.stride;
        p.y_row_stride = dy.stride;
        p.residual_row_stride = dsum.stride;
        p.dx_row_stride = dx.stride;
        EXPECT_EQ(ftc_rms_norm_backward(device, dx.ptr(), dw.ptr(), dy.ptr(), s.residual ? dsum.ptr() : nullptr,
                                        t.ptr(), rstd.ptr(), weight.data(), &p),
                  FTC_OK)
            << ftc_last_error_message();
        return Outputs{dx, dw};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive.dx, exact.dx, isa + " dx");
        expect_accurate(out[1], naive.dweight, exact.dweight, isa + " dweight");
    }
}

TEST_P(RmsNorm, Bf16ForwardMatchesReference) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.hidden_size, padding = padding_of(width, 3);
    const Bf16Matrix x = Bf16Matrix::random(s.rows, width, padding, 1, 2.0f);
    const Bf16Matrix residual = Bf16Matrix::random(s.rows, width, padding, 2);
    const Vector<float> weight = random_floats(s.hidden_size, 3);
    const Matrix wide_x = x.widened(), wide_residual = residual.widened();
    const Matrix* r = s.residual ? &wide_residual : nullptr;
    const auto exact = rms_norm_forward_reference<double>(wide_x, r, weight, s.heads, 1e-5f, true);
    const auto naive = rms_norm_forward_reference<float>(wide_x, r, weight, s.heads, 1e-5f, true);
    const auto results = run_everywhere([&](Device& device) {
        Bf16Matrix y(s.rows, width, padding), sum(s.rows, width, padding);
        Matrix rstd(s.rows, s.heads);
        ftc_rms_norm_params p = params_of(s);
        p.dtype = FTC_BF16;
        p.x_row_stride = p.y_row_stride = p.residual_row_stride = x.stride;
        EXPECT_EQ(device.wait(ftc_rms_norm_forward(device, y.ptr(), s.residual ? sum.ptr() : nullptr, rstd.ptr(),
                                                   x.ptr(), s.residual ? residual.ptr() : nullptr, weight.data(), &p)),
                  FTC_OK)
            << ftc_last_error_message();
        return Outputs{y.widened(), sum.widened(), rstd};
    });
    for (const auto& [variant, out] : results) {
        expect_accurate_bf16(out[0], naive.y, exact.y, variant + " y");
        if (s.residual) expect_accurate_bf16(out[1], naive.sum, exact.sum, variant + " sum");
        expect_accurate(out[2], naive.rstd, exact.rstd, variant + " rstd");
    }
}

TEST_P(RmsNorm, Bf16BackwardMatchesReference) {
    const Shape s = GetParam();
    const int64_t width = s.heads * s.hidden_size, padding = padding_of(width, 3);
    const Bf16Matrix t = Bf16Matrix::random(s.rows, width, padding, 1, 2.0f);
    const Bf16Matrix dy = Bf16Matrix::random(s.rows, width, padding, 2);
    const Bf16Matrix dsum = Bf16Matrix::random(s.rows, width, padding, 4);
    const Vector<float> weight = random_floats(s.hidden_size, 3), dweight = random_floats(s.hidden_size, 5);
    const Matrix wide_t = t.widened(), wide_dy = dy.widened(), wide_dsum = dsum.widened();
    Matrix rstd(s.rows, s.heads);
    const auto forward = rms_norm_forward_reference<double>(wide_t, nullptr, weight, s.heads, 1e-5f);
    for (size_t i = 0; i < forward.rstd.size(); ++i) rstd.data[i] = static_cast<float>(forward.rstd[i]);
    const Matrix* d = s.residual ? &wide_dsum : nullptr;
    const auto exact = rms_norm_backward_reference<double>(wide_dy, d, wide_t, rstd, weight, s.heads, dweight);
    const auto naive = rms_norm_backward_reference<float>(wide_dy, d, wide_t, rstd, weight, s.heads, dweight);
    const auto results = run_everywhere([&](Device& device) {
        Bf16Matrix dx(s.rows, width, padding);
        Matrix dw(1, s.hidden_size, 4);
        std::copy(dweight.begin(), dweight.end(), dw.data.begin());
        ftc_rms_norm_params p = params_of(s);
        p.dtype = FTC_BF16;
        p.x_row_stride = p.y_row_stride = p.residual_row_stride = p.dx_row_stride = t.stride;
        EXPECT_EQ(
            device.wait(ftc_rms_norm_backward(device, dx.ptr(), dw.ptr(), dy.ptr(), s.residual ? dsum.ptr() : nullptr,
                                              t.ptr(), rstd.ptr(), weight.data(), &p)),
            FTC_OK)
            << ftc_last_error_message();
        return Outputs{dx.widened(), dw};
    });
    for (const auto& [variant, out] : results) {
        expect_accurate_bf16(out[0], naive.dx, exact.dx, variant + " dx");
        expect_accurate(out[1], naive.dweight, exact.dweight, variant + " dweight");
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNorm,
                         ::testing::Values(Shape{0, 1, 8, false}, Shape{1, 1, 1, true}, Shape{1, 1, 16, true},
                                           Shape{5, 1, 17, true}, Shape{3, 3, 31, false}, Shape{257, 1, 64, true},
                                           Shape{600, 2, 13, true}, Shape{37, 1, 257, false}, Shape{7, 4, 128, true},
                                           Shape{9, 1, 576, true}, Shape{3, 1, 2056, true}, Shape{2, 1, 6000, true},
                                           Shape{2, 1, 16384, true}, Shape{2, 1, 16392, false}));

TEST(RmsNorm, MayOverwriteItsInputs) {
    const Matrix x = Matrix::random(5, 40, 0, 1), residual = Matrix::random(5, 40, 0, 2);
    const Vector<float> weight = random_floats(40, 3);
    run_everywhere([&](Device& device) {
        ftc_rms_norm_params p = params_of({5, 1, 40, true});
        p.x_row_stride = p.y_row_stride = p.residual_row_stride = p.dx_row_stride = 40;
        Matrix y(5, 40), sum(5, 40), rstd(5, 1), dx(5, 40), x2 = x, residual2 = residual;
        EXPECT_EQ(
            ftc_rms_norm_forward(device, y.ptr(), sum.ptr(), rstd.ptr(), x.ptr(), residual.ptr(), weight.data(), &p),
            FTC_OK);
        EXPECT_EQ(ftc_rms_norm_forward(device, x2.ptr(), residual2.ptr(), nullptr, x2.ptr(), residual2.ptr(),
                                       weight.data(), &p),
                  FTC_OK);
        expect_same_bits({y, sum}, {x2, residual2}, "y in x, sum in residual");
        Matrix dw(1, 40), dw2(1, 40), dy = x, dsum = residual;
        EXPECT_EQ(ftc_rms_norm_backward(device, dx.ptr(), dw.ptr(), dy.ptr(), dsum.ptr(), sum.ptr(), rstd.ptr(),
                                        weight.data(), &p),
                  FTC_OK);
        EXPECT_EQ(ftc_rms_norm_backward(device, dy.ptr(), dw2.ptr(), dy.ptr(), dsum.ptr(), sum.ptr(), rstd.ptr(),
                                        weight.data(), &p),
                  FTC_OK);
        expect_same_bits({dx, dw}, {dy, dw2}, "dx in dy");
        return Outputs{y, dx};
    });
}

TEST(RmsNorm, GradientAgreesWithFiniteDifferences) {
    const int64_t n = 6;
    const Matrix t = Matrix::random(2, n, 0, 1), dy = Matrix::random(2, n, 0, 2);
    const Vector<float> weight = random_floats(n, 3);
    const auto loss = [&](const Matrix& at) {
        const auto y = rms_norm_forward_reference<double>(at, nullptr, weight, 1, 1e-5f).y;
        double total = 0;
        for (size_t i = 0; i < y.size(); ++i) total += y[i] * static_cast<double>(dy.data[i]);
        return total;
    };
    Device device;
    Matrix y(2, n), rstd(2, 1), dx(2, n);
    ftc_rms_norm_params p = params_of({2, 1, n, false});
    p.x_row_stride = p.y_row_stride = p.dx_row_stride = n;
    ASSERT_EQ(ftc_rms_norm_forward(device, y.ptr(), nullptr, rstd.ptr(), t.ptr(), nullptr, weight.data(), &p), FTC_OK);
    ASSERT_EQ(
        ftc_rms_norm_backward(device, dx.ptr(), nullptr, dy.ptr(), nullptr, t.ptr(), rstd.ptr(), weight.data(), &p),
        FTC_OK);
    for (size_t i = 0; i < t.data.size(); ++i) {
        Matrix up = t, down = t;
        up.data[i] += 0x1p-10f;
        down.data[i] -= 0x1p-10f;
        EXPECT_NEAR((loss(up) - loss(down)) / 0x1p-9, static_cast<double>(dx.data[i]), 2e-5) << i;
    }
}

TEST(RmsNorm, ErrorsSayWhereAndWhat) {
    Device device;
    Vector<float> x_memory(8);
    float* x = x_memory.data();
    ftc_rms_norm_params p = params_of({1, 1, 0, false});
    EXPECT_EQ(ftc_rms_norm_forward(device, x, nullptr, nullptr, x, nullptr, x, &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_rms_norm_forward: hidden_size is 0, expected > 0");
    p = params_of({1, 2, 4, false});
    p.x_row_stride = 7;
    EXPECT_EQ(ftc_rms_norm_forward(device, x, nullptr, nullptr, x, nullptr, x, &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_rms_norm_forward: x_row_stride is 7, expected >= 8");
    p.dtype = FTC_F16;
    EXPECT_EQ(ftc_rms_norm_forward(device, x, nullptr, nullptr, x, nullptr, x, &p), FTC_ERROR_UNSUPPORTED);
    p.dtype = FTC_F32;
    p.x_row_stride = p.y_row_stride = 8;
    EXPECT_EQ(ftc_rms_norm_forward(device, nullptr, nullptr, nullptr, x, nullptr, x, &p), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_rms_norm_forward: y is NULL, expected a pointer");
}

} // namespace
} // namespace ftc::testing
