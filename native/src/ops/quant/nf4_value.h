// Value of one NF4 element, the plain way: the definition the fast decoders are bit-equal to.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc::FTC_ISA_NAMESPACE {

// absmax of block b. Nested: code -> map, times nested absmax, plus offset, rounded after each operation.
[[gnu::always_inline]] inline float nf4_absmax(const ftc_weight& w, int64_t block) {
    if (w.nested_absmax == nullptr) return static_cast<const float*>(w.absmax)[block];
    const uint8_t code = static_cast<const uint8_t*>(w.absmax)[block];
    const float scaled = w.nested_map[code] * w.nested_absmax[block / w.nested_block_size];
    return scaled + w.nested_offset;
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
