// QA-LoRA's pooling of features, see ftc_lora_segment.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc {

// Features that the adapter sees as one: 1 for LoRA.
inline int32_t pool_of(const ftc_lora_segment& segment) {
    return segment.pool > 1 ? segment.pool : 1;
}

} // namespace ftc
