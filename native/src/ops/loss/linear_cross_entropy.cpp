#include "ops/loss/linear_cross_entropy.h"

#include <algorithm>
#include <cstring>

namespace ftc {

namespace {

int64_t rounded_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

int64_t element_bytes(int32_t dtype) {
    return dtype == FTC_BF16 ? 2 : 4;
}

// Rows that are a multiple of 4096 bytes apart would share one set of the L1 cache.
int64_t row_stride_of(int64_t cols, int32_t dtype) {
    const int64_t line = 64 / element_bytes(dtype);
    const int64_t stride = rounded_up(cols, line);
    return stride % (64 * line) == 0 ? stride + line : stride;
}

// Offsets in floats.
struct Layout {
    int64_t chunk_rows; // at most
    int64_t hidden_stride, logits_stride; // in elements
    int64_t rows;        // int32 [rows]: which rows are trained
    int64_t targets;     // int32 [chunk_rows]
    int64_t predictions; // int32 [chunk_rows]
    int64_t nll;         // [chunk_rows]
    int64_t x;           // [chunk_rows, hidden_size], of the activations' dtype
    int64_t dx;          // the same
    int64_t logits; // [chunk_rows, vocab_size]
    int64_t linear; // workspace of the linear layer
    int64_t floats;
};

Layout layout_of(const Kernels& kernels, int32_t threads, const ftc_cross_entropy_workspace_params& p) {
    // 64 MB of logits at most where 64 rows allow it: from 256 rows on the products run at full speed.
    constexpr int64_t kLogits = int64_t{16} << 20;
    Layout l{};
    l.hidden_stride = row_stride_of(p.hidden_size, p.dtype);
    l.logits_stride = row_stride_of(p.vocab_size, FTC_F32);
    l.chunk_rows = std::min(std::clamp<int64_t>(kLogits / l.logits_stride / 32 * 32, 64, 512), p.rows);
    int64_t next = 0;
    const auto take = [&next](int64_t floats) {
        const int64_t begin = next;
        next += rounded_up(floats, 16);
        return begin;
    };
    l.rows = take(p.rows);
    l.targets = take(l.chunk_rows);
    l.predictions = take(l.chunk_rows);
    l.nll = take(l.chunk_rows);
    const int64_t hidden_floats = l.chunk_rows * l.hidden_stride * element_bytes(p.dtype) / element_bytes(FTC_F32);
    l.x = take(hidden_floats);
    l.dx = take(hidden_floats);
    l.logits = take(l.chunk_rows * l.logits_stride);
    ftc_linear_workspace_params linear{};
    linear.dtype = p.dtype;
    linear.weight_format = p.weight_format;
    linear.rows = l.chunk_rows;
    linear.in_features = p.hidden_size;
    linear.out_features = p.vocab_size;
    l.linear = take(kernels.linear.workspace_floats(threads, linear));
    l.floats = next;
    return l;
}

char* row_of(void* matrix, const LinearCrossEntropyArgs& a, int64_t row, int64_t stride) {
    return static_cast<char*>(matrix) + row * stride * element_bytes(a.params.dtype);
}

// Writes what ignored rows get and lists the others.
int64_t select_rows(const LinearCrossEntropyArgs& a, int32_t* trained) {
    int64_t count = 0;
    for (int64_t row = 0; row < a.params.rows; ++row) {
        if (a.targets[row] != FTC_IGNORE_INDEX) {
            trained[count++] = static_cast<int32_t>(row);
            continue;
        }
        a.nll[row] = 0.0f;
        if (a.predictions != nullptr) a.predictions[row] = -1;
        if (a.dx != nullptr)
            std::memset(row_of(a.dx, a, row, a.params.dx_row_stride), 0,
                        static_cast<size_t>(a.weight.cols * element_bytes(a.params.dtype)));
    }
    return count;
}

void chunk(const Kernels& kernels, Pool& pool, const LinearCrossEntropyArgs& a, const Layout& l, const int32_t* trained,
           int64_t count) {
    const size_t row_bytes = static_cast<size_t>(a.weight.cols * element_bytes(a.params.dtype));
    const bool gradient = a.dx != nullptr || a.dweight != nullptr;
    float* x = a.workspace + l.x;
    float* dx = a.workspace + l.dx;
    float* nll = a.workspace + l.nll;
    int32_t* targets = reinterpret_cast<int32_t*>(a.workspace + l.targets);
    int32_t* predictions = reinterpret_cast<int32_t*>(a.workspace + l.predictions);
    for (int64_t i = 0; i < count; ++i) {
        const int64_t from = trained[i] * a.params.x_row_stride * element_bytes(a.params.dtype);
        std::memcpy(row_of(x, a, i, l.hidden_stride), static_cast<const char*>(a.x) + from, row_bytes);
        targets[i] = a.targets[trained[i]];
    }

    LinearArgs linear{};
    linear.x = x;
    linear.weight = a.weight;
    linear.workspace = a.workspace + l.linear;
    linear.params.struct_size = sizeof(linear.params);
    linear.params.dtype = a.params.dtype;
    linear.y_dtype = FTC_F32;
    linear.params.rows = count;
    linear.params.x_row_stride = linear.params.dx_row_stride = l.hidden_stride;
    linear.params.y_row_stride = linear.params.dy_row_stride = l.logits_stride;
    linear.params.dweight_row_stride = a.params.dweight_row_stride;
    linear.y = a.workspace + l.logits;
    kernels.linear.forward(pool, linear);

    kernels.loss.softmax_nll(pool, {.nll = nll,
                                    .predictions = a.predictions == nullptr ? nullptr : predictions,
                                    .logits = a.workspace + l.logits,
                                    .targets = targets,
                                    .rows = count,
                                    .cols = a.weight.rows,
                                    .row_stride = l.logits_stride,
                                    .gradient = gradient,
                                    .gradient_scale = a.params.step_values != nullptr ? a.params.step_values->loss_scale
                                                                                  : a.params.gradient_scale});
    if (gradient) {
        linear.y = nullptr;
        linear.dy = a.workspace + l.logits;
        linear.dx = a.dx == nullptr ? nullptr : dx;
        linear.dweight = a.dweight;
        kernels.linear.backward(pool, linear);
    }

    for (int64_t i = 0; i < count; ++i) {
        a.nll[trained[i]] = nll[i];
        if (a.predictions != nullptr) a.predictions[trained[i]] = predictions[i];
        if (a.dx != nullptr)
            std::memcpy(row_of(a.dx, a, trained[i], a.params.dx_row_stride), row_of(dx, a, i, l.hidden_stride),
                        row_bytes);
    }
}

} // namespace

int64_t linear_cross_entropy_workspace_floats(const Kernels& kernels, int32_t threads,
                                              const ftc_cross_entropy_workspace_params& params) {
    return layout_of(kernels, threads, params).floats;
}

void linear_cross_entropy(const Kernels& kernels, Pool& pool, const LinearCrossEntropyArgs& a) {
    ftc_cross_entropy_workspace_params shape{};
    shape.dtype = a.params.dtype;
    shape.weight_format = a.weight.format;
    shape.rows = a.params.rows;
    shape.hidden_size = a.weight.cols;
    shape.vocab_size = a.weight.rows;
    const Layout l = layout_of(kernels, pool.threads(), shape);
    int32_t* trained = reinterpret_cast<int32_t*>(a.workspace + l.rows);
    const int64_t count = select_rows(a, trained);
    if (count == 0) return;
    const int64_t chunks = (count + l.chunk_rows - 1) / l.chunk_rows; // of even size: no thin last one
    for (int64_t i = 0; i < chunks; ++i) {
        const int64_t begin = count * i / chunks;
        chunk(kernels, pool, a, l, trained + begin, count * (i + 1) / chunks - begin);
    }
}

} // namespace ftc
