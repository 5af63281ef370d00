// The part of cuBLASLt's C interface that matmul.cpp calls, declared here so that the library builds and loads without
// it. Numbers are those of cublasLt.h of CUDA 12 and 13; cublaslt_check.cpp holds them against it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/runtime.h"

namespace ftc::cuda::lt {

using Status = int; // 0: success
using Handle = void*;
using MatmulDesc = void*;
using MatrixLayout = void*;
using Preference = void*;

struct Algo {
    uint64_t data[8];
};

struct HeuristicResult {
    Algo algo;
    size_t workspace_bytes;
    Status state;
    float waves;
    int reserved[4];
};

constexpr int kF32 = 0, kBf16 = 14;        // cudaDataType_t
constexpr int kComputeF32 = 68;            // cublasComputeType_t
constexpr int kTransposeA = 3, kTransposeB = 4; // cublasLtMatmulDescAttributes_t
constexpr int32_t kNormal = 0, kTransposed = 1; // cublasOperation_t
constexpr int kMaxWorkspaceBytes = 1;      // cublasLtMatmulPreferenceAttributes_t
constexpr int kMinAlignmentA = 5, kMinAlignmentB = 6, kMinAlignmentC = 7, kMinAlignmentD = 8;

// One table of functions: from the shared library, or from the simulator.
struct Api {
    Status (*create)(Handle* handle);
    Status (*destroy)(Handle handle);
    Status (*desc_create)(MatmulDesc* desc, int compute_type, int scale_type);
    Status (*desc_destroy)(MatmulDesc desc);
    Status (*desc_set)(MatmulDesc desc, int attribute, const void* value, size_t size);
    Status (*layout_create)(MatrixLayout* layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
    Status (*layout_destroy)(MatrixLayout layout);
    Status (*preference_create)(Preference* preference);
    Status (*preference_destroy)(Preference preference);
    Status (*preference_set)(Preference preference, int attribute, const void* value, size_t size);
    Status (*heuristic)(Handle handle, MatmulDesc desc, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d,
                        Preference preference, int requested, HeuristicResult* results, int* found);
    Status (*matmul)(Handle handle, MatmulDesc desc, const void* alpha, const void* a, MatrixLayout a_layout,
                     const void* b, MatrixLayout b_layout, const void* beta, const void* c, MatrixLayout c_layout,
                     void* d, MatrixLayout d_layout, const Algo* algo, void* workspace, size_t workspace_bytes,
                     cudaStream_t stream);
};

// Opens the library (cublaslt_library.cpp; the simulator has its own). Throws UNSUPPORTED saying what was tried.
const Api& api();

} // namespace ftc::cuda::lt
