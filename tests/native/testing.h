// What every native test needs: contexts of the library under test, in each of the ways it can compute.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ftc.h"
#include "variants.h"

namespace ftc::testing {

// A context and its stream in one variant ("" = the default choice).
class Device {
public:
    explicit Device(const std::string& variant = "", int32_t threads = 1, int64_t memory_limit_bytes = 0) {
        select_variant(variant);
        ftc_context_params params{};
        params.struct_size = sizeof(params);
        params.threads = threads;
        params.memory_limit_bytes = memory_limit_bytes;
        EXPECT_EQ(ftc_context_create(&context_, &params), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_stream_create(&stream_, context_), FTC_OK) << ftc_last_error_message();
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device() {
        EXPECT_EQ(ftc_stream_synchronize(stream_), FTC_OK) << ftc_last_error_message();
        ftc_stream_destroy(stream_);
        ftc_context_destroy(context_);
    }

    ftc_context* context() const { return context_; }
    operator ftc_stream*() const { return stream_; } // ops take a stream

    // What an op came to: its own status or, once all work is done, what only the device could see.
    ftc_status wait(ftc_status status) const { return status == FTC_OK ? ftc_stream_synchronize(stream_) : status; }

private:
    ftc_context* context_ = nullptr;
    ftc_stream* stream_ = nullptr;
};

// Repeatable numbers in [-1, 1) (splitmix64); std distributions differ between libraries.
inline Vector<float> random_floats(int64_t count, uint64_t seed) {
    Vector<float> values(static_cast<size_t>(count));
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
