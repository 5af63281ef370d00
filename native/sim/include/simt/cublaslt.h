// The part of cuBLASLt's C interface that the simulator has: D = alpha op(A) op(B) + beta C, column-major, fp32 or bf16
// in and out, fp32 sums in ascending k, strided batches. Numbers are those of cublasLt.h of CUDA 12 and 13.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/cuda_runtime.h"

namespace simt::lt {

using Status = int; // 0 success, 7 invalid value, 15 not supported

struct HeuristicResult {
    uint64_t algo[8];
    size_t workspace_bytes;
    Status state;
    float waves;
    int reserved[4];
};

Status create(void** handle);
Status destroy(void* handle);
Status desc_create(void** desc, int compute_type, int scale_type);
Status desc_destroy(void* desc);
Status desc_set(void* desc, int attribute, const void* value, size_t size); // 3 and 4: transposes of A and B
Status layout_create(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
Status layout_destroy(void* layout);
Status layout_set(void* layout, int attribute, const void* value, size_t size); // 5 batch count, 6 batch stride
Status preference_create(void** preference);
Status preference_destroy(void* preference);
Status preference_set(void* preference, int attribute, const void* value, size_t size);
Status heuristic(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int requested,
                 HeuristicResult* results, int* found);
Status matmul(void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout,
              const void* beta, const void* c, void* c_layout, void* d, void* d_layout, const void* algo,
              void* workspace, size_t workspace_bytes, cudaStream_t stream);

} // namespace simt::lt
