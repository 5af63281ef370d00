// Dense matrix products by cuBLASLt, which is found on the user's machine at the first product.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc::cuda {

// D = alpha op(A) op(B) + beta D, row-major; op transposes where asked: op(A) is [m, k], op(B) [k, n], D [m, n].
// A and B share `dtype` (F32 or BF16), sums are fp32.
struct Matmul {
    int64_t m, n, k;
    const void* a;
    int64_t a_row_stride;
    bool a_transposed;
    const void* b;
    int64_t b_row_stride;
    bool b_transposed;
    void* d;
    int64_t d_row_stride;
    int32_t dtype;
    int32_t d_dtype;
    float alpha;
    float beta;
};

// Enqueues the product; k = 0 scales D by beta. Throws UNSUPPORTED when cuBLASLt is not installed.
void matmul(ftc_stream& stream, const Matmul& product);

struct CublasLt;
void close_cublaslt(CublasLt* cublaslt); // accepts NULL

} // namespace ftc::cuda
