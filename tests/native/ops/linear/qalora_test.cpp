// QA-LoRA: adapters over means of neighbouring features. Against the reference, against plain LoRA with every column of A
// repeated, and merged into the minima of an affine weight.
#include <algorithm>

#include "accuracy.h"
#include "ops/linear/linear_case.h"
#include "ops/quant/packed_weight.h"

namespace {

using namespace ftc::testing;

class QaLora : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Isas, QaLora, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

void expect_matches_reference(const LinearResult& result, const ReferenceLinear& l) {
    expect_accurate(result.y, reference_forward<float>(l), reference_forward<double>(l), "y");
    const auto naive = reference_backward<float>(l);
    const auto exact = reference_backward<double>(l);
    expect_accurate(result.dx, naive.dx, exact.dx, "dx");
    expect_accurate(result.dweight, naive.dweight, exact.dweight, "dweight");
    for (size_t i = 0; i < l.segments.size(); i++) {
        expect_accurate(result.da[i], naive.da[i], exact.da[i], "da");
        expect_accurate(result.db[i], naive.db[i], exact.db[i], "db");
    }
}

struct Shape {
    int64_t m, n, k, rank, pool;
    float dropout = 0.0f;
};

TEST_P(QaLora, MatchesTheReference) {
    const Device device(GetParam(), 2);
    for (const Shape& s : {Shape{2, 1, 32, 1, 32}, {1, 40, 160, 24, 32, 0.25f}, {3, 33, 192, 24, 64}, {17, 40, 256, 64, 128, 0.5f},
                           {64, 24, 160, 16, 32, 0.1f}, {257, 17, 128, 8, 128}, {5, 70, 1184, 3, 32, 0.2f}, {9, 20, 2048, 2, 64}}) {
        SCOPED_TRACE(::testing::Message() << s.m << " x " << s.n << " x " << s.k << ", rank " << s.rank << ", pool "
                                          << s.pool << ", dropout " << s.dropout);
        ReferenceLinear l = random_linear(s.m, s.n, s.k, s.m % 2 != 0);
        add_segment(l, 0, s.m, s.rank, s.dropout, s.pool);
        expect_matches_reference(run_linear(device, l), l);
    }
}

TEST_P(QaLora, MixesWithLora) {
    const Device device(GetParam(), 2);
    ReferenceLinear l = random_linear(71, 40, 128, true);
    add_segment(l, 40, 41, 16, 0.0f, 64);
    add_segment(l, 3, 29, 1, 0.3f);
    add_segment(l, 50, 71, 7, 0.3f, 32);
    add_segment(l, 30, 30, 4, 0.0f, 128); // empty
    expect_matches_reference(run_linear(device, l), l);
}

TEST_P(QaLora, Accumulates) {
    const Device device(GetParam(), 2);
    ReferenceLinear l = random_linear(19, 24, 64, true);
    add_segment(l, 0, 19, 5, 0.5f, 32);
    LinearOptions options;
    options.accumulate = true;
    options.start = 8.0f;
    const LinearResult added = run_linear(device, l, options), written = run_linear(device, l);
    const auto expect_added = [](const Vector<float>& a, const Vector<float>& b, const char* what) {
        ASSERT_EQ(a.size(), b.size());
        for (size_t i = 0; i < a.size(); i++) ASSERT_NEAR(a[i], b[i] + 8.0f, 3e-5f) << what << ' ' << i;
    };
    expect_added(added.y, written.y, "y");
    expect_added(added.dx, written.dx, "dx");
    expect_added(added.da[0], written.da[0], "da");
    expect_added(added.db[0], written.db[0], "db");
}

// A_full = (A kron 1_L) / L: the same layer as LoRA.
TEST_P(QaLora, IsLoraWithRepeatedColumns) {
    const Device device(GetParam(), 2);
    ReferenceLinear pooled = random_linear(13, 30, 256, false);
    add_segment(pooled, 2, 13, 6, 0.0f, 64);
    ReferenceLinear plain = pooled;
    ReferenceSegment& s = plain.segments[0];
    s.pool = 1;
    s.a.clear();
    for (int64_t t = 0; t < s.rank; t++)
        for (int64_t k = 0; k < plain.k; k++)
            s.a.push_back(pooled.segments[0].a[static_cast<size_t>(t * (plain.k / 64) + k / 64)] / 64.0f);
    const LinearResult a = run_linear(device, pooled), b = run_linear(device, plain);
    const auto expect_near = [](const Vector<float>& x, const Vector<float>& y, const char* what) {
        ASSERT_EQ(x.size(), y.size());
        for (size_t i = 0; i < x.size(); i++) ASSERT_NEAR(x[i], y[i], 1e-5f) << what << ' ' << i;
    };
    expect_near(a.y, b.y, "y");
    expect_near(a.dx, b.dx, "dx");
    expect_near(a.db[0], b.db[0], "db");
    Vector<float> means; // of plain dA: d/dA[t, g] is the mean over the group
    for (int64_t t = 0; t < s.rank; t++)
        for (int64_t g = 0; g < plain.k / 64; g++) {
            double sum = 0;
            for (int64_t k = 0; k < 64; k++)
                sum += static_cast<double>(b.da[0][static_cast<size_t>(t * plain.k + g * 64 + k)]);
            means.push_back(static_cast<float>(sum / 64));
        }
    expect_near(a.da[0], means, "da");
}

// Central differences of sum(y * dy): the objective is linear in each input, so a large step is exact.
TEST_P(QaLora, GradientsMatchFiniteDifferences) {
    const Device device(GetParam());
    ReferenceLinear l = random_linear(2, 3, 64, false);
    add_segment(l, 0, 2, 2, 0.5f, 32);
    const LinearResult result = run_linear(device, l);
    const auto objective = [&] {
        const LinearResult r = run_linear(device, l);
        double sum = 0;
        for (size_t i = 0; i < r.y.size(); i++) sum += static_cast<double>(r.y[i]) * static_cast<double>(l.dy[i]);
        return sum;
    };
    const auto check = [&](Vector<float>& values, const Vector<float>& gradient, size_t step, const char* what) {
        for (size_t i = 0; i < values.size(); i += step) {
            const float kept = values[i];
            values[i] = kept + 0.5f;
            const double high = objective();
            values[i] = kept - 0.5f;
            const double low = objective();
            values[i] = kept;
            EXPECT_NEAR(high - low, static_cast<double>(gradient[i]), 5e-5) << what << ' ' << i;
        }
    };
    check(l.x, result.dx, is_simulated() ? 29 : 3, "x");
    check(l.segments[0].a, result.da[0], 1, "a");
    check(l.segments[0].b, result.db[0], 1, "b");
}

TEST_P(QaLora, SameBitsForAnyThreadsAndVariantsThatPromiseIt) {
    ReferenceLinear l = random_linear(37, 70, 320, true);
    add_segment(l, 0, 30, 17, 0.25f, 32);
    add_segment(l, 30, 37, 4, 0.0f, 64);
    const LinearResult first = run_linear(Device(GetParam(), 1), l);
    for (const int32_t threads : thread_counts())
        EXPECT_EQ(run_linear(Device(GetParam(), threads), l), first) << threads << " threads";
    const std::string other = same_bits_as(GetParam());
    if (other.empty()) return;
    EXPECT_EQ(run_linear(Device(other, 2), l), first) << other;
}

// After the merge the weight alone gives what weight and adapter gave, and no code has changed.
TEST_P(QaLora, MergesExactly) {
    const Device device(GetParam(), 2);
    for (const int32_t bits : {4, 3, 2})
        for (const int32_t group_size : {32, 128}) {
            SCOPED_TRACE(::testing::Message() << bits << " bits, groups of " << group_size);
            ReferenceLinear l = random_linear(17, 40, 256, true);
            PackedWeight w;
            make_affine(w, device, l.w, l.n, l.k, bits, group_size);
            add_segment(l, 0, l.m, 8, 0.0f, group_size);
            const LinearResult adapted = run_linear(device, l, {}, &w);
            const Vector<uint8_t> codes = w.codes;
            const Vector<float> scale = w.scale;
            ReferenceSegment& s = l.segments[0];
            ASSERT_EQ(device.wait(ftc_affine_merge(device, w.minimum.data(), s.b.data(), s.a.data(), l.n,
                                                   l.k / group_size, static_cast<int32_t>(s.rank), group_size, s.scaling)),
                      FTC_OK)
                << ftc_last_error_message();
            EXPECT_EQ(w.codes, codes);
            EXPECT_EQ(w.scale, scale);
            l.segments.clear();
            const LinearResult merged = run_linear(device, l, {}, &w);
            for (size_t i = 0; i < merged.y.size(); i++) ASSERT_NEAR(merged.y[i], adapted.y[i], 2e-5f) << "y " << i;
            for (size_t i = 0; i < merged.dx.size(); i++) ASSERT_NEAR(merged.dx[i], adapted.dx[i], 2e-5f) << "dx " << i;
        }
}

TEST(QaLoraErrors, Pool) {
    const Device device;
    ReferenceLinear l = random_linear(1, 4, 96, false);
    Vector<float> memory(96 * 4, 0.0f);
    ftc_lora_segment s{};
    s.struct_size = sizeof(s);
    s.rank = 1;
    s.row_end = 1;
    s.a = s.b = memory.data();
    s.s = memory.data();
    ftc_linear_params p{};
    p.struct_size = sizeof(p);
    p.rows = 1;
    p.x_row_stride = 96;
    p.y_row_stride = 4;
    const ftc_weight w = f32_weight(l.w.data(), 4, 96, 96);
    s.pool = 16;
    EXPECT_EQ(ftc_linear_forward(device, memory.data(), l.x.data(), &w, nullptr, &s, 1, &p, nullptr, 0),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_linear_forward: segments[0].pool is 16, expected 0 or 1 (LoRA), or 32, 64 or 128 (QA-LoRA)");
    s.pool = 64;
    EXPECT_EQ(ftc_linear_forward(device, memory.data(), l.x.data(), &w, nullptr, &s, 1, &p, nullptr, 0),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_linear_forward: segments[0].pool is 64, expected a divisor of the in-features 96");
}

} // namespace
