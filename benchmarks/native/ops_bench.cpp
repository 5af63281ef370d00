// ftc_ops_bench [threads] [rounds] [filter]: attention and loss in GFLOP/s against the FMA peak, the elementwise ops in
// GB/s of useful bytes against memcpy.
//
// With one thread times are CPU time of the thread, else wall time; the best of the rounds counts. FTC_CPU_ISA picks
// the instruction set. Only rows whose name contains `filter` run.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench_buffer.h"
#include "bench_clock.h"
#include "ftc.h"

namespace {

using namespace ftc::bench;

double element_bytes(int32_t dtype) {
    return dtype == FTC_BF16 ? 2 : 4;
}
const char* suffix(int32_t dtype) {
    return dtype == FTC_BF16 ? ", bf16" : "";
}

struct Runner {
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    int32_t threads = 1;
    int rounds = 5;
    double peak = 0; // GFLOP/s of all threads
    const char* filter = "";

    double now() const { return threads == 1 ? thread_seconds() : wall_seconds(); }

    // Best time of one call; negative when the filter leaves the row out.
    template <class Body>
    double seconds(const std::string& name, const Body& body) const {
        if (name.find(filter) == std::string::npos) return -1.0;
        body();
        double best = 1e30;
        for (int round = 0; round < rounds; round++) {
            const double start = now();
            int64_t calls = 0;
            double spent = 0;
            do {
                body();
                calls++;
                spent = now() - start;
            } while (spent < 0.02);
            best = std::min(best, spent / static_cast<double>(calls));
        }
        return best;
    }

    template <class Body>
    void arithmetic(const std::string& name, double flops, const Body& body) const {
        const double time = seconds(name, body);
        if (time < 0) return;
        const double rate = flops / time * 1e-9;
        std::printf("%-52s %9.3f ms %8.1f GFLOP/s %5.1f %%", name.c_str(), time * 1e3, rate, 100 * rate / peak);
        std::printf("\n");
    }

    template <class Body>
    void memory(const std::string& name, double bytes, const Body& body) const {
        const double time = seconds(name, body);
        if (time >= 0) std::printf("%-52s %9.3f ms %8.1f GB/s\n", name.c_str(), time * 1e3, bytes / time * 1e-9);
    }

    // Causal over `tokens` rows; half of the square counts.
    void attention(int64_t tokens, int32_t heads, int32_t key_value_heads, int32_t head_dim, int32_t dtype) const {
        const int64_t width = int64_t{heads} * head_dim, key_width = int64_t{key_value_heads} * head_dim;
        ftc_attention_params p{};
        p.struct_size = sizeof(p);
        p.dtype = dtype;
        p.query_rows = p.key_rows = tokens;
        p.heads = heads;
        p.key_value_heads = key_value_heads;
        p.head_dim = head_dim;
        p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
        p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = width;
        p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = key_width;
        int64_t forward_bytes = 0, backward_bytes = 0;
        check(ftc_attention_workspace_bytes(context, &p, 0, &forward_bytes));
        check(ftc_attention_workspace_bytes(context, &p, 1, &backward_bytes));
        const int64_t bytes = std::max(forward_bytes, backward_bytes);
        const Buffer q(context, tokens * width, dtype), k(context, tokens * key_width, dtype),
            v(context, tokens * key_width, dtype), o(context, tokens * width, dtype), lse(context, tokens * heads),
            dout(context, tokens * width, dtype), dq(context, tokens * width, dtype),
            dk(context, tokens * key_width, dtype), dv(context, tokens * key_width, dtype),
            workspace(context, bytes / 4 + 1);
        const std::string shape = std::to_string(tokens) + " tokens, " + std::to_string(heads) + "/" +
                                  std::to_string(key_value_heads) + " heads of " + std::to_string(head_dim) + suffix(dtype);
        const double flops =
            2.0 * static_cast<double>(width) * static_cast<double>(tokens) * static_cast<double>(tokens);
        arithmetic("attention forward " + shape, flops, [&] {
            check(ftc_attention_forward(stream, o.data, lse.data, q.data, k.data, v.data, nullptr, &p, workspace.data,
                                        bytes));
        });
        arithmetic("attention backward " + shape, 2.5 * flops, [&] {
            check(ftc_attention_backward(stream, dq.data, dk.data, dv.data, dout.data, q.data, k.data, v.data, o.data,
                                         lse.data, nullptr, &p, workspace.data, bytes));
        });
        p.query_rows = 1;
        p.first_query = tokens - 1;
        memory("attention decode " + shape, 2.0 * element_bytes(dtype) * static_cast<double>(tokens * key_width), [&] {
            check(ftc_attention_forward(stream, o.data, nullptr, q.data, k.data, v.data, nullptr, &p, workspace.data,
                                        bytes));
        });
    }

