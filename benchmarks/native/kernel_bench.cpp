// ftc_kernel_bench: times the cases of benchmarks/kernels.txt without .NET, on one thread. Reads keys from standard
// input, one a line, such as "LoraLinear.Forward 1024x576x1536", and prints a JSON line for each, between one at the
// start and one at the end: the median of a call in ns of wall time. FineTuneCore.Benchmarks ops starts it and holds
// its own times of the same calls against these.
//
// Tensors lie as those of .NET: activations with the row stride the library likes, weights contiguous. FTC_CPU_ISA
// picks the instruction set.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "bench_buffer.h"
#include "bench_clock.h"
#include "ftc.h"

namespace {

using namespace ftc::bench;

constexpr int kRank = 16;
constexpr int64_t kGroup = 64; // numbers that share a scale, of NF4 and of affine weights

struct Case {
    std::string op, method;
    std::vector<int64_t> sizes;
};

// Operands live as long as the runner: one for each case.
class Runner {
public:
    Runner(ftc_context* context, ftc_stream* stream) : context_(context), stream_(stream) {}

    // The call of a case, its operands made; empty when there is no such op.
    std::function<void()> prepare(const Case& c) {
        const bool forward = c.method == "Forward";
        if (c.op.size() >= 6 && c.op.find("Linear") != std::string::npos) return linear(c, forward);
        if (c.op == "Nf4" || c.op == "Affine" || c.op == "Int8") return quantisation(c);
        if (c.op == "AffineMerge") return affine_merge(c);
        if (c.op == "Attention") return attention(c, forward);
        if (c.op == "RmsNorm") return rms_norm(c, forward);
        if (c.op == "Rope") return rope(c, forward);
        if (c.op == "Swiglu") return swiglu(c, forward);
        if (c.op == "Embedding") return embedding(c, forward);
        if (c.op == "CrossEntropy") return cross_entropy(c);
        if (c.op == "AdamW" || c.op == "AdamW8Bit") return adamw(c);
        if (c.op == "Sgd") return sgd(c);
        if (c.op == "GradientNorm") return gradient_norm(c);
        return {};
    }

private:
    float* make(int64_t count, int32_t dtype = FTC_F32) {
        buffers_.push_back(std::make_unique<Buffer>(context_, std::max<int64_t>(count, 1), dtype));
        return buffers_.back()->data;
    }

    int32_t* integers(int64_t count, int64_t below) {
        auto* values = reinterpret_cast<int32_t*>(make(count));
        for (int64_t i = 0; i < count; i++) values[i] = static_cast<int32_t>(i / 2 * 7919 % below);
        return values;
    }

    int32_t* counting(int64_t count) {
        auto* values = reinterpret_cast<int32_t*>(make(count));
        for (int64_t i = 0; i < count; i++) values[i] = static_cast<int32_t>(i);
        return values;
    }

    int64_t stride(int64_t columns, int32_t dtype = FTC_F32) const {
        ftc_linear_layout layout{};
        layout.struct_size = sizeof(layout);
        check(ftc_linear_get_layout(context_, columns, columns, 0, dtype, &layout));
        return layout.y_row_stride;
    }

    ftc_weight weight(const std::string& op, int64_t n, int64_t k) {
        ftc_weight w{};
        w.struct_size = sizeof(w);
        w.rows = n;
        w.cols = w.row_stride = k;
        if (op.rfind("Nf4", 0) == 0) {
            w.format = FTC_WEIGHT_NF4;
            w.data = make(n * k / 8);
            w.absmax = make(n * k / kGroup);
            w.quant_map = kNf4Map;
            w.block_size = kGroup;
        } else if (op.rfind("Affine", 0) == 0 || op.rfind("QaLora", 0) == 0) {
            w.format = FTC_WEIGHT_AFFINE;
            w.data = make(n * k / 8);
            w.bits = 4;
            w.group_size = kGroup;
            w.scale = make(n * k / kGroup);
            w.minimum = make(n * k / kGroup);
        } else if (op.rfind("Int8", 0) == 0) {
            w.format = FTC_WEIGHT_INT8;
            w.data = make(n * k / 4);
            w.scale = make(n);
        } else {
            const bool bf16 = op == "LinearBf16";
            w.format = bf16 ? FTC_WEIGHT_BF16 : FTC_WEIGHT_F32;
            w.data = make(n * k, bf16 ? FTC_BF16 : FTC_F32);
        }
        return w;
    }

