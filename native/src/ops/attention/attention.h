// Attention over a key interval: o_i = softmax_j(scale q_i . k_j) v_j for keys j in [key_begin[i], first_query + i],
// per head. Dao 2023, arXiv:2307.08691. Shapes as in ftc.h.
//
// bf16 is widened where rows are copied into tiles and rounded where results leave: all between is fp32.
#pragma once

#include <cstdint>

#include "core/each_isa.h"
#include "core/pool.h"
#include "ftc.h"

namespace ftc {

struct AttentionForwardArgs {
    void* o; // o, q, k, v and their gradients: of shape.dtype
    float* lse; // [query_rows, heads] or NULL
    const void* q;
    const void* k;
    const void* v;
    const int32_t* key_begin; // [query_rows], not decreasing; NULL = 0
    ftc_attention_params shape;
    float* workspace; // 64-byte aligned, attention_layout().floats
};

struct AttentionBackwardArgs {
    void* dq;
    void* dk;
    void* dv;
    const void* dout;
    const void* q;
    const void* k;
    const void* v;
    const void* o;
    const float* lse;
    const int32_t* key_begin;
    ftc_attention_params shape;
    float* workspace;
};

struct AttentionKernels {
    void (*attention_forward)(Pool& pool, const AttentionForwardArgs& args);
    void (*attention_backward)(Pool& pool, const AttentionBackwardArgs& args);
};

FTC_FOR_EACH_ISA(AttentionKernels attention_kernels();)

} // namespace ftc
