#include "ops/quant/nf4_quantize.h"

#include "core/pool.h"
#include "ops/quant/map_code.h"
#include "ops/quant/torch_sum.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kNestedBlock = 256;

// Between neighbouring values of the NF4 map; a value on a threshold keeps the lower code.
constexpr float kThresholds[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784181118011f};

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

void quantize_block(uint8_t* codes, float* absmax, const float* x, int64_t count) {
    *absmax = largest_magnitude(x, count);
    const float scale = reciprocal(*absmax);
    uint32_t code[kBlock + 1];
    for (int64_t i = 0; i < count; i++) {
        const float scaled = clamp_to_one(x[i] * scale);
        uint32_t above = 0;
#pragma GCC unroll 15
        for (int t = 0; t < 15; t++) above += scaled > kThresholds[t] ? 1U : 0U;
        code[i] = above;
    }
    code[count] = 7; // an odd count is padded with a zero
    for (int64_t i = 0; i < count; i += 2) codes[i / 2] = static_cast<uint8_t>(code[i] << 4 | code[i + 1]);
}

void quantize(Pool& pool, const Nf4QuantizeArgs& args) {
    constexpr int64_t kBlocksPerPart = 64;
    const int64_t blocks = (args.count + kBlock - 1) / kBlock;
    parallel_for(pool, (blocks + kBlocksPerPart - 1) / kBlocksPerPart, [&](int64_t part, int32_t) {
        const int64_t end = smaller(blocks, (part + 1) * kBlocksPerPart);
        for (int64_t b = part * kBlocksPerPart; b < end; b++) {
            const int64_t first = b * kBlock;
            quantize_block(args.codes + first / 2, args.absmax + b, args.x + first,
                           smaller(kBlock, args.count - first));
        }
    });
}

void quantize_absmax(Pool& pool, const Nf4QuantizeAbsmaxArgs& args) {
    const float offset = torch_sum(args.absmax, args.count) / static_cast<float>(args.count);
    *args.nested_offset = offset;
    Midpoints midpoints;
    midpoints_of(midpoints, args.nested_map);
    parallel_for(pool, (args.count + kNestedBlock - 1) / kNestedBlock, [&](int64_t block, int32_t) {
        const int64_t first = block * kNestedBlock;
        const int64_t count = smaller(kNestedBlock, args.count - first);
        float centred[kNestedBlock];
        for (int64_t i = 0; i < count; i++) centred[i] = args.absmax[first + i] - offset;
        args.nested_absmax[block] = encode_block(args.codes + first, midpoints, centred, count);
    });
}

} // namespace

Nf4QuantizeKernels nf4_quantize_kernels() {
    return {.quantize = quantize, .quantize_absmax = quantize_absmax};
}

} // namespace ftc::FTC_ISA_NAMESPACE
