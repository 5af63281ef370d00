// Rows of quantised weights to fp32, whatever their format.
#pragma once

#include "ops/quant/affine_decode.h"
#include "ops/quant/nf4_decode.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// y[i] = element (row, col + i): int8 code times the row's scale.
inline void int8_decode_row(float* y, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    const int8_t* codes = static_cast<const int8_t*>(w.data) + row * w.cols + col;
    const float scale = w.scale[row];
    int64_t i = 0;
#if defined(FTC_ISA_avx512)
    for (; i + 16 <= count; i += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i));
        store(y + i, mul(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), broadcast(scale)));
    }
#elif defined(FTC_ISA_avx2)
    for (; i + 8 <= count; i += 8) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
        store(y + i, mul(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), broadcast(scale)));
    }
#endif
    for (; i < count; i++) y[i] = static_cast<float>(codes[i]) * scale;
}

// y[i] = element (row, col + i) of an NF4, INT8 or AFFINE weight: api/ has refused anything else.
inline void decode_row(float* y, const ftc_weight& w, int64_t row, int64_t col, int64_t count) {
    if (w.format == FTC_WEIGHT_NF4)
        nf4_decode_row(y, w, row, col, count);
    else if (w.format == FTC_WEIGHT_INT8)
        int8_decode_row(y, w, row, col, count);
    else if (w.bits == 4)
        affine_decode_row<4>(y, w, row, col, count);
    else if (w.bits == 3)
        affine_decode_row<3>(y, w, row, col, count);
    else
        affine_decode_row<2>(y, w, row, col, count);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
