#include <cmath>

#include "ops/quant/nf4_weight.h"

namespace {

using namespace ftc::testing;

class Nf4 : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Isas, Nf4, ::testing::ValuesIn(variants()), [](const auto& isa) { return isa.param; });

TEST_P(Nf4, WorkedExamples) {
    const Device device(GetParam(), 2);
    const Golden golden = read_golden("nf4/examples.txt");
    for (const std::string name : {"short", "normal", "ragged"}) {
        const std::vector<float>& x = golden.f32.at(name + ".x");
        const Nf4Weight weight(device, x, 1, static_cast<int64_t>(x.size()), false);
        EXPECT_EQ(weight.absmax(), golden.f32.at(name + ".absmax")) << name;
        EXPECT_EQ(weight.codes(), golden.u8.at(name + ".codes")) << name;
        EXPECT_EQ(weight.dequantize(device), golden.f32.at(name + ".y")) << name;
    }
}

TEST_P(Nf4, NestedExample) {
    const Device device(GetParam(), 2);
    const Golden golden = read_golden("nf4/examples.txt");
    const std::vector<float>& absmax = golden.f32.at("nested.absmax");
    std::vector<uint8_t> codes(absmax.size());
    std::vector<float> nested_absmax(3);
    float offset = 0;
    ASSERT_EQ(ftc_nf4_quantize_absmax(device, codes.data(), nested_absmax.data(), &offset, absmax.data(),
                                      golden.f32.at("nested_map").data(), static_cast<int64_t>(absmax.size())),
              FTC_OK);
    EXPECT_EQ(offset, golden.f32.at("nested.offset")[0]);
    EXPECT_EQ(codes, golden.u8.at("nested.codes"));
    EXPECT_EQ(nested_absmax, golden.f32.at("nested.nested_absmax"));
}

TEST_P(Nf4, ZeroBlockAndTies) {
    const Device device(GetParam());
    std::vector<float> x(64, 0.0f);
    const Nf4Weight zero(device, x, 1, 64, false);
    EXPECT_EQ(zero.absmax()[0], 0.0f);
    EXPECT_EQ(zero.codes(), std::vector<uint8_t>(32, 0x77));
    x[0] = -1.0f;
    x[1] = 0.03979014977812767f;                       // on the threshold between 7 and 8: the lower code
    x[2] = std::nextafter(0.03979014977812767f, 1.0f); // just above
    const Nf4Weight ties(device, x, 1, 64, false);
    EXPECT_EQ(ties.codes()[0], 0x07);
    EXPECT_EQ(ties.codes()[1], 0x87);
}

// The model that ships with the test data, quantised by an independent implementation.
TEST_P(Nf4, ReproducesAQuantizedModelBitForBit) {
    const std::string data = test_data();
    if (data.empty()) GTEST_SKIP() << "no test data: FTC_TEST_DATA names no folder and ../shared/data is missing";
    const Device device(GetParam(), 2);
    const Tensors original(data + "/models/stories260K/model.safetensors");
    const Tensors quantized(data + "/models/stories260K/nf4_golden/model.safetensors");
    int tensors = 0;
    for (const std::string& name : quantized.names_ending("_proj.weight")) {
        const std::vector<float> x = original.read<float>(name);
        const Nf4Weight weight(device, x, 1, static_cast<int64_t>(x.size()), true);
        EXPECT_EQ(weight.codes(), quantized.read<uint8_t>(name)) << name;
        EXPECT_EQ(weight.nested_codes(), quantized.read<uint8_t>(name + ".absmax")) << name;
        EXPECT_EQ(weight.nested_absmax(), quantized.read<float>(name + ".nested_absmax")) << name;
        const std::vector<uint8_t> state = quantized.read<uint8_t>(name + ".quant_state.bitsandbytes__nf4");
        const std::string text(state.begin(), state.end());
        const size_t at = text.find("\"nested_offset\": ");
        ASSERT_NE(at, std::string::npos);
        EXPECT_EQ(weight.nested_offset(), static_cast<float>(std::strtod(text.c_str() + at + 17, nullptr))) << name;
        tensors++;
    }
    EXPECT_EQ(tensors, 35);
}

// Fast decoders against the definition, element by element, over shapes whose blocks straddle rows and nest.
TEST_P(Nf4, DequantizesToTheDefinition) {
    const Device device(GetParam(), 2);
    const Golden golden = read_golden("nf4/examples.txt");
    const std::vector<float>& map = golden.f32.at("quant_map");
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{5, 192}, {3, 172}, {7, 13}, {300, 64}, {1, 1}}) {
        for (const bool nested : {false, true}) {
            const std::vector<float> x = random_floats(rows * cols, 9);
            const Nf4Weight weight(device, x, rows, cols, nested);
            const int64_t from = rows / 3;
            const std::vector<float> y = weight.dequantize(device, from, rows - from);
            for (int64_t i = 0; i < (rows - from) * cols; i++) {
                const auto e = static_cast<size_t>(from * cols + i);
                const uint8_t byte = weight.codes()[e / 2];
                float absmax = weight.absmax()[e / 64];
                if (nested) {
                    const float scaled = golden.f32.at("nested_map")[weight.nested_codes()[e / 64]] *
                                         weight.nested_absmax()[e / 64 / 256];
                    absmax = scaled + weight.nested_offset();
                }
                ASSERT_EQ(y[static_cast<size_t>(i)], map[e % 2 == 0 ? byte >> 4 : byte & 15] * absmax)
                    << rows << " x " << cols << ", " << i;
            }
        }
    }
}

TEST(Nf4Errors, SayWhatIsWrong) {
    const Device device;
    const Nf4Weight weight(device, random_floats(128, 1), 2, 64, false);
    float y[64];
    EXPECT_EQ(ftc_weight_dequantize(device, y, FTC_F32, 64, &weight, 1, 2), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_weight_dequantize: rows [1, 3) are asked for, expected them in [0, 2)");
    ftc_weight wrong = *&weight;
    wrong.block_size = 128;
    EXPECT_EQ(ftc_weight_dequantize(device, y, FTC_F32, 64, &wrong, 0, 1), FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_weight_dequantize: weight->block_size is 128, expected 64");
    wrong.format = 9;
    EXPECT_EQ(ftc_weight_dequantize(device, y, FTC_F32, 64, &wrong, 0, 1), FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(
        ftc_last_error_message(),
        "ftc_weight_dequantize: weight->format is 9, expected FTC_WEIGHT_F32, FTC_WEIGHT_BF16 or FTC_WEIGHT_NF4");
}

} // namespace
