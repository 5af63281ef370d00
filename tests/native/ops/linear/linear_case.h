// One linear layer with its data in padded rows, run through the C ABI.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "ops/linear/linear_reference.h"
#include "testing.h"

namespace ftc::testing {

constexpr float kPadding = 12345.0f; // must survive in the padding of every output

// Row-major [rows, cols] with `pad` more elements per row.
inline Vector<float> padded(const Vector<float>& x, int64_t rows, int64_t cols, int64_t pad) {
    Vector<float> y(static_cast<size_t>(rows * (cols + pad)), kPadding);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            y[static_cast<size_t>(i * (cols + pad) + j)] = x[static_cast<size_t>(i * cols + j)];
    return y;
}

inline Vector<float> unpadded(const Vector<float>& x, int64_t rows, int64_t cols, int64_t pad) {
    Vector<float> y;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols + pad; j++) {
            const float value = x[static_cast<size_t>(i * (cols + pad) + j)];
            if (j < cols)
                y.push_back(value);
            else
                EXPECT_EQ(value, kPadding) << "padding of row " << i << " was written";
        }
    return y;
}

struct LinearResult {
    Vector<float> y, dx, dweight, dbias;
    Vector<Vector<float>> da, db;

    bool operator==(const LinearResult&) const = default;
};

struct LinearOptions {
    int64_t pad = 3;
    bool accumulate = false; // onto `start`
    float start = 0.0f;      // what outputs hold before the call
};

inline ReferenceLinear random_linear(int64_t m, int64_t n, int64_t k, bool with_bias) {
    ReferenceLinear l{};
    l.m = m;
    l.n = n;
    l.k = k;
    l.x = random_floats(m * k, 1);
    l.dy = random_floats(m * n, 2);
    l.w = random_floats(n * k, 3);
    if (with_bias) l.bias = random_floats(n, 4);
    l.step = 77;
    for (int64_t i = 0; i < m; i++) {
        l.samples.push_back(static_cast<uint32_t>(1000 + i / 5));
        l.positions.push_back(static_cast<uint32_t>(i % 5));
    }
    return l;
}

inline void add_segment(ReferenceLinear& l, int64_t row_begin, int64_t row_end, int64_t rank, float dropout = 0.0f,
                        int64_t pool = 1) {
    const uint64_t seed = 10 + 2 * l.segments.size();
    l.segments.push_back({row_begin, row_end, rank, random_floats(rank * (l.k / pool), seed),
                          random_floats(l.n * rank, seed + 1), 0.75f, dropout, 0x123456789abcdefU + seed, pool});
}

// A weight over fp32 data; `weight` overrides it (other formats of the same matrix).
inline ftc_weight f32_weight(const float* data, int64_t n, int64_t k, int64_t row_stride) {
    ftc_weight w{};
    w.struct_size = sizeof(w);
    w.format = FTC_WEIGHT_F32;
    w.rows = n;
    w.cols = k;
    w.row_stride = row_stride;
    w.data = data;
    return w;
}

inline ftc_linear_workspace_params workspace_shape(const ftc_weight& weight, int64_t rows, int64_t rank) {
    ftc_linear_workspace_params shape{};
    shape.struct_size = sizeof(shape);
    shape.weight_format = weight.format;
    shape.rows = rows;
    shape.in_features = weight.cols;
    shape.out_features = weight.rows;
    shape.rank = rank;
    return shape;
}

// Forward, then backward with every gradient.
inline LinearResult run_linear(const Device& device, const ReferenceLinear& l, const LinearOptions& options = {},
                               const ftc_weight* weight = nullptr) {
    const int64_t pad = options.pad;
    const Vector<float> x = padded(l.x, l.m, l.k, pad), dy = padded(l.dy, l.m, l.n, pad),
                             w = padded(l.w, l.n, l.k, pad);
    const auto start = [&](int64_t rows, int64_t cols) {
        return padded(Vector<float>(static_cast<size_t>(rows * cols), options.start), rows, cols, pad);
    };
    Vector<float> y = start(l.m, l.n), dx = start(l.m, l.k), dweight = start(l.n, l.k);
    LinearResult result;
    result.dbias.assign(static_cast<size_t>(l.n), options.start);
    const ftc_weight plain = f32_weight(w.data(), l.n, l.k, l.k + pad);
    if (weight == nullptr) weight = &plain;

    Vector<ftc_lora_segment> segments;
    Vector<Vector<float>> down;
    int64_t rank = 0;
    for (const ReferenceSegment& s : l.segments) {
        rank += s.rank;
        down.emplace_back(static_cast<size_t>((s.row_end - s.row_begin) * s.rank + 1), kPadding);
        result.da.emplace_back(s.a.size(), options.start);
        result.db.emplace_back(s.b.size(), options.start);
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
        segment.da = result.da[i].data();
        segment.db = result.db[i].data();
        segment.scaling = s.scaling;
        segment.dropout_probability = s.dropout_probability;
        segment.dropout_seed = s.seed;
        segment.pool = static_cast<int32_t>(s.pool);
        segments.push_back(segment);
    }
    ftc_linear_params params{};
    params.struct_size = sizeof(params);
    params.rows = l.m;
    params.x_row_stride = params.dx_row_stride = params.dweight_row_stride = l.k + pad;
    params.y_row_stride = params.dy_row_stride = l.n + pad;
    params.accumulate = options.accumulate ? 1 : 0;
    params.dropout_step = l.step;
    params.dropout_samples = l.samples.data();
    params.dropout_positions = l.positions.data();

    int64_t bytes = 0;
    const ftc_linear_workspace_params shape = workspace_shape(*weight, l.m, rank);
    EXPECT_EQ(ftc_linear_workspace_bytes(device.context(), &shape, &bytes), FTC_OK) << ftc_last_error_message();
    Vector<float> workspace(static_cast<size_t>(bytes / 4),
                                 std::numeric_limits<float>::quiet_NaN()); // read only after written
    const auto count = static_cast<int32_t>(segments.size());
    EXPECT_EQ(ftc_linear_forward(device, y.data(), x.data(), weight, l.bias.empty() ? nullptr : l.bias.data(),
                                 segments.data(), count, &params, workspace.data(), bytes),
              FTC_OK)
        << ftc_last_error_message();
    std::fill(workspace.begin(), workspace.end(), std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(ftc_linear_backward(device, dx.data(), dweight.data(), result.dbias.data(), dy.data(), x.data(), weight,
                                  segments.data(), count, &params, workspace.data(), bytes),
              FTC_OK)
        << ftc_last_error_message();
    result.y = unpadded(y, l.m, l.n, pad);
    result.dx = unpadded(dx, l.m, l.k, pad);
    result.dweight = unpadded(dweight, l.n, l.k, pad);
    for (const auto& s : down) EXPECT_EQ(s.back(), kPadding);
    return result;
}

} // namespace ftc::testing
