// Which instruction set the kernels of a context use.
#pragma once

#include <cstdint>
#include <span>

namespace ftc {

struct Kernels;

// Of one architecture the better ones come later.
enum class Isa : int32_t { portable = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3, neon = 4 };

const char* isa_name(Isa isa);

// Those this library has kernels for, the best last. What follows below is isa_x86.cpp or isa_arm64.cpp.
std::span<const Isa> compiled_isas();

// The best instruction set this CPU and operating system offer.
Isa best_isa();

// best_isa(), or what the environment variable FTC_CPU_ISA names. Throws when it is unknown or not offered here.
Isa choose_isa();

// Whether 512-bit registers are multiplied at once, as Zen 5 and Intel do, and not in two halves, as Zen 4 does.
bool has_wide_avx512();

// The kernels compiled for isa.
const Kernels& kernels_for(Isa isa);

// Model name of the CPU, "unknown CPU" where the processor does not say; writes at most size - 1 characters.
void cpu_name(char* name, int32_t size);

} // namespace ftc
