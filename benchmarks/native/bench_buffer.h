// What the benchmark programs need of ftc.h: a check that ends the program, the map of NF4, and a filled buffer.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "ftc.h"

namespace ftc::bench {

inline void check(ftc_status status) {
    if (status == FTC_OK) return;
    std::fprintf(stderr, "benchmark: %s\n", ftc_last_error_message());
    std::exit(1);
}

inline const float kNf4Map[16] = {-1.0f,        -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f,
                                  -0.09105004f, 0.0f,         0.07958030f,  0.16093020f,  0.24611230f,  0.33791524f,
                                  0.44070983f,  0.56261700f,  0.72295684f,  1.0f};

// Numbers in [-1, 1), the same every time.
struct Buffer {
    Buffer(ftc_context* context, int64_t count, int32_t dtype = FTC_F32) {
        const int64_t size = dtype == FTC_F32 ? 4 : 2;
        check(ftc_buffer_create(&handle, context, count * size));
        void* address = nullptr;
        check(ftc_buffer_get_data(handle, &address, nullptr));
        data = static_cast<float*>(address);
        uint32_t state = 12345;
        for (int64_t i = 0; i < count; i++) {
            state = state * 1664525U + 1013904223U;
            const float value = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
            uint32_t bits;
            std::memcpy(&bits, &value, sizeof(bits));
            if (dtype == FTC_F32)
                data[i] = value;
            else
                reinterpret_cast<uint16_t*>(address)[i] = static_cast<uint16_t>(bits >> 16); // bf16
        }
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { ftc_buffer_destroy(handle); }

    ftc_buffer* handle = nullptr;
    float* data = nullptr;
};

} // namespace ftc::bench
