// Head and loss on bf16 activations, with every weight format, against double on the same rounded inputs.
#include <memory>

#include "bf16_matrix.h"
#include "everywhere.h"
#include "ops/loss/linear_cross_entropy_reference.h"
#include "ops/quant/nf4_weight.h"
#include "ops/quant/packed_weight.h"

namespace ftc::testing {
namespace {

constexpr float kScale = 0.25f; // of gradients

enum class Format { bf16, f32, nf4, nf4_nested, int8, affine };

struct Shape {
    int64_t rows, hidden_size, vocab_size;
    int32_t ignored_every; // every n-th row is not trained; 0: all are
    int64_t padding;       // of x and dx; 8 keeps rows on 16 bytes
    Format format;
    float x_scale = 2.0f;
};

// A weight and, dense, the numbers the products see.
struct Weight {
    ftc_weight description{};
    Matrix wide;
    Bf16Matrix half{0, 0, 0};
    std::unique_ptr<Nf4Weight> nf4;
    PackedWeight packed;

    Weight(const Shape& s) : wide(Matrix::random(s.vocab_size, s.hidden_size, 0, 2)) {
        description.struct_size = sizeof(description);
        description.rows = s.vocab_size;
        description.cols = description.row_stride = s.hidden_size;
        if (s.format == Format::bf16) {
            half = Bf16Matrix::rounded(wide, s.padding);
            description.format = FTC_WEIGHT_BF16;
            description.data = half.ptr();
            description.row_stride = half.stride;
            wide = half.widened();
        } else if (s.format == Format::f32) {
            description.format = FTC_WEIGHT_F32;
            description.data = wide.ptr();
        } else if (s.format == Format::int8 || s.format == Format::affine) {
            Device device;
            make_packed(packed, device, wide.data, s.vocab_size, s.hidden_size,
                        s.format == Format::int8 ? PackedFormat{8, 0} : PackedFormat{3, 32});
            description = packed.weight;
            wide.data = dequantize(packed, device);
        } else {
            Device device;
            nf4 = std::make_unique<Nf4Weight>(device, wide.data, s.vocab_size, s.hidden_size,
                                              s.format == Format::nf4_nested);
            description = *&*nf4;
            wide.data = nf4->dequantize(device);
        }
    }
    // What products see in this variant.
    Matrix seen(const std::string& variant) const {
        return rounds_weights(variant) ? Bf16Matrix::rounded(wide, 0).widened() : wide;
    }
};

struct Bounds {
    std::vector<double> nll, dx, dweight;
};

// How far a kernel may be from the reference. With u = 2^-8 (half an ulp of bf16, relative) and m the largest
// sum_c |x_c w_c| of a row: logits in fp32 may be wrong by 2^-14 m, probabilities therefore by 2^-13 m and 2^-16 more
// of themselves; the gradient of a logit is rounded to bf16 before the products, dx after them.
Bounds bounds_of(const Matrix& x, const Matrix& w, const Vector<int32_t>& targets,
                 const CrossEntropyResult<double>& exact) {
    constexpr double kHalfUlp = 0x1p-8, kExp = 0x1p-16, kSum = 0x1p-16;
    Bounds out;
    out.nll.assign(size_t(x.rows), 0.0);
    out.dx.assign(size_t(x.rows * x.cols), 0.0);
    out.dweight.assign(size_t(w.rows * w.cols), 0.0);
    for (int64_t i = 0; i < x.rows; ++i) {
        const int32_t target = targets[size_t(i)];
        if (target == FTC_IGNORE_INDEX) continue;
        double m = 0.0, top = -INFINITY, sum = 0.0;
        std::vector<double> logits;
        for (int64_t v = 0; v < w.rows; ++v) {
            double logit = 0.0, magnitude = 0.0;
            for (int64_t c = 0; c < x.cols; ++c) {
                const double product = double(x.at(i, c)) * double(w.at(v, c));
                logit += product;
                magnitude += std::abs(product);
            }
            logits.push_back(logit);
            m = std::max(m, magnitude);
            top = std::max(top, logit);
        }
        for (const double logit : logits) sum += std::exp(logit - top);
        out.nll[size_t(i)] = 0x1p-13 * m + kExp * (1.0 + std::abs(exact.nll[size_t(i)]));
        for (int64_t v = 0; v < w.rows; ++v) {
            const double p = std::exp(logits[size_t(v)] - top) / sum;
            const double g = double(kScale) * (v == target ? p - 1.0 : p);
            const double error = kHalfUlp * std::abs(g) + double(kScale) * (p * (0x1p-13 * m + kExp) + 0x1p-22);
            for (int64_t c = 0; c < x.cols; ++c) {
                out.dx[size_t(i * x.cols + c)] += (error + kSum * std::abs(g)) * std::abs(double(w.at(v, c)));
                out.dweight[size_t(v * w.cols + c)] += (error + kSum * std::abs(g)) * std::abs(double(x.at(i, c)));
            }
        }
    }
    for (size_t i = 0; i < out.dx.size(); ++i) out.dx[i] += kHalfUlp * (std::abs(exact.dx[i]) + out.dx[i]);
    for (size_t i = 0; i < out.dweight.size(); ++i) out.dweight[i] += kSum * std::abs(exact.dweight[i]);
    return out;
}

template <class Exact>
void expect_within(const Matrix& actual, const Exact& exact, const std::vector<double>& bound,
                   const std::string& what) {
    for (int64_t r = 0; r < actual.rows; ++r)
        for (int64_t c = 0; c < actual.cols; ++c) {
            const size_t i = size_t(r * actual.cols + c);
            ASSERT_LE(std::abs(double(actual.at(r, c)) - exact[i]), bound[i])
                << what << " at " << r << ", " << c << " is " << actual.at(r, c) << ", expected " << exact[i];
        }
}

struct Call {
    Shape shape;
    Bf16Matrix x;
    Weight w;
    Matrix dw; // before
    Vector<int32_t> targets;

