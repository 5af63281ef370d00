// Head and loss in one on CUDA: logits = x W^T, softmax and its gradient, dx = dlogits W, dweight += dlogits^T x, for a
// chunk of trained rows at a time (linear_cross_entropy.h). The products are cuBLASLt's.
//
// Logits are fp32 whatever the dtype: rounded to bf16, a logit of 30 is wrong by up to 0.06 before anything is learned
// from it. That costs 2 + 2 + 2 bytes a logit beside bf16 ones; their gradient is written over them in the dtype of the
// second product. A chunk is as many rows as keep all of it under 0.6 GB, 1,024 for a vocabulary of 128,256: thinner
// chunks would starve the products (chunks of 128 rows cost other libraries a factor of two).
//
// Rows that are not trained are gathered away on the device. The host never learns how many are left, as an op may not
// wait for the device: it enqueues products for as many rows as the caller says are trained (params.trained_rows), or
// for all when it does not say; those past the trained rows multiply zeros. Softmax and scatter leave such rows alone.
//
// A weight that is not of the activations' dtype is converted, some vocabulary rows at a time, into scratch; dx adds up
// over them in fp32.
#include <algorithm>

#include "api/backend.h"
#include "cuda/matmul.h"
#include "ops/loss/softmax_nll_cuda.h"
#include "ops/quant/dequantize_cuda.h"

namespace ftc::backend {

using namespace ftc::cuda;

namespace {

constexpr int64_t kLogitsBytes = int64_t{540} << 20; // of one chunk
constexpr int64_t kSlabBytes = int64_t{32} << 20;    // of converted weight rows
constexpr int64_t kMostRows = 2048;                  // from here on products gain nothing
constexpr int64_t kRowStep = 128;                    // rows of a chunk are a multiple, for the products' tiles

int64_t rounded_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

int64_t bytes_of(int32_t dtype) {
    return dtype == FTC_BF16 ? 2 : 4;
}

// Sizes, and offsets in bytes into the workspace.
struct Layout {
    int64_t chunk_rows; // at most
    int64_t hidden_stride, logits_stride;
    int64_t slab_rows; // 0: the weight is used as it is
    int64_t count, trained, x, dx, logits, slab;
    int64_t bytes;
};

Layout layout_of(int32_t dtype, int32_t weight_format, int64_t rows, int64_t hidden_size, int64_t vocab_size) {
    Layout l{};
    l.hidden_stride = rounded_up(hidden_size, 8);
    l.logits_stride = rounded_up(vocab_size, 8);
    const int64_t fitting = kLogitsBytes / (4 * l.logits_stride) / kRowStep * kRowStep;
    l.chunk_rows = std::min(std::clamp(fitting, kRowStep, kMostRows), rows);
    const bool converted = weight_format != (dtype == FTC_BF16 ? FTC_WEIGHT_BF16 : FTC_WEIGHT_F32);
    if (converted) {
        const int64_t slab = kSlabBytes / (l.hidden_stride * bytes_of(dtype)) / kRowStep * kRowStep;
        l.slab_rows = std::min(std::max(slab, kRowStep), vocab_size);
    }
    int64_t next = 0;
    const auto take = [&next](int64_t bytes) {
        const int64_t begin = next;
        next += rounded_up(bytes, 64);
        return begin;
    };
    l.count = take(4);
    l.trained = take(4 * rows);
    l.x = take(l.chunk_rows * l.hidden_stride * bytes_of(dtype));
    l.dx = take(l.chunk_rows * l.hidden_stride * 4);
    l.logits = take(l.chunk_rows * l.logits_stride * 4);
    l.slab = take(l.slab_rows * l.hidden_stride * bytes_of(dtype));
    l.bytes = next;
    return l;
}

struct Call {
    ftc_stream& stream;
    const Layout& l;
    const ftc_weight& weight;
    int32_t dtype;
    unsigned char* workspace;

