// Which kernels multiply a quantised weight packed, and the end of products whose contraction was split.
#include "ops/linear/packed_product_cuda.h"

#include "cuda/device.cuh"

namespace ftc::cuda {

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) finish_product_kernel(ProductOutput out) {
    const int64_t count = out.rows * out.columns, i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (i >= count) return;
    const int64_t row = i / out.columns, col = i % out.columns;
    float value = out.bias != nullptr ? out.bias[col] : 0.0f;
    for (int32_t split = 0; split < out.splits; ++split) value += out.partial[split * count + i];
    bf16& y = static_cast<bf16*>(out.y)[row * out.y_row_stride + col];
    if (out.accumulate) value += to_float(y);
    y = from_float<bf16>(value);
}

} // namespace

void finish_product(ftc_stream& stream, const ProductOutput& out) {
    const int64_t count = out.rows * out.columns;
    FTC_LAUNCH((finish_product_kernel), dim3(static_cast<uint32_t>((count + kThreads - 1) / kThreads)), dim3(kThreads), 0,
               stream.handle, out);
}

int32_t packed_product_splits(int64_t rows, int64_t columns, int64_t depth) {
    const int64_t blocks = (columns + 63) / 64 * ((rows + 63) / 64), tiles = (depth + 63) / 64;
    const int64_t wanted = (256 + blocks - 1) / blocks, most = tiles / 4 > 1 ? tiles / 4 : 1;
    return static_cast<int32_t>(wanted < most ? wanted : most);
}

bool packed_product_takes(const ftc_weight& w) {
    if (reinterpret_cast<uintptr_t>(w.data) % 16 != 0) return false;
    switch (w.format) {
    case FTC_WEIGHT_NF4:
        return w.cols % 64 == 0; // blocks do not straddle rows
    case FTC_WEIGHT_INT8:
        return w.cols % 32 == 0;
    default:
        return w.format == FTC_WEIGHT_AFFINE;
    }
}

int64_t packed_product_partial_bytes(int64_t rows, int64_t in_features, int64_t out_features) {
    // splits * rows * columns is at most (256 * 64 * 64) / ... + rows * columns: bounded through its two factors.
    const auto bound = [rows](int64_t columns, int64_t depth) {
        const int64_t most = packed_product_splits(1, columns, depth);
        return most * rows * columns * static_cast<int64_t>(sizeof(float));
    };
    const int64_t forward = bound(out_features, in_features), backward = bound(in_features, out_features);
    return forward > backward ? forward : backward;
}

void packed_product(ftc_stream& stream, const PackedProduct& args, bool backward) {
    const ftc_weight& w = args.weight;
    if (w.format == FTC_WEIGHT_NF4)
        packed_product_nf4(stream, args, backward);
    else if (w.format == FTC_WEIGHT_INT8)
        packed_product_int8(stream, args, backward);
    else if (w.bits == 4)
        packed_product_affine4(stream, args, backward);
    else if (w.bits == 3)
        packed_product_affine3(stream, args, backward);
    else
        packed_product_affine2(stream, args, backward);
}

void packed_decode(ftc_stream& stream, const PackedDecode& args) {
    const ftc_weight& w = args.product.weight;
    if (w.format == FTC_WEIGHT_NF4)
        packed_decode_nf4(stream, args);
    else if (w.format == FTC_WEIGHT_INT8)
        packed_decode_int8(stream, args);
    else if (w.bits == 4)
        packed_decode_affine4(stream, args);
    else if (w.bits == 3)
        packed_decode_affine3(stream, args);
    else
        packed_decode_affine2(stream, args);
}

} // namespace ftc::cuda
