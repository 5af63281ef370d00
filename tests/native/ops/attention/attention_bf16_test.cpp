#include "bf16_matrix.h"
#include "everywhere.h"
#include "ops/attention/attention_bf16_reference.h"
#include "ops/attention/attention_intervals.h"

namespace ftc::testing {
namespace {

// Every matrix with this much padding behind its rows: 8 keeps rows on 16 bytes where head_dim allows it.
struct Inputs {
    Bf16Matrix q, k, v, dout;
    Inputs(const AttentionShape& s, int64_t padding)
        : q(Bf16Matrix::random(s.query_rows, s.heads * s.head_dim, padding, 1, 2.0f)),
          k(Bf16Matrix::random(s.key_rows, s.key_value_heads * s.head_dim, padding, 2, 2.0f)),
          v(Bf16Matrix::random(s.key_rows, s.key_value_heads * s.head_dim, padding, 3)),
          dout(Bf16Matrix::random(s.query_rows, s.heads * s.head_dim, padding, 4)) {}
};

Vector<char> workspace_of(Device& device, const ftc_attention_params& p, int32_t backward) {
    int64_t bytes = 0;
    EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, backward, &bytes), FTC_OK)
        << ftc_last_error_message();
    return Vector<char>(size_t(bytes), 'x');
}

struct Forward {
    Bf16Matrix o;
    Matrix lse;
};

Forward forward(Device& device, const AttentionShape& s, const Inputs& in, int64_t padding) {
    Forward out{Bf16Matrix(s.query_rows, s.heads * s.head_dim, padding), Matrix(s.query_rows, s.heads)};
    ftc_attention_params p = params_of(s, FTC_BF16);
    p.q_row_stride = in.q.stride;
    p.k_row_stride = in.k.stride;
    p.v_row_stride = in.v.stride;
    p.o_row_stride = out.o.stride;
    Vector<char> workspace = workspace_of(device, p, 0);
    EXPECT_EQ(device.wait(ftc_attention_forward(device, out.o.ptr(), out.lse.ptr(), in.q.ptr(), in.k.ptr(), in.v.ptr(),
                                                s.key_begin.empty() ? nullptr : s.key_begin.data(), &p,
                                                workspace.data(), int64_t(workspace.size()))),
              FTC_OK)
        << ftc_last_error_message();
    return out;
}

// dq, dk, dv.
Outputs backward(Device& device, const AttentionShape& s, const Inputs& in, const Bf16Matrix& o, const Matrix& lse,
                 int64_t padding) {
    const int64_t key_width = s.key_value_heads * s.head_dim;
    Bf16Matrix dq(s.query_rows, s.heads * s.head_dim, padding), dk(s.key_rows, key_width, padding),
        dv(s.key_rows, key_width, padding);
    ftc_attention_params p = params_of(s, FTC_BF16);
    p.q_row_stride = in.q.stride;
    p.k_row_stride = in.k.stride;
    p.v_row_stride = in.v.stride;
    p.o_row_stride = o.stride;
    p.dq_row_stride = dq.stride;
    p.dk_row_stride = dk.stride;
    p.dv_row_stride = dv.stride;
    p.do_row_stride = in.dout.stride;
    Vector<char> workspace = workspace_of(device, p, 1);
    EXPECT_EQ(device.wait(ftc_attention_backward(device, dq.ptr(), dk.ptr(), dv.ptr(), in.dout.ptr(), in.q.ptr(),
                                                 in.k.ptr(), in.v.ptr(), o.ptr(), lse.ptr(),
                                                 s.key_begin.empty() ? nullptr : s.key_begin.data(), &p,
                                                 workspace.data(), int64_t(workspace.size()))),
              FTC_OK)
        << ftc_last_error_message();
    return {dq.widened(), dk.widened(), dv.widened()};
}

class AttentionBf16 : public ::testing::TestWithParam<std::tuple<AttentionShape, int64_t>> {};

TEST_P(AttentionBf16, ForwardStaysWithinRounding) {
    const auto& [s, padding] = GetParam();
    const Inputs in(s, padding);
    const auto exact = attention_bounds(s, in.q.widened(), in.k.widened(), in.v.widened());
    const auto op = [&, &s = s, padding = padding](Device& device) {
        Forward out = forward(device, s, in, padding);
        return Outputs{out.o.widened(), out.lse};
    };
    for (const auto& [variant, out] : run_everywhere(op)) {
        expect_within(out[0], exact.o, variant + " o");
        expect_within(out[1], exact.lse, variant + " lse");
    }
}

