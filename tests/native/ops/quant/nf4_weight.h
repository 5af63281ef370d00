// An NF4 weight made from fp32 data through the C ABI, with the arrays it points to.
#pragma once

#include "bf16_matrix.h"
#include "golden.h"
#include "testing.h"

namespace ftc::testing {

class Nf4Weight {
public:
    Nf4Weight(const Device& device, const Vector<float>& x, int64_t rows, int64_t cols, bool nested) {
        const Golden golden = read_golden("nf4/examples.txt");
        quant_map_ = golden.f32.at("quant_map");
        nested_map_ = golden.f32.at("nested_map");
        const int64_t count = rows * cols;
        const int64_t blocks = (count + 63) / 64;
        codes_.resize(static_cast<size_t>((count + 1) / 2));
        absmax_.resize(static_cast<size_t>(blocks));
        EXPECT_EQ(ftc_nf4_quantize(device, codes_.data(), absmax_.data(), x.data(), count), FTC_OK)
            << ftc_last_error_message();
        weight_.struct_size = sizeof(weight_);
        weight_.format = FTC_WEIGHT_NF4;
        weight_.rows = rows;
        weight_.cols = cols;
        weight_.data = codes_.data();
        weight_.absmax = absmax_.data();
        weight_.quant_map = quant_map_.data();
        weight_.block_size = 64;
        if (!nested) return;
        nested_codes_.resize(absmax_.size());
        nested_absmax_.resize(static_cast<size_t>((blocks + 255) / 256));
        Vector<float> offset(1);
        EXPECT_EQ(ftc_nf4_quantize_absmax(device, nested_codes_.data(), nested_absmax_.data(), offset.data(),
                                          absmax_.data(), nested_map_.data(), blocks),
                  FTC_OK)
            << ftc_last_error_message();
        weight_.nested_offset = offset[0];
        weight_.absmax = nested_codes_.data();
        weight_.nested_absmax = nested_absmax_.data();
        weight_.nested_map = nested_map_.data();
        weight_.nested_block_size = 256;
    }

    const ftc_weight* operator&() const { return &weight_; }
    const Vector<uint8_t>& codes() const { return codes_; }
    const Vector<float>& absmax() const { return absmax_; }
    const Vector<uint8_t>& nested_codes() const { return nested_codes_; }
    const Vector<float>& nested_absmax() const { return nested_absmax_; }
    float nested_offset() const { return weight_.nested_offset; }

    Vector<float> dequantize(const Device& device, int64_t row_begin = 0, int64_t row_count = -1) const {
        if (row_count < 0) row_count = weight_.rows;
        Vector<float> y(static_cast<size_t>(row_count * weight_.cols));
        EXPECT_EQ(
            device.wait(ftc_weight_dequantize(device, y.data(), FTC_F32, weight_.cols, &weight_, row_begin, row_count)),
            FTC_OK)
            << ftc_last_error_message();
        return y;
    }
    Bf16Matrix dequantize_bf16(const Device& device, int64_t padding, int64_t row_begin, int64_t row_count) const {
        Bf16Matrix y(row_count, weight_.cols, padding);
        EXPECT_EQ(
            device.wait(ftc_weight_dequantize(device, y.ptr(), FTC_BF16, y.stride, &weight_, row_begin, row_count)),
            FTC_OK)
            << ftc_last_error_message();
        return y;
    }

private:
    ftc_weight weight_{};
    Vector<uint8_t> codes_, nested_codes_;
    Vector<float> absmax_, nested_absmax_, quant_map_, nested_map_;
};

} // namespace ftc::testing
