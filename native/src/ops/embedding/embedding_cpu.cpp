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

// One part owns 64 columns and walks all rows in order: no two parts meet, and the sum has one order.
void backward(Pool& pool, const EmbeddingBackwardArgs& a) {
    constexpr int64_t kColumns = 4 * kLanes;
    parallel_for(pool, (a.cols + kColumns - 1) / kColumns, [&](int64_t part, int32_t) {
        const int64_t begin = part * kColumns;
        const int64_t count = a.cols - begin < kColumns ? a.cols - begin : kColumns;
        for (int64_t row = 0; row < a.rows; ++row) {
            const float* dy = a.dy + row * a.dy_row_stride + begin;
            float* dweight = a.dweight + a.ids[row] * a.dweight_row_stride + begin;
            int64_t i = 0;
            for (; i + kLanes <= count; i += kLanes) store(add(load(dweight + i), load(dy + i)), dweight + i);
            if (i < count) {
                const int64_t rest = count - i;
                store_partial(add(load_partial(dweight + i, rest), load_partial(dy + i, rest)), dweight + i, rest);
            }
        }
    });
}

} // namespace

EmbeddingKernels embedding_kernels() { return {forward, backward}; }

} // namespace ftc::FTC_ISA_NAMESPACE
