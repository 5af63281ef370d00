// Products with NF4 weights that never become a matrix: for few rows, where reading the weight is what costs.
#pragma once

#include <cstdint>

#include "cuda/context.h"

namespace ftc::cuda {

struct Nf4Product {
    void* y;       // bf16 [rows, N] forward: x W^T; [rows, K] backward: x W
    int64_t y_row_stride;
    const void* x; // bf16 [rows, K] forward, [rows, N] backward
    int64_t x_row_stride;
    int64_t rows;
    ftc_weight weight;
    const float* bias; // forward, or NULL
    bool accumulate;
    float* partial;    // nf4_product_partial_bytes()
};

constexpr int64_t kMostPackedRows = 1024; // that a measurement of the device may choose

// The kernels take weights whose blocks do not straddle rows.
bool nf4_product_takes(const ftc_weight& weight);
int64_t nf4_product_partial_bytes(int64_t rows, int64_t in_features, int64_t out_features);
void nf4_product_forward(ftc_stream& stream, const Nf4Product& args);
void nf4_product_backward(ftc_stream& stream, const Nf4Product& args);

// Up to kDecodeRows rows, with one adapter (rank 0: none) over all of them: one launch, at the speed of memory.
constexpr int64_t kDecodeRows = 8;
struct Nf4Decode {
    Nf4Product product;
    const float* s; // [rows, rank]
    const float* b; // [N, rank]
    int32_t rank;
    float scaling;
};
void nf4_decode(ftc_stream& stream, const Nf4Decode& args);

} // namespace ftc::cuda