    void* at(int64_t offset) const { return workspace + offset; }
};

// Vocabulary rows [begin, begin + rows) as an operand of a product.
struct Slab {
    const void* data;
    int64_t row_stride, begin, rows;
};

// Calls body with the weight as it is, or with one slab of it after the other, converted.
template <class Body>
void for_each_slab(const Call& c, Body&& body) {
    if (c.l.slab_rows == 0) return body(Slab{c.weight.data, c.weight.row_stride, 0, c.weight.rows});
    for (int64_t begin = 0; begin < c.weight.rows; begin += c.l.slab_rows) {
        const int64_t rows = std::min(c.l.slab_rows, c.weight.rows - begin);
        dequantize_into(c.stream.handle, *c.stream.context, c.at(c.l.slab), c.dtype, c.l.hidden_stride, c.weight, begin,
                        rows);
        body(Slab{c.at(c.l.slab), c.l.hidden_stride, begin, rows});
    }
}

// logits = x W^T.
void multiply_logits(const Call& c, int64_t rows) {
    float* logits = static_cast<float*>(c.at(c.l.logits));
    for_each_slab(c, [&](const Slab& w) {
        matmul(c.stream, {.m = rows,
                          .n = w.rows,
                          .k = c.weight.cols,
                          .a = c.at(c.l.x),
                          .a_row_stride = c.l.hidden_stride,
                          .a_transposed = false,
                          .b = w.data,
                          .b_row_stride = w.row_stride,
                          .b_transposed = true,
                          .d = logits + w.begin,
                          .d_row_stride = c.l.logits_stride,
                          .dtype = c.dtype,
                          .d_dtype = FTC_F32,
                          .alpha = 1.0f,
                          .beta = 0.0f});
    });
}

// Rows of dlogits are as far apart as rows of logits, in elements of their own dtype.
int64_t gradient_stride(const Call& c) {
    return c.l.logits_stride * 4 / bytes_of(c.dtype);
}

// dx = dlogits W.
void multiply_dx(const Call& c, int64_t rows) {
    const unsigned char* dlogits = static_cast<const unsigned char*>(c.at(c.l.logits));
    for_each_slab(c, [&](const Slab& w) {
        matmul(c.stream, {.m = rows,
                          .n = c.weight.cols,
                          .k = w.rows,
                          .a = dlogits + w.begin * bytes_of(c.dtype),
                          .a_row_stride = gradient_stride(c),
                          .a_transposed = false,
                          .b = w.data,
                          .b_row_stride = w.row_stride,
                          .b_transposed = false,
                          .d = c.at(c.l.dx),
                          .d_row_stride = c.l.hidden_stride,
                          .dtype = c.dtype,
                          .d_dtype = FTC_F32,
                          .alpha = 1.0f,
                          .beta = w.begin == 0 ? 0.0f : 1.0f});
    });
}

// dweight += dlogits^T x.
void multiply_dweight(const Call& c, int64_t rows, float* dweight, int64_t row_stride) {
    matmul(c.stream, {.m = c.weight.rows,
                      .n = c.weight.cols,
                      .k = rows,
                      .a = c.at(c.l.logits),
                      .a_row_stride = gradient_stride(c),
                      .a_transposed = true,
                      .b = c.at(c.l.x),
                      .b_row_stride = c.l.hidden_stride,
                      .b_transposed = false,
                      .d = dweight,
                      .d_row_stride = row_stride,
                      .dtype = c.dtype,
                      .d_dtype = FTC_F32,
                      .alpha = 1.0f,
                      .beta = 1.0f});
}

} // namespace

int64_t linear_cross_entropy_workspace_bytes(ftc_context&, const ftc_cross_entropy_workspace_params& p) {
    return layout_of(p.dtype, p.weight_format, p.rows, p.hidden_size, p.vocab_size).bytes;
}

void linear_cross_entropy(ftc_stream& stream, float* nll, int32_t* predictions, void* dx, float* dweight, const void* x,
                          const ftc_weight& weight, const int32_t* targets, const ftc_cross_entropy_params& p,
                          void* workspace) {
    const Layout l = layout_of(p.dtype, weight.format, p.rows, weight.cols, weight.rows);
    const Call c{stream, l, weight, p.dtype, static_cast<unsigned char*>(workspace)};
    const TrainedRows trained{static_cast<int32_t*>(c.at(l.trained)), static_cast<int32_t*>(c.at(l.count))};
    const int64_t rows_to_do = p.trained_rows > 0 ? p.trained_rows : p.rows;
    select_rows(stream.handle, {.trained = trained,
                                .nll = nll,
                                .predictions = predictions,
                                .dx = dx,
                                .dtype = p.dtype,
                                .dx_row_stride = p.dx_row_stride,
                                .targets = targets,
                                .rows = p.rows,
                                .hidden_size = weight.cols,
                                .vocab_size = weight.rows,
                                .most_trained = rows_to_do,
                                .late_error = stream.context->late_error});
    // Chunks of even size: no thin last one.
    const int64_t chunks = (rows_to_do + l.chunk_rows - 1) / l.chunk_rows;
    const int64_t chunk_rows = std::min(rounded_up((rows_to_do + chunks - 1) / chunks, kRowStep), l.chunk_rows);
    for (int64_t begin = 0; begin < rows_to_do; begin += chunk_rows) {
        const int64_t rows = std::min(chunk_rows, rows_to_do - begin);
        const LossChunk chunk{trained, begin, static_cast<int32_t>(rows)};
        gather_rows(stream.handle, c.at(l.x), l.hidden_stride, x, p.x_row_stride, p.dtype, weight.cols, chunk);
        multiply_logits(c, rows);
        softmax_nll(stream.handle, {.logits = static_cast<float*>(c.at(l.logits)),
                                    .row_stride = l.logits_stride,
                                    .cols = weight.rows,
                                    .gradient_dtype = p.dtype,
                                    .gradient = dx != nullptr || dweight != nullptr,
                                    .gradient_scale = p.gradient_scale,
                                    .gradient_scale_value = p.step_values != nullptr ? &p.step_values->loss_scale : nullptr,
                                    .nll = nll,
                                    .predictions = predictions,
                                    .targets = targets,
                                    .chunk = chunk});
        if (dx != nullptr) {
            multiply_dx(c, rows);
            scatter_rows(stream.handle, dx, p.dx_row_stride, p.dtype, static_cast<const float*>(c.at(l.dx)),
                         l.hidden_stride, weight.cols, chunk);
        }
        if (dweight != nullptr) multiply_dweight(c, rows, dweight, p.dweight_row_stride);
    }
}

} // namespace ftc::backend