    explicit Call(const Shape& s)
        : shape(s), x(Bf16Matrix::random(s.rows, s.hidden_size, s.padding, 1, s.x_scale)), w(s),
          dw(Matrix::random(s.vocab_size, s.hidden_size, 1, 3)) {
        for (int64_t i = 0; i < s.rows; ++i) {
            const bool ignored = s.ignored_every > 0 && i % s.ignored_every == 0;
            targets.push_back(ignored ? FTC_IGNORE_INDEX : static_cast<int32_t>(i * 31 % s.vocab_size));
        }
    }

    // nll, predictions, dx, dweight.
    Outputs run(Device& device, bool gradients) const {
        ftc_cross_entropy_params p{};
        p.struct_size = sizeof(p);
        p.dtype = FTC_BF16;
        p.rows = shape.rows;
        p.x_row_stride = x.stride;
        p.gradient_scale = kScale;
        ftc_cross_entropy_workspace_params sizes{};
        sizes.struct_size = sizeof(sizes);
        sizes.dtype = FTC_BF16;
        sizes.weight_format = w.description.format;
        sizes.rows = shape.rows;
        sizes.hidden_size = shape.hidden_size;
        sizes.vocab_size = shape.vocab_size;
        int64_t bytes = 0;
        EXPECT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &sizes, &bytes), FTC_OK);
        Vector<char> workspace(static_cast<size_t>(bytes), 'x');
        Matrix nll(shape.rows, 1), dweight = dw, predictions(shape.rows, 1);
        Bf16Matrix dx(shape.rows, shape.hidden_size, shape.padding);
        for (uint16_t& value : dx.data) value = value == 0 ? 0x4000 : value; // written, not added to
        Vector<int32_t> predicted(static_cast<size_t>(shape.rows));
        p.dx_row_stride = dx.stride;
        p.dweight_row_stride = dweight.stride;
        EXPECT_EQ(
            device.wait(ftc_linear_cross_entropy(device, nll.ptr(), predicted.data(), gradients ? dx.ptr() : nullptr,
                                                 gradients ? dweight.ptr() : nullptr, x.ptr(), &w.description,
                                                 targets.data(), &p, workspace.data(), bytes)),
            FTC_OK)
            << ftc_last_error_message();
        for (int64_t i = 0; i < shape.rows; ++i)
            predictions.at(i, 0) = static_cast<float>(predicted[static_cast<size_t>(i)]);
        return {nll, predictions, dx.widened(), dweight};
    }
};

