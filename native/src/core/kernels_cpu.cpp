#include "core/kernels.h"

#define FTC_STRING_OF(x) #x
#define FTC_STRING(x) FTC_STRING_OF(x)

namespace ftc::FTC_ISA_NAMESPACE {

const Kernels& kernels() {
    static const Kernels table = {
        .isa = FTC_STRING(FTC_ISA_NAMESPACE),
        .dequantize = dequantize_kernels(),
        .attention = attention_kernels(),
        .convert = convert_kernels(),
        .embedding = embedding_kernels(),
        .norm = norm_kernels(),
        .rope = rope_kernels(),
        .swiglu = swiglu_kernels(),
        .optimizer = optimizer_kernels(),
        .linear = linear_kernels(),
        .nf4_quantize = nf4_quantize_kernels(),
        .affine = affine_kernels(),
        .loss = loss_kernels(),
        .peak = peak_kernels(),
    };
    return table;
}

} // namespace ftc::FTC_ISA_NAMESPACE
