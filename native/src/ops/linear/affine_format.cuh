// Affine groups and int8 as the packed products read them (packed_product.cuh, packed_decode.cuh); values as ftc.h defines
// them.
#pragma once

#include "cuda/device.cuh"
#include "ftc.h"
#include "ops/quant/affine_code.cuh"

namespace ftc::cuda {

template <int kBits>
struct AffineFormat {
    static constexpr bool kHasMinimum = true;

    struct Source {
        const uint8_t* codes;
        const float* scale;
        const float* minimum;
        int32_t group_shift; // log2 of the group's columns
        int64_t rows, cols;  // cols is a multiple of 32
    };
    static Source source(const ftc_weight& w) {
        return {static_cast<const uint8_t*>(w.data), w.scale, w.minimum, group_shift(w.group_size), w.rows, w.cols};
    }

    static constexpr int kTableFloats = 0;
    static __device__ __forceinline__ void fill_table(float*, const Source&, int, int) {}

    static __device__ __forceinline__ int octet(int lane, int, int i) { return lane * 4 + i; }

    struct Codes {
        uint32_t words[kBits];
        float scale, minimum;

        __device__ __forceinline__ void load(const Source& s, const float*, int64_t row, int64_t col, int lane, int) {
            *this = Codes{};
            col += lane * 32;
            if (row >= s.rows || col >= s.cols) return;
            const int64_t element = row * s.cols + col, group = element >> s.group_shift;
            const uint8_t* p = s.codes + element / 8 * kBits;
            if constexpr (kBits == 4) {
                const uint4 codes = load16_streaming(p);
                words[0] = codes.x;
                words[1] = codes.y;
                words[2] = codes.z;
                words[3] = codes.w;
            } else if constexpr (kBits == 2) {
                const uint2 codes = load8_global(p);
                words[0] = codes.x;
                words[1] = codes.y;
            } else { // 12 bytes: the three loads of a warp fall into the same lines
#pragma unroll
                for (int i = 0; i < kBits; ++i) words[i] = reinterpret_cast<const uint32_t*>(p)[i];
            }
            scale = s.scale[group];
            minimum = s.minimum[group];
        }
        __device__ __forceinline__ float code(const float*, int i, int) const {
            const int bit = i * kBits;
            uint32_t low = words[bit / 32] >> (bit % 32);
            if (bit % 32 + kBits > 32) low |= words[bit / 32 + 1] << (32 - bit % 32);
            return small_float(low & ((1u << kBits) - 1));
        }
        __device__ __forceinline__ float value(const float* table, int i, int lane) const {
            return fmaf(scale, code(table, i, lane), minimum);
        }
    };
};

struct Int8Format {
    static constexpr bool kHasMinimum = false;

    struct Source {
        const uint8_t* codes;
        const float* scale;
        int64_t rows, cols; // cols is a multiple of 32
    };
    static Source source(const ftc_weight& w) { return {static_cast<const uint8_t*>(w.data), w.scale, w.rows, w.cols}; }

    static constexpr int kTableFloats = 0;
    static __device__ __forceinline__ void fill_table(float*, const Source&, int, int) {}

    // A lane has two times 16 bytes, those of all lanes side by side.
    static __device__ __forceinline__ int octet(int lane, int lanes, int i) { return (i / 2 * lanes + lane) * 2 + i % 2; }

    struct Codes {
        uint32_t words[8];
        float scale;

        __device__ __forceinline__ void load(const Source& s, const float*, int64_t row, int64_t col, int lane,
                                             int lanes) {
            *this = Codes{};
            if (row >= s.rows) return;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int64_t first = col + octet(lane, lanes, 2 * i) * 8;
                if (first >= s.cols) continue;
                const uint4 codes = load16_streaming(s.codes + row * s.cols + first);
                words[4 * i] = codes.x;
                words[4 * i + 1] = codes.y;
                words[4 * i + 2] = codes.z;
                words[4 * i + 3] = codes.w;
            }
            scale = s.scale[row];
        }
        __device__ __forceinline__ float code(const float*, int i, int) const {
            return int8_float(words[i / 4] >> (i % 4 * 8) & 255u);
        }
        __device__ __forceinline__ float value(const float* table, int i, int lane) const {
            return code(table, i, lane) * scale;
        }
    };
};

} // namespace ftc::cuda
