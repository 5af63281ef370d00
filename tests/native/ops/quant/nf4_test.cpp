#include <algorithm>
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
        const Vector<float>& x = golden.f32.at(name + ".x");
        const Nf4Weight weight(device, x, 1, static_cast<int64_t>(x.size()), false);
        EXPECT_EQ(weight.absmax(), golden.f32.at(name + ".absmax")) << name;
        EXPECT_EQ(weight.codes(), golden.u8.at(name + ".codes")) << name;
        EXPECT_EQ(weight.dequantize(device), golden.f32.at(name + ".y")) << name;
    }
}

TEST_P(Nf4, NestedExample) {
    const Device device(GetParam(), 2);
    const Golden golden = read_golden("nf4/examples.txt");
    const Vector<float>& absmax = golden.f32.at("nested.absmax");
    Vector<uint8_t> codes(absmax.size());
    Vector<float> nested_absmax(3);
    Vector<float> offset(1);
    ASSERT_EQ(
        device.wait(ftc_nf4_quantize_absmax(device, codes.data(), nested_absmax.data(), offset.data(), absmax.data(),
                                            golden.f32.at("nested_map").data(), static_cast<int64_t>(absmax.size()))),
        FTC_OK);
    EXPECT_EQ(offset[0], golden.f32.at("nested.offset")[0]);
    EXPECT_EQ(codes, golden.u8.at("nested.codes"));
    EXPECT_EQ(nested_absmax, golden.f32.at("nested.nested_absmax"));
}

TEST_P(Nf4, ZeroBlockAndTies) {
    const Device device(GetParam());
    Vector<float> x(64, 0.0f);
    const Nf4Weight zero(device, x, 1, 64, false);
    EXPECT_EQ(zero.absmax()[0], 0.0f);
    EXPECT_EQ(zero.codes(), Vector<uint8_t>(32, 0x77));
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
        const Vector<float> x = original.read<float>(name);
        const Nf4Weight weight(device, x, 1, static_cast<int64_t>(x.size()), true);
        EXPECT_EQ(weight.codes(), quantized.read<uint8_t>(name)) << name;
        EXPECT_EQ(weight.nested_codes(), quantized.read<uint8_t>(name + ".absmax")) << name;
        EXPECT_EQ(weight.nested_absmax(), quantized.read<float>(name + ".nested_absmax")) << name;
        const Vector<uint8_t> state = quantized.read<uint8_t>(name + ".quant_state.bitsandbytes__nf4");
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
    const Vector<float>& map = golden.f32.at("quant_map");
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{5, 192}, {3, 172}, {7, 13}, {300, 64}, {1, 1}, {31, 896}, {9, 4096}}) {
        for (const bool nested : {false, true}) {
            const Vector<float> x = random_floats(rows * cols, 9);
            const Nf4Weight weight(device, x, rows, cols, nested);
            const int64_t from = rows / 3;
            const Vector<float> y = weight.dequantize(device, from, rows - from);
            const Matrix rounded = weight.dequantize_bf16(device, padding_of(cols, 3), from, rows - from).widened();
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
                ASSERT_EQ(rounded.data[static_cast<size_t>(i)], rounded_to_bf16(y[static_cast<size_t>(i)]))
                    << rows << " x " << cols << ", " << i;
            }
        }
    }
}

// The order of PyTorch's sum, written as it is defined: 32 sums side by side over rows of 32, each of four levels of
// which a level is added into the next when it has taken `step` of them.
float sum_in_order(const Vector<float>& x) {
    const size_t vectors = x.size() / 8, rows = vectors / 4;
    size_t log2 = 0;
    while ((size_t{1} << log2) < rows) log2++;
    const size_t step = size_t{1} << std::max<size_t>(log2 / 4, 4);
    float sums[32];
    for (size_t lane = 0; lane < 32; lane++) {
        float level[4] = {};
        for (size_t row = 0; row < rows; row++) {
            level[0] += x[row * 32 + lane];
            size_t full = step;
            for (int l = 1; l < 4 && (row + 1) % full == 0; l++, full *= step) {
                level[l] += level[l - 1];
                level[l - 1] = 0.0f;
            }
        }
        sums[lane] = ((level[0] + level[1]) + level[2]) + level[3];
    }
    for (size_t vector = rows * 4; vector < vectors; vector++)
        for (size_t i = 0; i < 8; i++) sums[i] += x[vector * 8 + i];
    for (size_t lane = 8; lane < 32; lane++) sums[lane % 8] += sums[lane];
    float total = 0.0f;
    for (size_t i = vectors * 8; i < x.size(); i++) total += x[i];
    for (size_t i = 0; i < 8; i++) total += sums[i];
    return total;
}

TEST_P(Nf4, QuantizesAbsmaxToTheDefinition) {
    const Device device(GetParam(), 2);
    const Golden golden = read_golden("nf4/examples.txt");
    const Vector<float>& map = golden.f32.at("nested_map");
    for (const int64_t count : {1, 7, 33, 257, 4095, 8192, 16385, 300013}) { // up to all four levels of the sum
        Vector<float> absmax = random_floats(count, 21);
        for (float& value : absmax) value = std::abs(value) + 0.01f;
        Vector<uint8_t> codes(absmax.size());
        Vector<float> nested_absmax(static_cast<size_t>((count + 255) / 256)), offset(1);
        ASSERT_EQ(device.wait(ftc_nf4_quantize_absmax(device, codes.data(), nested_absmax.data(), offset.data(),
                                                      absmax.data(), map.data(), count)),
                  FTC_OK)
            << ftc_last_error_message();
        ASSERT_EQ(offset[0], sum_in_order(absmax) / static_cast<float>(count)) << count;
        for (size_t i = 0; i<absmax.size(); i += count> 10000 ? 97 : 1) {
            const size_t block = i / 256;
            float largest = 0.0f;
            for (size_t j = block * 256; j < std::min(absmax.size(), block * 256 + 256); j++)
                largest = std::max(largest, std::abs(absmax[j] - offset[0]));
            ASSERT_EQ(nested_absmax[block], largest) << count;
            const float scaled = (absmax[i] - offset[0]) * (1.0f / std::max(largest, 1e-38f));
            size_t code = 0;
            while (code < 255 && (map[code] + map[code + 1]) / 2.0f < scaled) code++;
            ASSERT_EQ(codes[i], code) << count << ", " << i;
        }
    }
}

TEST(Nf4Errors, NestedMapMustAscend) {
    const Device device;
    const Vector<float> absmax(3, 1.0f);
    Vector<float> map(256), nested_absmax(1), offset(1);
    Vector<uint8_t> codes(3);
    for (size_t i = 0; i < 256; i++) map[i] = static_cast<float>(i == 9 ? 8 : i);
    EXPECT_EQ(device.wait(ftc_nf4_quantize_absmax(device, codes.data(), nested_absmax.data(), offset.data(),
                                                  absmax.data(), map.data(), 3)),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("nested_map[9]"), std::string::npos);
}

TEST(Nf4Errors, SayWhatIsWrong) {
    const Device device;
    const Nf4Weight weight(device, random_floats(128, 1), 2, 64, false);
    Vector<float> y_memory(64);
    float* y = y_memory.data();
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
        "ftc_weight_dequantize: weight->format is 9, expected FTC_WEIGHT_F32, FTC_WEIGHT_BF16, FTC_WEIGHT_NF4, "
        "FTC_WEIGHT_INT8 or FTC_WEIGHT_AFFINE");
}

} // namespace
