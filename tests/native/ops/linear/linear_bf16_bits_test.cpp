// What the CPU's linear layer on bf16 activations promises bit by bit: packed weights are multiplied as if dequantised
// first, to bf16 where products round weights; a row's result does not depend on the other rows; and an instruction set
// for bf16 leaves fp32 as it is.
#include "ops/linear/linear_bf16_case.h"
#include "ops/quant/nf4_weight.h"

namespace ftc::testing {
namespace {

using namespace bf16_linear;

class LinearBf16Bits : public ::testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        const Device device;
        ftc_context_info info{};
        info.struct_size = sizeof(info);
        ASSERT_EQ(ftc_context_get_info(device.context(), &info), FTC_OK);
        if (std::string(info.device_kind) != "cpu") GTEST_SKIP() << "promises of the CPU library";
    }
};
INSTANTIATE_TEST_SUITE_P(Isas, LinearBf16Bits, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

// The weight in the format whose numbers the products see.
struct Dequantized {
    Vector<float> wide;
    Bf16Matrix half{0, 0, 0};
    ftc_weight weight{};

    Dequantized(const std::string& variant, const Vector<float>& values, int64_t n, int64_t k) : wide(values) {
        weight = f32_weight(wide.data(), n, k, k);
        if (!rounds_weights(variant)) return;
        half = with_border(values, n, k, 0);
        weight.format = FTC_WEIGHT_BF16;
        weight.data = half.ptr();
        weight.row_stride = half.stride;
    }
};

constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 8, 14, 16, 17, 24, 25, 33, 64, 65, 128, 130};

TEST_P(LinearBf16Bits, PackedEqualsDequantizeThenMultiply) {
    Device device(GetParam(), 2);
    const auto compare = [&](int64_t n, int64_t k, const ftc_weight& packed, const Vector<float>& values) {
        const Dequantized dequantized(GetParam(), values, n, k);
        for (const int64_t m : kRows) {
            SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k << " format " << packed.format);
            const Case c{m, n, k, 4, 0, true, false, true};
            const ReferenceLinear l = reference_of(c);
            expect_same_bits(run(device, c, l, &packed), run(device, c, l, &dequantized.weight), "packed");
        }
    };
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{96, 64}, {70, 192}, {33, 51}, {130, 640}, {64, 1216}}) {
        for (const bool nested : {false, true}) {
            const Nf4Weight weight(device, random_floats(n * k, 3), n, k, nested);
            compare(n, k, *&weight, weight.dequantize(device));
        }
        for (const PackedFormat& format : packed_formats(k)) {
            if (n > 96 || k > 640) continue;
            PackedWeight weight;
            make_packed(weight, device, random_floats(n * k, 3), n, k, format);
            compare(n, k, weight.weight, dequantize(weight, device));
        }
    }
}

// The depths are even and odd, of one block and of several; rows lie a page apart, or an odd number of elements.
TEST_P(LinearBf16Bits, ARowDoesNotDependOnTheOthers) {
    Device device(GetParam(), 2);
    for (const auto& [n, k, odd] : {std::tuple<int64_t, int64_t, bool>{96, 64, true}, {97, 51, false}, {130, 1217, false}, {130, 1217, true},
                                    {1217, 70, true}, {71, 2048, false}}) {
        Case many{130, n, k, 5, 0, true, false, false};
        many.odd_strides = odd;
        const ReferenceLinear l = reference_of(many);
        const Outputs all = run(device, many, l, nullptr);
        for (const int64_t m : kRows) {
            Case few = many;
            few.m = m;
            ReferenceLinear part = reference_of(few);
            part.w = l.w;
            part.bias = l.bias;
            part.segments[0].a = l.segments[0].a;
            part.segments[0].b = l.segments[0].b;
            part.x.assign(l.x.begin(), l.x.begin() + m * k);
            part.dy.assign(l.dy.begin(), l.dy.begin() + m * n);
            const Outputs some = run(device, few, part, nullptr);
            for (int64_t i = 0; i < m; i++) {
                for (int64_t j = 0; j < n; j++) ASSERT_EQ(some[0].at(i, j), all[0].at(i, j)) << m << " rows, y " << i << ", " << j;
                for (int64_t j = 0; j < k; j++) ASSERT_EQ(some[1].at(i, j), all[1].at(i, j)) << m << " rows, dx " << i << ", " << j;
            }
        }
    }
}

TEST_P(LinearBf16Bits, AccumulatesBeforeItRounds) {
    const int64_t m = 19, n = 70, k = 1217;
    Device device(GetParam(), 1);
    const Case c{m, n, k, 0, 0, false, false, false};
    const ReferenceLinear l = reference_of(c);
    Bf16Matrix x = with_border(l.x, m, k, 0), w = with_border(l.w, n, k, 0);
    ftc_weight weight = f32_weight(nullptr, n, k, w.stride);
    weight.format = FTC_WEIGHT_BF16;
    weight.data = w.ptr();
    ftc_linear_params p{};
    p.struct_size = sizeof(p);
    p.dtype = FTC_BF16;
    p.rows = m;
    p.x_row_stride = x.stride;
    p.y_row_stride = n + 3;
    p.accumulate = 1;
    ftc_linear_workspace_params shape = workspace_shape(weight, m, 0);
    shape.dtype = FTC_BF16;
    int64_t bytes = 0;
    ASSERT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
    Vector<char> workspace(static_cast<size_t>(bytes));
    Bf16Matrix y = Bf16Matrix::random(m, n, 3, 9, 30.0f);
    const Matrix before = y.widened();
    ASSERT_EQ(ftc_linear_forward(device, y.ptr(), x.ptr(), &weight, nullptr, nullptr, 0, &p, workspace.data(), bytes),
              FTC_OK)
        << ftc_last_error_message();
    const Vector<double> product = reference_forward<double>(l);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            const double exact = static_cast<double>(before.at(i, j)) + product[static_cast<size_t>(i * n + j)];
            EXPECT_NEAR(static_cast<double>(y.widened().at(i, j)), exact, half_ulp_bf16(std::abs(exact) + 1e-3) + 1e-3);
        }
}

TEST_P(LinearBf16Bits, Fp32IsThatOfTheSmallerInstructionSet) {
    if (GetParam() != "avx512bf16") GTEST_SKIP() << "of avx512bf16";
    for (const int64_t m : kRows) {
        ReferenceLinear l = random_linear(m, 70, 640, true);
        add_segment(l, 0, m, 4, 0.25f);
        EXPECT_EQ(run_linear(Device("avx512bf16", 2), l), run_linear(Device("avx512", 2), l)) << m << " rows";
    }
}

} // namespace
} // namespace ftc::testing