class LinearCrossEntropyBf16 : public ::testing::TestWithParam<Shape> {};

TEST_P(LinearCrossEntropyBf16, StaysWithinRounding) {
    const Call call(GetParam());
    const Matrix x = call.x.widened();
    const auto op = [&](Device& device) {
        const Outputs out = call.run(device, true), evaluation = call.run(device, false);
        expect_same_bits({out[0], out[1]}, {evaluation[0], evaluation[1]}, "without gradients");
        return out;
    };
    for (const auto& [variant, out] : run_everywhere(op)) {
        const Matrix w = call.w.seen(variant);
        const auto exact = linear_cross_entropy_reference<double>(x, w, call.targets, kScale, call.dw);
        const Bounds bounds = bounds_of(x, w, call.targets, exact);
        expect_within(out[0], exact.nll, bounds.nll, variant + " nll");
        expect_within(out[2], exact.dx, bounds.dx, variant + " dx");
        expect_within(out[3], exact.dweight, bounds.dweight, variant + " dweight");
        for (int64_t i = 0; i < x.rows; ++i)
            EXPECT_EQ(out[1].at(i, 0), static_cast<float>(exact.predictions[static_cast<size_t>(i)]))
                << variant << " row " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearCrossEntropyBf16,
                         ::testing::Values(Shape{1, 8, 2, 0, 8, Format::bf16}, Shape{3, 64, 512, 0, 8, Format::bf16},
                                           Shape{17, 24, 257, 3, 3, Format::bf16},
                                           Shape{64, 16, 4099, 2, 8, Format::bf16},
                                           Shape{65, 40, 130, 1, 8, Format::bf16},
                                           Shape{257, 8, 64, 2, 8, Format::bf16}, Shape{9, 33, 100, 4, 1, Format::f32},
                                           Shape{12, 64, 300, 3, 8, Format::f32}, Shape{7, 64, 200, 2, 8, Format::nf4},
                                           Shape{7, 128, 96, 2, 8, Format::nf4_nested}, Shape{5, 72, 90, 2, 8, Format::int8},
                                           Shape{9, 96, 130, 3, 8, Format::affine}));

// What the library does in parts, held against the reference without bounds for every element: more rows than a chunk
// takes (2,048), and more weight than the scratch it is converted in (32 MiB).
TEST(LinearCrossEntropyBf16, ChunksOfRowsAndSlabsOfWeightAddUp) {
    for (const Shape& shape :
         {Shape{2060, 8, 16, 3, 8, Format::bf16}, Shape{2, 131072, 130, 0, 8, Format::f32, 0.01f}}) {
        const Call call(shape);
        const Matrix x = call.x.widened(), w = call.w.seen(variants().back());
        const auto exact = linear_cross_entropy_reference<double>(x, w, call.targets, kScale, call.dw);
        Device device(variants().back());
        const Outputs out = call.run(device, true);
        for (int64_t i = 0; i < shape.rows; ++i) {
            ASSERT_NEAR(out[0].at(i, 0), exact.nll[size_t(i)], 1e-3) << "row " << i;
            for (int64_t c = 0; c < shape.hidden_size; ++c)
                ASSERT_NEAR(out[2].at(i, c), exact.dx[size_t(i * shape.hidden_size + c)], 5e-3) << i << ", " << c;
        }
        for (size_t i = 0; i < exact.dweight.size(); ++i)
            ASSERT_NEAR(out[3].at(int64_t(i) / shape.hidden_size, int64_t(i) % shape.hidden_size), exact.dweight[i],
                        2e-2 * (1.0 + std::abs(exact.dweight[i])));
    }
}

} // namespace
} // namespace ftc::testing
