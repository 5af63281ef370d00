#include "ops/loss/linear_cross_entropy_reference.h"

#include "everywhere.h"
#include "ops/quant/packed_weight.h"

namespace ftc::testing {
namespace {

struct Shape {
    int64_t rows, hidden_size, vocab_size;
    int32_t ignored_every; // every n-th row is not trained; 0: all are, 1: none is
};

ftc_weight weight_of(const Matrix& w) {
    ftc_weight weight{};
    weight.struct_size = sizeof(weight);
    weight.format = FTC_WEIGHT_F32;
    weight.rows = w.rows;
    weight.cols = w.cols;
    weight.row_stride = w.stride;
    weight.data = w.ptr();
    return weight;
}

ftc_cross_entropy_workspace_params workspace_shape(int64_t rows, int64_t hidden_size, int64_t vocab_size) {
    ftc_cross_entropy_workspace_params shape{};
    shape.struct_size = sizeof(shape);
    shape.rows = rows;
    shape.hidden_size = hidden_size;
    shape.vocab_size = vocab_size;
    return shape;
}

struct Call {
    Matrix nll, dx, dweight, predictions;

    Call(Device& device, const Matrix& x, const Matrix& w, const Vector<int32_t>& targets, float scale,
         const Matrix& dw_before, bool gradients = true, int32_t trained_rows = 0, const ftc_weight* packed = nullptr)
        : nll(x.rows, 1), dx(x.rows, x.cols, 3), dweight(dw_before), predictions(x.rows, 1) {
        const ftc_weight weight = packed != nullptr ? *packed : weight_of(w);
        ftc_cross_entropy_params p{};
        p.struct_size = sizeof(p);
        p.rows = x.rows;
        p.x_row_stride = x.stride;
        p.dx_row_stride = dx.stride;
        p.dweight_row_stride = dweight.stride;
        p.gradient_scale = scale;
        p.trained_rows = trained_rows;
        int64_t bytes = 0;
        auto shape = workspace_shape(x.rows, x.cols, w.rows);
        shape.weight_format = weight.format;
        EXPECT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
        Vector<char> workspace(size_t(bytes) + 4, 'x');
        Vector<int32_t> predicted(size_t(x.rows) + 1);
        for (float& value : dx.data) value = value == 0.0f ? 9.0f : value; // written, not added to
        EXPECT_EQ(ftc_linear_cross_entropy(device, nll.ptr(), predicted.data(), gradients ? dx.ptr() : nullptr,
                                           gradients ? dweight.ptr() : nullptr, x.ptr(), &weight, targets.data(), &p,
                                           workspace.data() + 4, bytes),
                  FTC_OK)
            << ftc_last_error_message();
        for (int64_t i = 0; i < x.rows; ++i) predictions.at(i, 0) = static_cast<float>(predicted[size_t(i)]);
    }
};

class LinearCrossEntropy : public ::testing::TestWithParam<Shape> {};

TEST_P(LinearCrossEntropy, MatchesReference) {
    const Shape s = GetParam();
    const Matrix x = Matrix::random(s.rows, s.hidden_size, 3, 1, 2.0f),
                 w = Matrix::random(s.vocab_size, s.hidden_size, 5, 2);
    const Matrix dw = Matrix::random(s.vocab_size, s.hidden_size, 1, 3);
    Vector<int32_t> targets;
    for (int64_t i = 0; i < s.rows; ++i) {
        const bool ignored = s.ignored_every > 0 && i % s.ignored_every == 0;
        targets.push_back(ignored ? FTC_IGNORE_INDEX : static_cast<int32_t>(i * 31 % s.vocab_size));
    }
    targets.push_back(0); // never empty
    const auto exact = linear_cross_entropy_reference<double>(x, w, targets, 0.25f, dw);
    const auto naive = linear_cross_entropy_reference<float>(x, w, targets, 0.25f, dw);
    const auto results = run_everywhere([&](Device& device) {
        const Call call(device, x, w, targets, 0.25f, dw);
        const Call evaluation(device, x, w, targets, 0.25f, dw, false);
        expect_same_bits({call.nll, call.predictions}, {evaluation.nll, evaluation.predictions}, "without gradients");
        expect_same_bits({dw}, {evaluation.dweight}, "dweight without gradients");
        return Outputs{call.nll, call.dx, call.dweight, call.predictions};
    });
    for (const auto& [isa, out] : results) {
        expect_accurate(out[0], naive.nll, exact.nll, isa + " nll");
        expect_accurate(out[1], naive.dx, exact.dx, isa + " dx");
        expect_accurate(out[2], naive.dweight, exact.dweight, isa + " dweight");
        for (int64_t i = 0; i < s.rows; ++i)
            EXPECT_EQ(out[3].at(i, 0), static_cast<float>(exact.predictions[size_t(i)])) << isa << " row " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearCrossEntropy,
                         ::testing::Values(Shape{0, 4, 5, 0}, Shape{1, 1, 1, 0}, Shape{1, 8, 2, 0}, Shape{5, 16, 37, 2},
                                           Shape{7, 64, 512, 1}, Shape{67, 24, 257, 3}, Shape{33, 9, 2100, 2},
                                           Shape{600, 8, 64, 0}));

TEST(LinearCrossEntropy, AKnownNumberOfTrainedRowsChangesNothing) {
    const Matrix x = Matrix::random(300, 8, 0, 1), w = Matrix::random(40, 8, 0, 2), dw(40, 8);
    Vector<int32_t> targets;
    for (int32_t i = 0; i < 300; ++i) targets.push_back(i % 3 == 0 ? i % 40 : FTC_IGNORE_INDEX);
    run_everywhere([&](Device& device) {
        const Call unknown(device, x, w, targets, 1.0f, dw), exact(device, x, w, targets, 1.0f, dw, true, 100),
            above(device, x, w, targets, 1.0f, dw, true, 131);
        for (const Call* known : {&exact, &above}) {
            expect_same_bits({unknown.nll, unknown.predictions}, {known->nll, known->predictions}, "known");
            expect_same_bits({unknown.dx, unknown.dweight}, {known->dx, known->dweight}, "known, gradients");
        }
        return Outputs{exact.nll, exact.dx};
    });
}

// A quantised head is the head it dequantises to.
TEST(LinearCrossEntropy, TakesEveryPackedFormat) {
    const Matrix x = Matrix::random(9, 96, 3, 1), dw(70, 96);
    const Vector<int32_t> targets = {3, FTC_IGNORE_INDEX, 69, 0, 12, FTC_IGNORE_INDEX, 7, 7, 41};
    for (const PackedFormat& format : packed_formats(96))
        run_everywhere([&](Device& device) {
            PackedWeight packed;
            make_packed(packed, device, random_floats(70 * 96, 2), 70, 96, format);
            Matrix wide(70, 96);
            wide.data = dequantize(packed, device);
            const Call a(device, x, wide, targets, 0.5f, dw, true, 0, &packed), b(device, x, wide, targets, 0.5f, dw);
            expect_same_bits({a.nll, a.dx, a.dweight, a.predictions}, {b.nll, b.dx, b.dweight, b.predictions},
                             std::to_string(format.bits) + " bits");
            return Outputs{a.nll, a.dx, a.dweight, a.predictions};
        });
}

TEST(LinearCrossEntropy, LargeLogitsStayFinite) {
    Matrix x(2, 1), w(3, 1);
    x.at(0, 0) = 1000.0f;
    x.at(1, 0) = -1000.0f;
    for (int64_t i = 0; i < 3; ++i) w.at(i, 0) = static_cast<float>(i) - 1.0f;
    run_everywhere([&](Device& device) {
        const Call call(device, x, w, {2, 2}, 1.0f, Matrix(3, 1));
        EXPECT_EQ(call.nll.at(0, 0), 0.0f);
        EXPECT_EQ(call.nll.at(1, 0), 2000.0f);
        EXPECT_EQ(call.predictions.at(0, 0), 2.0f);
        EXPECT_EQ(call.predictions.at(1, 0), 0.0f);
        return Outputs{call.nll, call.dx, call.dweight};
    });
}

TEST(LinearCrossEntropy, GradientAgreesWithFiniteDifferences) {
    Matrix x = Matrix::random(3, 4, 0, 1), w = Matrix::random(6, 4, 0, 2);
    const Vector<int32_t> targets = {5, FTC_IGNORE_INDEX, 0};
    Device device;
    const Call call(device, x, w, targets, 0.5f, Matrix(6, 4));
    const auto loss = [&] {
        double total = 0;
        for (const double nll : linear_cross_entropy_reference<double>(x, w, targets, 0.5f, Matrix(6, 4)).nll)
            total += 0.5 * nll;
        return total;
    };
    const auto check = [&](Matrix& m, const Matrix& gradient) {
        for (int64_t r = 0; r < m.rows; ++r)
            for (int64_t c = 0; c < m.cols; ++c) {
                const float before = m.at(r, c);
                m.at(r, c) = before + 0x1p-10f;
                const double up = loss(), high = static_cast<double>(m.at(r, c));
                m.at(r, c) = before - 0x1p-10f;
                const double slope = (up - loss()) / (high - static_cast<double>(m.at(r, c)));
                m.at(r, c) = before;
                EXPECT_NEAR(slope, static_cast<double>(gradient.at(r, c)), 1e-5) << r << " " << c;
            }
    };
    check(x, call.dx);
    check(w, call.dweight);
}

TEST(LinearCrossEntropy, WorkspaceForTheLargestBatchIsEnoughForSmallerOnes) {
    Device device("", 2);
    for (const auto& [hidden_size, vocab_size] : {std::pair{64, 512}, std::pair{576, 49152}, std::pair{100, 200000}}) {
        int64_t largest = 0, bytes = 0;
        for (int64_t rows = 0; rows < 1500; ++rows) {
            const auto shape = workspace_shape(rows, hidden_size, vocab_size);
            ASSERT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
            EXPECT_GE(bytes, std::exchange(largest, bytes)) << rows;
        }
    }
}

TEST(LinearCrossEntropy, ErrorsSayWhereAndWhat) {
    Device device;
    const Matrix w(4, 2);
    const ftc_weight weight = weight_of(w);
    ftc_cross_entropy_params p{};
    p.struct_size = sizeof(p);
    p.rows = 2;
    p.x_row_stride = 2;
    Vector<float> x(4), nll(2);
    const Vector<int32_t> targets = {-100, 4};
    const auto shape = workspace_shape(2, 2, 4);
    int64_t bytes = 0;
    ASSERT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
    Vector<char> workspace(static_cast<size_t>(bytes));
    const auto run = [&](const int32_t* at, int64_t size) {
        return device.wait(ftc_linear_cross_entropy(device, nll.data(), nullptr, nullptr, nullptr, x.data(), &weight, at,
                                                    &p, workspace.data(), size));
    };
    EXPECT_EQ(run(targets.data(), bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_linear_cross_entropy: targets[1] is 4, expected it in [0, 4) or FTC_IGNORE_INDEX (-100)");
    p.trained_rows = 3;
    EXPECT_EQ(run(targets.data(), bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_linear_cross_entropy: trained_rows is 3, expected it in [0, rows 2]");
    p.trained_rows = 1;
    const Vector<int32_t> both = {1, 2};
    EXPECT_EQ(run(both.data(), bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_linear_cross_entropy: 2 targets are not FTC_IGNORE_INDEX, expected at most trained_rows 1");
    p.trained_rows = 0;
    EXPECT_EQ(run(nullptr, bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_linear_cross_entropy: targets is NULL, expected a pointer");
    EXPECT_EQ(run(targets.data(), 16), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("ftc_linear_cross_entropy: workspace has 16 bytes, expected >= "),
              std::string::npos);
}

} // namespace
} // namespace ftc::testing
