// ftc_bench [threads] [rounds] [filter] [rows ...]: GFLOP/s of the linear layer per shape, and the share of the
// measured peak: of fp32 multiply-adds, and of products of bf16 where the activations are bf16 (named "bf16 x" and the
// weight's format).
//
// With one thread times are CPU time of the thread, else wall time; the best of the rounds counts. FTC_CPU_ISA picks
// the instruction set. Only shapes whose name contains `filter` run; rows, each at most 1024, are 1, 4, 16, 64, 256 and
// 1024 unless they are given.
#include <algorithm>
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

struct Runner {
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    int32_t threads = 1;
    int rounds = 5;
    double peak = 0; // GFLOP/s of all threads
    double bf16_peak = 0;
    const char* filter = "";
    std::vector<int64_t> rows;

    template <class Body>
    void measure(const std::string& name, double flops, const Body& body) const {
        if (name.find(filter) == std::string::npos) return;
        const double roof = name.find("bf16 x") != std::string::npos ? bf16_peak : peak;
        body();
        double best = 1e30;
        for (int round = 0; round < rounds; round++) {
            // The clock of a thread is a system call, so it is read after more and more calls.
            int64_t calls = 0;
            const double start = threads == 1 ? thread_seconds() : wall_seconds();
            double seconds = 0;
            do {
                for (int64_t more = calls / 4 + 1; more > 0; more--, calls++) body();
                seconds = (threads == 1 ? thread_seconds() : wall_seconds()) - start;
            } while (seconds < 0.02);
            const double each = seconds / static_cast<double>(calls);
            best = each < best ? each : best;
        }
        const double rate = flops / best * 1e-9;
        std::printf("%-44s %9.3f ms %8.1f GFLOP/s", name.c_str(), best * 1e3, rate);
        std::printf(" %5.1f %%\n", 100 * rate / roof);
        std::fflush(stdout);
    }

