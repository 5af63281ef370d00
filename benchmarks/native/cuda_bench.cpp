// cuda_bench [--tiny] [--rounds N] [--filter TEXT]: every op of the CUDA library at the shapes of Llama-3-8B, held
// against the copy bandwidth and the cuBLASLt rate measured first. One JSON object a line; --tiny rehearses on small
// shapes.
//
// Bytes count what an op must move at least (kernels.md of the design), flops the products it must compute.
#include <cmath>
#include <cstring>

#include "cuda/matmul.h"
#include "cuda_bench_runner.h"

namespace {

using namespace ftc::bench;

template <class... T>
std::string text(const char* format, T... values) {
    char buffer[128];
    std::snprintf(buffer, sizeof(buffer), format, values...);
    return buffer;
}

double product(int64_t a, int64_t b, int64_t c = 1) {
    return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

constexpr int64_t kGroup = 32; // columns of an affine weight's group, and of QA-LoRA's

const char* name_of(int32_t format) {
    return format == FTC_WEIGHT_BF16   ? "bf16"
           : format == FTC_WEIGHT_NF4  ? "nf4"
           : format == FTC_WEIGHT_INT8 ? "int8"
                                       : "affine 4-bit";
}

double bytes_of(int32_t format, int64_t rows, int64_t cols) {
    const double each = format == FTC_WEIGHT_BF16   ? 2
                        : format == FTC_WEIGHT_NF4  ? 0.5 + 1.0 / 64
                        : format == FTC_WEIGHT_INT8 ? 1
                                                    : 0.5 + 8.0 / kGroup;
    return each * product(rows, cols);
}

// A weight [rows, cols] in bf16, double-quantised NF4, int8 or 4-bit affine groups, and what it stands on.
struct Weight {
    Weight(ftc_stream* stream, int32_t format, int64_t rows, int64_t cols, int64_t row_stride, int64_t border)
        : values(stream, format == FTC_WEIGHT_BF16 ? (rows + border) * row_stride : 1, FTC_BF16, 0.02f),
          codes(stream, format == FTC_WEIGHT_BF16 ? 1 : rows * cols / (format == FTC_WEIGHT_INT8 ? 2 : 4), FTC_BF16),
          absmax(stream, format == FTC_WEIGHT_NF4 ? rows * cols / 128 : 1, FTC_BF16),
          nested_absmax(stream, format == FTC_WEIGHT_NF4 ? rows * cols / (64 * 256) + 1 : 1, FTC_F32, 0.02f),
          scale(stream, format == FTC_WEIGHT_INT8 ? rows : rows * cols / kGroup, FTC_F32, 0.002f),
          minimum(stream, format == FTC_WEIGHT_AFFINE ? rows * cols / kGroup : 1, FTC_F32, -0.015f),
          nested_map(stream, std::vector<float>(256, 0.5f)), quant_map(stream, std::vector<float>(16, 0.25f)) {
        value.struct_size = sizeof(value);
        value.format = format;
        value.rows = rows;
        value.cols = cols;
        value.data = format == FTC_WEIGHT_BF16 ? values : codes;
        if (format == FTC_WEIGHT_BF16) {
            value.row_stride = row_stride;
            value.border = static_cast<int32_t>(border);
        } else if (format == FTC_WEIGHT_NF4) {
            value.absmax = absmax;
            value.nested_absmax = nested_absmax;
            value.nested_map = nested_map;
            value.quant_map = quant_map;
            value.block_size = 64;
            value.nested_block_size = 256;
        } else {
            value.scale = scale;
            value.minimum = minimum;
            value.bits = 4;
            value.group_size = kGroup;
        }
    }
    DeviceBuffer values, codes, absmax, nested_absmax, scale, minimum, nested_map, quant_map;
    ftc_weight value{};
};

void ceilings(Runner& run) {
    const int64_t count = run.tiny ? 1 << 12 : int64_t{1} << 28;
    {
        const DeviceBuffer x(run.stream, count, FTC_BF16), y(run.stream, count, FTC_BF16);
        const double bytes = 4.0 * static_cast<double>(count);
        const double seconds = run.measure("copy", text("%.0f MB", bytes / 2e6), {bytes, 0},
                                           [&] { return ftc_copy(run.stream, y, x, 2 * count); });
        if (seconds > 0) run.copy_rate = bytes / seconds;
    }
    const int64_t m = run.tiny ? 32 : 8192, n = run.tiny ? 32 : 4096;
    const DeviceBuffer a(run.stream, m * n, FTC_BF16), b(run.stream, n * n, FTC_BF16, 0.02f),
        d(run.stream, m * n, FTC_BF16);
    const ftc::cuda::Matmul matmul{m, n, n, a, n, false, b, n, true, d, n, FTC_BF16, FTC_BF16, 1.0f, 0.0f};
    const double flops = 2 * product(m, n, n);
    const double seconds = run.measure("cublaslt", text("%ld x %ld x %ld bf16", m, n, n), {0, flops}, [&] {
        return ftc::guard("matmul", [&] { ftc::cuda::matmul(*run.stream, matmul); });
    });
    if (seconds > 0) run.matmul_rate = flops / seconds;
}

void dequantize(Runner& run, int32_t format, int64_t rows, int64_t cols) {
    const Weight weight(run.stream, format, rows, cols, cols, 0);
    const DeviceBuffer y(run.stream, rows * cols, FTC_BF16);
    run.measure(std::string("dequantize ") + name_of(format) + (format == FTC_WEIGHT_NF4 ? " nested" : ""),
                text("%ld x %ld", rows, cols), {2 * product(rows, cols) + bytes_of(format, rows, cols), 0},
                [&] { return ftc_weight_dequantize(run.stream, y, FTC_BF16, cols, &weight.value, 0, rows); });
}

// Forward and backward of one linear layer; rank 0 is the frozen layer, affine weights have QA-LoRA adapters.
void linear(Runner& run, const char* name, int32_t format, int64_t m, int64_t n, int64_t k, int32_t rank,
            float dropout) {
    const std::string shape = text("%s %ld x %ld, M %ld, %s, r %d, dropout %.2f", name, n, k, m, name_of(format), rank,
                                   static_cast<double>(dropout));
    if (!run.wants("linear forward " + shape) && !run.wants("linear backward " + shape)) return;
    ftc_linear_layout layout{};
    layout.struct_size = sizeof(layout);
    check(ftc_linear_get_layout(run.context, k, n, rank, FTC_BF16, &layout));
    const Weight weight(run.stream, format, n, k, layout.weight_row_stride, layout.border);
    ftc_linear_workspace_params query{};
    query.struct_size = sizeof(query);
    query.dtype = FTC_BF16;
    query.weight_format = format;
    query.border = layout.border;
    query.rows = m;
    query.in_features = k;
    query.out_features = n;
    query.rank = rank;
    int64_t workspace_bytes = 0;
    check(ftc_linear_workspace_bytes(run.context, &query, &workspace_bytes));
    const DeviceBuffer workspace(run.stream, workspace_bytes / 4 + 16, FTC_F32);
    const DeviceBuffer x(run.stream, m * layout.x_row_stride, FTC_BF16),
        y(run.stream, m * layout.y_row_stride, FTC_BF16), dy(run.stream, m * layout.y_row_stride, FTC_BF16),
        dx(run.stream, m * layout.x_row_stride, FTC_BF16);
    const DeviceBuffer a(run.stream, int64_t{rank} * k + 1, FTC_F32, 0.02f),
        b(run.stream, int64_t{rank} * n + 1, FTC_F32, 0.02f), s(run.stream, rank * m + 1, FTC_F32),
        da(run.stream, int64_t{rank} * k + 1, FTC_F32), db(run.stream, int64_t{rank} * n + 1, FTC_F32);
    const DeviceBuffer tokens(run.stream, std::vector<uint32_t>(static_cast<size_t>(m), 7));
    ftc_lora_segment segment{};
    segment.struct_size = sizeof(segment);
    segment.rank = rank;
    segment.row_end = m;
    segment.a = a;
    segment.b = b;
    segment.s = s;
    segment.da = da;
    segment.db = db;
    segment.scaling = 2.0f;
    segment.dropout_probability = dropout;
    segment.dropout_seed = 42;
    segment.pool = format == FTC_WEIGHT_AFFINE ? kGroup : 0;
    ftc_linear_params params{};
    params.struct_size = sizeof(params);
    params.dtype = FTC_BF16;
    params.rows = m;
    params.x_row_stride = params.dx_row_stride = layout.x_row_stride;
    params.y_row_stride = params.dy_row_stride = layout.y_row_stride;
    params.x_border = params.dy_border = layout.border;
    params.dropout_samples = params.dropout_positions = tokens.as<uint32_t>();
    const int32_t segments = rank > 0 ? 1 : 0;

    const double weight_bytes = bytes_of(format, n, k);
    const double activations = 2 * product(m, n + k), flops = 2 * product(m, n, k);
    const double adapter = rank > 0 ? 1.0 : 0.0; // S reads X once more; dS and dB read dY, dA reads X
    run.measure("linear forward", shape, {weight_bytes + activations + adapter * 2 * product(m, k), flops}, [&] {
        return ftc_linear_forward(run.stream, y, x, &weight.value, nullptr, &segment, segments, &params, workspace,
                                  workspace_bytes);
    });
    run.measure("linear backward", shape, {weight_bytes + activations + adapter * activations, flops}, [&] {
        return ftc_linear_backward(run.stream, dx, nullptr, nullptr, dy, x, &weight.value, &segment, segments, &params,
                                   workspace, workspace_bytes);
    });
}

void attention(Runner& run, int64_t tokens, int32_t heads, int32_t key_value_heads, int32_t head_dim) {
    const int64_t width = int64_t{heads} * head_dim, key_width = int64_t{key_value_heads} * head_dim;
    ftc_attention_params p{};
    p.struct_size = sizeof(p);
    p.dtype = FTC_BF16;
    p.query_rows = p.key_rows = tokens;
    p.heads = heads;
    p.key_value_heads = key_value_heads;
    p.head_dim = head_dim;
    p.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = width;
    p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = key_width;
    int64_t bytes[2] = {};
    for (const int backward : {0, 1})
        if (ftc_attention_workspace_bytes(run.context, &p, backward, &bytes[backward]) != FTC_OK) bytes[backward] = 0;
    const int64_t workspace_bytes = std::max(bytes[0], bytes[1]);
    const DeviceBuffer q(run.stream, tokens * width, FTC_BF16), k(run.stream, tokens * key_width, FTC_BF16),
        v(run.stream, tokens * key_width, FTC_BF16), o(run.stream, tokens * width, FTC_BF16),
        lse(run.stream, tokens * heads, FTC_F32), dout(run.stream, tokens * width, FTC_BF16),
        dq(run.stream, tokens * width, FTC_BF16), dk(run.stream, tokens * key_width, FTC_BF16),
        dv(run.stream, tokens * key_width, FTC_BF16), workspace(run.stream, workspace_bytes / 4 + 16, FTC_F32);
    const std::string shape = text("%ld tokens, %d/%d heads of %d, causal", tokens, heads, key_value_heads, head_dim);
    const double flops = 2 * product(width, tokens, tokens); // half of the square counts
    const double once = 2 * (2 * product(tokens, width) + 2 * product(tokens, key_width));
    run.measure("attention forward", shape, {once, flops}, [&] {
        return ftc_attention_forward(run.stream, o, lse, q, k, v, nullptr, &p, workspace, workspace_bytes);
    });
    run.measure("attention backward", shape, {2 * once, 2.5 * flops}, [&] {
        return ftc_attention_backward(run.stream, dq, dk, dv, dout, q, k, v, o, lse, nullptr, &p, workspace,
                                      workspace_bytes);
    });
    p.query_rows = 1;
    p.first_query = tokens - 1;
    run.measure("attention decode", shape, {4 * product(tokens, key_width), 0}, [&] {
        return ftc_attention_forward(run.stream, o, nullptr, q, k, v, nullptr, &p, workspace, workspace_bytes);
    });
}

void loss(Runner& run, int64_t rows, int64_t hidden_size, int64_t vocab_size) {
    const std::string shape = text("%ld rows, %ld x %ld, with dx", rows, hidden_size, vocab_size);
    if (!run.wants("linear_cross_entropy " + shape)) return;
    const ftc_cross_entropy_workspace_params query{sizeof(query), FTC_BF16,    FTC_WEIGHT_BF16, 0,
                                                   rows,          hidden_size, vocab_size};
    int64_t bytes = 0;
    if (ftc_linear_cross_entropy_workspace_bytes(run.context, &query, &bytes) != FTC_OK) bytes = 0;
    const Weight weight(run.stream, FTC_WEIGHT_BF16, vocab_size, hidden_size, hidden_size, 0);
    const DeviceBuffer x(run.stream, rows * hidden_size, FTC_BF16), dx(run.stream, rows * hidden_size, FTC_BF16),
        nll(run.stream, rows, FTC_F32), targets(run.stream, std::vector<int32_t>(static_cast<size_t>(rows), 1)),
        workspace(run.stream, bytes / 4 + 16, FTC_F32);
    ftc_cross_entropy_params p{};
    p.struct_size = sizeof(p);
    p.dtype = FTC_BF16;
    p.rows = rows;
    p.x_row_stride = p.dx_row_stride = hidden_size;
    p.gradient_scale = 1.0f / static_cast<float>(rows);
    run.measure("linear_cross_entropy", shape,
                {2 * product(vocab_size, hidden_size), 4 * product(rows, hidden_size, vocab_size)}, [&] {
                    return ftc_linear_cross_entropy(run.stream, nll, nullptr, dx, nullptr, x, &weight.value,
                                                    targets.as<int32_t>(), &p, workspace, bytes);
                });
}

void elementwise(Runner& run, int64_t rows, int64_t cols, int64_t intermediate) {
    const DeviceBuffer a(run.stream, rows * cols, FTC_BF16), b(run.stream, rows * cols, FTC_BF16),
        c(run.stream, rows * cols, FTC_BF16), d(run.stream, rows * cols, FTC_BF16),
        e(run.stream, rows * cols, FTC_BF16), weight(run.stream, cols, FTC_F32), rstd(run.stream, rows, FTC_F32);
    const double one = 2 * product(rows, cols);
    const std::string shape = text("%ld x %ld bf16", rows, cols);
    ftc_rms_norm_params norm{};
    norm.struct_size = sizeof(norm);
    norm.dtype = FTC_BF16;
    norm.rows = rows;
    norm.heads = 1;
    norm.hidden_size = cols;
    norm.x_row_stride = norm.y_row_stride = norm.residual_row_stride = norm.dx_row_stride = cols;
    norm.eps = 1e-5f;
    run.measure("rms_norm forward with residual", shape, {4 * one, 0},
                [&] { return ftc_rms_norm_forward(run.stream, b, c, rstd, a, d, weight, &norm); });
    run.measure("rms_norm backward", shape, {4 * one, 0},
                [&] { return ftc_rms_norm_backward(run.stream, e, nullptr, b, d, c, rstd, weight, &norm); });

    const int64_t head_dim = std::min<int64_t>(128, cols);
    std::vector<int32_t> order;
    for (int64_t i = 0; i < rows; i++) order.push_back(static_cast<int32_t>(i));
    const DeviceBuffer positions(run.stream, order), cosines(run.stream, rows * head_dim / 2, FTC_F32),
        sines(run.stream, rows * head_dim / 2, FTC_F32);
    ftc_rope_params rope{};
    rope.struct_size = sizeof(rope);
    rope.dtype = FTC_BF16;
    rope.rows = rope.table_rows = rows;
    rope.head_dim = rope.rope_dim = head_dim;
    rope.heads = cols / head_dim;
    rope.row_stride = cols;
    run.measure("rope", shape, {2 * one + 4 * product(rows, head_dim), 0},
                [&] { return ftc_rope_forward(run.stream, a, positions.as<int32_t>(), cosines, sines, &rope); });

    const DeviceBuffer gate_up(run.stream, rows * 2 * intermediate, FTC_BF16),
        h(run.stream, rows * intermediate, FTC_BF16);
    ftc_swiglu_params swiglu{};
    swiglu.struct_size = sizeof(swiglu);
    swiglu.dtype = FTC_BF16;
    swiglu.rows = rows;
    swiglu.cols = swiglu.y_row_stride = intermediate;
    swiglu.gate_row_stride = swiglu.dgate_row_stride = 2 * intermediate;
    uint16_t* gate = gate_up.as<uint16_t>();
    const double wide = 2 * product(rows, intermediate);
    const std::string wide_shape = text("%ld x %ld bf16", rows, intermediate);
    run.measure("swiglu forward", wide_shape, {3 * wide, 0},
                [&] { return ftc_swiglu_forward(run.stream, h, gate, gate + intermediate, &swiglu); });
    run.measure("swiglu backward", wide_shape, {5 * wide, 0}, [&] {
        return ftc_swiglu_backward(run.stream, gate, gate + intermediate, h, gate, gate + intermediate, &swiglu);
    });
}

void optimizer(Runner& run, int64_t count) {
    const DeviceBuffer parameter(run.stream, count, FTC_F32), m(run.stream, count, FTC_F32),
        v(run.stream, count, FTC_F32, 0.0f), gradient(run.stream, count, FTC_F32, 1e-3f), sum(run.stream, 1, FTC_F32);
    ftc_adamw_params adamw{};
    adamw.struct_size = sizeof(adamw);
    adamw.learning_rate = 1e-3f;
    adamw.beta1 = 0.9f;
    adamw.beta2 = 0.999f;
    adamw.eps = 1e-8f;
    adamw.gradient_scale = 1.0f;
    adamw.step = 1;
    adamw.count = count;
    const std::string shape = text("%ld parameters", count);
    run.measure("adamw", shape, {28.0 * static_cast<double>(count), 0},
                [&] { return ftc_adamw_step(run.stream, parameter, m, v, gradient, &adamw); });
    run.measure("sum_of_squares", shape, {4.0 * static_cast<double>(count), 0},
                [&] { return ftc_sum_of_squares(run.stream, sum, gradient, count); });
}

} // namespace

int main(int argc, char** argv) {
    bool tiny = false;
    int rounds = 21;
    std::string filter;
    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--tiny") == 0)
            tiny = true;
        else if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = std::max(1, std::atoi(argv[++i]));
        else if (std::strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
            filter = argv[++i];
        else {
            std::fprintf(stderr, "usage: cuda_bench [--tiny] [--rounds N] [--filter TEXT]\n");
            return 2;
        }
    }
    if (tiny) rounds = 1;
    Runner run(tiny, rounds);
    ceilings(run);
    int64_t packed_rows = -1; // as ftc does before it trains
    check(ftc_linear_tune(run.stream, &packed_rows));
    std::printf("{\"op\": \"tune\", \"shape\": \"NF4 multiplied packed up to %ld rows\"}\n", packed_rows);
    run.set_filter(filter);
    const int64_t scale = tiny ? 64 : 1; // of the shapes of Llama-3-8B
    const int64_t hidden = 4096 / scale, intermediate = 14336 / scale;

    dequantize(run, FTC_WEIGHT_NF4, hidden, hidden);
    for (const int32_t format : {FTC_WEIGHT_NF4, FTC_WEIGHT_INT8, FTC_WEIGHT_AFFINE})
        dequantize(run, format, intermediate, hidden);
    for (const int64_t m : tiny ? std::vector<int64_t>{1, 3} : std::vector<int64_t>{1, 4, 16})
        for (const int32_t format : {FTC_WEIGHT_BF16, FTC_WEIGHT_NF4, FTC_WEIGHT_INT8, FTC_WEIGHT_AFFINE})
            linear(run, "gate", format, m, intermediate, hidden, 0, 0);
    for (const int64_t m : tiny ? std::vector<int64_t>{17} : std::vector<int64_t>{128, 512, 2048, 8192})
        for (const int32_t format : {FTC_WEIGHT_BF16, FTC_WEIGHT_NF4, FTC_WEIGHT_AFFINE})
            for (const auto& [rank, dropout] : {std::pair{0, 0.0f}, {16, 0.0f}, {16, 0.05f}}) {
                linear(run, "q", format, m, hidden, hidden, rank, dropout);
                if (m > 128 || tiny) linear(run, "gate", format, m, intermediate, hidden, rank, dropout);
                if (m > 2048 || tiny) linear(run, "down", format, m, hidden, intermediate, rank, dropout);
            }
    for (const int64_t tokens : tiny ? std::vector<int64_t>{33} : std::vector<int64_t>{2048, 8192, 32768})
        attention(run, tokens, tiny ? 2 : 32, tiny ? 1 : 8, 128);
    loss(run, tiny ? 17 : 8192, hidden, tiny ? 257 : 128256);
    elementwise(run, tiny ? 9 : 8192, hidden, intermediate);
    optimizer(run, tiny ? 1000 : 41943040);
    return 0;
}