    void loss(int64_t rows, int64_t hidden_size, int64_t vocab_size, int32_t dtype) const {
        int64_t bytes = 0;
        const ftc_cross_entropy_workspace_params query{sizeof(query), dtype, FTC_WEIGHT_F32, 0,
                                                       rows, hidden_size, vocab_size};
        check(ftc_linear_cross_entropy_workspace_bytes(context, &query, &bytes));
        const Buffer x(context, rows * hidden_size, dtype), dx(context, rows * hidden_size, dtype), nll(context, rows),
            w(context, vocab_size * hidden_size), workspace(context, bytes / 4 + 1);
        std::vector<int32_t> targets(static_cast<size_t>(rows), 1);
        ftc_weight weight{};
        weight.struct_size = sizeof(weight);
        weight.rows = vocab_size;
        weight.cols = weight.row_stride = hidden_size;
        weight.data = w.data;
        ftc_cross_entropy_params p{};
        p.struct_size = sizeof(p);
        p.dtype = dtype;
        p.rows = rows;
        p.x_row_stride = p.dx_row_stride = hidden_size;
        p.gradient_scale = 1.0f / static_cast<float>(rows);
        const std::string shape =
            std::to_string(rows) + " rows, " + std::to_string(hidden_size) + " x " + std::to_string(vocab_size) + suffix(dtype);
        const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(hidden_size * vocab_size);
        for (const bool gradient : {false, true})
            arithmetic((gradient ? "loss with dx " : "loss ") + shape, gradient ? 2 * flops : flops, [&] {
                check(ftc_linear_cross_entropy(stream, nll.data, nullptr, gradient ? dx.data : nullptr, nullptr, x.data,
                                               &weight, targets.data(), &p, workspace.data, bytes));
            });
    }

    void elementwise(int64_t rows, int64_t cols, int32_t dtype) const {
        const int64_t count = rows * cols;
        const double bytes = element_bytes(dtype) * static_cast<double>(count);
        std::string shape = " ";
        shape.append(std::to_string(rows)).append(" x ").append(std::to_string(cols)).append(suffix(dtype));
        const Buffer a(context, count, dtype), b(context, count, dtype), c(context, count, dtype),
            d(context, count, dtype), e(context, count, dtype), weight(context, cols), rstd(context, rows),
            dweight(context, cols);
        memory("memcpy" + shape, 2 * bytes, [&] { std::memcpy(b.data, a.data, static_cast<size_t>(bytes)); });

        ftc_rms_norm_params norm{};
        norm.struct_size = sizeof(norm);
        norm.dtype = dtype;
        norm.rows = rows;
        norm.heads = 1;
        norm.hidden_size = cols;
        norm.x_row_stride = norm.y_row_stride = norm.residual_row_stride = norm.dx_row_stride = cols;
        norm.eps = 1e-5f;
        memory("rms_norm forward" + shape, 2 * bytes, [&] {
            check(ftc_rms_norm_forward(stream, b.data, nullptr, rstd.data, a.data, nullptr, weight.data, &norm));
        });
        memory("rms_norm forward with residual" + shape, 4 * bytes, [&] {
            check(ftc_rms_norm_forward(stream, b.data, c.data, rstd.data, a.data, d.data, weight.data, &norm));
        });
        for (float* dw : {static_cast<float*>(nullptr), dweight.data})
            memory((dw == nullptr ? "rms_norm backward" : "rms_norm backward with dweight") + shape, 4 * bytes, [&] {
                check(ftc_rms_norm_backward(stream, b.data, dw, c.data, d.data, a.data, rstd.data, weight.data, &norm));
            });

        ftc_swiglu_params swiglu{};
        swiglu.struct_size = sizeof(swiglu);
        swiglu.dtype = dtype;
        swiglu.rows = rows;
        swiglu.cols = swiglu.gate_row_stride = swiglu.y_row_stride = swiglu.dgate_row_stride = cols;
        memory("swiglu forward" + shape, 3 * bytes,
               [&] { check(ftc_swiglu_forward(stream, b.data, a.data, c.data, &swiglu)); });
        memory("swiglu backward" + shape, 5 * bytes,
               [&] { check(ftc_swiglu_backward(stream, b.data, d.data, e.data, a.data, c.data, &swiglu)); });

        std::vector<int32_t> positions;
        for (int64_t i = 0; i < rows; i++) positions.push_back(static_cast<int32_t>(i));
        const Buffer cos(context, rows * 32), sin(context, rows * 32), embedding_gradient(context, count);
        ftc_rope_params rope{};
        rope.struct_size = sizeof(rope);
        rope.dtype = dtype;
        rope.rows = rope.table_rows = rows;
        rope.head_dim = rope.rope_dim = 64;
        rope.heads = cols / 64;
        rope.row_stride = cols;
        memory("rope" + shape, 2 * bytes,
               [&] { check(ftc_rope_forward(stream, a.data, positions.data(), cos.data, sin.data, &rope)); });

        ftc_embedding_params embedding{};
        embedding.struct_size = sizeof(embedding);
        embedding.dtype = dtype;
        embedding.rows = rows;
        embedding.y_row_stride = embedding.dweight_row_stride = cols;
        memory("embedding backward" + shape, bytes + 8.0 * static_cast<double>(count), [&] {
            check(ftc_embedding_backward(stream, embedding_gradient.data, b.data, positions.data(), rows, cols, &embedding));
        });
    }

