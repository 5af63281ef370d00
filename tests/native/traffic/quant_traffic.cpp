// Quantise, dequantise. Bytes a weight: NF4 0.5 of codes, 1/64 of nested absmax (4/64 fp32), 4 in 16,384 of the nested
// ones; affine bits / 8 and 8 a group; int8 1 and 4 a row.
#include "golden.h"
#include "traffic/traffic.h"

namespace ftc::testing {
namespace {

struct Shape {
    int64_t rows, cols;
    std::string name() const { return std::to_string(rows) + " × " + std::to_string(cols); }
    double count() const { return double(rows) * double(cols); }
};

TrafficCase dequantize(int32_t dtype, bool nested, Shape counted, Shape real) {
    const double each = 0.5 + (nested ? 1.0 / 64 + 4.0 / 16384 : 4.0 / 64) + (dtype == FTC_F32 ? 4 : 2);
    return {std::string(nested ? "NF4 double-quant" : "NF4") + " dequantise to " + (dtype == FTC_F32 ? "fp32" : "bf16"),
            "nf4_kernel",
            {counted.name(), counted.count() * each},
            {real.name(), real.count() * each},
            [=](Device& device) {
                const int64_t count = counted.rows * counted.cols;
                const Golden golden = read_golden("nf4/examples.txt");
                Vector<float> quant_map = golden.f32.at("quant_map"), nested_map = golden.f32.at("nested_map");
                Memory<uint8_t> codes(count / 2), absmax_codes(count / 64);
                Memory<float> absmax(count / 64, 1.0f), nested_absmax((count / 64 + 255) / 256, 1.0f);
                Memory<uint32_t> y(dtype == FTC_F32 ? count : count / 2);
                const Vector<float> noise = random_floats(count / 2, 1);
                for (int64_t i = 0; i < count / 2; ++i)
                    codes[i] = static_cast<uint8_t>(127.5f + 127.5f * noise[static_cast<size_t>(i)]);
                for (int64_t i = 0; i < count / 64; ++i) absmax_codes[i] = codes[i * 3];
                ftc_weight w{};
                w.struct_size = sizeof(w);
                w.format = FTC_WEIGHT_NF4;
                w.rows = counted.rows;
                w.cols = counted.cols;
                w.data = codes;
                w.absmax = nested ? static_cast<void*>(absmax_codes) : absmax;
                w.nested_absmax = nested ? static_cast<float*>(nested_absmax) : nullptr;
                w.nested_map = nested_map.data();
                w.quant_map = quant_map.data();
                w.block_size = 64;
                w.nested_block_size = 256;
                ASSERT_EQ(device.wait(ftc_weight_dequantize(device, y, dtype, w.cols, &w, 0, w.rows)), FTC_OK)
                    << ftc_last_error_message();
            }};
}

TrafficCase quantize() {
    const Shape counted{256, 4096}, real{14336, 4096};
    const double each = 4 + 0.5 + 4.0 / 64;
    return {"NF4 quantise",
            "nf4_quantize_kernel",
            {counted.name(), counted.count() * each},
            {real.name(), real.count() * each},
            [=](Device& device) {
                const int64_t count = counted.rows * counted.cols;
                Memory<float> x(count, 1.0f), absmax(count / 64);
                Memory<uint8_t> codes(count / 2);
                ASSERT_EQ(device.wait(ftc_nf4_quantize(device, codes, absmax, x, count)), FTC_OK)
                    << ftc_last_error_message();
            }};
}

// Affine groups; int8 when bits are 8.
std::string format_name(int32_t bits, int32_t group_size) {
    if (bits == 8) return "int8";
    return "affine " + std::to_string(bits) + "-bit, groups of " + std::to_string(group_size) + ",";
}

double bytes_of(int32_t bits, int32_t group_size, const Shape& s) {
    return s.count() * bits / 8 + (bits == 8 ? 4 * double(s.rows) : 8 * s.count() / group_size);
}

TrafficCase dequantize_packed(int32_t dtype, int32_t bits, int32_t group_size, Shape counted, Shape real) {
    const double wide = dtype == FTC_F32 ? 4 : 2;
    return {format_name(bits, group_size) + " dequantise to " + (dtype == FTC_F32 ? "fp32" : "bf16"),
            "packed_kernel",
            {counted.name(), bytes_of(bits, group_size, counted) + counted.count() * wide},
            {real.name(), bytes_of(bits, group_size, real) + real.count() * wide},
            [=](Device& device) {
                const int64_t count = counted.rows * counted.cols, scales = bits == 8 ? counted.rows : count / group_size;
                Memory<uint8_t> codes(count * bits / 8);
                for (int64_t i = 0; i < count * bits / 8; ++i) codes[i] = static_cast<uint8_t>(i * 29);
                Memory<float> scale(scales, 1.0f), minimum(scales, -1.0f);
                Memory<uint32_t> y(dtype == FTC_F32 ? count : count / 2);
                ftc_weight w{};
                w.struct_size = sizeof(w);
                w.format = bits == 8 ? FTC_WEIGHT_INT8 : FTC_WEIGHT_AFFINE;
                w.rows = counted.rows;
                w.cols = counted.cols;
                w.data = codes;
                w.bits = bits;
                w.group_size = group_size;
                w.scale = scale;
                w.minimum = minimum;
                ASSERT_EQ(device.wait(ftc_weight_dequantize(device, y, dtype, w.cols, &w, 0, w.rows)), FTC_OK)
                    << ftc_last_error_message();
            }};
}

TrafficCase quantize_affine() {
    const Shape counted{64, 4096}, real{14336, 4096};
    return {"affine 4-bit, groups of 32, quantise",
            "affine_quantize_kernel",
            {counted.name(), bytes_of(4, 32, counted) + 4 * counted.count()},
            {real.name(), bytes_of(4, 32, real) + 4 * real.count()},
            [=](Device& device) {
                const int64_t count = counted.rows * counted.cols;
                Memory<float> x(count, 1.0f), scale(count / 32), minimum(count / 32);
                Memory<uint8_t> codes(count / 2);
                ftc_affine_quantize_params p{};
                p.struct_size = sizeof(p);
                p.bits = 4;
                p.rows = counted.rows;
                p.cols = p.x_row_stride = counted.cols;
                p.group_size = 32;
                ASSERT_EQ(device.wait(ftc_affine_quantize(device, codes, scale, minimum, x, &p)), FTC_OK)
                    << ftc_last_error_message();
            }};
}

} // namespace

std::vector<TrafficCase> quant_traffic() {
    return {
        dequantize_packed(FTC_BF16, 4, 32, {256, 4096}, {4096, 4096}),
        dequantize_packed(FTC_BF16, 4, 128, {64, 14336}, {4096, 14336}),
        dequantize_packed(FTC_BF16, 3, 64, {1024, 896}, {4864, 896}),
        dequantize_packed(FTC_BF16, 2, 32, {256, 4096}, {4096, 4096}),
        dequantize_packed(FTC_F32, 4, 32, {256, 4096}, {4096, 4096}),
        dequantize_packed(FTC_BF16, 8, 0, {256, 4096}, {4096, 4096}),
        quantize_affine(),
        dequantize(FTC_BF16, true, {256, 4096}, {4096, 4096}), dequantize(FTC_BF16, true, {64, 14336}, {4096, 14336}),
        dequantize(FTC_BF16, true, {1024, 896}, {4864, 896}),  dequantize(FTC_BF16, false, {256, 4096}, {4096, 4096}),
        dequantize(FTC_F32, true, {256, 4096}, {4096, 4096}),  quantize()};
}

} // namespace ftc::testing