TEST_P(AttentionBf16, BackwardStaysWithinRounding) {
    const auto& [s, padding] = GetParam();
    const Inputs in(s, padding);
    const Matrix q = in.q.widened(), k = in.k.widened(), v = in.v.widened();
    const auto result = attention_reference<double>(s, q, k, v);
    Matrix o_wide(s.query_rows, s.heads * s.head_dim), lse(s.query_rows, s.heads);
    for (size_t i = 0; i < o_wide.data.size(); ++i) o_wide.data[i] = float(result.o[i]);
    for (size_t i = 0; i < lse.data.size(); ++i) lse.data[i] = float(result.lse[i]);
    const Bf16Matrix o = Bf16Matrix::rounded(o_wide, padding);
    const auto exact = attention_gradient_bounds(s, in.dout.widened(), q, k, v, o.widened(), lse);
    const auto op = [&, &s = s, padding = padding](Device& device) { return backward(device, s, in, o, lse, padding); };
    for (const auto& [variant, out] : run_everywhere(op)) {
        expect_within(out[0], exact.dq, variant + " dq");
        expect_within(out[1], exact.dk, variant + " dk");
        expect_within(out[2], exact.dv, variant + " dv");
    }
}

const AttentionShape kShapes[] = {
    {1, 0, 1, 1, 1, 8, {}},
    {3, 0, 3, 2, 1, 8, {}},
    {17, 0, 17, 4, 2, 80, {}},
    {64, 0, 64, 1, 1, 128, {}},
    {65, 0, 65, 8, 2, 64, {}},
    {257, 0, 257, 2, 1, 96, {}},
    {130, 40, 175, 4, 1, 24, {}},
    {33, 0, 33, 3, 3, 17, {}},
    {150, 0, 150, 2, 1, 128, documents({1, 63, 64, 22})},
    {150, 0, 150, 4, 2, 8, window(150, 0, 37)},
    {70, 130, 200, 2, 2, 64, window(70, 130, 64)},
    {200, 0, 200, 2, 1, 32, shifted_groups(200, 64, 0)},
    {200, 0, 200, 2, 1, 32, shifted_groups(200, 64, 32)},
    {1, 300, 301, 4, 1, 128, {290}},
    {1, 599, 600, 8, 8, 64, {}},
    {3, 600, 610, 6, 2, 96, {}},
    {2, 255, 257, 16, 1, 80, {}},
    {8, 700, 708, 2, 1, 64, window(8, 700, 300)},
};

INSTANTIATE_TEST_SUITE_P(Aligned, AttentionBf16,
                         ::testing::Combine(::testing::ValuesIn(kShapes), ::testing::Values(int64_t{8})));
INSTANTIATE_TEST_SUITE_P(Unaligned, AttentionBf16,
                         ::testing::Combine(::testing::Values(kShapes[2], kShapes[4], kShapes[8], kShapes[15]),
                                            ::testing::Values(int64_t{3})));

TEST(AttentionBf16, RowsWithoutKeysGiveZero) {
    // Row 0 sees key 0, rows 1 to 79 see none, rows from 80 on see themselves alone.
    AttentionShape s{140, 0, 140, 2, 1, 64, {}};
    for (int32_t i = 0; i < 140; ++i) s.key_begin.push_back(i == 0 ? 0 : std::max(i, 80));
    const Inputs in(s, 8);
    run_everywhere([&](Device& device) {
        const Forward out = forward(device, s, in, 8);
        const Matrix o = out.o.widened(), v = in.v.widened();
        for (int64_t row : {1, 63, 64, 79}) {
            for (int64_t c = 0; c < o.cols; ++c) EXPECT_EQ(o.at(row, c), 0.0f);
            EXPECT_EQ(out.lse.at(row, 1), -std::numeric_limits<float>::infinity());
        }
        for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(o.at(100, c), v.at(100, c));
        const Outputs gradient = backward(device, s, in, out.o, out.lse, 8);
        for (int64_t row : {1, 63, 64, 79})
            for (int64_t c = 0; c < o.cols; ++c) EXPECT_EQ(gradient[0].at(row, c), 0.0f);
        for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(gradient[2].at(64, c), 0.0f);
        return gradient;
    });
}

