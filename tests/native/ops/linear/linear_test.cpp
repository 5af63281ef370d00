#include <algorithm>

#include "accuracy.h"
#include "ops/linear/linear_case.h"

namespace {

using namespace ftc::testing;

void expect_matches_reference(const LinearResult& result, const ReferenceLinear& l) {
    expect_accurate(result.y, reference_forward<float>(l), reference_forward<double>(l), "y");
    const auto naive = reference_backward<float>(l);
    const auto exact = reference_backward<double>(l);
    expect_accurate(result.dx, naive.dx, exact.dx, "dx");
    expect_accurate(result.dweight, naive.dweight, exact.dweight, "dweight");
    expect_accurate(result.dbias, naive.dbias, exact.dbias, "dbias");
    for (size_t i = 0; i < l.segments.size(); i++) {
        expect_accurate(result.da[i], naive.da[i], exact.da[i], "da");
        expect_accurate(result.db[i], naive.db[i], exact.db[i], "db");
    }
}

class Linear : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Isas, Linear, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

struct Shape {
    int64_t m, n, k;
};
// Sizes that hurt: one, primes, tile edges, more than one block of depth, more than one chunk of rows.
constexpr Shape kShapes[] = {{1, 1, 1},    {1, 33, 64},  {2, 31, 7},   {3, 64, 65},   {4, 37, 257},   {5, 17, 128},
                             {14, 32, 64}, {15, 48, 97}, {17, 257, 5}, {29, 40, 577}, {257, 19, 100}, {33, 1100, 70}};

TEST_P(Linear, MatchesTheReferenceAtSizesThatHurt) {
    const Device device(GetParam(), 2);
    for (const Shape& shape : kShapes) {
        SCOPED_TRACE(::testing::Message() << shape.m << " x " << shape.n << " x " << shape.k);
        ReferenceLinear l = random_linear(shape.m, shape.n, shape.k, true);
        add_segment(l, 0, shape.m, 3);
        expect_matches_reference(run_linear(device, l), l);
    }
}

TEST_P(Linear, SeveralAdaptersAndRowsWithoutOne) {
    const Device device(GetParam(), 2);
    ReferenceLinear l = random_linear(71, 90, 130, false);
    add_segment(l, 40, 41, 16);
    add_segment(l, 3, 29, 1);
    add_segment(l, 50, 71, 7);
    add_segment(l, 30, 30, 4); // empty
    expect_matches_reference(run_linear(device, l), l);
}

TEST_P(Linear, DropoutFollowsTheTokenNotTheRow) {
    const Device device(GetParam(), 2);
    ReferenceLinear l = random_linear(37, 41, 300, false);
    add_segment(l, 2, 20, 8, 0.3f);
    add_segment(l, 20, 35, 5, 0.9f);
    const LinearResult result = run_linear(device, l);
    expect_matches_reference(result, l);
    l.segments[0].dropout_probability = 0.0f;
    EXPECT_NE(run_linear(device, l).y, result.y);
}

// Shapes nobody chose, from a fixed seed: every mix of tile heights, edges, blocks, adapters and threads.
TEST_P(Linear, RandomShapesMatchTheReference) {
    const Device devices[] = {Device(GetParam(), 1), Device(GetParam(), 3)};
    const Vector<float> numbers = random_floats(2000, 99);
    size_t next = 0;
    const auto pick = [&](int64_t low, int64_t high) {
        const double unit = (static_cast<double>(numbers.at(next++)) + 1.0) / 2.0;
        return low + static_cast<int64_t>(unit * static_cast<double>(high - low + 1));
    };
    for (int i = 0; i < 20; i++) {
        ReferenceLinear l = random_linear(pick(1, 60), pick(1, 150), pick(1, i % 4 == 0 ? 1300 : 200), pick(0, 1) == 1);
        for (int64_t row = pick(0, 4); row < l.m && l.segments.size() < 3;) {
            const int64_t end = std::min(l.m, row + pick(1, 40));
            add_segment(l, row, end, pick(1, 20), pick(0, 2) == 0 ? 0.3f : 0.0f);
            row = end + pick(0, 3);
        }
        SCOPED_TRACE(::testing::Message()
                     << l.m << " x " << l.n << " x " << l.k << ", " << l.segments.size() << " adapters");
        expect_matches_reference(run_linear(devices[i % 2], l), l);
    }
}

TEST_P(Linear, AccumulatesOntoWhatIsThere) {
    const Device device(GetParam());
    ReferenceLinear l = random_linear(19, 45, 70, true);
    add_segment(l, 0, 19, 4, 0.25f);
    const LinearResult from_zero = run_linear(device, l);
    LinearOptions options;
    options.accumulate = true;
    options.start = 2.0f;
    const LinearResult onto = run_linear(device, l, options);
    for (size_t i = 0; i < onto.y.size(); i++) EXPECT_NEAR(onto.y[i], from_zero.y[i] + 2.0f, 1e-5f);
    for (size_t i = 0; i < onto.dx.size(); i++) EXPECT_NEAR(onto.dx[i], from_zero.dx[i] + 2.0f, 1e-5f);
    for (size_t i = 0; i < onto.da[0].size(); i++) EXPECT_NEAR(onto.da[0][i], from_zero.da[0][i] + 2.0f, 1e-5f);
    for (size_t i = 0; i < onto.db[0].size(); i++) EXPECT_NEAR(onto.db[0][i], from_zero.db[0][i] + 2.0f, 1e-5f);
    options.accumulate = false; // overwrites y and dx; gradients of parameters are always added to
    const LinearResult over = run_linear(device, l, options);
    EXPECT_EQ(over.y, from_zero.y);
    EXPECT_EQ(over.dx, from_zero.dx);
    EXPECT_EQ(over.dweight, onto.dweight);
}

TEST_P(Linear, ThreadsDoNotChangeABit) {
    for (const Shape& shape : {Shape{1, 130, 65}, Shape{4, 70, 130}, Shape{50, 200, 600}, Shape{300, 70, 130}}) {
        ReferenceLinear l = random_linear(shape.m, shape.n, shape.k, true);
        add_segment(l, 0, (shape.m + 1) / 2, 5, 0.1f);
        add_segment(l, (shape.m + 1) / 2, shape.m, 9);
        const LinearResult one = run_linear(Device(GetParam(), 1), l);
        EXPECT_EQ(one, run_linear(Device(GetParam(), 2), l));
        EXPECT_EQ(one, run_linear(Device(GetParam(), 3), l));
        EXPECT_EQ(one, run_linear(Device(GetParam(), 8), l));
    }
}

// What a row computes must not depend on which rows are computed with it.
TEST_P(Linear, BatchDoesNotChangeARow) {
    const Device device(GetParam());
    for (const Shape& shape : {Shape{75, 150, 1300}, Shape{75, 1300, 150}}) {
        ReferenceLinear l = random_linear(shape.m, shape.n, shape.k, true);
        add_segment(l, 0, shape.m, 6);
        const LinearResult all = run_linear(device, l);
        for (const int64_t rows : {1, 2, 3, 4, 5, 8, 16, 17, 33, 64}) {
            ReferenceLinear part = l;
            part.m = rows;
            part.x.resize(static_cast<size_t>(rows * l.k));
            part.dy.resize(static_cast<size_t>(rows * l.n));
            part.segments[0].row_end = rows;
            const LinearResult result = run_linear(device, part);
            EXPECT_TRUE(std::equal(result.y.begin(), result.y.end(), all.y.begin())) << rows << " rows, y";
            EXPECT_TRUE(std::equal(result.dx.begin(), result.dx.end(), all.dx.begin())) << rows << " rows, dx";
        }
    }
}

TEST_P(Linear, AgreesBitForBitWithTheVariantsThatPromiseIt) {
    const std::string other = same_bits_as(GetParam());
    if (other.empty()) return;
    for (const Shape& shape : kShapes) {
        ReferenceLinear l = random_linear(shape.m, shape.n, shape.k, true);
        add_segment(l, 0, shape.m, 5, 0.2f);
        EXPECT_EQ(run_linear(Device(other, thread_counts().back()), l),
                  run_linear(Device(GetParam(), thread_counts().back()), l));
    }
}

// Central differences of sum(y * dy) with respect to x and a, in the layer's own forward: tiny, so exact enough in
// fp32.
TEST_P(Linear, GradientsMatchFiniteDifferences) {
    const Device device(GetParam());
    ReferenceLinear l = random_linear(3, 4, 5, true);
    add_segment(l, 0, 3, 2, 0.5f);
    const LinearResult result = run_linear(device, l);
    const auto objective = [&] {
        const LinearResult r = run_linear(device, l);
        double sum = 0;
        for (size_t i = 0; i < r.y.size(); i++) sum += static_cast<double>(r.y[i]) * static_cast<double>(l.dy[i]);
        return sum;
    };
    const auto check = [&](Vector<float>& values, const Vector<float>& gradient, const char* what) {
        for (size_t i = 0; i < values.size(); i++) {
            const float kept = values[i];
            values[i] = kept + 0.25f; // the objective is linear in each, so a large step is exact
            const double high = objective();
            values[i] = kept - 0.25f;
            const double low = objective();
            values[i] = kept;
            EXPECT_NEAR((high - low) / 0.5, static_cast<double>(gradient[i]), 2e-5) << what << " " << i;
        }
    };
    check(l.x, result.dx, "x");
    check(l.w, result.dweight, "w");
    check(l.bias, result.dbias, "bias");
    check(l.segments[0].a, result.da[0], "a");
    check(l.segments[0].b, result.db[0], "b");
}

TEST(LinearReference, PhiloxKnownAnswers) { // Random123, kat_vectors
    EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(LinearTune, MeasuresOrTakesOver) {
    Device device;
    int64_t rows = -1;
    ASSERT_EQ(ftc_linear_tune(device, &rows), FTC_OK) << ftc_last_error_message();
    EXPECT_GE(rows, 0);
    const bool cpu = rows == INT64_MAX;
    rows = 48;
    ASSERT_EQ(ftc_linear_tune(device, &rows), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(rows, cpu ? INT64_MAX : 48);
    EXPECT_EQ(ftc_linear_tune(device, nullptr), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_linear_tune: packed_rows is NULL, expected a pointer");
}

} // namespace
