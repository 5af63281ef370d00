#include "ops/attention/attention.h"
#include "ops/attention/attention_parts.h"

namespace ftc::FTC_ISA_NAMESPACE {

AttentionKernels attention_kernels() {
    return {attention_forward, attention_backward};
}

} // namespace ftc::FTC_ISA_NAMESPACE
