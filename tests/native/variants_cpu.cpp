#include "core/isa.h"
#include "environment.h"
#include "variants.h"

namespace ftc::testing {

void* device_allocate(size_t bytes) {
    return ::operator new(bytes);
}

void device_free(void* p) {
    ::operator delete(p);
}

std::vector<std::string> variants() {
    std::vector<std::string> names;
    for (const Isa isa : compiled_isas())
        if (isa <= best_isa()) names.emplace_back(isa_name(isa));
    return names;
}

void select_variant(const std::string& variant) {
    if (variant.empty())
        unset_environment("FTC_CPU_ISA");
    else
        set_environment("FTC_CPU_ISA", variant.c_str());
}

std::string same_bits_as(const std::string& variant) {
    return variant == "avx512" ? "avx2" : "";
}

std::vector<int32_t> thread_counts() {
    return {1, 2, 3};
}

bool is_simulated() {
    return false;
}

bool rounds_weights(const std::string& variant) {
    return variant == "avx512bf16";
}

} // namespace ftc::testing
