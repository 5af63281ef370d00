#include <bit>

#include "ops/linear/linear_case.h"
#include "ops/quant/nf4_weight.h"
#include "ops/quant/packed_weight.h"

namespace {

using namespace ftc::testing;

class LinearFormats : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Isas, LinearFormats, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

struct Features {
    int64_t n, k;
};
constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 8, 14, 16, 17, 33, 64, 65, 130};

// NF4 through the layer has the bits of dequantising first, in both directions, for every number of rows.
TEST_P(LinearFormats, Nf4EqualsDequantizeThenMultiply) {
    const Device device(GetParam(), 2);
    for (const Features& f : {Features{96, 64}, {70, 192}, {64, 172}, {33, 50}, {130, 640}, {1088, 128}}) {
        for (const bool nested : {false, true}) {
            const Nf4Weight weight(device, random_floats(f.n * f.k, 3), f.n, f.k, nested);
            for (const int64_t m : kRows) {
                if (is_simulated() && (m > 17 || m % 2 == 0 || f.n > 100)) continue;
                SCOPED_TRACE(::testing::Message() << m << " x " << f.n << " x " << f.k << (nested ? " nested" : ""));
                ReferenceLinear l = random_linear(m, f.n, f.k, true);
                add_segment(l, 0, m, 4);
                l.w = weight.dequantize(device);
                EXPECT_EQ(run_linear(device, l, {}, &weight), run_linear(device, l));
            }
        }
    }
}

TEST_P(LinearFormats, PackedEqualsDequantizeThenMultiply) {
    const Device device(GetParam(), 2);
    for (const Features& f : {Features{96, 64}, {70, 192}, {33, 160}, {33, 50}, {130, 640}, {1088, 128}}) {
        for (const PackedFormat& format : packed_formats(f.k)) {
            PackedWeight weight;
            make_packed(weight, device, random_floats(f.n * f.k, 3), f.n, f.k, format);
            for (const int64_t m : kRows) {
                if (is_simulated() && (m > 17 || m % 2 == 0 || f.n > 100)) continue;
                if (m > 17 && (f.n > 96 || format.group_size > 32)) continue;
                SCOPED_TRACE(::testing::Message() << m << " x " << f.n << " x " << f.k << ", " << format.bits
                                                  << " bits, groups of " << format.group_size);
                ReferenceLinear l = random_linear(m, f.n, f.k, true);
                add_segment(l, 0, m, 4);
                l.w = dequantize(weight, device);
                EXPECT_EQ(run_linear(device, l, {}, &weight), run_linear(device, l));
            }
        }
    }
}

TEST_P(LinearFormats, Bf16EqualsWideningThenMultiply) {
    const Device device(GetParam(), 2);
    for (const Features& f : {Features{96, 64}, {33, 50}, {1, 1}, {130, 640}}) {
        const int64_t stride = f.k + 5;
        const Vector<float> values = random_floats(f.n * f.k, 3);
        Vector<uint16_t> half(static_cast<size_t>(f.n * stride), 0xffff);
        Vector<float> wide(values.size());
        for (int64_t i = 0; i < f.n; i++)
            for (int64_t k = 0; k < f.k; k++) {
                const auto e = static_cast<size_t>(i * f.k + k);
                const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[e]) >> 16);
                half[static_cast<size_t>(i * stride + k)] = bits;
                wide[e] = std::bit_cast<float>(uint32_t{bits} << 16);
            }
        ftc_weight weight{};
        weight.struct_size = sizeof(weight);
        weight.format = FTC_WEIGHT_BF16;
        weight.rows = f.n;
        weight.cols = f.k;
        weight.row_stride = stride;
        weight.data = half.data();
        for (const int64_t m : kRows) {
            SCOPED_TRACE(::testing::Message() << m << " x " << f.n << " x " << f.k);
            ReferenceLinear l = random_linear(m, f.n, f.k, true);
            l.w = wide;
            EXPECT_EQ(run_linear(device, l, {}, &weight), run_linear(device, l));
        }
    }
}

} // namespace
