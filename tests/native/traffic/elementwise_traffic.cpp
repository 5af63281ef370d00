// RMSNorm, RoPE, SwiGLU, embedding, optimisers, gradient norm, casts.
#include "traffic/traffic.h"

namespace ftc::testing {
namespace {

std::string shape_of(int64_t rows, int64_t cols) {
    return std::to_string(rows) + " × " + std::to_string(cols);
}

// bytes_of(rows, cols) at both shapes.
template <class Bytes>
TrafficCase rows_case(const std::string& op, const std::string& kernels, int64_t rows, int64_t cols, int64_t real_rows,
                      const Bytes& bytes_of, std::function<void(Device&)> run) {
    return {op,
            kernels,
            {shape_of(rows, cols), bytes_of(double(rows), double(cols))},
            {shape_of(real_rows, cols), bytes_of(double(real_rows), double(cols))},
            std::move(run)};
}

TrafficCase rms_norm_forward(bool residual) {
    const int64_t rows = 256, hidden = 4096;
    return rows_case(
        residual ? "RMSNorm forward, residual" : "RMSNorm forward", "forward_kernel", rows, hidden, 8192,
        [=](double m, double h) { return m * h * (residual ? 8 : 4) + 4 * h + 4 * m; },
        [=](Device& device) {
            Memory<Bf16> x(rows * hidden, kBf16One), r(rows * hidden, kBf16One), y(rows * hidden);
            Memory<float> weight(hidden, 1.0f), rstd(rows);
            ftc_rms_norm_params p{};
            p.struct_size = sizeof(p);
            p.dtype = FTC_BF16;
            p.rows = rows;
            p.heads = 1;
            p.hidden_size = p.x_row_stride = p.y_row_stride = p.residual_row_stride = hidden;
            p.eps = 1e-5f;
            Bf16* const past = residual ? static_cast<Bf16*>(r) : nullptr;
            ASSERT_EQ(device.wait(ftc_rms_norm_forward(device, y, past, rstd, x, past, weight, &p)), FTC_OK)
                << ftc_last_error_message();
        });
}

TrafficCase rms_norm_backward() {
    const int64_t rows = 256, hidden = 4096;
    return rows_case(
        "RMSNorm backward, residual", "backward_kernel", rows, hidden, 8192,
        [](double m, double h) { return m * h * 8 + 4 * h + 4 * m; },
        [=](Device& device) {
            Memory<Bf16> x(rows * hidden, kBf16One), dy(rows * hidden, kBf16One);
            Memory<Bf16> dsum(rows * hidden, kBf16One);
            Memory<float> weight(hidden, 1.0f), rstd(rows, 1.0f);
            ftc_rms_norm_params p{};
            p.struct_size = sizeof(p);
            p.dtype = FTC_BF16;
            p.rows = rows;
            p.heads = 1;
            p.hidden_size = p.x_row_stride = p.y_row_stride = hidden;
            p.residual_row_stride = p.dx_row_stride = hidden;
            ASSERT_EQ(device.wait(ftc_rms_norm_backward(device, dsum, nullptr, dy, dsum, x, rstd, weight, &p)), FTC_OK)
                << ftc_last_error_message();
        });
}

TrafficCase rope() {
    const int64_t rows = 256, heads = 40, head_dim = 128; // query and key-value heads of Llama-3-8B side by side
    return rows_case(
        "RoPE, in place", "rope_kernel", rows, heads * head_dim, 8192,
        [=](double m, double n) { return m * n * 4 + m * (4 * head_dim + 4); },
        [=](Device& device) {
            Memory<Bf16> x(rows * heads * head_dim, kBf16One);
            Memory<float> cos(rows * head_dim / 2, 1.0f), sin(rows * head_dim / 2);
            Memory<int32_t> positions(rows);
            for (int64_t i = 0; i < rows; ++i) positions[i] = static_cast<int32_t>(i);
            ftc_rope_params p{};
            p.struct_size = sizeof(p);
            p.dtype = FTC_BF16;
            p.rows = p.table_rows = rows;
            p.heads = heads;
            p.head_dim = p.rope_dim = head_dim;
            p.row_stride = heads * head_dim;
            ASSERT_EQ(device.wait(ftc_rope_forward(device, x, positions, cos, sin, &p)), FTC_OK)
                << ftc_last_error_message();
        });
}

TrafficCase swiglu(bool forward) {
    const int64_t rows = 48, cols = 14336;
    return rows_case(
        forward ? "SwiGLU forward" : "SwiGLU backward, in place", "swiglu", rows, cols, 8192,
        [=](double m, double n) { return m * n * (forward ? 6 : 10); },
        [=](Device& device) {
            Memory<Bf16> gate_up(rows * cols * 2, kBf16One), y(rows * cols, kBf16One);
            ftc_swiglu_params p{};
            p.struct_size = sizeof(p);
            p.dtype = FTC_BF16;
            p.rows = rows;
            p.cols = p.y_row_stride = cols;
            p.gate_row_stride = p.dgate_row_stride = 2 * cols;
            const ftc_status status =
                forward ? ftc_swiglu_forward(device, y, gate_up, gate_up + cols, &p)
                        : ftc_swiglu_backward(device, gate_up, gate_up + cols, y, gate_up, gate_up + cols, &p);
            ASSERT_EQ(device.wait(status), FTC_OK) << ftc_last_error_message();
        });
}

TrafficCase embedding() {
    const int64_t rows = 256, cols = 4096, vocab_size = 300;
    return rows_case(
        "embedding forward", "embedding_forward_kernel", rows, cols, 8192,
        [](double m, double n) { return m * n * 4 + m * 4; },
        [=](Device& device) {
            Memory<Bf16> table(vocab_size * cols, kBf16One), y(rows * cols);
            Memory<int32_t> ids(rows);
            for (int64_t i = 0; i < rows; ++i) ids[i] = static_cast<int32_t>(i * 7 % vocab_size);
            ftc_weight w{};
            w.struct_size = sizeof(w);
            w.format = FTC_WEIGHT_BF16;
            w.rows = vocab_size;
            w.cols = w.row_stride = cols;
            w.data = table;
            ftc_embedding_params p{};
            p.struct_size = sizeof(p);
            p.dtype = FTC_BF16;
            p.rows = rows;
            p.y_row_stride = cols;
            ASSERT_EQ(device.wait(ftc_embedding_forward(device, y, ids, &w, &p)), FTC_OK) << ftc_last_error_message();
        });
}

TrafficCase flat_case(const std::string& op, const std::string& kernels, double bytes_each,
                      std::function<void(Device&, int64_t)> run) {
    const int64_t count = int64_t{1} << 19, real_count = 41943040; // LoRA of rank 16 on all linears of Llama-3-8B
    return {op,
            kernels,
            {std::to_string(count), double(count) * bytes_each},
            {std::to_string(real_count), double(real_count) * bytes_each},
            [=, run = std::move(run)](Device& device) { run(device, count); }};
}

ftc_adamw_params adamw_params(int64_t count) {
    ftc_adamw_params a{};
    a.struct_size = sizeof(a);
    a.learning_rate = 1e-3f;
    a.beta1 = 0.9f;
    a.beta2 = 0.999f;
    a.eps = 1e-8f;
    a.gradient_scale = 1.0f;
    a.step = 1;
    a.count = count;
    return a;
}

void run_adamw(Device& device, int64_t count) {
    Memory<float> p(count, 1.0f), m(count), v(count), g(count, 1.0f);
    const ftc_adamw_params a = adamw_params(count);
    ASSERT_EQ(device.wait(ftc_adamw_step(device, p, m, v, g, &a)), FTC_OK) << ftc_last_error_message();
}

void run_adamw_8bit(Device& device, int64_t count) {
    Memory<float> p(count, 1.0f), g(count, 1.0f), m_absmax(count / 256), v_absmax(count / 256), m_map(256), v_map(256);
    Memory<uint8_t> m(count, 127), v(count);
    for (int i = 0; i < 256; ++i) {
        m_map[i] = static_cast<float>(i - 127) / 128.0f;
        v_map[i] = static_cast<float>(i) / 255.0f;
        g[i] = static_cast<float>(i - 100);
    }
    const ftc_adamw_params a = adamw_params(count);
    ASSERT_EQ(device.wait(ftc_adamw_8bit_step(device, p, m, v, m_absmax, v_absmax, g, m_map, v_map, &a)), FTC_OK)
        << ftc_last_error_message();
}

void run_sum_of_squares(Device& device, int64_t count) {
    Memory<float> x(count, 1.0f), sum(1);
    ASSERT_EQ(device.wait(ftc_sum_of_squares(device, sum, x, count)), FTC_OK) << ftc_last_error_message();
}

// One block looks at the losses of a step, once: 16 micro-batches of 8,192 rows.
TrafficCase clip_gradients() {
    constexpr int64_t kCount = 16 * 8192;
    const Work work{std::to_string(kCount), 4.0 * kCount};
    return {"clipping and skipping", "clip_gradients_kernel", work, work, [](Device& device) {
                Memory<float> nll(kCount, 1.0f), sum(1, 4.0f);
                Memory<ftc_step_values> values(1);
                ASSERT_EQ(device.wait(ftc_clip_gradients(device, values, sum, nll, kCount, 1.0f)), FTC_OK)
                    << ftc_last_error_message();
            }};
}

void run_convert(Device& device, int64_t count) {
    Memory<float> x(count, 1.0f);
    Memory<Bf16> y(count);
    ASSERT_EQ(device.wait(ftc_convert(device, y, FTC_BF16, x, FTC_F32, count)), FTC_OK) << ftc_last_error_message();
}

} // namespace

std::vector<TrafficCase> elementwise_traffic() {
    return {rms_norm_forward(false),
            rms_norm_forward(true),
            rms_norm_backward(),
            rope(),
            swiglu(true),
            swiglu(false),
            embedding(),
            flat_case("AdamW", "adamw_kernel", 28, run_adamw),
            flat_case("AdamW, 8-bit state", "adamw_8bit_kernel", 16 + 16.0 / 256, run_adamw_8bit),
            flat_case("sum of squares", "", 4, run_sum_of_squares),
            clip_gradients(),
            flat_case("cast fp32 to bf16", "convert_kernel", 6, run_convert)};
}

} // namespace ftc::testing