    std::function<void()> linear(const Case& c, bool forward) {
        const int64_t m = c.sizes.at(0), n = c.sizes.at(1), k = c.sizes.at(2);
        const int32_t dtype = c.op == "LinearBf16" ? FTC_BF16 : FTC_F32;
        const bool adapted = c.op.find("Lora") != std::string::npos;
        const int64_t pool = c.op == "QaLoraLinear" ? kGroup : 1;
        const ftc_weight w = weight(c.op, n, k);
        ftc_linear_params p{};
        p.struct_size = sizeof(p);
        p.dtype = dtype;
        p.rows = m;
        p.x_row_stride = p.dx_row_stride = stride(k, dtype);
        p.y_row_stride = p.dy_row_stride = stride(n, dtype);
        float *x = make(m * p.x_row_stride, dtype), *y = make(m * p.y_row_stride, dtype),
              *dx = make(m * p.x_row_stride, dtype);
        ftc_lora_segment s{};
        if (adapted) {
            s.struct_size = sizeof(s);
            s.rank = kRank;
            s.row_end = m;
            s.scaling = 2.0f;
            s.pool = pool > 1 ? static_cast<int32_t>(pool) : 0;
            s.a = make(kRank * k / pool);
            s.b = make(kRank * n);
            s.s = make(kRank * m);
            s.da = make(kRank * k / pool);
            s.db = make(kRank * n);
        }
        const ftc_linear_workspace_params query{sizeof(query), dtype, w.format, 0, m, k, n, adapted ? kRank : 0};
        int64_t bytes = 0;
        check(ftc_linear_workspace_bytes(context_, &query, &bytes));
        float* workspace = make(bytes / 4 + 1);
        ftc_stream* stream = stream_;
        const auto ahead = [=] {
            check(ftc_linear_forward(stream, y, x, &w, nullptr, adapted ? &s : nullptr, adapted, &p, workspace, bytes));
        };
        if (forward) return ahead;
        ahead(); // backward reads what forward kept
        return [=] {
            check(ftc_linear_backward(stream, dx, nullptr, nullptr, y, adapted ? x : nullptr, &w,
                                      adapted ? &s : nullptr, adapted, &p, workspace, bytes));
        };
    }

    std::function<void()> quantisation(const Case& c) {
        const int64_t n = c.sizes.at(0), k = c.sizes.at(1);
        const bool nf4 = c.op == "Nf4", int8 = c.op == "Int8", quantize = c.method == "Quantize";
        const ftc_weight w = weight(c.op, n, k);
        float *x = make(n * k), *y = make(n * k);
        ftc_affine_quantize_params p{};
        p.struct_size = sizeof(p);
        p.bits = 4;
        p.rows = n;
        p.cols = p.x_row_stride = k;
        p.group_size = kGroup;
        ftc_stream* stream = stream_;
        auto* codes = static_cast<uint8_t*>(const_cast<void*>(w.data));
        auto *absmax = static_cast<float*>(const_cast<void*>(w.absmax)), *scale = const_cast<float*>(w.scale),
             *minimum = const_cast<float*>(w.minimum);
        if (quantize && nf4) return [=] { check(ftc_nf4_quantize(stream, codes, absmax, x, n * k)); };
        if (quantize && int8)
            return [=] { check(ftc_int8_quantize(stream, reinterpret_cast<int8_t*>(codes), scale, x, n, k, k)); };
        if (quantize) return [=] { check(ftc_affine_quantize(stream, codes, scale, minimum, x, &p)); };
        return [=] { check(ftc_weight_dequantize(stream, y, FTC_F32, k, &w, 0, n)); };
    }

    std::function<void()> affine_merge(const Case& c) {
        const int64_t n = c.sizes.at(0), groups = c.sizes.at(1) / kGroup;
        float *minimum = make(n * groups), *b = make(n * kRank), *a = make(kRank * groups);
        ftc_stream* stream = stream_;
        return [=] { check(ftc_affine_merge(stream, minimum, b, a, n, groups, kRank, kGroup, 2.0f)); };
    }

