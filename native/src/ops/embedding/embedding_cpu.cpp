#include "ops/embedding/embedding.h"

#include "core/rows.h"
#include "core/simd.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

void widen_bf16(float* y, const uint16_t* x, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = uint32_t(x[i]) << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

void forward(Pool& pool, const EmbeddingForwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const int64_t from = a.ids[row] * a.weight_row_stride;
        float* y = a.y + row * a.y_row_stride;
        if (a.weight_is_bf16)
            widen_bf16(y, static_cast<const uint16_t*>(a.weight) + from, a.cols);
        else
            memcpy(y, static_cast<const float*>(a.weight) + from, size_t(a.cols) * sizeof(float));
    });
}

// A block of columns walks all rows in order: no two blocks meet, and the sum has one order.
void backward(Pool& pool, const EmbeddingBackwardArgs& a) {
    for_each_column_block(pool, a.cols, [&](int64_t first, int64_t count) {
        for (int64_t row = 0; row < a.rows; ++row) {
            const float* dy = a.dy + row * a.dy_row_stride + first;
            float* dweight = a.dweight + a.ids[row] * a.dweight_row_stride + first;
            for_each_group(
                count, FTC_GROUP(int64_t i, int64_t n) {
                    store_group(add(load_group(dweight + i, n), load_group(dy + i, n)), dweight + i, n);
                });
        }
    });
}

} // namespace

EmbeddingKernels embedding_kernels() {
    return {forward, backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
