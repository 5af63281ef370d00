// NF4 as the packed products read it (packed_product.cuh, packed_decode.cuh): fp32 map value times fp32 absmax, rounded
// once, as ftc.h defines the values.
#pragma once

#include "cuda/device.cuh"
#include "ftc.h"

namespace ftc::cuda {

struct Nf4Format {
    static constexpr bool kHasMinimum = false;

    struct Source {
        const uint8_t* codes;
        const void* absmax;
        const float* nested_absmax; // or NULL
        const float* nested_map;
        float nested_offset;
        const float* quant_map;
        int64_t rows, cols; // cols is a multiple of 64
    };
    static Source source(const ftc_weight& w) {
        return {static_cast<const uint8_t*>(w.data), w.absmax, w.nested_absmax, w.nested_map, w.nested_offset,
                w.quant_map, w.rows, w.cols};
    }

    // In shared memory: the sixteen values, one copy per bank (lane i reads copy i, so a warp looks up any codes without
    // conflict), then nested_map.
    static constexpr int kTableFloats = 16 * 32 + 256;
    static __device__ __forceinline__ void fill_table(float* table, const Source& s, int thread, int threads) {
        for (int i = thread; i < 16 * 32; i += threads) table[i] = s.quant_map[i / 32];
        if (s.nested_absmax == nullptr) return;
        for (int i = thread; i < 256; i += threads) table[16 * 32 + i] = s.nested_map[i];
    }

    // `lanes` threads share the columns [col, col + 32 lanes) of a row; this is where the i-th (of four) eight codes of one of
    // them lie, in units of eight.
    static __device__ __forceinline__ int octet(int lane, int /*lanes*/, int i) { return lane * 4 + i; }

    // The 32 codes of a lane, zero outside of the weight.
    struct Codes {
        uint32_t words[4];
        float scale;

        __device__ __forceinline__ void load(const Source& s, const float* table, int64_t row, int64_t col, int lane,
                                             int /*lanes*/) {
            *this = Codes{};
            col += lane * 32;
            if (row >= s.rows || col >= s.cols) return;
            const int64_t element = row * s.cols + col, block = element / 64;
            const uint4 codes = load16_streaming(s.codes + element / 2);
            words[0] = codes.x;
            words[1] = codes.y;
            words[2] = codes.z;
            words[3] = codes.w;
            if (s.nested_absmax == nullptr) {
                scale = static_cast<const float*>(s.absmax)[block];
            } else {
                const uint8_t code = static_cast<const uint8_t*>(s.absmax)[block];
                const float scaled = table[16 * 32 + code] * s.nested_absmax[block / 256];
                scale = scaled + s.nested_offset;
            }
        }
        // Code i before it is scaled: even ones sit in the high nibble.
        __device__ __forceinline__ float code(const float* table, int i, int lane) const {
            const uint32_t code = words[i / 8] >> (i % 8 / 2 * 8 + (i % 2 == 0 ? 4 : 0)) & 15u;
            return table[code * 32 + static_cast<uint32_t>(lane)];
        }
        __device__ __forceinline__ float value(const float* table, int i, int lane) const {
            return code(table, i, lane) * scale;
        }
    };
};

} // namespace ftc::cuda
