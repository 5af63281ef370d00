// The ways in which the library under test can compute the same thing: instruction sets of the CPU, schedules of the
// simulator, the one GPU. The program is linked with the variants_*.cpp of its library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ftc::testing {

// Names of the variants this machine can run.
std::vector<std::string> variants();

// Contexts created from now on compute in this variant; "" is the default.
void select_variant(const std::string& variant);

// Variants that must agree bit for bit with `variant`, as far as they came earlier; "" = none.
std::string same_bits_as(const std::string& variant);

// Thread counts worth trying.
std::vector<int32_t> thread_counts();

// Element types of activations the library computes on, beside fp32.
bool computes_bf16();

} // namespace ftc::testing
