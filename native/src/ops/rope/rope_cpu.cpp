#include "ops/rope/rope.h"

#include "core/rows.h"
#include "core/simd.h"
#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

template <class T, bool kForward>
void rope_rows(Pool& pool, const RopeArgs& a) {
    const int64_t half = a.rope_dim / 2;
    for_each_row(pool, a.rows, a.heads * a.head_dim, [&](int64_t row) {
        const float* cos = a.cos + a.positions[row] * half;
        const float* sin = a.sin + a.positions[row] * half;
        for (int64_t head = 0; head < a.heads; ++head) {
            T* x = static_cast<T*>(a.x) + row * a.row_stride + head * a.head_dim;
            for_each_group(
                half, FTC_GROUP(int64_t i, int64_t n) {
                    const f32x16 first = load_group(x + i, n), second = load_group(x + half + i, n);
                    const f32x16 c = load_group(cos + i, n), s = load_group(sin + i, n);
                    const f32x16 first_c = mul(first, c), second_c = mul(second, c);
                    store_group(kForward ? fnma(second, s, first_c) : fma(second, s, first_c), x + i, n);
                    store_group(kForward ? fma(first, s, second_c) : fnma(first, s, second_c), x + half + i, n);
                });
        }
    });
}

template <bool kForward>
void rope(Pool& pool, const RopeArgs& a) {
    a.dtype == FTC_BF16 ? rope_rows<bf16, kForward>(pool, a) : rope_rows<float, kForward>(pool, a);
}

} // namespace

RopeKernels rope_kernels() {
    return {rope<true>, rope<false>};
}

} // namespace ftc::FTC_ISA_NAMESPACE
