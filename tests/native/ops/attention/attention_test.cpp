#include "ops/attention/attention_reference.h"

#include "everywhere.h"
#include "ops/attention/attention_intervals.h"

namespace ftc::testing {
namespace {

// Workspace of exactly the size asked for, at an address that is not aligned; what lies behind it must stay.
struct Workspace {
    int64_t bytes = 0;
    Vector<char> data;

    Workspace(Device& device, const ftc_attention_params& p, int32_t backward) {
        EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, backward, &bytes), FTC_OK)
            << ftc_last_error_message();
        data.assign(size_t(bytes) + 8, 'x');
    }
    void* ptr() { return data.data() + 4; }
    void expect_untouched_around() const {
        for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(data[i] == 'x' && data[data.size() - 1 - i] == 'x');
    }
};

struct Inputs {
    Matrix q, k, v, dout;
    explicit Inputs(const AttentionShape& s)
        : q(Matrix::random(s.query_rows, s.heads * s.head_dim, 3, 1, 2.0f)),
          k(Matrix::random(s.key_rows, s.key_value_heads * s.head_dim, 1, 2, 2.0f)),
          v(Matrix::random(s.key_rows, s.key_value_heads * s.head_dim, 2, 3)),
          dout(Matrix::random(s.query_rows, s.heads * s.head_dim, 5, 4)) {}
};

Outputs forward(Device& device, const AttentionShape& s, const Inputs& in) {
    Matrix o(s.query_rows, s.heads * s.head_dim, 3), lse(s.query_rows, s.heads);
    ftc_attention_params p = params_of(s);
    p.q_row_stride = in.q.stride;
    p.k_row_stride = in.k.stride;
    p.v_row_stride = in.v.stride;
    p.o_row_stride = o.stride;
    Workspace workspace(device, p, 0);
    EXPECT_EQ(ftc_attention_forward(device, o.ptr(), lse.ptr(), in.q.ptr(), in.k.ptr(), in.v.ptr(),
                                    s.key_begin.empty() ? nullptr : s.key_begin.data(), &p, workspace.ptr(),
                                    workspace.bytes),
              FTC_OK)
        << ftc_last_error_message();
    workspace.expect_untouched_around();
    return {o, lse};
}

Outputs backward(Device& device, const AttentionShape& s, const Inputs& in, const Matrix& o, const Matrix& lse) {
    const int64_t key_width = s.key_value_heads * s.head_dim;
    Matrix dq(s.query_rows, s.heads * s.head_dim, 3), dk(s.key_rows, key_width, 1), dv(s.key_rows, key_width, 2);
    for (float& value : dk.data) value = value == 0.0f ? 55.0f : value; // written, not added to
    ftc_attention_params p = params_of(s);
    p.q_row_stride = in.q.stride;
    p.k_row_stride = in.k.stride;
    p.v_row_stride = in.v.stride;
    p.o_row_stride = o.stride;
    p.dq_row_stride = dq.stride;
    p.dk_row_stride = dk.stride;
    p.dv_row_stride = dv.stride;
    p.do_row_stride = in.dout.stride;
    Workspace workspace(device, p, 1);
    EXPECT_EQ(ftc_attention_backward(device, dq.ptr(), dk.ptr(), dv.ptr(), in.dout.ptr(), in.q.ptr(), in.k.ptr(),
                                     in.v.ptr(), o.ptr(), lse.ptr(), s.key_begin.empty() ? nullptr : s.key_begin.data(),
                                     &p, workspace.ptr(), workspace.bytes),
              FTC_OK)
        << ftc_last_error_message();
    workspace.expect_untouched_around();
    return {dq, dk, dv};
}

Vector<float> rounded(const Vector<double>& x) {
    return Vector<float>(x.begin(), x.end());
}

Matrix dense(const Vector<float>& values, int64_t rows, int64_t cols) {
    Matrix m(rows, cols);
    m.data = values;
    return m;
}

class Attention : public ::testing::TestWithParam<AttentionShape> {};

TEST_P(Attention, ForwardMatchesReference) {
    const AttentionShape& s = GetParam();
    const Inputs in(s);
    const auto exact = attention_reference<double>(s, in.q, in.k, in.v);
    const auto naive = attention_reference<float>(s, in.q, in.k, in.v);
    for (const auto& [isa, out] : run_everywhere([&](Device& device) { return forward(device, s, in); })) {
        expect_accurate(out[0], naive.o, exact.o, isa + " o");
        expect_accurate(out[1], naive.lse, exact.lse, isa + " lse");
    }
}