    std::function<void()> attention(const Case& c, bool forward) {
        const int64_t tokens = c.sizes.at(0), heads = c.sizes.at(1), key_heads = c.sizes.at(2), dim = c.sizes.at(3);
        ftc_attention_params p{};
        p.struct_size = sizeof(p);
        p.query_rows = p.key_rows = tokens;
        p.heads = static_cast<int32_t>(heads);
        p.key_value_heads = static_cast<int32_t>(key_heads);
        p.head_dim = static_cast<int32_t>(dim);
        p.scale = 1.0f / std::sqrt(static_cast<float>(dim));
        const int64_t wide = stride(heads * dim), narrow = stride(key_heads * dim);
        p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = wide;
        p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = narrow;
        int64_t bytes = 0, backward_bytes = 0;
        check(ftc_attention_workspace_bytes(context_, &p, 0, &bytes));
        check(ftc_attention_workspace_bytes(context_, &p, 1, &backward_bytes));
        bytes = std::max(bytes, backward_bytes);
        float *q = make(tokens * wide), *k = make(tokens * narrow), *v = make(tokens * narrow),
              *o = make(tokens * wide), *dout = make(tokens * wide), *dq = make(tokens * wide),
              *dk = make(tokens * narrow), *dv = make(tokens * narrow), *lse = make(tokens * heads),
              *workspace = make(bytes / 4 + 1);
        auto* begin = reinterpret_cast<int32_t*>(make(tokens));
        std::fill(begin, begin + tokens, 0);
        ftc_stream* stream = stream_;
        const auto ahead = [=] { check(ftc_attention_forward(stream, o, lse, q, k, v, begin, &p, workspace, bytes)); };
        if (forward) return ahead;
        ahead();
        return [=] {
            check(ftc_attention_backward(stream, dq, dk, dv, dout, q, k, v, o, lse, begin, &p, workspace, bytes));
        };
    }

    std::function<void()> rms_norm(const Case& c, bool forward) {
        const int64_t rows = c.sizes.at(0), cols = c.sizes.at(1), wide = stride(cols);
        ftc_rms_norm_params p{};
        p.struct_size = sizeof(p);
        p.rows = rows;
        p.heads = 1;
        p.hidden_size = cols;
        p.x_row_stride = p.y_row_stride = p.residual_row_stride = p.dx_row_stride = wide;
        p.eps = 1e-5f;
        float *x = make(rows * wide), *residual = make(rows * wide), *sum = make(rows * wide), *y = make(rows * wide),
              *dsum = make(rows * wide), *dx = make(rows * wide), *rstd = make(rows), *gain = make(cols);
        ftc_stream* stream = stream_;
        const auto ahead = [=] { check(ftc_rms_norm_forward(stream, y, sum, rstd, x, residual, gain, &p)); };
        if (forward) return ahead;
        ahead();
        return [=] { check(ftc_rms_norm_backward(stream, dx, nullptr, y, dsum, sum, rstd, gain, &p)); };
    }

    std::function<void()> rope(const Case& c, bool forward) {
        const int64_t rows = c.sizes.at(0), heads = c.sizes.at(1), dim = c.sizes.at(2);
        ftc_rope_params p{};
        p.struct_size = sizeof(p);
        p.rows = p.table_rows = rows;
        p.heads = heads;
        p.head_dim = p.rope_dim = dim;
        p.row_stride = stride(heads * dim);
        float *x = make(rows * p.row_stride), *cos = make(rows * dim / 2), *sin = make(rows * dim / 2);
        for (int64_t i = 0; i < rows * dim / 2; i++) { // turns, so that calls in place neither grow nor vanish
            const float angle = cos[i];
            cos[i] = std::cos(angle);
            sin[i] = std::sin(angle);
        }
        const int32_t* positions = counting(rows);
        ftc_stream* stream = stream_;
        if (forward) return [=] { check(ftc_rope_forward(stream, x, positions, cos, sin, &p)); };
        return [=] { check(ftc_rope_backward(stream, x, positions, cos, sin, &p)); };
    }

