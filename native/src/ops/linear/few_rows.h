// Products with at most four rows of A (decoding, short prompts): B is read or decoded once, straight into
// multiply-adds, and never packed. The chain of every element is the one of the packed product, so its bits are too.
#pragma once

#include "ops/linear/gemm.h"

namespace ftc::FTC_ISA_NAMESPACE {

constexpr int64_t kFewRows = 4;

namespace {

// Whether a product reads both operands as they are and has one adapter at most, for all rows.
inline bool is_plain_product(const GemmArgs& args) {
    if (args.a_depth_major || args.c_transposed || args.a_dropout != nullptr || args.a_pool > 1 || !args.b.is_plain() ||
        args.adapter_count > 1)
        return false;
    if (args.adapter_count == 0) return true;
    const GemmAdapter& adapter = args.adapters[0];
    return adapter.row_begin <= 0 && adapter.row_end >= args.rows && adapter.dropout == nullptr;
}

} // namespace

// Scratch of one thread: factors of the adapter for 4 * kLanes columns, kFewRows rows of scaled s, and so many rows of
// a block of A as words.
struct FewRowsScratch {
    float* extra;
    float* extra_rows;
    float* rows;
};

// Computes columns [begin, end) of C as far as whole groups of columns go and returns the first column that is left;
// returns begin when the product is not of this kind. begin is a multiple of kTileCols.
int64_t gemm_few_rows(const GemmArgs& args, const FewRowsScratch& scratch, int64_t begin, int64_t end);

} // namespace ftc::FTC_ISA_NAMESPACE
