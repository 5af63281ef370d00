// Weights in int8 or in affine groups, made from fp32 data through the C ABI, with the arrays they point to.
#pragma once

#include "testing.h"

namespace ftc::testing {

struct PackedWeight {
    ftc_weight weight{};
    Vector<uint8_t> codes;
    Vector<float> scale, minimum;

    PackedWeight() = default;
    PackedWeight(const PackedWeight&) = delete; // weight points into the vectors
    const ftc_weight* operator&() const { return &weight; }
};

inline void make_int8(PackedWeight& w, const Device& device, const Vector<float>& x, int64_t rows, int64_t cols) {
    w.codes.assign(static_cast<size_t>(rows * cols), 0xaa);
    w.scale.assign(static_cast<size_t>(rows), -1.0f);
    EXPECT_EQ(device.wait(ftc_int8_quantize(device, reinterpret_cast<int8_t*>(w.codes.data()), w.scale.data(), x.data(),
                                            rows, cols, static_cast<int64_t>(x.size()) / rows)),
              FTC_OK)
        << ftc_last_error_message();
    w.weight = {};
    w.weight.struct_size = sizeof(w.weight);
    w.weight.format = FTC_WEIGHT_INT8;
    w.weight.rows = rows;
    w.weight.cols = cols;
    w.weight.data = w.codes.data();
    w.weight.scale = w.scale.data();
}

// x is [rows, anything >= cols].
inline void make_affine(PackedWeight& w, const Device& device, const Vector<float>& x, int64_t rows, int64_t cols,
                        int32_t bits, int32_t group_size, bool search = false) {
    w.codes.assign(static_cast<size_t>(rows * cols * bits / 8), 0xaa);
    w.scale.assign(static_cast<size_t>(rows * cols / group_size), -1.0f);
    w.minimum.assign(w.scale.size(), -1.0f);
    ftc_affine_quantize_params p{};
    p.struct_size = sizeof(p);
    p.bits = bits;
    p.rows = rows;
    p.cols = cols;
    p.x_row_stride = static_cast<int64_t>(x.size()) / rows;
    p.group_size = group_size;
    p.search = search ? 1 : 0;
    EXPECT_EQ(device.wait(ftc_affine_quantize(device, w.codes.data(), w.scale.data(), w.minimum.data(), x.data(), &p)),
              FTC_OK)
        << ftc_last_error_message();
    w.weight = {};
    w.weight.struct_size = sizeof(w.weight);
    w.weight.format = FTC_WEIGHT_AFFINE;
    w.weight.rows = rows;
    w.weight.cols = cols;
    w.weight.data = w.codes.data();
    w.weight.bits = bits;
    w.weight.group_size = group_size;
    w.weight.scale = w.scale.data();
    w.weight.minimum = w.minimum.data();
}

// Every packed format that weights of `cols` columns can have: int8, then bits and groups.
struct PackedFormat {
    int32_t bits; // 8: int8
    int32_t group_size;
};
inline std::vector<PackedFormat> packed_formats(int64_t cols) {
    std::vector<PackedFormat> formats{{8, 0}};
    for (const int32_t bits : {4, 3, 2})
        for (const int32_t group : {32, 64, 128})
            if (cols % group == 0) formats.push_back({bits, group});
    return formats;
}
inline void make_packed(PackedWeight& w, const Device& device, const Vector<float>& x, int64_t rows, int64_t cols,
                        const PackedFormat& format) {
    if (format.bits == 8)
        make_int8(w, device, x, rows, cols);
    else
        make_affine(w, device, x, rows, cols, format.bits, format.group_size);
}

// Code of element (row, col) as ftc.h lays them out.
inline int32_t code_of(const PackedWeight& w, int64_t row, int64_t col) {
    if (w.weight.format == FTC_WEIGHT_INT8)
        return static_cast<int8_t>(w.codes[static_cast<size_t>(row * w.weight.cols + col)]);
    const uint8_t* bytes = w.codes.data() + row * w.weight.cols * w.weight.bits / 8;
    int32_t code = 0;
    for (int32_t i = 0; i < w.weight.bits; i++) {
        const int64_t bit = col * w.weight.bits + i;
        code |= (bytes[bit / 8] >> (bit % 8) & 1) << i;
    }
    return code;
}

// a b + c, rounded once. What mingw-w64 calls std::fma rounds twice; there 113 bits hold the sums of these tests.
inline float fused(float a, float b, float c) {
#if defined(_WIN32)
    return static_cast<float>(static_cast<__float128>(a) * b + c);
#else
    return std::fma(a, b, c);
#endif
}

// The value ftc.h defines.
inline float value_of(const PackedWeight& w, int64_t row, int64_t col) {
    const auto code = static_cast<float>(code_of(w, row, col));
    if (w.weight.format == FTC_WEIGHT_INT8) return code * w.scale[static_cast<size_t>(row)];
    const auto group = static_cast<size_t>(row * (w.weight.cols / w.weight.group_size) + col / w.weight.group_size);
    return fused(w.scale[group], code, w.minimum[group]);
}

inline Vector<float> dequantize(const PackedWeight& w, const Device& device) {
    Vector<float> y(static_cast<size_t>(w.weight.rows * w.weight.cols));
    EXPECT_EQ(device.wait(ftc_weight_dequantize(device, y.data(), FTC_F32, w.weight.cols, &w.weight, 0, w.weight.rows)),
              FTC_OK)
        << ftc_last_error_message();
    return y;
}

} // namespace ftc::testing