    std::function<void()> swiglu(const Case& c, bool forward) {
        const int64_t rows = c.sizes.at(0), cols = c.sizes.at(1), wide = stride(cols);
        ftc_swiglu_params p{};
        p.struct_size = sizeof(p);
        p.rows = rows;
        p.cols = cols;
        p.gate_row_stride = p.y_row_stride = p.dgate_row_stride = wide;
        float *gate = make(rows * wide), *up = make(rows * wide), *y = make(rows * wide), *dgate = make(rows * wide),
              *dup = make(rows * wide);
        ftc_stream* stream = stream_;
        if (forward) return [=] { check(ftc_swiglu_forward(stream, y, gate, up, &p)); };
        return [=] { check(ftc_swiglu_backward(stream, dgate, dup, y, gate, up, &p)); };
    }

    std::function<void()> embedding(const Case& c, bool forward) {
        const int64_t rows = c.sizes.at(0), cols = c.sizes.at(1), vocab = c.sizes.at(2);
        ftc_embedding_params p{};
        p.struct_size = sizeof(p);
        p.rows = rows;
        p.y_row_stride = stride(cols);
        p.dweight_row_stride = cols;
        const ftc_weight w = weight("Embedding", vocab, cols);
        float *y = make(rows * p.y_row_stride), *dweight = make(vocab * cols);
        const int32_t* ids = integers(rows, vocab);
        ftc_stream* stream = stream_;
        if (forward) return [=] { check(ftc_embedding_forward(stream, y, ids, &w, &p)); };
        return [=] { check(ftc_embedding_backward(stream, dweight, y, ids, vocab, cols, &p)); };
    }

    std::function<void()> cross_entropy(const Case& c) {
        const int64_t rows = c.sizes.at(0), hidden = c.sizes.at(1), vocab = c.sizes.at(2);
        const bool gradient = c.method == "LossAndGradient";
        const ftc_cross_entropy_workspace_params query{sizeof(query), FTC_F32, FTC_WEIGHT_F32, 0, rows, hidden, vocab};
        int64_t bytes = 0;
        check(ftc_linear_cross_entropy_workspace_bytes(context_, &query, &bytes));
        ftc_cross_entropy_params p{};
        p.struct_size = sizeof(p);
        p.rows = rows;
        p.trained_rows = static_cast<int32_t>(rows);
        p.x_row_stride = p.dx_row_stride = stride(hidden);
        p.gradient_scale = 1.0f;
        const ftc_weight w = weight("CrossEntropy", vocab, hidden);
        float *x = make(rows * p.x_row_stride), *dx = gradient ? make(rows * p.x_row_stride) : nullptr,
              *nll = make(rows), *workspace = make(bytes / 4 + 1);
        const int32_t* targets = integers(rows, vocab);
        ftc_stream* stream = stream_;
        return [=] {
            check(ftc_linear_cross_entropy(stream, nll, nullptr, dx, nullptr, x, &w, targets, &p, workspace, bytes));
        };
    }

    std::function<void()> adamw(const Case& c) {
        ftc_adamw_params p{};
        p.struct_size = sizeof(p);
        p.learning_rate = 1e-3f;
        p.beta1 = 0.9f;
        p.beta2 = 0.999f;
        p.eps = 1e-8f;
        p.gradient_scale = 1.0f;
        p.step = 1;
        p.count = c.sizes.at(0);
        float *parameter = make(p.count), *gradient = make(p.count);
        ftc_stream* stream = stream_;
        if (c.op == "AdamW8Bit") {
            constexpr int kValues = 256;
            const int64_t blocks = (p.count + kValues - 1) / kValues;
            auto *m = reinterpret_cast<uint8_t*>(make(p.count / 4 + 1)),
                 *v = reinterpret_cast<uint8_t*>(make(p.count / 4 + 1));
            float *m_absmax = make(blocks), *v_absmax = make(blocks), *m_map = make(kValues), *v_map = make(kValues);
            std::fill(m_absmax, m_absmax + blocks, 0.0f);
            std::fill(v_absmax, v_absmax + blocks, 0.0f);
            for (int i = 0; i < kValues; i++) {
                v_map[i] = static_cast<float>(i) / (kValues - 1);
                m_map[i] = 2 * v_map[i] - 1;
            }
            return [=] {
                check(ftc_adamw_8bit_step(stream, parameter, m, v, m_absmax, v_absmax, gradient, m_map, v_map, &p));
            };
        }
        float *m = make(p.count), *v = make(p.count);
        std::fill(v, v + p.count, 0.0f); // a mean of squares
        return [=] { check(ftc_adamw_step(stream, parameter, m, v, gradient, &p)); };
    }