TEST(AttentionBf16, BitsOfARowDependOnItsOwnKeysAlone) {
    for (const int32_t head_dim : {64, 128}) {
        const AttentionShape all{200, 0, 200, 2, 1, head_dim, {}}, some{137, 63, 200, 2, 1, head_dim, {}};
        const Inputs in(all, 8);
        Inputs rest = in;
        rest.q = Bf16Matrix(137, in.q.cols, 8);
        for (int64_t r = 0; r < 137; ++r)
            std::copy_n(in.q.ptr() + (r + 63) * in.q.stride, in.q.cols, rest.q.ptr() + r * rest.q.stride);
        Device device;
        const Forward whole = forward(device, all, in, 8), part = forward(device, some, rest, 8);
        for (int64_t r = 0; r < 137; ++r) {
            EXPECT_EQ(std::memcmp(whole.o.ptr() + (r + 63) * whole.o.stride, part.o.ptr() + r * part.o.stride,
                                  size_t(in.q.cols) * 2),
                      0)
                << "head_dim " << head_dim << ", row " << r;
            EXPECT_EQ(whole.lse.at(r + 63, 1), part.lse.at(r, 1)) << "head_dim " << head_dim << ", row " << r;
        }
    }
}

TEST(AttentionBf16, RefusesWhatItCannotDo) {
    Device device;
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    ASSERT_EQ(ftc_context_get_info(device.context(), &info), FTC_OK);
    if (std::string(info.device_kind) != "cuda") GTEST_SKIP() << "the CPU library refuses none of this";
    ftc_attention_params p = params_of({2, 0, 2, 1, 1, 136, {}}, FTC_BF16);
    int64_t bytes = 0;
    EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, 0, &bytes), FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(
        ftc_last_error_message(),
        "ftc_attention_workspace_bytes: head_dim is 136, the CUDA library has attention for head_dim up to 128 "
        "in FTC_BF16 and up to 256 in FTC_F32");
    p.head_dim = 8;
    p.scale = -1.0f;
    p.q_row_stride = p.k_row_stride = p.v_row_stride = p.o_row_stride = 8;
    Vector<uint16_t> x(16);
    Vector<char> workspace = workspace_of(device, p, 0);
    EXPECT_EQ(ftc_attention_forward(device, x.data(), nullptr, x.data(), x.data(), x.data(), nullptr, &p,
                                    workspace.data(), int64_t(workspace.size())),
              FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_attention_forward: scale is -1, the CUDA library has attention in FTC_BF16 for scale > 0");
}

TEST(AttentionBf16, KeyIntervalsThatGoBackAreReportedAndStayInBounds) {
    for (const int64_t rows : {int64_t{4}, int64_t{200}}) {
        AttentionShape s{rows, 0, rows, 2, 1, 32, {}};
        for (int64_t i = 0; i < rows; ++i) s.key_begin.push_back(i == 2 ? -7 : i % 3 == 0 ? 1000000 : 0);
        const Inputs in(s, 8);
        for (const std::string& variant : variants()) {
            Device device(variant);
            Bf16Matrix o(rows, 64, 8), dq(rows, 64, 8), dk(rows, 32, 8), dv(rows, 32, 8);
            Matrix lse(rows, 2);
            ftc_attention_params p = params_of(s, FTC_BF16);
            p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = in.q.stride;
            p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = in.k.stride;
            Vector<char> workspace = workspace_of(device, p, 0), backward_workspace = workspace_of(device, p, 1);
            EXPECT_EQ(
                device.wait(ftc_attention_forward(device, o.ptr(), lse.ptr(), in.q.ptr(), in.k.ptr(), in.v.ptr(),
                                                  s.key_begin.data(), &p, workspace.data(), int64_t(workspace.size()))),
                FTC_ERROR_INVALID_ARGUMENT);
            EXPECT_NE(std::string(ftc_last_error_message()).find("ftc_attention_forward: key_begin["),
                      std::string::npos)
                << ftc_last_error_message();
            EXPECT_EQ(
                device.wait(ftc_attention_backward(device, dq.ptr(), dk.ptr(), dv.ptr(), in.dout.ptr(), in.q.ptr(),
                                                   in.k.ptr(), in.v.ptr(), o.ptr(), lse.ptr(), s.key_begin.data(), &p,
                                                   backward_workspace.data(), int64_t(backward_workspace.size()))),
                FTC_ERROR_INVALID_ARGUMENT);
            EXPECT_NE(std::string(ftc_last_error_message()).find("ftc_attention_backward: key_begin["),
                      std::string::npos)
                << ftc_last_error_message();
            EXPECT_EQ(ftc_stream_synchronize(device), FTC_OK) << "the mistake is reported once";
        }
    }
}

} // namespace
} // namespace ftc::testing
