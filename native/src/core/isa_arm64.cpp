#include <cstdio>
#include <fstream>
#include <string>

#include "core/isa.h"
#include "core/kernels.h"
#include "core/status.h"

namespace ftc {

// Every arm64 CPU has NEON with fused multiply-add.
std::span<const Isa> compiled_isas() {
    static constexpr Isa kIsas[] = {Isa::neon};
    return kIsas;
}

Isa best_isa() {
    return Isa::neon;
}

bool has_wide_avx512() {
    return false;
}

const Kernels& kernels_for(Isa isa) {
    if (isa != Isa::neon) fail(FTC_ERROR_INTERNAL, "kernels_for: %s is not compiled for arm64", isa_name(isa));
    return neon::kernels();
}

// Arm's CPUs do not name themselves; the device tree names the board.
void cpu_name(char* name, int32_t size) {
    std::ifstream file("/proc/device-tree/model");
    std::string model;
    std::getline(file, model, '\0');
    std::snprintf(name, static_cast<size_t>(size), "%s", model.empty() ? "arm64 CPU" : model.c_str());
}

} // namespace ftc
