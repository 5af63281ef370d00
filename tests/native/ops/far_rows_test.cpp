// Rows more than 2^31 bytes apart: every offset has to be 64 bits wide. The memory is reserved, and only what is
// touched exists.
#include <sys/mman.h>

#include <cstring>

#include "everywhere.h"

namespace ftc::testing {
namespace {

constexpr int64_t kFar = (int64_t{1} << 29) + 16; // floats between two rows: over 2 GB
constexpr int64_t kRows = 3;
constexpr int64_t kCols = 24;

class FarMatrix {
public:
    FarMatrix()
        : bytes_(static_cast<size_t>(kRows * kFar) * sizeof(float)),
          memory_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
        EXPECT_NE(memory_, MAP_FAILED);
    }
    FarMatrix(const FarMatrix&) = delete;
    FarMatrix& operator=(const FarMatrix&) = delete;
    ~FarMatrix() { munmap(memory_, bytes_); }

    explicit FarMatrix(const Matrix& m) : FarMatrix() {
        for (int64_t r = 0; r < m.rows; ++r)
            std::memcpy(ptr() + r * kFar, m.ptr() + r * m.stride, static_cast<size_t>(m.cols) * sizeof(float));
    }
    float* ptr() const { return static_cast<float*>(memory_); }
    Matrix near(int64_t rows, int64_t cols) const {
        Matrix m(rows, cols);
        for (int64_t r = 0; r < rows; ++r)
            std::memcpy(m.ptr() + r * cols, ptr() + r * kFar, static_cast<size_t>(cols) * sizeof(float));
        return m;
    }

private:
    size_t bytes_;
    void* memory_;
};

TEST(FarRows, RmsNorm) {
    const Matrix x = Matrix::random(kRows, kCols, 0, 1), dy = Matrix::random(kRows, kCols, 0, 2);
    const Vector<float> weight = random_floats(kCols, 3);
    const FarMatrix far_x(x), far_dy(dy), far_y, far_dx;
    Device device("", 2);
    Outputs results[2];
    for (const bool far : {false, true}) {
        Matrix y(kRows, kCols), dx(kRows, kCols), rstd(kRows, 1);
        ftc_rms_norm_params p{};
        p.struct_size = sizeof(p);
        p.rows = kRows;
        p.heads = 1;
        p.hidden_size = kCols;
        p.x_row_stride = p.y_row_stride = p.dx_row_stride = far ? kFar : kCols;
        EXPECT_EQ(ftc_rms_norm_forward(device, far ? far_y.ptr() : y.ptr(), nullptr, rstd.ptr(),
                                       far ? far_x.ptr() : x.ptr(), nullptr, weight.data(), &p),
                  FTC_OK);
        EXPECT_EQ(ftc_rms_norm_backward(device, far ? far_dx.ptr() : dx.ptr(), nullptr, far ? far_dy.ptr() : dy.ptr(),
                                        nullptr, far ? far_x.ptr() : x.ptr(), rstd.ptr(), weight.data(), &p),
                  FTC_OK);
        results[far] = far ? Outputs{far_y.near(kRows, kCols), far_dx.near(kRows, kCols)} : Outputs{y, dx};
    }
    expect_same_bits(results[0], results[1], "far and near");
}

TEST(FarRows, RopeAndSwiglu) {
    const Matrix x = Matrix::random(kRows, kCols, 0, 1), up = Matrix::random(kRows, kCols, 0, 2);
    const Matrix cos = Matrix::random(kRows, 6, 0, 3), sin = Matrix::random(kRows, 6, 0, 4);
    const Vector<int32_t> positions = {2, 0, 1};
    const FarMatrix far_x(x), far_up(up), far_y;
    Device device("", 2);
    Matrix turned = x, y(kRows, kCols);
    ftc_rope_params rope{};
    rope.struct_size = sizeof(rope);
    rope.rows = rope.table_rows = kRows;
    rope.heads = 2;
    rope.head_dim = rope.rope_dim = 12;
    rope.row_stride = kCols;
    ftc_swiglu_params swiglu{};
    swiglu.struct_size = sizeof(swiglu);
    swiglu.rows = kRows;
    swiglu.cols = swiglu.gate_row_stride = swiglu.y_row_stride = kCols;
    EXPECT_EQ(ftc_rope_forward(device, turned.ptr(), positions.data(), cos.ptr(), sin.ptr(), &rope), FTC_OK);
    EXPECT_EQ(ftc_swiglu_forward(device, y.ptr(), turned.ptr(), up.ptr(), &swiglu), FTC_OK);
    rope.row_stride = swiglu.gate_row_stride = swiglu.y_row_stride = kFar;
    EXPECT_EQ(ftc_rope_forward(device, far_x.ptr(), positions.data(), cos.ptr(), sin.ptr(), &rope), FTC_OK);
    EXPECT_EQ(ftc_swiglu_forward(device, far_y.ptr(), far_x.ptr(), far_up.ptr(), &swiglu), FTC_OK);
    expect_same_bits({turned, y}, {far_x.near(kRows, kCols), far_y.near(kRows, kCols)}, "far and near");
}

TEST(FarRows, Embedding) {
    const Matrix w = Matrix::random(kRows, kCols, 0, 1);
    const FarMatrix far_w(w), far_y, far_dweight;
    const Vector<int32_t> ids = {2, 0, 2};
    ftc_weight weight{};
    weight.struct_size = sizeof(weight);
    weight.rows = kRows;
    weight.cols = kCols;
    weight.row_stride = kFar;
    weight.data = far_w.ptr();
    ftc_embedding_params p{};
    p.struct_size = sizeof(p);
    p.rows = kRows;
    p.y_row_stride = p.dweight_row_stride = kFar;
    Device device("", 2);
    EXPECT_EQ(ftc_embedding_forward(device, far_y.ptr(), ids.data(), &weight, &p), FTC_OK);
    EXPECT_EQ(ftc_embedding_backward(device, far_dweight.ptr(), far_y.ptr(), ids.data(), kRows, kCols, &p), FTC_OK);
    const Matrix y = far_y.near(kRows, kCols), dweight = far_dweight.near(kRows, kCols);
    for (int64_t c = 0; c < kCols; ++c) {
        for (int64_t r = 0; r < kRows; ++r) EXPECT_EQ(y.at(r, c), w.at(ids[static_cast<size_t>(r)], c));
        EXPECT_EQ(dweight.at(0, c), w.at(0, c));
        EXPECT_EQ(dweight.at(1, c), 0.0f);
        EXPECT_EQ(dweight.at(2, c), 2.0f * w.at(2, c));
    }
}

TEST(FarRows, Attention) {
    const Matrix q = Matrix::random(kRows, kCols, 0, 1), k = Matrix::random(kRows, 12, 0, 2),
                 v = Matrix::random(kRows, 12, 0, 3);
    const FarMatrix far_q(q), far_k(k), far_v(v), far_o, far_dq, far_dk, far_dv;
    Device device("", 2);
    Outputs results[2];
    for (const bool far : {false, true}) {
        Matrix o(kRows, kCols), lse(kRows, 2), dq(kRows, kCols), dk(kRows, 12), dv(kRows, 12);
        ftc_attention_params p{};
        p.struct_size = sizeof(p);
        p.query_rows = p.key_rows = kRows;
        p.heads = 2;
        p.key_value_heads = 1;
        p.head_dim = 12;
        p.scale = 0.25f;
        p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = far ? kFar : kCols;
        p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = far ? kFar : 12;
        int64_t bytes = 0;
        EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, 1, &bytes), FTC_OK);
        Vector<char> workspace(static_cast<size_t>(bytes));
        const auto pick = [far](const FarMatrix& f, const Matrix& m) {
            return far ? f.ptr() : const_cast<float*>(m.ptr());
        };
        EXPECT_EQ(ftc_attention_forward(device, pick(far_o, o), lse.ptr(), pick(far_q, q), pick(far_k, k),
                                        pick(far_v, v), nullptr, &p, workspace.data(), bytes),
                  FTC_OK)
            << ftc_last_error_message();
        EXPECT_EQ(ftc_attention_backward(device, pick(far_dq, dq), pick(far_dk, dk), pick(far_dv, dv), pick(far_o, o),
                                         pick(far_q, q), pick(far_k, k), pick(far_v, v), pick(far_o, o), lse.ptr(),
                                         nullptr, &p, workspace.data(), bytes),
                  FTC_OK)
            << ftc_last_error_message();
        results[far] = far ? Outputs{far_o.near(kRows, kCols), far_dq.near(kRows, kCols), far_dk.near(kRows, 12),
                                     far_dv.near(kRows, 12)}
                           : Outputs{o, dq, dk, dv};
    }
    expect_same_bits(results[0], results[1], "far and near");
}

} // namespace
} // namespace ftc::testing
