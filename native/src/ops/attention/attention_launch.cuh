// What the launchers of attention share.
#pragma once

#include "cuda/device.cuh"
#include "cuda/runtime.h"
#include "ops/attention/attention_cuda.h"

namespace ftc::cuda {

// Lets a kernel take more than 48 KiB of dynamic shared memory on the current device.
template <class Kernel>
void allow_shared_bytes(Kernel* kernel, int bytes) {
    if (bytes <= 48 << 10) return;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "cudaFuncSetAttribute");
}

// Runs body<kDim>() for the smallest tile width of the bf16 kernels that holds head_dim.
template <class Body>
void for_head_dim(int head_dim, Body&& body) {
    if (head_dim <= 32) return body.template operator()<32>();
    if (head_dim <= 64) return body.template operator()<64>();
    if (head_dim <= 96) return body.template operator()<96>();
    return body.template operator()<128>();
}

} // namespace ftc::cuda
