// How gemm_few_rows reads the column operand: a few columns of the weight as words (word.h) in registers, for every
// format.
//
//   natural     word(x, k, has_second): the word that begins at depth k of kNaturalVecs registers of neighbouring
//   columns transposed  step(w, v, use): words w .. w + kStep - 1 of the rows of W in register v, handed to use(d, x)
//   one by one;
//               prefetch(w) comes before kSteps of them
#pragma once

#include "ops/linear/weight_words.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Rows of W that are read side by side, kBytes of each at a step. The CPU loses track of so many streams, and in the L1
// cache lines that are early push out those in use: every second step asks the L2 cache for its share of what is used 1
// KiB later (best of 256, 512, 768, 1024 and 2048 bytes), at the end of the rows that of the next group.
template <int64_t Rows>
struct Streams {
    static constexpr int64_t kBytes = 16;
    const char* first; // of the first row
    int64_t stride;    // bytes
    int64_t row_bytes;
    int64_t begin; // bytes of a row before the block

    Streams(const ftc_weight& w, int64_t row, int64_t depth, int64_t element_bytes)
        : first(static_cast<const char*>(w.data) + row * w.row_stride * element_bytes),
          stride(w.row_stride * element_bytes), row_bytes(w.cols * element_bytes), begin(depth * element_bytes) {}

    // The step that begins at `byte` of the block, of the rows of register v. bf16 is moved in pairs.
    template <class V>
    [[gnu::always_inline]] void transpose(V quads[4], int v, int64_t byte) const {
        const char* rows = first + v * lanes_of<V>() * stride + begin + byte;
        transpose_rows(quads, [&](int i) { return reinterpret_cast<const float*>(rows + i * stride); });
    }
    // Inlined by force: a function that only prefetches has no effect that g++ would keep a call for.
    [[gnu::always_inline]] void prefetch(int64_t byte) const {
        constexpr int64_t kChunk = 256, kAhead = 1024, kLine = 64, kRowsOfSteps = Rows * 2 * kBytes / kChunk;
        const int64_t ahead = begin + byte - byte % kChunk + kAhead;
        const char* rows = first + (ahead < row_bytes ? ahead : ahead - row_bytes + Rows * stride);
        rows += byte % kChunk / (2 * kBytes) * kRowsOfSteps * stride;
        for (int64_t i = 0; i < kRowsOfSteps; i++)
            for (int64_t line = 0; line < kChunk; line += kLine) __builtin_prefetch(rows + i * stride + line, 0, 2);
    }
};

// How many registers of rows to read side by side, at most: rows that lie a multiple of pages, or of a large part of
// one, apart fall into few sets of the L1 cache, and where a set's eight ways are too few they evict one another before
// a line is used up (measured on rows of 16 KiB: 4 GFLOP/s with 32 rows, 13 with 8).
inline int64_t stream_registers(int64_t row_bytes, int64_t most) {
    constexpr int64_t kWays = 8, kPage = 4096;
    const int64_t power = row_bytes & -row_bytes;
    const int64_t rows = kWays * (power < kPage ? kPage / power : 1) / lanes_of<NarrowVec>();
    return rows < most ? (rows < 1 ? 1 : rows) : most;
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE

#if defined(FTC_ISA_avx512bf16)
#include "ops/linear/transposed_bf16_words.h"
#else
#include "ops/linear/transposed_f32_words.h"
#endif
