#include "ops/embedding/embedding.h"

#include "core/rows.h"
#include "core/simd.h"
#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Rows of W as they are, or in the other element type.
template <class Y, class W>
void copy_rows(Pool& pool, const EmbeddingForwardArgs& a) {
    for_each_row(pool, a.rows, a.cols, [&](int64_t row) {
        const W* w = static_cast<const W*>(a.weight) + a.ids[row] * a.weight_row_stride;
        Y* y = static_cast<Y*>(a.y) + row * a.y_row_stride;
        if constexpr (sizeof(Y) == sizeof(W))
            memcpy(y, w, size_t(a.cols) * sizeof(Y));
        else
            for_each_group(a.cols, FTC_GROUP(int64_t i, int64_t n) { store_group(load_group(w + i, n), y + i, n); });
    });
}

template <class Y>
void forward_rows(Pool& pool, const EmbeddingForwardArgs& a) {
    a.weight_is_bf16 ? copy_rows<Y, bf16>(pool, a) : copy_rows<Y, float>(pool, a);
}

// A block of columns walks all rows in order: no two blocks meet, and the sum has one order.
template <class T>
void backward_rows(Pool& pool, const EmbeddingBackwardArgs& a) {
    for_each_column_block(pool, a.cols, [&](int64_t first, int64_t count) {
        for (int64_t row = 0; row < a.rows; ++row) {
            const T* dy = static_cast<const T*>(a.dy) + row * a.dy_row_stride + first;
            float* dweight = a.dweight + a.ids[row] * a.dweight_row_stride + first;
            for_each_group(
                count, FTC_GROUP(int64_t i, int64_t n) {
                    store_group(add(load_group(dweight + i, n), load_group(dy + i, n)), dweight + i, n);
                });
        }
    });
}

void forward(Pool& pool, const EmbeddingForwardArgs& a) {
    a.dtype == FTC_BF16 ? forward_rows<bf16>(pool, a) : forward_rows<float>(pool, a);
}

void backward(Pool& pool, const EmbeddingBackwardArgs& a) {
    a.dtype == FTC_BF16 ? backward_rows<bf16>(pool, a) : backward_rows<float>(pool, a);
}

} // namespace

EmbeddingKernels embedding_kernels() {
    return {forward, backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
