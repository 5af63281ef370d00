// A block of columns and depth of a product, and where its sums go.
#pragma once

#include "ops/linear/gemm.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
inline int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
inline int64_t round_up(int64_t a, int64_t b) {
    return divide_up(a, b) * b;
}

// Where sums over blocks of depth stand: in C itself, or in scratch while C waits for its one rounding.
struct Sums {
    float* data; // NULL where a bf16 C has one block, so that no sum waits
    int64_t stride;
    int64_t row, column; // of C, that data starts at

    float* at(int64_t r, int64_t c) const { return data + (r - row) * stride + c - column; }
};

// Columns [column, column + cols), depths [begin, begin + depth).
struct Block {
    const GemmArgs& args;
    Sums sums;
    int64_t column, cols;
    int64_t begin, depth;
    bool first, last;

    bool rounds() const { return args.c_dtype == FTC_BF16; }
    // Of a plain product (few_rows.h): what joins the sums in this block, or NULL.
    const GemmAdapter* adapter() const { return last && args.adapter_count == 1 ? &args.adapters[0] : nullptr; }
    uint16_t* rounded_at(int64_t r, int64_t c) const { return static_cast<uint16_t*>(args.c) + r * args.c_stride + c; }
};

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
