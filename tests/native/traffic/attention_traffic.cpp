// Attention and the loss. What is bound by memory stands in the table: decoding, the statistics of the backward,
// softmax over logits. The kernels on tiles are bound by their products and read keys, values and queries from the L2
// cache once a tile: they are held to the bytes their tiling states, and to shared memory without bank conflicts, which
// feeds them.
#include "simt/control.h"
#include "traffic/traffic.h"

namespace ftc::testing {
namespace {

struct Shape {
    int64_t query_rows, key_rows;
    int32_t heads, key_value_heads, head_dim;

    std::string name() const {
        return std::to_string(query_rows) + " of " + std::to_string(key_rows) + ", heads " + std::to_string(heads) +
               ":" + std::to_string(key_value_heads) + ", head_dim " + std::to_string(head_dim);
    }
    double query_bytes() const { return 2.0 * double(query_rows) * heads * head_dim; }
    double key_bytes() const { return 2.0 * double(key_rows) * key_value_heads * head_dim; }
    double row_heads() const { return double(query_rows) * heads; }
};

struct Call {
    ftc_attention_params p{};
    Memory<Bf16> q, k, v, o;
    Memory<float> lse;

    explicit Call(const Shape& s)
        : q(s.query_rows * s.heads * s.head_dim, kBf16One), k(s.key_rows * s.key_value_heads * s.head_dim, kBf16One),
          v(s.key_rows * s.key_value_heads * s.head_dim, kBf16One), o(s.query_rows * s.heads * s.head_dim, kBf16One),
          lse(s.query_rows * s.heads, 1.0f) {
        p.struct_size = sizeof(p);
        p.dtype = FTC_BF16;
        p.query_rows = s.query_rows;
        p.key_rows = s.key_rows;
        p.first_query = s.key_rows - s.query_rows;
        p.heads = s.heads;
        p.key_value_heads = s.key_value_heads;
        p.head_dim = s.head_dim;
        p.scale = 0.125f;
        p.q_row_stride = p.o_row_stride = p.dq_row_stride = p.do_row_stride = int64_t{s.heads} * s.head_dim;
        p.k_row_stride = p.v_row_stride = p.dk_row_stride = p.dv_row_stride = int64_t{s.key_value_heads} * s.head_dim;
    }

    Memory<uint8_t> workspace(Device& device, int32_t backward) const {
        int64_t bytes = 0;
        EXPECT_EQ(ftc_attention_workspace_bytes(device.context(), &p, backward, &bytes), FTC_OK);
        return Memory<uint8_t>(bytes);
    }