    void linear(int64_t n, int64_t k) const {
        constexpr int64_t kMaxRows = 1024;
        ftc_linear_layout layout{};
        layout.struct_size = sizeof(layout);
        check(ftc_linear_get_layout(context, k, n, 16, FTC_F32, &layout));
        const Buffer x(context, kMaxRows * layout.x_row_stride), y(context, kMaxRows * layout.y_row_stride),
            w(context, n * layout.weight_row_stride), codes(context, n * k / 8), absmax(context, n * k / 64),
            a(context, 16 * k), b(context, n * 16), s(context, kMaxRows * 16), da(context, 16 * k), db(context, n * 16),
            dw(context, n * k);
        int64_t bytes = 0;
        for (const int32_t dtype : {FTC_F32, FTC_BF16}) {
            const ftc_linear_workspace_params query{sizeof(query), dtype, FTC_WEIGHT_F32, 0, kMaxRows, k, n, 16};
            int64_t needed = 0;
            check(ftc_linear_workspace_bytes(context, &query, &needed));
            bytes = std::max(bytes, needed);
        }
        const Buffer workspace(context, bytes / 4);
        std::vector<uint32_t> tokens(kMaxRows, 1);

        ftc_weight f32{}, bf16{}, nf4{};
        f32.struct_size = bf16.struct_size = nf4.struct_size = sizeof(f32);
        f32.rows = bf16.rows = nf4.rows = n;
        f32.cols = bf16.cols = nf4.cols = k;
        f32.row_stride = layout.weight_row_stride;
        bf16.row_stride = layout.weight_row_stride;
        f32.data = bf16.data = w.data;
        bf16.format = FTC_WEIGHT_BF16;
        nf4.format = FTC_WEIGHT_NF4;
        nf4.data = codes.data;
        nf4.absmax = absmax.data;
        nf4.quant_map = kNf4Map;
        nf4.block_size = 64;
        ftc_weight nested = nf4;
        const Buffer nested_absmax(context, n * k / 64 / 256 + 1), nested_map(context, 256);
        nested.nested_absmax = nested_absmax.data;
        nested.nested_map = nested_map.data;
        nested.nested_block_size = 256;

        for (const int64_t m : rows) {
            ftc_linear_params params{};
            params.struct_size = sizeof(params);
            params.rows = m;
            params.x_row_stride = params.dx_row_stride = layout.x_row_stride;
            params.y_row_stride = params.dy_row_stride = layout.y_row_stride;
            params.dweight_row_stride = k;
            params.dropout_samples = params.dropout_positions = tokens.data();
            ftc_lora_segment lora{};
            lora.struct_size = sizeof(lora);
            lora.rank = 16;
            lora.row_end = m;
            lora.a = a.data;
            lora.b = b.data;
            lora.s = s.data;
            lora.da = da.data;
            lora.db = db.data;
            lora.scaling = 2.0f;
            ftc_lora_segment dropping = lora;
            dropping.dropout_probability = 0.1f;

            const std::string shape = std::to_string(n) + "x" + std::to_string(k) + " M=" + std::to_string(m);
            const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
            const double lora_flops = 2.0 * 16 * static_cast<double>(m) * static_cast<double>(n + k);
            const auto forward = [&](const ftc_weight& weight, const ftc_lora_segment* segment) {
                check(ftc_linear_forward(stream, y.data, x.data, &weight, nullptr, segment, segment != nullptr ? 1 : 0,
                                         &params, workspace.data, bytes));
            };
            const auto backward = [&](const ftc_weight& weight, const ftc_lora_segment* segment, float* dweight) {
                check(ftc_linear_backward(stream, x.data, dweight, nullptr, y.data, x.data, &weight, segment,
                                          segment != nullptr ? 1 : 0, &params, workspace.data, bytes));
            };
            measure("forward f32 " + shape, flops, [&] { forward(f32, nullptr); });
            measure("forward bf16 " + shape, flops, [&] { forward(bf16, nullptr); });
            measure("forward nf4 " + shape, flops, [&] { forward(nf4, nullptr); });
            measure("forward nf4-nested " + shape, flops, [&] { forward(nested, nullptr); });
            measure("forward f32+lora " + shape, flops + lora_flops, [&] { forward(f32, &lora); });
            measure("forward f32+lora+dropout " + shape, flops + lora_flops, [&] { forward(f32, &dropping); });
            measure("backward f32 " + shape, flops, [&] { backward(f32, nullptr, nullptr); });
            measure("backward bf16 " + shape, flops, [&] { backward(bf16, nullptr, nullptr); });
            measure("backward nf4 " + shape, flops, [&] { backward(nf4, nullptr, nullptr); });
            measure("backward nf4-nested " + shape, flops, [&] { backward(nested, nullptr, nullptr); });
            measure("backward f32+lora " + shape, flops + 2 * lora_flops, [&] { backward(f32, &lora, nullptr); });
            measure("backward f32+lora+dropout " + shape, flops + 2 * lora_flops,
                    [&] { backward(f32, &dropping, nullptr); });
            measure("backward f32+dweight " + shape, 2 * flops, [&] { backward(f32, nullptr, dw.data); });

            params.dtype = FTC_BF16;
            measure("forward bf16 x f32 " + shape, flops, [&] { forward(f32, nullptr); });
            measure("forward bf16 x bf16 " + shape, flops, [&] { forward(bf16, nullptr); });
            measure("forward bf16 x nf4 " + shape, flops, [&] { forward(nf4, nullptr); });
            measure("forward bf16 x nf4-nested " + shape, flops, [&] { forward(nested, nullptr); });
            measure("forward bf16 x bf16+lora " + shape, flops + lora_flops, [&] { forward(bf16, &lora); });
            measure("backward bf16 x f32 " + shape, flops, [&] { backward(f32, nullptr, nullptr); });
            measure("backward bf16 x bf16 " + shape, flops, [&] { backward(bf16, nullptr, nullptr); });
            measure("backward bf16 x nf4 " + shape, flops, [&] { backward(nf4, nullptr, nullptr); });
            measure("backward bf16 x nf4-nested " + shape, flops, [&] { backward(nested, nullptr, nullptr); });
            measure("backward bf16 x bf16+lora " + shape, flops + 2 * lora_flops,
                    [&] { backward(bf16, &lora, nullptr); });
            measure("backward bf16 x bf16+dweight " + shape, 2 * flops, [&] { backward(bf16, nullptr, dw.data); });
        }
    }
};

} // namespace

int main(int argc, char** argv) {
    Runner runner;
    runner.threads = argc > 1 ? std::atoi(argv[1]) : 1;
    runner.rounds = argc > 2 ? std::atoi(argv[2]) : 5;
    runner.filter = argc > 3 ? argv[3] : "";
    for (int i = 4; i < argc; i++) runner.rows.push_back(std::clamp(std::atoi(argv[i]), 1, 1024));
    if (runner.rows.empty()) runner.rows = {1, 4, 16, 64, 256, 1024};
    ftc_context_params params{};
    params.struct_size = sizeof(params);
    params.threads = runner.threads;
    check(ftc_context_create(&runner.context, &params));
    check(ftc_stream_create(&runner.stream, runner.context));
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    check(ftc_context_get_info(runner.context, &info));
    check(ftc_measure_peak(runner.stream, FTC_F32, &runner.peak));
    check(ftc_measure_peak(runner.stream, FTC_BF16, &runner.bf16_peak));
    runner.peak *= 1e-9;
    runner.bf16_peak *= 1e-9;
    std::printf("%s, %s, %d threads, peak %.1f GFLOP/s in fp32, %.1f in bf16\n", info.device_name, info.isa,
                info.threads, runner.peak, runner.bf16_peak);
    runner.linear(576, 576);
    runner.linear(1536, 576);
    runner.linear(576, 1536);
    runner.linear(8192, 576);
    runner.linear(4096, 4096);
    ftc_stream_destroy(runner.stream);
    ftc_context_destroy(runner.context);
    return 0;
}
