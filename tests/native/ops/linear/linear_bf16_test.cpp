// The linear layer on bf16 activations: against the reference in double on the same rounded numbers. Sums are fp32; what
// is rounded to bf16 on the way are the result, the bias, and A, B, S and dS of the adapters, so their terms may be wrong
// by a few bf16 roundings of their size.
#include <memory>

#include "bf16_matrix.h"
#include "everywhere.h"
#include "ops/linear/linear_case.h"
#include "ops/quant/nf4_weight.h"
#include "ops/quant/packed_weight.h"

namespace ftc::testing {
namespace {

struct Case {
    int64_t m, n, k, rank;
    float dropout;
    bool bias, border, packed; // packed: NF4 with double quantisation
    int64_t adapters = 1;      // in equal segments, the last one leaves a row out; several begin with an empty one
    int64_t pool = 1;          // > 1: QA-LoRA, but every second adapter
    PackedFormat format = {0, 0}; // packed: in place of NF4
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.m << "x" << c.n << "x" << c.k << " rank " << c.rank << " dropout " << c.dropout << (c.bias ? " bias" : "")
               << (c.border ? " border" : "") << (c.packed ? " nf4" : "") << " adapters " << c.adapters
               << " pool " << c.pool << " format " << c.format.bits << '/' << c.format.group_size;
}

void round_all(Vector<float>& values) {
    for (float& value : values) value = rounded_to_bf16(value);
}

// A matrix of the case in bf16, with room for a border behind every row.
Bf16Matrix with_border(const Vector<float>& values, int64_t rows, int64_t cols, int64_t border, int64_t extra_rows = 0) {
    Bf16Matrix m(rows + extra_rows, cols, (cols + border + 7) / 8 * 8 - cols);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            m.data[static_cast<size_t>(i * m.stride + j)] = bf16_bits(values[static_cast<size_t>(i * cols + j)]);
    return m;
}

Matrix columns_of(const Bf16Matrix& m) {
    Matrix wide(m.rows, m.cols);
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) wide.at(i, j) = bf16_value(m.data[static_cast<size_t>(i * m.stride + j)]);
    return wide;
}

Matrix matrix_of(const Vector<float>& values, int64_t rows, int64_t cols) {
    Matrix m(rows, cols);
    std::copy(values.begin(), values.end(), m.data.begin());
    return m;
}

ReferenceLinear reference_of(const Case& c) {
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
Outputs run(Device& device, const Case& c, const ReferenceLinear& l, const ftc_weight* packed) {
    int64_t rank = 0;
    for (const ReferenceSegment& s : l.segments) rank += s.rank;
    ftc_linear_layout layout{};
    layout.struct_size = sizeof(layout);
    EXPECT_EQ(ftc_linear_get_layout(device.context(), c.k, c.n, rank, FTC_BF16, &layout), FTC_OK);
    const int32_t border = c.border ? layout.border : 0;
    Bf16Matrix x = with_border(l.x, c.m, c.k, border), dy = with_border(l.dy, c.m, c.n, border);
    Bf16Matrix w = with_border(l.w, c.n, c.k, border, border);
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

// LoRA and bias alone with every number positive: how large the terms are that are rounded to bf16 on the way.
ReferenceLinear sizes_of(ReferenceLinear l, bool packed) {
    const auto positive = [](Vector<float>& values) {
        for (float& value : values) value = std::abs(value);
    };
    positive(l.x);
    positive(l.dy);
    // Up to eight rows multiply packed weights as they are; the reference has them rounded once (of the four below).
    for (float& w : l.w) w = packed && l.m <= 8 ? 0.25f * std::abs(w) : 0.0f;
    positive(l.bias);
    for (ReferenceSegment& s : l.segments) {
        positive(s.a);
        positive(s.b);
    }
    return l;
}

// result_ulps: roundings of the result itself, 0 for fp32 outputs.
void expect_near(const Matrix& actual, const Vector<double>& exact, const Vector<double>& sizes, double roundings,
                 int result_ulps, double fp32_error, const std::string& what) {
    ASSERT_EQ(exact.size(), actual.data.size()) << what;
    for (size_t i = 0; i < exact.size(); i++) {
        const double slack = roundings * std::ldexp(sizes[i], -9) + fp32_error;
        // What is rounded before the LoRA part is added may be larger than the result, by that part.
        double allowed = slack;
        if (result_ulps > 0) allowed += half_ulp_bf16(std::abs(exact[i]) + slack);
        if (result_ulps > 1) allowed += half_ulp_bf16(std::abs(exact[i]) + sizes[i] + slack);
        ASSERT_LE(std::abs(static_cast<double>(actual.data[i]) - exact[i]), allowed)
            << what << ", element " << i << " is " << actual.data[i] << ", expected " << exact[i];
    }
}

// Holds the results of the variants that see the weight rounded, or of those that do not, against the layer with that
// weight.
void expect_results(const Case& c, const ReferenceLinear& l, const Vector<std::pair<std::string, Outputs>>& results,
                    bool rounded) {
    if (c.packed && std::none_of(results.begin(), results.end(),
                                 [&](const auto& result) { return rounds_weights(result.first) == rounded; }))
        return;
    if (!c.packed && rounded) return; // the same numbers
    const Vector<double> y = reference_forward<double>(l);
    const auto g = reference_backward<double>(l);
    const ReferenceLinear sizes = sizes_of(l, c.packed);
    const Vector<double> y_sizes = reference_forward<double>(sizes);
    const auto g_sizes = reference_backward<double>(sizes);
    const double fp32 = 1e-6 * static_cast<double>(c.k + c.n + c.m);
    for (const auto& [variant, out] : results) {
        if (c.packed && rounds_weights(variant) != rounded) continue;
        // Without a border (and in dx with dropout) the LoRA part is added to a result that was rounded already.
        expect_near(out[0], y, y_sizes, 4, 2, fp32, variant + " y");
        expect_near(out[1], g.dx, g_sizes.dx, 4, 2, fp32, variant + " dx");
        expect_near(out[2], g.dweight, g_sizes.dweight, 0, 0, fp32, variant + " dweight");
        expect_near(out[3], g.dbias, g_sizes.dbias, 0, 0, fp32, variant + " dbias");
        for (size_t i = 0; i < l.segments.size(); i++) {
            expect_near(out[4 + 2 * i], g.da[i], g_sizes.da[i], 4, 0, fp32, variant + " da");
            expect_near(out[5 + 2 * i], g.db[i], g_sizes.db[i], 4, 0, fp32, variant + " db");
        }
    }
}

class LinearBf16 : public ::testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        if (!computes_bf16()) GTEST_SKIP() << "this library computes in fp32";
    }
};

TEST_P(LinearBf16, MatchesTheReference) {
    const Case c = GetParam();
    ReferenceLinear l = reference_of(c);
    std::unique_ptr<Nf4Weight> nf4;
    PackedWeight other;
    const ftc_weight* packed = nullptr;
    if (c.packed) {
        const Device device;
        if (c.format.bits == 0) {
            nf4 = std::make_unique<Nf4Weight>(device, l.w, c.n, c.k, true);
            l.w = nf4->dequantize(device);
            packed = &*nf4;
        } else {
            make_packed(other, device, l.w, c.n, c.k, c.format);
            l.w = dequantize(other, device);
            packed = &other;
        }
    }
    const auto results = run_everywhere([&](Device& device) { return run(device, c, l, packed); });
    for (const bool rounded : {false, true}) {
        if (rounded) round_all(l.w);
        expect_results(c, l, results, rounded);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LinearBf16,
    ::testing::Values(Case{1, 8, 8, 0, 0, false, false, false}, Case{3, 24, 40, 1, 0, true, true, false},
                      Case{17, 33, 50, 5, 0.25f, false, false, false}, Case{64, 64, 64, 8, 0, true, false, false},
                      Case{65, 72, 136, 16, 0, false, true, false}, Case{40, 300, 64, 16, 0.5f, true, true, false},
                      Case{33, 48, 530, 24, 0.1f, false, true, false}, Case{70, 40, 96, 64, 0, false, true, false},
                      Case{20, 32, 48, 70, 0.3f, false, false, false}, Case{257, 16, 24, 16, 0, false, true, false},
                      Case{5, 128, 64, 8, 0, true, true, true}, Case{48, 64, 172, 16, 0.25f, false, false, true},
                      Case{31, 40, 56, 4, 0, true, true, false, 3}, Case{31, 40, 56, 4, 0.2f, false, true, true, 2},
                      // NF4 multiplied packed: one row to more than a tile of them, either direction split or not
                      Case{1, 96, 128, 0, 0, false, false, true}, Case{1, 70, 1088, 8, 0, true, false, true},
                      Case{2, 33, 64, 5, 0.3f, false, false, true}, Case{4, 40, 192, 16, 0, false, true, true},
                      Case{7, 64, 1024, 40, 0, true, false, true}, Case{3, 36, 3136, 8, 0, false, false, true}, Case{9, 130, 64, 8, 0, false, false, true},
                      Case{16, 64, 576, 0, 0, true, false, true}, Case{31, 600, 128, 16, 0.5f, false, true, true},
                      Case{33, 72, 320, 4, 0, true, true, true, 2}, Case{100, 136, 192, 8, 0, false, false, true},
                      Case{140, 64, 128, 16, 0.1f, false, true, true}));

// QA-LoRA, alone and beside LoRA, over affine weights and others; int8 and affine weights.
INSTANTIATE_TEST_SUITE_P(
    QaLora, LinearBf16,
    ::testing::Values(Case{1, 24, 96, 5, 0, true, true, true, 1, 32, {4, 32}}, Case{3, 40, 64, 1, 0.25f, false, false, true, 1, 64, {3, 64}},
                      Case{17, 33, 160, 24, 0, true, true, true, 1, 32, {2, 32}}, Case{64, 24, 1184, 8, 0.1f, false, true, false, 1, 32},
                      Case{257, 16, 256, 64, 0, false, true, true, 1, 128, {4, 128}}, Case{65, 48, 128, 16, 0.5f, true, false, true, 1, 128, {3, 32}},
                      Case{31, 40, 128, 4, 0.2f, true, true, true, 3, 32, {4, 64}}, Case{31, 40, 128, 70, 0, false, true, false, 2, 64},
                      Case{2, 33, 2144, 5, 0.3f, false, false, true, 1, 32, {4, 32}}, Case{9, 130, 72, 8, 0, false, false, true, 1, 1, {8, 0}},
                      Case{3, 36, 192, 8, 0, true, false, true, 1, 64, {8, 0}}, Case{33, 72, 320, 4, 0, true, true, true, 2, 32, {3, 64}},
                      Case{140, 64, 128, 16, 0.1f, false, true, true, 1, 1, {2, 64}},
                      // multiplied packed, some columns short of a whole tile, the contraction split or not
                      Case{1, 70, 1184, 0, 0, true, false, true, 1, 1, {3, 32}}, Case{4, 40, 1088, 8, 0, false, true, true, 1, 32, {2, 64}},
                      Case{8, 33, 96, 5, 0, true, false, true, 1, 1, {8, 0}}, Case{1, 40, 3232, 16, 0, false, false, true, 1, 1, {8, 0}},
                      Case{12, 64, 2080, 8, 0, true, true, true, 1, 32, {4, 32}}, Case{16, 64, 544, 0, 0, true, false, true, 1, 1, {8, 0}},
                      Case{20, 600, 96, 8, 0.25f, false, true, true, 1, 32, {3, 32}}, Case{48, 72, 160, 4, 0, false, false, true, 1, 1, {8, 0}},
                      Case{100, 136, 224, 16, 0, true, true, true, 1, 32, {2, 32}}, Case{70, 130, 640, 8, 0.1f, false, false, true, 1, 128, {4, 128}}));

// Every rank with every number of rows, with and without dropout, bias and border.
Vector<Case> ranks_and_rows() {
    Vector<Case> cases;
    for (const int64_t rank : {1, 5, 8, 16, 24, 64})
        for (const int64_t m : {1, 3, 17, 64, 257}) {
            const bool odd = (rank + m) % 2 != 0;
            cases.push_back({m, 24, 40, rank, odd ? 0.25f : 0.0f, m % 3 != 0, rank % 3 != 0, false});
            cases.push_back({m, 24, 96, rank, odd ? 0.0f : 0.25f, m % 3 == 0, rank % 3 == 0, false, 1, 32});
        }
    return cases;
}

INSTANTIATE_TEST_SUITE_P(RanksAndRows, LinearBf16, ::testing::ValuesIn(ranks_and_rows()));

} // namespace
} // namespace ftc::testing
