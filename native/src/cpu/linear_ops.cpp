// Weights, the linear layer and the loss: the arguments of ftc.h to the kernels of the context.
#include <cinttypes>

#include "api/backend.h"
#include "core/context.h"
#include "core/status.h"
#include "ops/loss/linear_cross_entropy.h"

namespace ftc::backend {

namespace {

constexpr int64_t kFloat = sizeof(float);

LinearArgs linear_args(const void* x, const ftc_weight& weight, const ftc_lora_segment* segments, int32_t segment_count,
                       const ftc_linear_params& params, void* workspace) {
    LinearArgs args{};
    args.x = x;
    args.y_dtype = params.dtype;
    args.weight = weight;
    args.segments = segments;
    args.segment_count = segment_count;
    args.params = params;
    args.workspace = static_cast<float*>(workspace);
    return args;
}

} // namespace

void convert(ftc_stream& stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count) {
    stream.context->kernels->convert.convert(
        stream.context->pool, {.y = y, .y_dtype = y_dtype, .x = x, .x_dtype = x_dtype, .count = count});
}

void nf4_quantize(ftc_stream& stream, uint8_t* codes, float* absmax, const float* x, int64_t count) {
    stream.context->kernels->nf4_quantize.quantize(stream.context->pool, {codes, absmax, x, count});
}

void nf4_quantize_absmax(ftc_stream& stream, uint8_t* codes, float* nested_absmax, float* nested_offset,
                         const float* absmax, const float* nested_map, int64_t count) {
    for (int i = 1; i < 256; i++)
        if (!(nested_map[i - 1] < nested_map[i]))
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "ftc_nf4_quantize_absmax: nested_map[%d] is %g after %g, expected ascending values", i,
                 static_cast<double>(nested_map[i]), static_cast<double>(nested_map[i - 1]));
    stream.context->kernels->nf4_quantize.quantize_absmax(
        stream.context->pool, {codes, nested_absmax, nested_offset, absmax, nested_map, count});
}

void int8_quantize(ftc_stream& stream, int8_t* codes, float* scale, const float* x, int64_t rows, int64_t cols,
                   int64_t x_row_stride) {
    stream.context->kernels->affine.int8_quantize(stream.context->pool, {codes, scale, x, rows, cols, x_row_stride});
}

void affine_quantize(ftc_stream& stream, uint8_t* codes, float* scale, float* minimum, const float* x,
                     const ftc_affine_quantize_params& params) {
    stream.context->kernels->affine.quantize(stream.context->pool, {codes, scale, minimum, x, params});
}

void affine_merge(ftc_stream& stream, float* minimum, const float* b, const float* a, int64_t rows, int64_t groups,
                  int32_t rank, int32_t group_size, float scaling) {
    stream.context->kernels->affine.merge(stream.context->pool,
                                          {minimum, b, a, rows, groups, rank, group_size, scaling});
}

void weight_dequantize(ftc_stream& stream, void* y, int32_t y_dtype, int64_t y_row_stride, const ftc_weight& weight,
                       int64_t row_begin, int64_t row_count) {
    stream.context->kernels->dequantize.dequantize(stream.context->pool,
                                                   {y, y_dtype, y_row_stride, weight, row_begin, row_count});
}

void linear_get_layout(ftc_context&, int64_t in_features, int64_t out_features, int64_t, int32_t dtype,
                       ftc_linear_layout& layout) {
    // Strides of a multiple of 4096 bytes put the rows of a tile into one set of the L1 cache: a line more.
    const int64_t line = dtype == FTC_BF16 ? 32 : 16;
    const auto stride = [line](int64_t features) { return features % (64 * line) == 0 ? features + line : features; };
    layout.border = 0; // adapters ride as extra depth of the last block
    layout.x_row_stride = stride(in_features);
    layout.y_row_stride = stride(out_features);
    layout.weight_row_stride = stride(in_features);
}

int64_t linear_workspace_bytes(ftc_context& context, const ftc_linear_workspace_params& p) {
    return kFloat * context.kernels->linear.workspace_floats(context.pool.threads(), p);
}

void linear_forward(ftc_stream& stream, void* y, const void* x, const ftc_weight& weight, const float* bias,
                    const ftc_lora_segment* segments, int32_t segment_count, const ftc_linear_params& params,
                    void* workspace) {
    LinearArgs args = linear_args(x, weight, segments, segment_count, params, workspace);
    args.y = y;
    args.bias = bias;
    stream.context->kernels->linear.forward(stream.context->pool, args);
}

void linear_backward(ftc_stream& stream, void* dx, float* dweight, float* dbias, const void* dy, const void* x,
                     const ftc_weight& weight, const ftc_lora_segment* segments, int32_t segment_count,
                     const ftc_linear_params& params, void* workspace) {
    LinearArgs args = linear_args(x, weight, segments, segment_count, params, workspace);
    args.dx = dx;
    args.dweight = dweight;
    args.dbias = dbias;
    args.dy = dy;
    stream.context->kernels->linear.backward(stream.context->pool, args);
}

int64_t linear_tune(ftc_stream&, int64_t) {
    return INT64_MAX;
}

int64_t linear_cross_entropy_workspace_bytes(ftc_context& context, const ftc_cross_entropy_workspace_params& p) {
    return kFloat * linear_cross_entropy_workspace_floats(*context.kernels, context.pool.threads(), p);
}

void linear_cross_entropy(ftc_stream& stream, float* nll, int32_t* predictions, void* dx, float* dweight, const void* x,
                          const ftc_weight& weight, const int32_t* targets, const ftc_cross_entropy_params& params,
                          void* workspace) {
    int64_t trained = 0;
    for (int64_t row = 0; row < params.rows; ++row) {
        if (targets[row] == FTC_IGNORE_INDEX) continue;
        ++trained;
        if (targets[row] < 0 || targets[row] >= weight.rows)
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "ftc_linear_cross_entropy: targets[%" PRId64 "] is %d, expected it in [0, %" PRId64
                 ") or FTC_IGNORE_INDEX (-100)",
                 row, static_cast<int>(targets[row]), weight.rows);
    }
    if (params.trained_rows > 0 && trained > params.trained_rows)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "ftc_linear_cross_entropy: %" PRId64 " targets are not FTC_IGNORE_INDEX, expected at most trained_rows %d",
             trained, static_cast<int>(params.trained_rows));
    ftc_context& context = *stream.context;
    ftc::linear_cross_entropy(*context.kernels, context.pool,
                              {.nll = nll,
                               .predictions = predictions,
                               .dx = dx,
                               .dweight = dweight,
                               .x = x,
                               .weight = weight,
                               .targets = targets,
                               .params = params,
                               .workspace = static_cast<float*>(workspace)});
}

} // namespace ftc::backend
