// Value of one NF4 element, the plain way: the definition the fast decoders are bit-equal to.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

// The nested block of block b; sizes are powers of two as a rule, and divisions slow.
inline int64_t nested_block(const ftc_weight& w, int64_t block) {
    const auto size = static_cast<uint32_t>(w.nested_block_size);
    return (size & (size - 1)) == 0 ? block >> __builtin_ctz(size) : block / w.nested_block_size;
}

// absmax of block b. Nested: code -> map, times nested absmax, plus offset, rounded after each operation.
[[gnu::always_inline]] inline float nf4_absmax(const ftc_weight& w, int64_t block) {
    if (w.nested_absmax == nullptr) return static_cast<const float*>(w.absmax)[block];
    const uint8_t code = static_cast<const uint8_t*>(w.absmax)[block];
    const float scaled = w.nested_map[code] * w.nested_absmax[nested_block(w, block)];
    return scaled + w.nested_offset;
}

// absmax of `count` blocks from `block` on, where it is nested.
inline void nf4_nested_run(float* absmax, const ftc_weight& w, int64_t block, int64_t count) {
    const uint8_t* codes = static_cast<const uint8_t*>(w.absmax) + block;
    const float* nested = w.nested_absmax + nested_block(w, block);
    int64_t run = w.nested_block_size - block % w.nested_block_size;
    for (int64_t i = 0; i < count; run = w.nested_block_size) {
        const float factor = *nested++, offset = w.nested_offset;
        for (const int64_t end = i + run < count ? i + run : count; i < end; i++) {
            const float scaled = w.nested_map[codes[i]] * factor;
            absmax[i] = scaled + offset;
        }
    }
}

// Code of flattened element e: even elements sit in the high nibble.
[[gnu::always_inline]] inline uint32_t nf4_code(const ftc_weight& w, int64_t e) {
    const uint32_t byte = static_cast<const uint8_t*>(w.data)[e >> 1];
    return (e & 1) == 0 ? byte >> 4 : byte & 15U;
}

[[gnu::always_inline]] inline float nf4_value(const ftc_weight& w, int64_t e) {
    return w.quant_map[nf4_code(w, e)] * nf4_absmax(w, e / w.block_size);
}

} // namespace ftc::FTC_ISA_NAMESPACE
