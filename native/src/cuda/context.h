// What stands behind the handles of ftc.h in the CUDA library.
#pragma once

#include <cstdint>
#include <map>

#include "cuda/runtime.h"
#include "ftc.h"

namespace ftc::cuda {

struct CublasLt; // matmul.h

// Small sums between the kernels of one op, which gets no workspace of its own; ops of one stream use it in turn.
constexpr int64_t kScratchBytes = int64_t{4} << 20;
#if defined(FTC_SIM)
constexpr int64_t kMatmulWorkspaceBytes = 4096;
#else
constexpr int64_t kMatmulWorkspaceBytes = int64_t{32} << 20; // what cuBLASLt wants on Hopper
#endif

// A mistake only the device could see: kernels record the first one, ftc_stream_synchronize reports it.
struct LateError {
    int32_t kind;  // LateErrorKind, 0 = none
    int32_t reserved;
    int64_t index; // of the element
    int64_t value; // what it is
    int64_t limit; // what it should be below (or at least, for key intervals)
};

enum LateErrorKind : int32_t {
    kLateNone = 0,
    kLateEmbeddingForwardId,       // ids[index] outside [0, limit)
    kLateEmbeddingBackwardId,
    kLateRopeForwardPosition,      // positions[index] outside [0, limit)
    kLateRopeBackwardPosition,
    kLateCrossEntropyTarget,       // targets[index] neither FTC_IGNORE_INDEX nor in [0, limit)
    kLateCrossEntropyTrainedRows,  // value targets are trained, trained_rows is limit
    kLateAttentionForwardKeyBegin, // key_begin[index] below limit: it goes back
    kLateAttentionBackwardKeyBegin,
    kLateNestedMap,                // nested_map[index] not above the value before it
    kLateAdamwMeanMap,             // m_map[index], v_map[index] likewise
    kLateAdamwSquareMap,
};

// Of the device, taken by the driver for this process: what the first context of a process takes before it has a buffer.
int64_t measure_driver_bytes(int32_t device);

// What this context may still take: free memory of the device, or less by the caller's limit.
int64_t available_bytes(const ftc_context& context, int64_t* total = nullptr);

// Of the device, by whomever.
int64_t taken_bytes();

} // namespace ftc::cuda

struct ftc_context {
    int32_t device = 0;
    int32_t multiprocessors = 0;
    int32_t compute_capability = 0;             // 10 * major + minor
    int32_t shared_bytes_per_block = 0;         // the opt-in maximum
    int64_t memory_limit_bytes = 0;             // 0: none
    int64_t memory_used_bytes = 0;
    int64_t host_memory_used_bytes = 0;
    int64_t driver_bytes = 0;       // of the device, taken by the driver for this process when the context was made
    int64_t taken_at_start = 0;     // of the device, by whomever, right after that
    std::map<const char*, int64_t> host_buffers; // start and size
    ftc::cuda::LateError* late_error = nullptr; // [device]
    ftc::cuda::LateError* late_error_host = nullptr; // pinned
    ftc::cuda::CublasLt* cublaslt = nullptr;         // opened at the first matmul
    int64_t packed_rows = 128; // up to so many rows quantised weights are multiplied packed: ftc_linear_tune
    ftc_stream* capturing = nullptr; // the stream whose work is being recorded: graph.cpp
};

struct ftc_stream {
    ftc_context* context = nullptr;
    cudaStream_t handle = nullptr;
    void* scratch = nullptr;          // [device] kScratchBytes, for whichever op runs
    void* matmul_workspace = nullptr; // [device] kMatmulWorkspaceBytes; NULL in the background
    int32_t dequantise_blocks = 0; // at most, in the background; 0: as many as the device runs
};

struct ftc_event {
    ftc_context* context = nullptr;
    cudaEvent_t handle = nullptr;
};

struct ftc_host_buffer {
    ftc_context* context;
    void* data;
    int64_t size_bytes;
};

struct ftc_graph {
    ftc_stream* stream; // recorded from it, with its scratch: launched there only
    cudaGraphExec_t exec;
};

struct ftc_buffer {
    ftc_context* context;
    void* data;
    int64_t size_bytes;
    bool owned;
};

namespace ftc::cuda {

// Throws when work of the context is being recorded, which this function cannot be part of.
void refuse_while_capturing(const char* function, const ftc_context& context);

} // namespace ftc::cuda
