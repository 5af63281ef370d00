// A linear layer on bf16 activations with its data, run through the C ABI.
#pragma once

#include "bf16_matrix.h"
#include "everywhere.h"
#include "ops/linear/linear_case.h"
#include "ops/quant/packed_weight.h"

namespace ftc::testing::bf16_linear {

struct Case {
    int64_t m, n, k, rank;
    float dropout;
    bool bias, border, packed; // packed: NF4 with double quantisation
    int64_t adapters = 1;      // in equal segments, the last one leaves a row out; several begin with an empty one
    int64_t pool = 1;          // > 1: QA-LoRA, but every second adapter
    PackedFormat format = {0, 0}; // packed: in place of NF4
    bool odd_strides = false;     // of x, dy and the weight
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.m << "x" << c.n << "x" << c.k << " rank " << c.rank << " dropout " << c.dropout << (c.bias ? " bias" : "")
               << (c.border ? " border" : "") << (c.packed ? " nf4" : "") << " adapters " << c.adapters
               << " pool " << c.pool << " format " << c.format.bits << '/' << c.format.group_size;
}

inline void round_all(Vector<float>& values) {
    for (float& value : values) value = rounded_to_bf16(value);
}

// A matrix of the case in bf16, with room for a border behind every row.
inline Bf16Matrix with_border(const Vector<float>& values, int64_t rows, int64_t cols, int64_t border, int64_t extra_rows = 0,
                              bool odd_stride = false) {
    Bf16Matrix m(rows + extra_rows, cols, (cols + border + 7) / 8 * 8 - cols + (odd_stride ? 1 : 0));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            m.data[static_cast<size_t>(i * m.stride + j)] = bf16_bits(values[static_cast<size_t>(i * cols + j)]);
    return m;
}

inline Matrix columns_of(const Bf16Matrix& m) {
    Matrix wide(m.rows, m.cols);
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) wide.at(i, j) = bf16_value(m.data[static_cast<size_t>(i * m.stride + j)]);
    return wide;
}

inline Matrix matrix_of(const Vector<float>& values, int64_t rows, int64_t cols) {
    Matrix m(rows, cols);
    std::copy(values.begin(), values.end(), m.data.begin());
    return m;
}

inline ReferenceLinear reference_of(const Case& c) {
    ReferenceLinear l = random_linear(c.m, c.n, c.k, c.bias);
    round_all(l.x);
    round_all(l.dy);
    round_all(l.w);
    const int64_t part = (c.m + c.adapters - 1) / c.adapters;
    if (c.adapters > 1) add_segment(l, 0, 0, 2);
    for (int64_t i = 0; i < c.adapters && c.rank > 0; i++) {
        const int64_t end = std::min((i + 1) * part, i + 1 == c.adapters && c.adapters > 1 ? c.m - 1 : c.m);
        if (i * part < end) add_segment(l, i * part, end, c.rank + 3 * i, c.dropout, i % 2 == 0 ? c.pool : 1);
    }
    return l;
}

// y, dx, dweight, dbias, then da and db of every adapter.
inline Outputs run(Device& device, const Case& c, const ReferenceLinear& l, const ftc_weight* packed) {
    int64_t rank = 0;
    for (const ReferenceSegment& s : l.segments) rank += s.rank;
    ftc_linear_layout layout{};
    layout.struct_size = sizeof(layout);
    EXPECT_EQ(ftc_linear_get_layout(device.context(), c.k, c.n, rank, FTC_BF16, &layout), FTC_OK);
    const int32_t border = c.border ? layout.border : 0;
    Bf16Matrix x = with_border(l.x, c.m, c.k, border, 0, c.odd_strides), dy = with_border(l.dy, c.m, c.n, border, 0, c.odd_strides);
    Bf16Matrix w = with_border(l.w, c.n, c.k, border, border, c.odd_strides);
    Bf16Matrix y(c.m, c.n, 8), dx(c.m, c.k, 8);
    ftc_weight weight{};
    weight.struct_size = sizeof(weight);
    weight.format = FTC_WEIGHT_BF16;
    weight.rows = c.n;
    weight.cols = c.k;
    weight.row_stride = w.stride;
    weight.data = w.ptr();
    weight.border = border;
    if (packed != nullptr) weight = *packed;

    Outputs out(4);
    out[2] = Matrix(c.n, c.k);
    out[3] = Matrix(1, c.n);
    Vector<ftc_lora_segment> segments;
    Vector<Vector<float>> down;
    for (const ReferenceSegment& s : l.segments) {
        down.emplace_back(static_cast<size_t>((s.row_end - s.row_begin) * s.rank + 1));
        out.emplace_back(s.rank, c.k / s.pool);
        out.emplace_back(c.n, s.rank);
    }
    for (size_t i = 0; i < l.segments.size(); i++) {
        const ReferenceSegment& s = l.segments[i];
        ftc_lora_segment segment{};
        segment.struct_size = sizeof(segment);
        segment.rank = static_cast<int32_t>(s.rank);
        segment.row_begin = s.row_begin;
        segment.row_end = s.row_end;
        segment.a = s.a.data();
        segment.b = s.b.data();
        segment.s = down[i].data();
        segment.da = out[4 + 2 * i].ptr();
        segment.db = out[5 + 2 * i].ptr();
        segment.scaling = s.scaling;
        segment.dropout_probability = s.dropout_probability;
        segment.dropout_seed = s.seed;
        segment.pool = static_cast<int32_t>(s.pool);
        segments.push_back(segment);
    }
    ftc_linear_params p{};
    p.struct_size = sizeof(p);
    p.dtype = FTC_BF16;
    p.rows = c.m;
    p.x_row_stride = x.stride;
    p.y_row_stride = y.stride;
    p.dx_row_stride = dx.stride;
    p.dy_row_stride = dy.stride;
    p.dweight_row_stride = c.k;
    p.x_border = p.dy_border = border;
    p.dropout_step = l.step;
    p.dropout_samples = l.samples.data();
    p.dropout_positions = l.positions.data();
    ftc_linear_workspace_params shape = workspace_shape(weight, c.m, rank);
    shape.dtype = FTC_BF16;
    shape.border = border;
    int64_t bytes = 0;
    EXPECT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK);
    Vector<char> workspace(static_cast<size_t>(bytes));
    const auto count = static_cast<int32_t>(segments.size());
    EXPECT_EQ(device.wait(ftc_linear_forward(device, y.ptr(), x.ptr(), &weight, l.bias.empty() ? nullptr : l.bias.data(),
                                             segments.data(), count, &p, workspace.data(), bytes)),
              FTC_OK)
        << ftc_last_error_message();
    EXPECT_EQ(device.wait(ftc_linear_backward(device, dx.ptr(), out[2].ptr(), out[3].ptr(), dy.ptr(), x.ptr(), &weight,
                                              segments.data(), count, &p, workspace.data(), bytes)),
              FTC_OK)
        << ftc_last_error_message();
    out[0] = y.widened();
    out[1] = dx.widened();
    // The matrices themselves are untouched, only their borders may be written.
    EXPECT_EQ(columns_of(x).data, matrix_of(l.x, c.m, c.k).data);
    EXPECT_EQ(columns_of(dy).data, matrix_of(l.dy, c.m, c.n).data);
    return out;
}

} // namespace ftc::testing::bf16_linear
