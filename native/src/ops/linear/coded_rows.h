// Products of nine to sixteen rows of A with NF4 whose columns lie side by side (the backward of short sequences) on
// AVX2: as in broadcast_nf4.h the rows of A are lanes and values are broadcast from the table of their block, so that
// nothing is decoded or packed. A block of 64 columns is gone through 64 depths at a time; their codes are made ready
// beside the multiply-adds of the depths before.
#pragma once

#include "ops/linear/broadcast_rows.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

struct CodedScratch {
    float* a;      // [depth, kCodedRows]
    float* factor; // of the adapter, [rank, kCodedColumns], then scaled rows of S, [rank, kCodedRows]
};

#if defined(FTC_ISA_avx2)
constexpr int64_t kCodedRows = 2 * kUnit, kCodedColumns = 64, kCodedDepths = 64;

// scratch_rows: of A and of the adapter's factor there is room for.
inline bool codes_rows(const GemmArgs& args, int64_t scratch_rows) {
    const ftc_weight& w = args.b.weight;
    return args.rows > kUnit && args.rows <= kCodedRows && !args.b.transposed && w.format == FTC_WEIGHT_NF4 &&
           nf4_rows_aligned(w) && is_plain_product(args) && kCodedRows + kCodedColumns <= scratch_rows;
}

// Columns of C at once: as many sums as hide the latency of a multiply-add.
constexpr int kCodedSums = 4;

// [kCodedSums, kCodedRows] of C transposed, in registers.
template <class V>
struct CodedTile {
    V sum[kCodedSums][2];

    [[gnu::always_inline]] explicit CodedTile(const float* c) {
#pragma GCC unroll 4
        for (int j = 0; j < kCodedSums; j++)
            for (int v = 0; v < 2; v++) sum[j][v] = load<V>(c + j * kCodedRows + v * kLanes);
    }
    [[gnu::always_inline]] void store_to(float* c) const {
#pragma GCC unroll 4
        for (int j = 0; j < kCodedSums; j++)
            for (int v = 0; v < 2; v++) store(c + j * kCodedRows + v * kLanes, sum[j][v]);
    }
    // value(j): of column j at this depth.
    template <class Value>
    [[gnu::always_inline]] void add(const float* a, const Value& value) {
        V x[2] = {load<V>(a), load<V>(a + kLanes)};
        __asm__("" : "+x"(x[0]), "+x"(x[1])); // one load, not one with every multiply-add
#pragma GCC unroll 4
        for (int j = 0; j < kCodedSums; j++) {
            const V word = broadcast<V>(value(j));
            sum[j][0] = fma(word, x[0], sum[j][0]);
            sum[j][1] = fma(word, x[1], sum[j][1]);
        }
    }
};

// coded: [depths, kCodedFloats], from code `column` of the blocks on. A code comes from memory for every other column
// and from a register for the rest, as in run_coded_columns().
template <class V>
[[gnu::noinline]] void add_coded_depths(float* c, const float* a, const float* coded, int64_t column, int64_t depths) {
    CodedTile<V> tile(c);
#pragma GCC unroll 4
    for (int64_t d = 0; d < depths; d++) {
        const float* values = coded + d * kCodedFloats;
        const uint8_t* codes = reinterpret_cast<const uint8_t*>(values + 16) + column;
        uint32_t four;
        __builtin_memcpy(&four, codes, sizeof(four));
        tile.add(a + d * kCodedRows,
                 [&](int j) { return values[j % 2 == 0 ? static_cast<int64_t>(four >> 8 * j & 0xff) : codes[j]]; });
    }
    tile.store_to(c);
}

template <class V>
void add_factor(float* c, const float* s, const float* factor, int64_t rank) {
    CodedTile<V> tile(c);
    for (int64_t r = 0; r < rank; r++)
        tile.add(s + r * kCodedRows, [&](int j) { return factor[r * kCodedColumns + j]; });
    tile.store_to(c);
}

// The codes of kCodedColumns columns of W from the block of depth on.
struct CodedSource {
    const ftc_weight& w;
    int64_t first; // element

    // Depths [begin, end) of `all` into a ring of two times kCodedDepths.
    void code(float* ring, int64_t begin, int64_t end, int64_t all) const {
        for (int64_t depth = begin; depth < end; depth++) {
            const int64_t e = first + depth * w.cols;
            const uint8_t* codes = static_cast<const uint8_t*>(w.data) + e / 2;
            __builtin_prefetch(codes + (smaller(depth + kCodedDepths, all - 1) - depth) * w.cols / 2);
            code_block(ring + depth % (2 * kCodedDepths) * kCodedFloats, codes, w.quant_map, nf4_absmax(w, e / 64));
        }
    }
};

// Rows [row_begin, row_end) of A with the columns of the block.
inline void coded_block(const Block& block, const CodedScratch& scratch, int64_t row_begin, int64_t row_end) {
    const GemmArgs& args = block.args;
    const ftc_weight& w = args.b.weight;
    const GemmAdapter* adapter = block.last && args.adapter_count == 1 ? &args.adapters[0] : nullptr;
    const int64_t rank = adapter != nullptr ? adapter->rank : 0;
    const Panel panel{row_begin, 0, row_end - row_begin, 2};
    float* const s = scratch.factor + kCodedColumns * rank;
    pack_panel(scratch.a, kCodedRows, block, row_begin, panel.rows);
    if (adapter != nullptr)
        pack_scaled(s, kCodedRows, adapter->s + (row_begin - adapter->row_begin) * rank, rank,
                    static_cast<int>(panel.rows), rank, adapter->scaling);
    alignas(64) float ring[2 * kCodedDepths * kCodedFloats], sums[kCodedColumns * kCodedRows];
    const int64_t end = block.column + block.cols;
    for (int64_t begin = block.column, next; begin < end; begin = next) {
        next = smaller(end, begin / kCodedColumns * kCodedColumns + kCodedColumns);
        const int64_t in_block = begin % kCodedColumns, columns = next - begin;
        const CodedSource source{w, block.begin * w.cols + begin - in_block};
        __builtin_memset(sums, 0, sizeof(sums));
        int64_t coded = smaller(kCodedDepths, block.depth);
        source.code(ring, 0, coded, block.depth);
        for (int64_t depth = 0; depth < block.depth; depth += kCodedDepths) {
            const int64_t depths = smaller(kCodedDepths, block.depth - depth);
            const int64_t wanted = smaller(depth + 2 * kCodedDepths, block.depth);
            for (int64_t j = 0; j < columns; j += kCodedSums) {
                const int64_t some = smaller(wanted, coded + divide_up(kCodedDepths * kCodedSums, columns));
                source.code(ring, coded, some, block.depth);
                coded = some;
                add_coded_depths<Vec>(sums + j * kCodedRows, scratch.a + depth * kCodedRows,
                                      ring + depth % (2 * kCodedDepths) * kCodedFloats, in_block + j, depths);
            }
        }
        for (int64_t r = 0; r < rank; r++)
            weight_words(scratch.factor + r * kCodedColumns, adapter->factor.weight, r, begin, columns);
        for (int64_t j = 0; rank > 0 && j < columns; j += kCodedSums)
            add_factor<Vec>(sums + j * kCodedRows, s, scratch.factor + j, rank);
        finish_tile(block, panel, sums, begin, columns);
    }
}
#else
inline bool codes_rows(const GemmArgs&, int64_t) {
    return false;
}
inline void coded_block(const Block&, const CodedScratch&, int64_t, int64_t) {}
#endif

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
