// The pieces of the attention kernels, one per file.
#pragma once

#include "ops/attention/attention.h"

namespace ftc::FTC_ISA_NAMESPACE {

void attention_forward(Pool& pool, const AttentionForwardArgs& a);
// For a few query rows over many keys: reads keys and values once, in place.
void attention_decode(Pool& pool, const AttentionForwardArgs& a);
void attention_backward(Pool& pool, const AttentionBackwardArgs& a);

} // namespace ftc::FTC_ISA_NAMESPACE