TEST_P(Attention, BackwardMatchesReference) {
    const AttentionShape& s = GetParam();
    const Inputs in(s);
    const auto result = attention_reference<double>(s, in.q, in.k, in.v);
    const Matrix o = dense(rounded(result.o), s.query_rows, s.heads * s.head_dim);
    const Matrix lse = dense(rounded(result.lse), s.query_rows, s.heads);
    const auto exact = attention_backward_reference<double>(s, in.dout, in.q, in.k, in.v, o, lse);
    const auto naive = attention_backward_reference<float>(s, in.dout, in.q, in.k, in.v, o, lse);
    for (const auto& [isa, out] : run_everywhere([&](Device& device) { return backward(device, s, in, o, lse); })) {
        expect_accurate(out[0], naive.dq, exact.dq, isa + " dq");
        expect_accurate(out[1], naive.dk, exact.dk, isa + " dk");
        expect_accurate(out[2], naive.dv, exact.dv, isa + " dv");
    }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(AttentionShape{0, 0, 3, 2, 1, 8, {}}, AttentionShape{1, 0, 1, 1, 1, 1, {}},
                      AttentionShape{5, 0, 5, 4, 2, 8, {}}, AttentionShape{9, 0, 9, 2, 2, 3, {}},
                      AttentionShape{64, 0, 64, 1, 1, 16, {}}, AttentionShape{67, 0, 67, 6, 3, 64, {}},
                      AttentionShape{200, 0, 203, 3, 1, 40, {}}, AttentionShape{33, 100, 140, 4, 4, 20, {}},
                      AttentionShape{257, 0, 257, 2, 1, 17, {}}, AttentionShape{65, 64, 129, 1, 1, 256, {}},
                      AttentionShape{40, 0, 40, 20, 10, 80, {}},
                      AttentionShape{150, 0, 150, 2, 1, 32, documents({1, 63, 64, 22})},
                      AttentionShape{150, 0, 150, 4, 2, 8, window(150, 0, 37)},
                      AttentionShape{70, 130, 200, 2, 2, 24, window(70, 130, 64)},
                      AttentionShape{3, 600, 610, 6, 2, 48, {}}, AttentionShape{1, 300, 301, 3, 3, 13, {290}},
                      AttentionShape{8, 700, 708, 2, 1, 64, window(8, 700, 300)}));

TEST(Attention, RowsWithoutKeysGiveZero) {
    // Row 0 sees key 0, rows 1 to 9 see none, rows from 10 on see themselves alone.
    AttentionShape s{70, 0, 70, 2, 1, 8, {}};
    for (int32_t i = 0; i < 70; ++i) s.key_begin.push_back(i == 0 ? 0 : std::max(i, 10));
    const Inputs in(s);
    run_everywhere([&](Device& device) {
        const Outputs out = forward(device, s, in);
        for (int64_t row : {1, 5, 9}) {
            for (int64_t c = 0; c < 16; ++c) EXPECT_EQ(out[0].at(row, c), 0.0f);
            EXPECT_EQ(out[1].at(row, 1), -std::numeric_limits<float>::infinity());
        }
        for (int64_t c = 0; c < 8; ++c) EXPECT_FLOAT_EQ(out[0].at(12, c), in.v.at(12, c));
        const Outputs gradient = backward(device, s, in, out[0], out[1]);
        for (int64_t row : {1, 5, 9})
            for (int64_t c = 0; c < 16; ++c) EXPECT_EQ(gradient[0].at(row, c), 0.0f);
        for (int64_t c = 0; c < 8; ++c)
            EXPECT_FLOAT_EQ(gradient[2].at(20, c), in.dout.at(20, c) + in.dout.at(20, 8 + c));
        return Outputs{out[0], out[1], gradient[0], gradient[1], gradient[2]};
    });
}

TEST(Attention, DecodingOneRowEqualsTheManyRowPath) {
    const AttentionShape all{300, 0, 300, 4, 2, 32, {}};
    const Inputs in(all);
    for (const std::string& isa : variants()) {
        Device device(isa, 2);
        const Outputs whole = forward(device, all, in);
        AttentionShape one = all;
        one.query_rows = 1;
        one.first_query = 299;
        Inputs last = in;
        last.q = Matrix(1, in.q.cols, 3);
        for (int64_t c = 0; c < in.q.cols; ++c) last.q.at(0, c) = in.q.at(299, c);
        const Outputs row = forward(device, one, last);
        for (int64_t c = 0; c < in.q.cols; ++c)
            EXPECT_NEAR(row[0].at(0, c), whole[0].at(299, c), 1e-6f) << isa << " " << c;
        EXPECT_NEAR(row[1].at(0, 3), whole[1].at(299, 3), 1e-6f);
    }
}

