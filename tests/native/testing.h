// What every native test needs: contexts of a forced instruction set, and the machine's choice of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/isa.h"
#include "ftc.h"

namespace ftc::testing {

// The instruction sets this machine can run.
inline std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
        if (isa <= best_isa()) names.emplace_back(isa_name(isa));
    return names;
}

// A context and its stream on one instruction set ("" = the default choice).
class Device {
public:
    explicit Device(const std::string& isa = "", int32_t threads = 1, int64_t memory_limit_bytes = 0) {
        if (!isa.empty()) setenv("FTC_CPU_ISA", isa.c_str(), 1);
        ftc_context_params params{};
        params.struct_size = sizeof(params);
        params.threads = threads;
        params.memory_limit_bytes = memory_limit_bytes;
        EXPECT_EQ(ftc_context_create(&context_, &params), FTC_OK) << ftc_last_error_message();
        unsetenv("FTC_CPU_ISA");
        EXPECT_EQ(ftc_stream_create(&stream_, context_), FTC_OK) << ftc_last_error_message();
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device() {
        ftc_stream_destroy(stream_);
        ftc_context_destroy(context_);
    }

    ftc_context* context() const { return context_; }
    operator ftc_stream*() const { return stream_; } // ops take a stream

private:
    ftc_context* context_ = nullptr;
    ftc_stream* stream_ = nullptr;
};

// Repeatable numbers in [-1, 1) (splitmix64); std distributions differ between libraries.
inline std::vector<float> random_floats(int64_t count, uint64_t seed) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) {
        seed += 0x9e3779b97f4a7c15U;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        z ^= z >> 31;
        value = static_cast<float>(static_cast<double>(z >> 40) / static_cast<double>(1U << 23) - 1.0);
    }
    return values;
}

} // namespace ftc::testing
