// The linear layer on bf16 activations: against the reference in double on the same rounded numbers. Sums are fp32; what
// is rounded to bf16 on the way are the result, the bias, and A, B, S and dS of the adapters, so their terms may be wrong
// by a few bf16 roundings of their size.
#include <memory>

#include "ops/linear/linear_bf16_case.h"
#include "ops/quant/nf4_weight.h"
#include "ops/quant/packed_weight.h"

namespace ftc::testing {
namespace {

using namespace bf16_linear;

// LoRA and bias alone with every number positive: how large the terms are that are rounded to bf16 on the way.
ReferenceLinear sizes_of(ReferenceLinear l, bool packed) {
    const auto positive = [](Vector<float>& values) {
        for (float& value : values) value = std::abs(value);
    };
    positive(l.x);
    positive(l.dy);
    // Up to eight rows multiply packed weights as they are; the reference has them rounded once (of the four below).
    for (float& w : l.w) w = packed && l.m <= 8 ? 0.25f * std::abs(w) : 0.0f;
    positive(l.bias);
    for (ReferenceSegment& s : l.segments) {
        positive(s.a);
        positive(s.b);
    }
    return l;
}

// result_ulps: roundings of the result itself, 0 for fp32 outputs.
void expect_near(const Matrix& actual, const Vector<double>& exact, const Vector<double>& sizes, double roundings,
                 int result_ulps, double fp32_error, const std::string& what) {
    ASSERT_EQ(exact.size(), actual.data.size()) << what;
    for (size_t i = 0; i < exact.size(); i++) {
        const double slack = roundings * std::ldexp(sizes[i], -9) + fp32_error;
        // What is rounded before the LoRA part is added may be larger than the result, by that part.
        double allowed = slack;
        if (result_ulps > 0) allowed += half_ulp_bf16(std::abs(exact[i]) + slack);
        if (result_ulps > 1) allowed += half_ulp_bf16(std::abs(exact[i]) + sizes[i] + slack);
        ASSERT_LE(std::abs(static_cast<double>(actual.data[i]) - exact[i]), allowed)
            << what << ", element " << i << " is " << actual.data[i] << ", expected " << exact[i];
    }
}

// Holds the results of the variants that see the weight rounded, or of those that do not, against the layer with that
// weight.
void expect_results(const Case& c, const ReferenceLinear& l, const Vector<std::pair<std::string, Outputs>>& results,
                    bool rounded) {
    if (c.packed && std::none_of(results.begin(), results.end(),
                                 [&](const auto& result) { return rounds_weights(result.first) == rounded; }))
        return;
    if (!c.packed && rounded) return; // the same numbers
    const Vector<double> y = reference_forward<double>(l);
    const auto g = reference_backward<double>(l);
    const ReferenceLinear sizes = sizes_of(l, c.packed);
    const Vector<double> y_sizes = reference_forward<double>(sizes);
    const auto g_sizes = reference_backward<double>(sizes);
    const double fp32 = 1e-6 * static_cast<double>(c.k + c.n + c.m);
    for (const auto& [variant, out] : results) {
        if (c.packed && rounds_weights(variant) != rounded) continue;
        // Without a border (and in dx with dropout) the LoRA part is added to a result that was rounded already.
        expect_near(out[0], y, y_sizes, 4, 2, fp32, variant + " y");
        expect_near(out[1], g.dx, g_sizes.dx, 4, 2, fp32, variant + " dx");
        expect_near(out[2], g.dweight, g_sizes.dweight, 0, 0, fp32, variant + " dweight");
        expect_near(out[3], g.dbias, g_sizes.dbias, 0, 0, fp32, variant + " dbias");
        for (size_t i = 0; i < l.segments.size(); i++) {
            expect_near(out[4 + 2 * i], g.da[i], g_sizes.da[i], 4, 0, fp32, variant + " da");
            expect_near(out[5 + 2 * i], g.db[i], g_sizes.db[i], 4, 0, fp32, variant + " db");
        }
    }
}

class LinearBf16 : public ::testing::TestWithParam<Case> {};

TEST_P(LinearBf16, MatchesTheReference) {
    const Case c = GetParam();
    ReferenceLinear l = reference_of(c);
    std::unique_ptr<Nf4Weight> nf4;
    PackedWeight other;
    const ftc_weight* packed = nullptr;
    if (c.packed) {
        const Device device;
        if (c.format.bits == 0) {
            nf4 = std::make_unique<Nf4Weight>(device, l.w, c.n, c.k, true);
            l.w = nf4->dequantize(device);
            packed = &*nf4;
        } else {
            make_packed(other, device, l.w, c.n, c.k, c.format);
            l.w = dequantize(other, device);
            packed = &other;
        }
    }
    const auto results = run_everywhere([&](Device& device) { return run(device, c, l, packed); });
    for (const bool rounded : {false, true}) {
        if (rounded) round_all(l.w);
        expect_results(c, l, results, rounded);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LinearBf16,
    ::testing::Values(Case{1, 8, 8, 0, 0, false, false, false}, Case{3, 24, 40, 1, 0, true, true, false},
                      Case{17, 33, 50, 5, 0.25f, false, false, false}, Case{64, 64, 64, 8, 0, true, false, false},
                      Case{65, 72, 136, 16, 0, false, true, false}, Case{40, 300, 64, 16, 0.5f, true, true, false},
                      Case{33, 48, 530, 24, 0.1f, false, true, false}, Case{70, 40, 96, 64, 0, false, true, false},
                      Case{20, 32, 48, 70, 0.3f, false, false, false}, Case{257, 16, 24, 16, 0, false, true, false},
                      Case{5, 128, 64, 8, 0, true, true, true}, Case{48, 64, 172, 16, 0.25f, false, false, true},
                      Case{31, 40, 56, 4, 0, true, true, false, 3}, Case{31, 40, 56, 4, 0.2f, false, true, true, 2},
                      // NF4 multiplied packed: one row to more than a tile of them, either direction split or not
                      Case{1, 96, 128, 0, 0, false, false, true}, Case{1, 70, 1088, 8, 0, true, false, true},
                      Case{2, 33, 64, 5, 0.3f, false, false, true}, Case{4, 40, 192, 16, 0, false, true, true},
                      Case{7, 64, 1024, 40, 0, true, false, true}, Case{3, 36, 3136, 8, 0, false, false, true}, Case{9, 130, 64, 8, 0, false, false, true},
                      Case{16, 64, 576, 0, 0, true, false, true}, Case{31, 600, 128, 16, 0.5f, false, true, true},
                      Case{33, 72, 320, 4, 0, true, true, true, 2}, Case{100, 136, 192, 8, 0, false, false, true},
                      Case{140, 64, 128, 16, 0.1f, false, true, true}));

// QA-LoRA, alone and beside LoRA, over affine weights and others; int8 and affine weights.
INSTANTIATE_TEST_SUITE_P(
    QaLora, LinearBf16,
    ::testing::Values(Case{1, 24, 96, 5, 0, true, true, true, 1, 32, {4, 32}}, Case{3, 40, 64, 1, 0.25f, false, false, true, 1, 64, {3, 64}},
                      Case{17, 33, 160, 24, 0, true, true, true, 1, 32, {2, 32}}, Case{64, 24, 1184, 8, 0.1f, false, true, false, 1, 32},
                      Case{257, 16, 256, 64, 0, false, true, true, 1, 128, {4, 128}}, Case{65, 48, 128, 16, 0.5f, true, false, true, 1, 128, {3, 32}},
                      Case{31, 40, 128, 4, 0.2f, true, true, true, 3, 32, {4, 64}}, Case{31, 40, 128, 70, 0, false, true, false, 2, 64},
                      Case{2, 33, 2144, 5, 0.3f, false, false, true, 1, 32, {4, 32}}, Case{9, 130, 72, 8, 0, false, false, true, 1, 1, {8, 0}},
                      Case{3, 36, 192, 8, 0, true, false, true, 1, 64, {8, 0}}, Case{33, 72, 320, 4, 0, true, true, true, 2, 32, {3, 64}},
                      Case{140, 64, 128, 16, 0.1f, false, true, true, 1, 1, {2, 64}},
                      // multiplied packed, some columns short of a whole tile, the contraction split or not
                      Case{1, 70, 1184, 0, 0, true, false, true, 1, 1, {3, 32}}, Case{4, 40, 1088, 8, 0, false, true, true, 1, 32, {2, 64}},
                      Case{8, 33, 96, 5, 0, true, false, true, 1, 1, {8, 0}}, Case{1, 40, 3232, 16, 0, false, false, true, 1, 1, {8, 0}},
                      Case{12, 64, 2080, 8, 0, true, true, true, 1, 32, {4, 32}}, Case{16, 64, 544, 0, 0, true, false, true, 1, 1, {8, 0}},
                      Case{20, 600, 96, 8, 0.25f, false, true, true, 1, 32, {3, 32}}, Case{48, 72, 160, 4, 0, false, false, true, 1, 1, {8, 0}},
                      Case{100, 136, 224, 16, 0, true, true, true, 1, 32, {2, 32}}, Case{70, 130, 640, 8, 0.1f, false, false, true, 1, 128, {4, 128}}));

// Every rank with every number of rows, with and without dropout, bias and border.
Vector<Case> ranks_and_rows() {
    Vector<Case> cases;
    for (const int64_t rank : {1, 5, 8, 16, 24, 64})
        for (const int64_t m : {1, 3, 17, 64, 257}) {
            const bool odd = (rank + m) % 2 != 0;
            cases.push_back({m, 24, 40, rank, odd ? 0.25f : 0.0f, m % 3 != 0, rank % 3 != 0, false});
            cases.push_back({m, 24, 96, rank, odd ? 0.0f : 0.25f, m % 3 == 0, rank % 3 == 0, false, 1, 32});
        }
    return cases;
}

INSTANTIATE_TEST_SUITE_P(RanksAndRows, LinearBf16, ::testing::ValuesIn(ranks_and_rows()));

} // namespace
} // namespace ftc::testing