    std::function<void()> sgd(const Case& c) {
        ftc_sgd_params p{};
        p.struct_size = sizeof(p);
        p.learning_rate = 1e-3f;
        p.momentum = 0.9f;
        p.gradient_scale = 1.0f;
        p.count = c.sizes.at(0);
        float *parameter = make(p.count), *velocity = make(p.count), *gradient = make(p.count);
        ftc_stream* stream = stream_;
        return [=] { check(ftc_sgd_step(stream, parameter, velocity, gradient, &p)); };
    }

    std::function<void()> gradient_norm(const Case& c) {
        const int64_t count = c.sizes.at(0);
        float *x = make(count), *sum = make(1);
        ftc_stream* stream = stream_;
        return [=] { check(ftc_sum_of_squares(stream, sum, x, count)); };
    }

    ftc_context* context_;
    ftc_stream* stream_;
    std::vector<std::unique_ptr<Buffer>> buffers_;
};

// Median of a few iterations of at least 50 ms each, as BenchmarkDotNet is set to; fewer of calls that take long.
double median_ns(ftc_stream* stream, const std::function<void()>& call) {
    constexpr double kIterationSeconds = 0.05, kLongSeconds = 0.25;
    const auto seconds = [&](int64_t calls) {
        const double start = wall_seconds();
        for (int64_t i = 0; i < calls; i++) {
            call();
            check(ftc_stream_synchronize(stream)); // as a call from .NET is timed
        }
        return wall_seconds() - start;
    };
    int64_t calls = 1;
    double once = seconds(calls);
    while (once < kIterationSeconds) {
        calls *= 2;
        once = seconds(calls);
    }
    std::vector<double> times;
    const int iterations = calls == 1 && once > kLongSeconds ? 3 : 5;
    for (int i = 0; i < iterations; i++) times.push_back(seconds(calls) / static_cast<double>(calls));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2] * 1e9;
}

// "LoraLinear.Forward 1024x576x1536"; false for what is no key.
bool parse(const std::string& key, Case& c) {
    const size_t dot = key.find('.'), space = key.find(' ');
    if (dot == std::string::npos || space == std::string::npos || dot > space) return false;
    c = {key.substr(0, dot), key.substr(dot + 1, space - dot - 1), {}};
    std::istringstream sizes(key.substr(space + 1));
    for (std::string size; std::getline(sizes, size, 'x');) c.sizes.push_back(std::atoll(size.c_str()));
    return !c.sizes.empty() && *std::min_element(c.sizes.begin(), c.sizes.end()) > 0;
}

} // namespace

int main() {
    ftc_context_params params{};
    params.struct_size = sizeof(params);
    params.threads = 1;
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    check(ftc_context_create(&context, &params));
    check(ftc_stream_create(&stream, context));
    std::printf("{\"event\":\"start\"}\n");
    std::fflush(stdout);
    for (std::string key; std::getline(std::cin, key);) {
        Case c;
        Runner runner(context, stream);
        const std::function<void()> call = parse(key, c) ? runner.prepare(c) : nullptr;
        if (call)
            std::printf("{\"event\":\"row\",\"key\":\"%s\",\"median_ns\":%.1f}\n", key.c_str(),
                        median_ns(stream, call));
        else
            std::printf("{\"event\":\"absent\",\"key\":\"%s\",\"reason\":\"no such op\"}\n", key.c_str());
        std::fflush(stdout);
    }
    std::printf("{\"event\":\"end\"}\n");
    ftc_stream_destroy(stream);
    ftc_context_destroy(context);
    return 0;
}