    void forward(Device& device) {
        Memory<uint8_t> work = workspace(device, 0);
        ASSERT_EQ(
            device.wait(ftc_attention_forward(device, o, lse, q, k, v, nullptr, &p, work, int64_t(work.values.size()))),
            FTC_OK)
            << ftc_last_error_message();
    }
    void backward(Device& device) {
        Memory<Bf16> dout(int64_t(o.values.size()), kBf16One), dq(int64_t(q.values.size())),
            dk(int64_t(k.values.size())), dv(int64_t(v.values.size()));
        Memory<uint8_t> work = workspace(device, 1);
        ASSERT_EQ(device.wait(ftc_attention_backward(device, dq, dk, dv, dout, q, k, v, o, lse, nullptr, &p, work,
                                                     int64_t(work.values.size()))),
                  FTC_OK)
            << ftc_last_error_message();
    }
};

TrafficCase decode(const Shape& counted, const Shape& real) {
    const auto bytes = [](const Shape& s) { return 2 * s.query_bytes() + 2 * s.key_bytes() + 4 * s.row_heads(); };
    return {"attention of one row",
            "attention_decode",
            {counted.name(), bytes(counted)},
            {real.name(), bytes(real)},
            [=](Device& device) { Call(counted).forward(device); }};
}

TrafficCase statistics(const Shape& counted, const Shape& real) {
    const auto bytes = [](const Shape& s) { return 2 * s.query_bytes() + 12 * s.row_heads(); };
    return {"attention backward, row statistics",
            "attention_statistics",
            {counted.name(), bytes(counted)},
            {real.name(), bytes(real)},
            [=](Device& device) { Call(counted).backward(device); }};
}

TrafficCase softmax(int64_t rows, int64_t vocab_size, int64_t real_rows, int64_t real_vocab_size) {
    const auto shape = [](int64_t r, int64_t v) { return std::to_string(r) + " × " + std::to_string(v); };
    return {"softmax and gradient over fp32 logits (two passes)",
            "softmax_nll",
            {shape(rows, vocab_size), 10.0 * double(rows) * double(vocab_size)},
            {shape(real_rows, real_vocab_size), 10.0 * double(real_rows) * double(real_vocab_size)},
            [=](Device& device) {
                constexpr int64_t kHidden = 8;
                Memory<Bf16> x(rows * kHidden, kBf16One), w(vocab_size * kHidden, kBf16One), dx(rows * kHidden);
                Memory<float> nll(rows);
                Memory<int32_t> targets(rows, 1);
                ftc_weight weight{};
                weight.struct_size = sizeof(weight);
                weight.format = FTC_WEIGHT_BF16;
                weight.rows = vocab_size;
                weight.cols = weight.row_stride = kHidden;
                weight.data = w;
                ftc_cross_entropy_params p{};
                p.struct_size = sizeof(p);
                p.dtype = FTC_BF16;
                p.rows = rows;
                p.x_row_stride = p.dx_row_stride = kHidden;
                p.gradient_scale = 1.0f;
                ftc_cross_entropy_workspace_params sizes{};
                sizes.struct_size = sizeof(sizes);
                sizes.dtype = FTC_BF16;
                sizes.weight_format = FTC_WEIGHT_BF16;
                sizes.rows = rows;
                sizes.hidden_size = kHidden;
                sizes.vocab_size = vocab_size;
                int64_t bytes = 0;
                ASSERT_EQ(ftc_linear_cross_entropy_workspace_bytes(device.context(), &sizes, &bytes), FTC_OK);
                Memory<uint8_t> workspace(bytes);
                ASSERT_EQ(device.wait(ftc_linear_cross_entropy(device, nll, nullptr, dx, nullptr, x, &weight, targets,
                                                               &p, workspace, bytes)),
                          FTC_OK)
                    << ftc_last_error_message();
            }};
}

// ---- Tiles, causal, as many queries as keys

double rounded_up(int64_t value, int64_t multiple) {
    return double((value + multiple - 1) / multiple * multiple);
}

// Rows of keys that query tiles go through, all heads: a tile of `queries` rows sees the keys up to its last row.
double keys_seen(const Shape& s, int64_t queries) {
    double rows = 0;
    for (int64_t row = 0; row < s.query_rows; row += queries) rows += double(std::min(row + queries, s.query_rows));
    return rows * s.heads;
}

// Rows of queries that key tiles go through, all heads: from the key tile's first row on, in steps.
double queries_seen(const Shape& s, int64_t keys, int64_t step) {
    double rows = 0;
    for (int64_t key = 0; key < s.key_rows; key += keys) rows += double(s.query_rows - key / step * step);
    return rows * s.heads;
}

struct Tiling {
    const char* kernel;
    double bytes;
};

class AttentionTiles : public ::testing::TestWithParam<int32_t> {};

TEST_P(AttentionTiles, MoveWhatTheirTilingStates) {
    const int32_t n = GetParam();
    const Shape s{320, 320, 4, 1, n};
    const bool narrow = n <= 64;
    const double row = 2.0 * n; // bytes
    const double statistics = 8.0;
    const Tiling tilings[] = {
        // q, o and lse once; k and v once a tile of 128 queries.
        {"attention_forward_bf16", 2 * s.query_bytes() + 4 * s.row_heads() + 2 * row * keys_seen(s, 128)},
        // k, v, dk, dv once; q, dout and the statistics once a tile of keys.
        {"attention_backward_keys",
         4 * s.key_bytes() + (2 * row + statistics) * queries_seen(s, narrow ? 128 : 64, 32)},
        // q, dout, dq and the statistics once, those for whole tiles; k and v once a tile of queries.
        {"attention_backward_queries", 3 * s.query_bytes() +
                                           statistics * rounded_up(s.query_rows, narrow ? 128 : 64) * s.heads +
                                           2 * row * keys_seen(s, narrow ? 128 : 64)},
    };
    Device device("ordered");
    Call call(s);
    simt::take_counters();
    simt::set_counting(true);
    call.forward(device);
    call.backward(device);
    simt::set_counting(false);
    const auto launches = simt::take_counters();
    for (const Tiling& tiling : tilings) {
        int found = 0;
        for (const simt::LaunchCounters& launch : launches) {
            if (launch.kernel.find(tiling.kernel) == std::string::npos) continue;
            ++found;
            const double bytes = double(launch.global_read_bytes + launch.global_written_bytes);
            EXPECT_NEAR(bytes / tiling.bytes, 1.0, 0.01) << tiling.kernel;
            EXPECT_GE(launch.sector_efficiency(), 0.90) << tiling.kernel;
            EXPECT_LE(launch.passes_per_shared_access(), 1.0) << tiling.kernel;
            EXPECT_GT(launch.mma, 0u) << tiling.kernel;
        }
        EXPECT_EQ(found, 1) << tiling.kernel;
    }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, AttentionTiles, ::testing::Values(32, 64, 96, 128));

} // namespace

std::vector<TrafficCase> attention_traffic() {
    return {decode({1, 1024, 8, 2, 128}, {1, 32768, 32, 8, 128}),
            statistics({256, 256, 4, 1, 128}, {8192, 8192, 32, 8, 128}), softmax(16, 32000, 1024, 128256)};
}

} // namespace ftc::testing
