// Checks of a ftc_weight argument, shared by every op that reads one.
#pragma once

#include "ftc.h"

namespace ftc {

// Throws INVALID_ARGUMENT or UNSUPPORTED naming the field. Layout facts the kernels rely on hold afterwards.
void check_weight(const char* function, const ftc_weight* weight);

// Bits and groups of an affine weight or of its quantisation; prefix names the struct: "weight->".
void check_affine(const char* function, const char* prefix, int32_t bits, int32_t group_size, int64_t cols);

const char* weight_format_name(int32_t format);

} // namespace ftc
