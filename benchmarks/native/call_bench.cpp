// ftc_call_bench: nanoseconds of the smallest op, SwiGLU of one element on one thread, called from a loop in C++. What
// a call costs without .NET; FineTuneCore.Benchmarks binding holds the binding against it.
//
// CPU time of the thread, median of 101 rounds of 20,000 calls.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench_buffer.h"
#include "bench_clock.h"
#include "ftc.h"

int main() {
    using namespace ftc::bench;
    constexpr int rounds = 101, calls = 20000;
    ftc_context_params context_params{};
    context_params.struct_size = sizeof(context_params);
    context_params.threads = 1;
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    check(ftc_context_create(&context, &context_params));
    check(ftc_stream_create(&stream, context));
    {
        const Buffer y(context, 1), gate(context, 1), up(context, 1);
        ftc_swiglu_params params{};
        params.struct_size = sizeof(params);
        params.rows = params.cols = params.gate_row_stride = params.y_row_stride = 1;
        std::vector<double> times;
        for (int round = 0; round <= rounds; round++) {
            const double start = thread_seconds();
            for (int i = 0; i < calls; i++) check(ftc_swiglu_forward(stream, y.data, gate.data, up.data, &params));
            if (round > 0) times.push_back((thread_seconds() - start) / calls * 1e9); // the first round warms up
        }
        std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
        std::printf("%.1f\n", times[rounds / 2]);
    }
    ftc_stream_destroy(stream);
    ftc_context_destroy(context);
    return 0;
}
