// The CUDA library on a GPU.
#include "variants.h"

namespace ftc::testing {

std::vector<std::string> variants() {
    return {"gpu"};
}

void select_variant(const std::string&) {}

std::string same_bits_as(const std::string&) {
    return "";
}

std::vector<int32_t> thread_counts() {
    return {1};
}

bool computes_bf16() {
    return true;
}

} // namespace ftc::testing
