// Products with quantised weights that never become a matrix: for few rows, where reading the weight is what costs.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

struct PackedProduct {
    void* y;       // bf16 [rows, N] forward: x W^T; [rows, K] backward: x W
    int64_t y_row_stride;
    const void* x; // bf16 [rows, K] forward, [rows, N] backward
    int64_t x_row_stride;
    int64_t rows;
    ftc_weight weight;
    const float* bias; // forward, or NULL
    bool accumulate;
    float* partial;    // packed_product_partial_bytes()
};

constexpr int64_t kMostPackedRows = 1024; // that a measurement of the device may choose

// The kernels take weights of which 32 codes of a row lie together, aligned and under one scale.
bool packed_product_takes(const ftc_weight& weight);
int64_t packed_product_partial_bytes(int64_t rows, int64_t in_features, int64_t out_features);
void packed_product(ftc_stream& stream, const PackedProduct& args, bool backward);

// Up to kDecodeRows rows, with one adapter (rank 0: none) over all of them: one launch, at the speed of memory.
constexpr int64_t kDecodeRows = 8;
struct PackedDecode {
    PackedProduct product;
    const float* s; // [rows, rank]
    const float* b; // [N, rank]
    int32_t rank;
    float scaling;
};
void packed_decode(ftc_stream& stream, const PackedDecode& args);

// One format each; the functions above choose.
void packed_product_nf4(ftc_stream& stream, const PackedProduct& args, bool backward);
void packed_product_affine4(ftc_stream& stream, const PackedProduct& args, bool backward);
void packed_product_affine3(ftc_stream& stream, const PackedProduct& args, bool backward);
void packed_product_affine2(ftc_stream& stream, const PackedProduct& args, bool backward);
void packed_product_int8(ftc_stream& stream, const PackedProduct& args, bool backward);
void packed_decode_nf4(ftc_stream& stream, const PackedDecode& args);
void packed_decode_affine4(ftc_stream& stream, const PackedDecode& args);
void packed_decode_affine3(ftc_stream& stream, const PackedDecode& args);
void packed_decode_affine2(ftc_stream& stream, const PackedDecode& args);
void packed_decode_int8(ftc_stream& stream, const PackedDecode& args);

// Parts of the contraction: about 256 blocks, each with at least four tiles of it. By the shape alone.
int32_t packed_product_splits(int64_t rows, int64_t columns, int64_t depth);

struct ProductOutput { // y = product + bias + what was there
    void* y; // bf16 [rows, columns]
    int64_t y_row_stride;
    float* partial; // [splits, rows, columns], or NULL: the sums are complete
    const float* bias;
    int64_t rows, columns;
    int32_t splits;
    bool accumulate;
};
// y from the partial sums, added in order.
void finish_product(ftc_stream& stream, const ProductOutput& out);

} // namespace ftc::cuda
