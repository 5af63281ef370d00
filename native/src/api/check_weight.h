// Checks of a ftc_weight argument, shared by every op that reads one.
#pragma once

#include "ftc.h"

namespace ftc {

// Throws INVALID_ARGUMENT or UNSUPPORTED naming the field. Layout facts the kernels rely on hold afterwards.
void check_weight(const char* function, const ftc_weight* weight);

} // namespace ftc
