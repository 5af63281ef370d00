#include "core/isa.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/status.h"

namespace ftc {

const char* isa_name(Isa isa) {
    switch (isa) {
    case Isa::portable:
        return "portable";
    case Isa::avx2:
        return "avx2";
    case Isa::avx512:
        return "avx512";
    case Isa::avx512bf16:
        return "avx512bf16";
    case Isa::neon:
        return "neon";
    }
    return "unknown";
}

Isa choose_isa() {
    const Isa best = best_isa();
    const char* forced = std::getenv("FTC_CPU_ISA");
    if (forced == nullptr || *forced == '\0') return best;
    std::string expected;
    for (const Isa isa : compiled_isas()) {
        if (isa != compiled_isas().front()) expected += isa == compiled_isas().back() ? " or " : ", ";
        expected += isa_name(isa);
        if (std::strcmp(forced, isa_name(isa)) != 0) continue;
        if (isa > best)
            fail(FTC_ERROR_UNSUPPORTED, "ftc_context_create: FTC_CPU_ISA is %s, but this CPU offers at most %s", forced,
                 isa_name(best));
        return isa;
    }
    fail(FTC_ERROR_UNSUPPORTED, "ftc_context_create: FTC_CPU_ISA is '%.32s', expected %s", forced, expected.c_str());
}

} // namespace ftc