TEST(Attention, GradientAgreesWithFiniteDifferences) {
    const AttentionShape s{5, 0, 5, 2, 1, 4, {0, 0, 1, 1, 2}};
    Inputs in(s);
    Device device;
    const Outputs out = forward(device, s, in);
    const Outputs gradient = backward(device, s, in, out[0], out[1]);
    const auto loss = [&] {
        const auto o = attention_reference<double>(s, in.q, in.k, in.v).o;
        double total = 0;
        for (int64_t r = 0; r < s.query_rows; ++r)
            for (int64_t c = 0; c < 8; ++c) total += o[size_t(r * 8 + c)] * static_cast<double>(in.dout.at(r, c));
        return total;
    };
    Matrix* const inputs[3] = {&in.q, &in.k, &in.v};
    for (size_t which = 0; which < 3; ++which)
        for (int64_t r = 0; r < 5; ++r)
            for (int64_t c = 0; c < inputs[which]->cols; ++c) {
                float& x = inputs[which]->at(r, c);
                const float before = x;
                x = before + 0x1p-11f;
                const double up = loss(), high = static_cast<double>(x);
                x = before - 0x1p-11f;
                const double difference = (up - loss()) / (high - static_cast<double>(x));
                x = before;
                EXPECT_NEAR(difference, static_cast<double>(gradient[which].at(r, c)), 1e-5)
                    << which << " " << r << " " << c;
            }
}

TEST(Attention, WorkspaceForTheLargestBatchIsEnoughForSmallerOnes) {
    for (const auto& [heads, kv_heads, head_dim] :
         {std::tuple{1, 1, 64}, std::tuple{32, 8, 8}, std::tuple{12, 12, 20}, std::tuple{9, 3, 64}})
        for (const int32_t threads : {1, 3}) {
            Device device("", threads);
            int64_t largest[2] = {};
            for (int64_t rows = 0; rows <= 1300; rows += rows < 20 ? 1 : 31)
                for (const int64_t first : {int64_t{0}, rows / 2})
                    for (const int32_t backward : {0, 1}) {
                        const ftc_attention_params p =
                            params_of({rows - first, first, rows, heads, kv_heads, head_dim, {}});
                        int64_t bytes = 0;
                        ASSERT_EQ(ftc_attention_workspace_bytes(device.context(), &p, backward, &bytes), FTC_OK);
                        if (first > 0)
                            EXPECT_LE(bytes, largest[backward])
                                << rows << " rows, first query " << first << ", backward " << backward;
                        else
                            EXPECT_GE(bytes, std::exchange(largest[backward], bytes))
                                << rows << " rows, backward " << backward;
                    }
        }
}

TEST(Attention, ErrorsSayWhereAndWhat) {
    Device device;
    ftc_attention_params p = params_of({2, 0, 2, 3, 2, 4, {}});
    int64_t bytes = 0;
    EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, 0, &bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_attention_workspace_bytes: heads is 3, expected a multiple of key_value_heads 2");
    p.heads = 2;
    p.head_dim = 257;
    EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, 0, &bytes), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_attention_workspace_bytes: head_dim is 257, expected 1..256");
    p.head_dim = 4;
    p.q_row_stride = p.k_row_stride = p.v_row_stride = p.o_row_stride = 8;
    Vector<float> x_memory(16);
    float* x = x_memory.data();
    char small[8];
    EXPECT_EQ(ftc_attention_forward(device, x, nullptr, x, x, x, nullptr, &p, small, 8), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_NE(std::string(ftc_last_error_message()).find("ftc_attention_forward: workspace has 8 bytes, expected >= "),
              std::string::npos);
    Vector<char> workspace(4096);
    const Vector<int32_t> back = {1, 0};
    Vector<float> y(16);
    EXPECT_EQ(device.wait(ftc_attention_forward(device, y.data(), nullptr, y.data(), y.data(), y.data(), back.data(), &p,
                                                workspace.data(), 4096)),
              FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(
        ftc_last_error_message(),
        "ftc_attention_forward: key_begin[1] is 0, expected >= 1: key intervals begin at 0 or later and never go back");
    p.first_query = 1;
    EXPECT_EQ(ftc_attention_forward(device, x, nullptr, x, x, x, nullptr, &p, small, 8), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_attention_forward: first_query + query_rows is 3, expected at most key_rows 2");
}

} // namespace
} // namespace ftc::testing