    void flat(int64_t count) const {
        const double bytes = 4.0 * static_cast<double>(count);
        const Buffer a(context, count), b(context, count), c(context, count), d(context, count);
        ftc_adamw_params adamw{};
        adamw.struct_size = sizeof(adamw);
        adamw.learning_rate = 1e-3f;
        adamw.beta1 = 0.9f;
        adamw.beta2 = 0.999f;
        adamw.eps = 1e-8f;
        adamw.gradient_scale = 1.0f;
        adamw.step = 1;
        adamw.count = count;
        memory("adamw", 7 * bytes, [&] { check(ftc_adamw_step(stream, a.data, b.data, d.data, c.data, &adamw)); });
        float sum = 0;
        memory("sum_of_squares", bytes, [&] { check(ftc_sum_of_squares(stream, &sum, a.data, count)); });
        memory("convert fp32 to bf16", 1.5 * bytes,
               [&] { check(ftc_convert(stream, b.data, FTC_BF16, a.data, FTC_F32, count)); });
        memory("convert fp16 to fp32", 1.5 * bytes,
               [&] { check(ftc_convert(stream, a.data, FTC_F32, b.data, FTC_F16, count)); });
    }
};

} // namespace

int main(int argc, char** argv) {
    Runner runner;
    runner.threads = argc > 1 ? std::atoi(argv[1]) : 1;
    runner.rounds = argc > 2 ? std::atoi(argv[2]) : 5;
    runner.filter = argc > 3 ? argv[3] : "";
    ftc_context_params params{};
    params.struct_size = sizeof(params);
    params.threads = runner.threads;
    check(ftc_context_create(&runner.context, &params));
    check(ftc_stream_create(&runner.stream, runner.context));
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    check(ftc_context_get_info(runner.context, &info));
    check(ftc_measure_peak(runner.stream, FTC_F32, &runner.peak));
    runner.peak *= 1e-9;
    std::printf("%s, %s, %d threads, peak %.1f GFLOP/s\n", info.device_name, info.isa, info.threads, runner.peak);
    for (const int32_t dtype : {FTC_F32, FTC_BF16}) {
        runner.attention(128, 8, 8, 64, dtype);
        runner.attention(256, 9, 3, 64, dtype);
        runner.attention(2048, 4, 4, 64, dtype);
        runner.attention(2048, 4, 2, 128, dtype);
        runner.loss(512, 576, 8192, dtype);
        runner.loss(512, 576, 49152, dtype);
        runner.elementwise(512, 576, dtype);
        runner.elementwise(2048, 4096, dtype);
    }
    runner.flat(int64_t{2048} * 4096);
    ftc_stream_destroy(runner.stream);
    ftc_context_destroy(runner.context);
    return 0;
}
