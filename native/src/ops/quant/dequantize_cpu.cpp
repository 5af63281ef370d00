#include "ops/quant/dequantize.h"

#include "core/pool.h"
#include "ops/quant/decode_row.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

void dequantize_row(float* y, const ftc_weight& w, int64_t row) {
    switch (w.format) {
    case FTC_WEIGHT_F32: {
        const float* x = static_cast<const float*>(w.data) + row * w.row_stride;
        for (int64_t k = 0; k < w.cols; k++) y[k] = x[k];
        break;
    }
    case FTC_WEIGHT_BF16: {
        const uint16_t* x = static_cast<const uint16_t*>(w.data) + row * w.row_stride;
        for (int64_t k = 0; k < w.cols; k++) y[k] = __builtin_bit_cast(float, uint32_t{x[k]} << 16);
        break;
    }
    default:
        decode_row(y, w, row, 0, w.cols);
    }
}

// Rounded from a run of fp32 that stays in the L1 cache.
void dequantize_row(uint16_t* y, const ftc_weight& w, int64_t row) {
    constexpr int64_t kRun = 1024; // a multiple of every block and group
    if (w.format == FTC_WEIGHT_BF16) {
        const uint16_t* x = static_cast<const uint16_t*>(w.data) + row * w.row_stride;
        for (int64_t k = 0; k < w.cols; k++) y[k] = x[k];
        return;
    }
    float run[kRun];
    for (int64_t k = 0; k < w.cols; k += kRun) {
        const int64_t count = w.cols - k < kRun ? w.cols - k : kRun;
        if (w.format == FTC_WEIGHT_F32) {
            round_row(y + k, static_cast<const float*>(w.data) + row * w.row_stride + k, count);
            continue;
        }
        decode_row(run, w, row, k, count);
        round_row(y + k, run, count);
    }
}

void dequantize(Pool& pool, const DequantizeArgs& args) {
    parallel_for(pool, args.row_count, [&](int64_t row, int32_t) {
        if (args.y_dtype == FTC_F32)
            dequantize_row(static_cast<float*>(args.y) + row * args.y_row_stride, args.weight, args.row_begin + row);
        else
            dequantize_row(static_cast<uint16_t*>(args.y) + row * args.y_row_stride, args.weight, args.row_begin + row);
    });
}

} // namespace

DequantizeKernels dequantize_kernels() {
    return {.dequantize = dequantize};
}

} // namespace ftc::FTC_ISA_NAMESPACE
