// The skinny products of LoRA and the NF4 decode, through the functions the linear layer calls.
#include "golden.h"
#include "ops/linear/lora_cuda.h"
#include "ops/linear/packed_product_cuda.h"
#include "traffic/traffic.h"

namespace ftc::testing {
namespace {

constexpr int64_t kRank = 16;

std::string shape_of(int64_t rows, int64_t features, int64_t rank) {
    return std::to_string(rows) + " × " + std::to_string(features) + (rank > 0 ? ", r " + std::to_string(rank) : "");
}

// bytes_of(rows, features) at both shapes.
template <class Bytes>
TrafficCase lora_case(const std::string& op, const Bytes& bytes_of, std::function<void(Device&, int64_t, int64_t)> run,
                      double budget = 1.05) {
    // As many rows as a real micro-batch has: how often partial sums are written follows from them.
    const int64_t rows = 8192, features = 1024, real_rows = 8192, real_features = 4096;
    return {op,
            "",
            {shape_of(rows, features, kRank), bytes_of(double(rows), double(features))},
            {shape_of(real_rows, real_features, kRank), bytes_of(double(real_rows), double(real_features))},
            [=, run = std::move(run)](Device& device) { run(device, rows, features); },
            true,
            budget};
}

// Over means of `pool` features it is QA-LoRA's; 1: LoRA's.
TrafficCase lora_down(int32_t pool = 1) {
    return lora_case(
        pool == 1 ? "LoRA S = X Aᵀ" : "QA-LoRA S, groups of " + std::to_string(pool),
        [=](double m, double k) { return 2 * m * k + 4 * kRank * k / pool + 4 * m * kRank; },
        [=](Device& device, int64_t m, int64_t k) {
            Memory<Bf16> x(m * k, kBf16One);
            Memory<float> a(kRank * k / pool, 1.0f), s(m * kRank);
            Memory<uint8_t> partial(cuda::lora_partial_bytes(m, k, kRank));
            cuda::LoraDown args{};
            args.s = s;
            args.x = x;
            args.x_row_stride = k;
            args.a = a;
            args.rows = m;
            args.k = k;
            args.rank = kRank;
            args.pool = pool;
            args.partial = partial;
            cuda::lora_down(*static_cast<ftc_stream*>(device), FTC_BF16, args);
            ASSERT_EQ(device.wait(FTC_OK), FTC_OK) << ftc_last_error_message();
        });
}

TrafficCase lora_up_backward() {
    return lora_case(
        "LoRA dS = dY B, dB = dYᵀ S",
        [](double m, double n) { return 2 * m * n + 4 * n * kRank * 3 + 4 * m * kRank * 2; },
        [](Device& device, int64_t m, int64_t n) {
            Memory<Bf16> dy(m * n, kBf16One);
            Memory<float> b(n * kRank, 1.0f), db(n * kRank), s(m * kRank, 1.0f), ds(m * kRank);
            Memory<uint8_t> partial(cuda::lora_partial_bytes(m, n, kRank));
            cuda::LoraUpBackward args{};
            args.ds = ds;
            args.db = db;
            args.dy = dy;
            args.dy_row_stride = n;
            args.b = b;
            args.s = s;
            args.rows = m;
            args.n = n;
            args.rank = kRank;
            args.scaling = 1.0f;
            args.partial = partial;
            cuda::lora_up_backward(*static_cast<ftc_stream*>(device), FTC_BF16, args);
            ASSERT_EQ(device.wait(FTC_OK), FTC_OK) << ftc_last_error_message();
        },
        // The parts of dS and dB, written once and read once, so that they are added in order: 4 MB each beside 67 MB of dY,
        // as kernels.md's design has them. With blocks of R rows by C columns they are 8 r m n (1/R + 1/C) bytes, and R C is at
        // most m n over the blocks that fill a GPU: 512 x 512 for 128 of them is the least at this shape. Only sums between
        // blocks that never leave the chip (clusters, sm_90) would save the dS half.
        1.25);
}

TrafficCase lora_down_backward(int32_t pool = 1) {
    return lora_case(
        pool == 1 ? "LoRA dA = dSᵀ X" : "QA-LoRA dA, groups of " + std::to_string(pool),
        [=](double m, double k) { return 2 * m * k + 4 * kRank * k / pool * 2 + 4 * m * kRank; },
        [=](Device& device, int64_t m, int64_t k) {
            Memory<Bf16> x(m * k, kBf16One);
            Memory<float> da(kRank * k / pool), ds(m * kRank, 1.0f);
            Memory<uint8_t> partial(cuda::lora_partial_bytes(m, k, kRank));
            cuda::LoraDownBackward args{};
            args.da = da;
            args.ds = ds;
            args.x = x;
            args.x_row_stride = k;
            args.rows = m;
            args.k = k;
            args.rank = kRank;
            args.pool = pool;
            args.partial = partial;
            cuda::lora_down_backward(*static_cast<ftc_stream*>(device), FTC_BF16, args);
            ASSERT_EQ(device.wait(FTC_OK), FTC_OK) << ftc_last_error_message();
        });
}

TrafficCase decode(int64_t rows) {
    const int64_t n = 512, k = 4096, real_n = 14336;
    const auto bytes_of = [=](double features) {
        return features * double(k) * (0.5 + 1.0 / 64 + 4.0 / 16384) + double(rows) * (2 * double(k) + 2 * features);
    };
    return {"NF4 decode, " + std::to_string(rows) + (rows == 1 ? " row" : " rows"),
            "packed_decode_kernel",
            {shape_of(n, k, 0), bytes_of(double(n))},
            {shape_of(real_n, k, 0), bytes_of(double(real_n))},
            [=](Device& device) {
                const Golden golden = read_golden("nf4/examples.txt");
                Vector<float> quant_map = golden.f32.at("quant_map"), nested_map = golden.f32.at("nested_map");
                Memory<uint8_t> codes(n * k / 2, 0x4c), absmax(n * k / 64, 200);
                for (int64_t i = 0; i < n * k / 2; ++i) codes[i] = static_cast<uint8_t>(i * 29);
                Memory<float> nested_absmax(n * k / 64 / 256, 1.0f);
                Memory<Bf16> x(rows * k, kBf16One), y(rows * n);
                cuda::PackedDecode args{};
                args.product.y = y;
                args.product.y_row_stride = n;
                args.product.x = x;
                args.product.x_row_stride = k;
                args.product.rows = rows;
                ftc_weight& w = args.product.weight;
                w.struct_size = sizeof(w);
                w.format = FTC_WEIGHT_NF4;
                w.rows = n;
                w.cols = k;
                w.data = codes;
                w.absmax = absmax;
                w.nested_absmax = nested_absmax;
                w.nested_map = nested_map.data();
                w.quant_map = quant_map.data();
                w.block_size = 64;
                w.nested_block_size = 256;
                cuda::packed_decode(*static_cast<ftc_stream*>(device), args);
                ASSERT_EQ(device.wait(FTC_OK), FTC_OK) << ftc_last_error_message();
            },
            true};
}

// Affine groups; int8 when bits are 8.
TrafficCase decode_packed(int32_t bits, int32_t group_size) {
    const int64_t n = 512, k = 4096, real_n = 14336;
    const auto bytes_of = [=](double features) {
        const double scales = bits == 8 ? 4 * features : 8 * features * double(k) / group_size;
        return features * double(k) * bits / 8 + scales + 2 * double(k) + 2 * features;
    };
    return {bits == 8 ? "int8 decode, 1 row" : "affine " + std::to_string(bits) + "-bit, groups of " + std::to_string(group_size) + ", decode, 1 row",
            "packed_decode_kernel",
            {shape_of(n, k, 0), bytes_of(double(n))},
            {shape_of(real_n, k, 0), bytes_of(double(real_n))},
            [=](Device& device) {
                const int64_t bytes = n * k * bits / 8, scales = bits == 8 ? n : n * k / group_size;
                Memory<uint8_t> codes(bytes);
                for (int64_t i = 0; i < bytes; ++i) codes[i] = static_cast<uint8_t>(i * 29);
                Memory<float> scale(scales, 1.0f), minimum(scales, -1.0f);
                Memory<Bf16> x(k, kBf16One), y(n);
                cuda::PackedDecode args{};
                args.product.y = y;
                args.product.y_row_stride = n;
                args.product.x = x;
                args.product.x_row_stride = k;
                args.product.rows = 1;
                ftc_weight& w = args.product.weight;
                w.struct_size = sizeof(w);
                w.format = bits == 8 ? FTC_WEIGHT_INT8 : FTC_WEIGHT_AFFINE;
                w.rows = n;
                w.cols = k;
                w.data = codes;
                w.bits = bits;
                w.group_size = group_size;
                w.scale = scale;
                w.minimum = minimum;
                cuda::packed_decode(*static_cast<ftc_stream*>(device), args);
                ASSERT_EQ(device.wait(FTC_OK), FTC_OK) << ftc_last_error_message();
            },
            true};
}

} // namespace

std::vector<TrafficCase> linear_traffic() {
    return {decode(1),       decode(8),       decode_packed(4, 32), decode_packed(4, 128), decode_packed(2, 64),
            decode_packed(8, 0), lora_down(),     lora_up_backward(),      lora_down_backward(),
            lora_down(32),   lora_down(128),  lora_down_backward(32),  lora_down_backward(128)};
}

} // namespace ftc::testing
