// Every kernel of the library, for one instruction set. A family adds its header, its line here and its line in
// kernels_cpu.cpp.
#pragma once

#include "core/each_isa.h"
#include "ops/attention/attention.h"
#include "ops/convert/convert.h"
#include "ops/embedding/embedding.h"
#include "ops/linear/linear.h"
#include "ops/loss/softmax_nll.h"
#include "ops/norm/rms_norm.h"
#include "ops/optimizer/optimizer.h"
#include "ops/peak/peak.h"
#include "ops/quant/affine_quantize.h"
#include "ops/quant/dequantize.h"
#include "ops/quant/nf4_quantize.h"
#include "ops/rope/rope.h"
#include "ops/swiglu/swiglu.h"

namespace ftc {

struct Kernels {
    const char* isa;
    DequantizeKernels dequantize;
    AttentionKernels attention;
    ConvertKernels convert;
    EmbeddingKernels embedding;
    NormKernels norm;
    RopeKernels rope;
    SwigluKernels swiglu;
    OptimizerKernels optimizer;
    LinearKernels linear;
    Nf4QuantizeKernels nf4_quantize;
    AffineKernels affine;
    LossKernels loss;
    PeakKernels peak;
};

FTC_FOR_EACH_ISA(const Kernels& kernels();)

} // namespace ftc
