// What a row of the CPU's linear layer computes does not depend, bit by bit, on how many rows are computed with it, on
// the threads or on the vector width: the kernels for few rows and the packed product have the same chains.
#include <algorithm>

#include "ops/linear/linear_case.h"
#include "ops/quant/nf4_weight.h"

namespace {

using namespace ftc::testing;

class LinearRows : public ::testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        const Device device;
        ftc_context_info info{};
        info.struct_size = sizeof(info);
        ASSERT_EQ(ftc_context_get_info(device.context(), &info), FTC_OK);
        if (std::string(info.device_kind) != "cpu") GTEST_SKIP() << "promises of the CPU library";
    }
};
INSTANTIATE_TEST_SUITE_P(Isas, LinearRows, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

struct Features {
    int64_t n, k, pad;
};

// Columns that leave tails of every kind, depths that are no multiple of a step and of one block and several, rows of W
// a page, half a page and neither apart.
constexpr Features kFeatures[] = {{150, 1300, 3}, {1300, 150, 3}, {75, 1024, 0}, {40, 1021, 3},
                                  {67, 512, 0},   {7, 70, 3},     {9, 33, 0},    {2100, 64, 0}};

// Around every number of rows at which another kernel begins, and the most that are compared with.
constexpr int64_t kRows[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 13, 14, 15,  16,  17,  20, 24,
                             25, 28, 29, 31, 32, 33, 40, 48, 63, 64, 65, 72, 100, 127, 128, 129};
constexpr int64_t kMany = 140;

ReferenceLinear random_layer(const Features& f) {
    ReferenceLinear l = random_linear(kMany, f.n, f.k, true);
    add_segment(l, 0, kMany, 6);
    return l;
}

ReferenceLinear first_rows(const ReferenceLinear& l, int64_t rows) {
    ReferenceLinear part = l;
    part.m = rows;
    part.x.resize(static_cast<size_t>(rows * l.k));
    part.dy.resize(static_cast<size_t>(rows * l.n));
    part.segments[0].row_end = rows;
    return part;
}

void expect_first_rows(const LinearResult& part, const LinearResult& all, int64_t rows) {
    EXPECT_TRUE(std::equal(part.y.begin(), part.y.end(), all.y.begin())) << rows << " rows, y";
    EXPECT_TRUE(std::equal(part.dx.begin(), part.dx.end(), all.dx.begin())) << rows << " rows, dx";
}

TEST_P(LinearRows, BatchDoesNotChangeARow) {
    const Device device(GetParam(), 1);
    for (const Features& f : kFeatures) {
        SCOPED_TRACE(::testing::Message() << f.n << " x " << f.k << ", rows " << f.k + f.pad << " apart");
        const ReferenceLinear l = random_layer(f);
        for (const bool accumulate : {false, true}) {
            LinearOptions options;
            options.pad = f.pad;
            options.accumulate = accumulate;
            options.start = accumulate ? 0.7f : 0.0f;
            const LinearResult all = run_linear(device, l, options);
            for (const int64_t rows : kRows)
                expect_first_rows(run_linear(device, first_rows(l, rows), options), all, rows);
        }
    }
}

TEST_P(LinearRows, NeitherThreadsNorVectorWidthChangeARow) {
    const std::string other = same_bits_as(GetParam());
    if (other.empty()) return;
    const Device one(GetParam(), 1), three(GetParam(), 3), narrower(other, 1);
    for (const Features& f : kFeatures) {
        const ReferenceLinear l = random_layer(f);
        LinearOptions options;
        options.pad = f.pad;
        for (const int64_t rows : kRows) {
            SCOPED_TRACE(::testing::Message() << rows << " x " << f.n << " x " << f.k);
            const ReferenceLinear part = first_rows(l, rows);
            const LinearResult result = run_linear(one, part, options);
            EXPECT_EQ(result, run_linear(three, part, options));
            EXPECT_EQ(result, run_linear(narrower, part, options));
        }
    }
}

// NF4 has the bits of its dequantised numbers; those of few rows are decoded on the way. Several blocks of depth in
// both directions, columns that threads split in the middle of a block of 64.
TEST_P(LinearRows, Nf4EqualsDequantizeThenMultiply) {
    const Device one(GetParam(), 1), three(GetParam(), 3);
    for (const Features& f : {Features{75, 1024, 0}, {1300, 320, 3}, {70, 66, 0}}) {
        for (const bool nested : {false, true}) {
            const Nf4Weight weight(one, random_floats(f.n * f.k, 3), f.n, f.k, nested);
            ReferenceLinear l = random_layer(f);
            l.w = weight.dequantize(one);
            LinearOptions options;
            options.pad = f.pad;
            options.accumulate = nested;
            options.start = nested ? 0.7f : 0.0f;
            for (const int64_t rows : kRows) {
                SCOPED_TRACE(::testing::Message() << rows << " x " << f.n << " x " << f.k << (nested ? " nested" : ""));
                const ReferenceLinear part = first_rows(l, rows);
                const LinearResult expected = run_linear(one, part, options);
                EXPECT_EQ(run_linear(one, part, options, &weight), expected);
                EXPECT_EQ(run_linear(three, part, options, &weight), expected);
            }
        }
    }
}

} // namespace
