#include "ops/quant/affine_quantize.h"

#include "core/pool.h"
#include "ops/quant/affine_value.h"
#include "ops/quant/map_code.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kMostGroup = 128;
constexpr int64_t kMergedTogether = 16; // groups
constexpr int kErrors = 8;              // squared errors are summed in so many interleaved chains

// x >= 0 below 2^22, to the nearest integer, ties to even.
float nearest_integer(float x) {
    return (x + 8388608.0f) - 8388608.0f;
}

// What a group's values are on: scale * code + minimum.
struct Range {
    float scale, minimum;
};

// Values too near to each other for a scale of their own count as equal.
Range range_of(float low, float high, float top) {
    const float scale = (high - low) / top;
    return scale > 0.0f ? Range{scale, low} : Range{1.0f, low};
}

float code_of(float x, const Range& range, float top) {
    const float steps = (x - range.minimum) / range.scale;
    const float positive = steps > 0.0f ? steps : 0.0f;
    return nearest_integer(positive < top ? positive : top);
}

float squared_error(const float* x, int64_t count, const Range& range, float top) {
    float sum[kErrors] = {};
    for (int64_t k = 0; k < count; k += kErrors)
        for (int i = 0; i < kErrors; i++) {
            const float code = code_of(x[k + i], range, top);
            const float error = affine_value(range.scale, static_cast<uint32_t>(static_cast<int32_t>(code)), range.minimum) - x[k + i];
            sum[i] = sum[i] + error * error;
        }
    for (int half = kErrors / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] = sum[i] + sum[i + half];
    return sum[0];
}

Range best_range(const float* x, int64_t count, float top, bool search) {
    float low = x[0], high = x[0];
    for (int64_t k = 1; k < count; k++) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
    }
    Range best = range_of(low, high, top);
    if (!search) return best;
    float smallest = squared_error(x, count, best, top);
    const float half = (high - low) * 0.5f, middle = low + half;
    for (int i = 1; i < kRanges; i++) {
        const float narrowed = half * (1.0f - kNarrowing * static_cast<float>(i));
        const Range range = range_of(middle - narrowed, middle + narrowed, top);
        const float error = squared_error(x, count, range, top);
        if (!(error < smallest)) continue;
        smallest = error;
        best = range;
    }
    return best;
}

template <int Bits>
void quantize_row(const AffineQuantizeArgs& args, int64_t row) {
    const ftc_affine_quantize_params& p = args.params;
    constexpr float kTop = (1 << Bits) - 1;
    const int64_t groups = p.cols / p.group_size;
    const float* x = args.x + row * p.x_row_stride;
    uint8_t* codes = args.codes + row * (p.cols / 8 * Bits);
    for (int64_t g = 0; g < groups; g++, x += p.group_size) {
        const Range range = best_range(x, p.group_size, kTop, p.search != 0);
        args.scale[row * groups + g] = range.scale;
        args.minimum[row * groups + g] = range.minimum;
        uint32_t code[kMostGroup];
        for (int64_t k = 0; k < p.group_size; k++)
            code[k] = static_cast<uint32_t>(static_cast<int32_t>(code_of(x[k], range, kTop)));
        for (int64_t k = 0; k < p.group_size; k += 8) { // eight codes fill Bits bytes
            uint32_t word = 0;
            for (int i = 0; i < 8; i++) word |= code[k + i] << (Bits * i);
            for (int byte = 0; byte < Bits; byte++) *codes++ = static_cast<uint8_t>(word >> (8 * byte));
        }
    }
}

void quantize(Pool& pool, const AffineQuantizeArgs& args) {
    parallel_for(pool, args.params.rows, [&](int64_t row, int32_t) {
        if (args.params.bits == 4)
            quantize_row<4>(args, row);
        else if (args.params.bits == 3)
            quantize_row<3>(args, row);
        else
            quantize_row<2>(args, row);
    });
}

void int8_quantize(Pool& pool, const Int8QuantizeArgs& args) {
    parallel_for(pool, args.rows, [&](int64_t row, int32_t) {
        const float* x = args.x + row * args.x_row_stride;
        int8_t* codes = args.codes + row * args.cols;
        const float scale = largest_magnitude(x, args.cols) / 127.0f;
        args.scale[row] = scale;
        for (int64_t k = 0; k < args.cols; k++) {
            const float steps = scale > 0.0f ? x[k] / scale : 0.0f;
            const float low = steps > -127.0f ? steps : -127.0f;
            const float clamped = low < 127.0f ? low : 127.0f;
            codes[k] = static_cast<int8_t>((clamped + 12582912.0f) - 12582912.0f); // to the nearest, ties to even
        }
    });
}

// Products of floats are exact in double, so contraction could not change a bit. Groups go side by side: rows of A lie
// along them, and each has a chain of its own.
[[gnu::always_inline]] inline void merge_groups(float* minimum, const AffineMergeArgs& args, double factor,
                                                const float* b, const float* a, int64_t count) {
    double sum[kMergedTogether] = {};
    for (int32_t j = 0; j < args.rank; j++, a += args.groups)
        for (int64_t g = 0; g < count; g++) sum[g] += static_cast<double>(b[j]) * static_cast<double>(a[g]);
    for (int64_t g = 0; g < count; g++) {
        const double added = factor * sum[g];
        minimum[g] = static_cast<float>(static_cast<double>(minimum[g]) + added);
    }
}

void merge(Pool& pool, const AffineMergeArgs& args) {
    const double factor = static_cast<double>(args.scaling) / args.group_size;
    parallel_for(pool, args.rows, [&](int64_t row, int32_t) {
        const float* b = args.b + row * args.rank;
        float* minimum = args.minimum + row * args.groups;
        int64_t g = 0;
        for (; g + kMergedTogether <= args.groups; g += kMergedTogether)
            merge_groups(minimum + g, args, factor, b, args.a + g, kMergedTogether);
        merge_groups(minimum + g, args, factor, b, args.a + g, args.groups - g);
    });
}

} // namespace

AffineKernels affine_kernels() {
    return {.int8_quantize = int8_quantize, .quantize = quantize, .merge = merge};
}

} // namespace ftc::FTC_ISA_NAMESPACE
