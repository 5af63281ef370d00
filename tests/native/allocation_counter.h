// Counts heap allocations of the test process, so that tests can show that an op makes none.
#pragma once

#include <cstdint>

namespace ftc::testing {

int64_t allocations();

} // namespace ftc::testing
