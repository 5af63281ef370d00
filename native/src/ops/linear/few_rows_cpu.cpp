#include "ops/linear/few_rows.h"

#include "ops/linear/pack_rows.h"
#include "ops/linear/vector.h"
#include "ops/quant/decode_row.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// A block of A, the adapter's extra depth and where the sums go.
struct Finish {
    const GemmArgs& args;
    int64_t column;
    const float* a; // the block's first depth
    int64_t a_stride;
    float* c; // the group's first column
    int64_t c_stride;
    int64_t extra_depth;     // 0 before the last block
    const float* extra_rows; // [extra_depth, rows]
    const float* extra;      // micropanels [extra_depth, kTileCols]
    bool first;
    float* partial; // natural: the group's sums in the course of a block, rows kStrip apart
};

template <int Rows, int Vecs>
[[gnu::always_inline]] inline void finish(Vec (&sum)[Rows][Vecs], const Finish& f) {
    for (int64_t t = 0; t < f.extra_depth; t++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            const Vec x =
                load(f.extra + v / kTileVecs * f.extra_depth * kTileCols + t * kTileCols + v % kTileVecs * kLanes);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; i++) sum[i][v] = fma(broadcast(f.extra_rows[t * Rows + i]), x, sum[i][v]);
        }
    }
    const bool with_bias = f.first && f.args.bias != nullptr;
    const bool add_to_c = !f.first || (f.args.add_to_c && f.args.c_dtype == FTC_F32);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            float* c = f.c + i * f.c_stride + v * kLanes;
            Vec x = sum[i][v];
            if (with_bias) x = add(x, load(f.args.bias + f.column + v * kLanes));
            if (add_to_c) x = add(load(c), x);
            store(c, x);
        }
    }
}

// ---- Natural: columns side by side in a row of W
// ------------------------------------------------------------------------

// W is read in strips of kStrip columns and runs of kRunRows rows (8 measured best of 8, 16, 32), so that memory hands out
// few long pieces; the sums of a strip stay in the L1 cache meanwhile.
constexpr int kNaturalVecs = 4;
constexpr int64_t kStrip = 1024;
constexpr int64_t kRunRows = 8;
constexpr int kAheadRows = kRunRows;

struct NaturalF32 {
    const float* base;
    int64_t stride;
    NaturalF32(const ftc_weight& w, int64_t row, int64_t column)
        : base(static_cast<const float*>(w.data) + row * w.row_stride + column), stride(w.row_stride) {}
    void row(Vec x[kNaturalVecs], int64_t k) const {
        const float* from = base + k * stride;
#pragma GCC unroll 4
        for (int v = 0; v < kNaturalVecs; v++) {
            __builtin_prefetch(from + kAheadRows * stride + v * kLanes);
            x[v] = load(from + v * kLanes);
        }
    }
};

struct NaturalBf16 {
    const uint16_t* base;
    int64_t stride;
    NaturalBf16(const ftc_weight& w, int64_t row, int64_t column)
        : base(static_cast<const uint16_t*>(w.data) + row * w.row_stride + column), stride(w.row_stride) {}
    void row(Vec x[kNaturalVecs], int64_t k) const {
        const uint16_t* from = base + k * stride;
        __builtin_prefetch(from + kAheadRows * stride);
        __builtin_prefetch(from + kAheadRows * stride + kNaturalVecs * kLanes - 1);
#pragma GCC unroll 4
        for (int v = 0; v < kNaturalVecs; v++) x[v] = widen_bf16(from + v * kLanes);
    }
};

#if FTC_NF4_VECTORS
struct NaturalNf4 {
    const ftc_weight& w;
    int64_t first; // element, a multiple of kTileCols
    Nf4Table table;
    NaturalNf4(const ftc_weight& weight, int64_t row, int64_t column)
        : w(weight), first(row * weight.cols + column), table(nf4_table(weight.quant_map)) {}
    void row(Vec x[kNaturalVecs], int64_t k) const {
        const int64_t e = first + k * w.cols;
        const uint8_t* from = static_cast<const uint8_t*>(w.data) + e / 2;
        __builtin_prefetch(from + kAheadRows * w.cols / 2);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) { // kTileCols columns lie in one block
            const Vec absmax = broadcast(nf4_absmax(w, (e + half * kTileCols) / 64));
#pragma GCC unroll 2
            for (int v = half * 2; v < half * 2 + 2; v++)
                x[v] = mul(nf4_look_up(table, nf4_spread(from + v * kLanes / 2)), absmax);
        }
    }
};
#endif

// Any packed format, decoded a row of columns at a time.
struct NaturalDecoded {
    const ftc_weight& w;
    int64_t first_row, column;
    NaturalDecoded(const ftc_weight& weight, int64_t row, int64_t first_column)
        : w(weight), first_row(row), column(first_column) {}
    void row(Vec x[kNaturalVecs], int64_t k) const {
        float stage[kNaturalVecs * kLanes];
        decode_row(stage, w, first_row + k, column, kNaturalVecs * kLanes);
        for (int v = 0; v < kNaturalVecs; v++) x[v] = load(stage + v * kLanes);
    }
};

// Depths [k, k + kRunRows) of the block that begins at `begin` and is `depth` deep.
template <int Rows, class Columns>
void natural_run(const Finish& f, int64_t begin, int64_t depth, int64_t from) {
    const Columns columns(f.args.b.weight, begin, f.column);
    const float* a = f.a;
    const int64_t to = from + kRunRows < depth ? from + kRunRows : depth;
    Vec sum[Rows][kNaturalVecs];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < kNaturalVecs; v++)
            sum[i][v] = from == 0 ? zero() : load(f.partial + i * kStrip + v * kLanes);
#pragma GCC unroll 1
    for (int64_t k = from; k < to; k++) {
        Vec x[kNaturalVecs];
        columns.row(x, k);
#pragma GCC unroll 4
        for (int i = 0; i < Rows; i++) {
            const Vec factor = broadcast(a[i * f.a_stride + k]);
#pragma GCC unroll 4
            for (int v = 0; v < kNaturalVecs; v++) sum[i][v] = fma(factor, x[v], sum[i][v]);
        }
    }
    if (to == depth) {
        finish<Rows, kNaturalVecs>(sum, f);
        return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < kNaturalVecs; v++) store(f.partial + i * kStrip + v * kLanes, sum[i][v]);
}

// ---- Transposed: each lane is a row of W, transposed in registers
// --------------------------------------------------------

// Rows of W as kTileCols streams. step(k, v) hands out depths k .. k + kStep - 1 of the rows of register v. (Both
// registers in turn, depth by depth, keeps more chains in flight, but reading 32 streams at once cost up to 1.7x from
// DRAM.)
struct TransposedF32 {
    static constexpr int64_t kStep = 4;
    const float* rows[kTileCols];
    TransposedF32(const ftc_weight& w, int64_t column, int64_t begin) {
        for (int i = 0; i < kTileCols; i++)
            rows[i] = static_cast<const float*>(w.data) + (column + i) * w.row_stride + begin;
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        if (k % 16 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[v * kLanes + i] + k + 64);
        Vec quads[4];
        transpose_quads(quads, rows + v * kLanes, k);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(d, quads[d]);
    }
    float value(int64_t k, int i) const {
        return rows[i][k];
    }
};

struct TransposedBf16 {
    static constexpr int64_t kStep = 8;
    const uint16_t* rows[kTileCols];
    const float* pairs[kTileCols];
    TransposedBf16(const ftc_weight& w, int64_t column, int64_t begin) {
        for (int i = 0; i < kTileCols; i++) {
            rows[i] = static_cast<const uint16_t*>(w.data) + (column + i) * w.row_stride + begin;
            pairs[i] = reinterpret_cast<const float*>(rows[i]);
        }
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        if (k % 32 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[v * kLanes + i] + k + 128);
        Vec words[4];
        transpose_quads(words, pairs + v * kLanes, k / 2);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) {
            use(2 * d, first_bf16(words[d]));
            use(2 * d + 1, second_bf16(words[d]));
        }
    }
    float value(int64_t k, int i) const {
        return __builtin_bit_cast(float, uint32_t{rows[i][k]} << 16);
    }
};

#if FTC_NF4_VECTORS
// Whole blocks of 64; a step is one block.
struct TransposedNf4 {
    static constexpr int64_t kStep = 64;
    const ftc_weight& w;
    int64_t column, begin;
    const float* rows[kTileCols]; // bytes, moved as words
    Nf4Table table;
    TransposedNf4(const ftc_weight& weight, int64_t first_column, int64_t first_depth)
        : w(weight), column(first_column), begin(first_depth), table(nf4_table(weight.quant_map)) {
        for (int i = 0; i < kTileCols; i++)
            rows[i] = reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) +
                                                     ((column + i) * w.cols + begin) / 2);
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        const int64_t blocks_per_row = w.cols / 64;
        float lanes[kLanes];
        for (int i = 0; i < kLanes; i++)
            lanes[i] = nf4_absmax(w, (column + v * kLanes + i) * blocks_per_row + (begin + k) / 64);
        const Vec absmax = load(lanes);
        if (k % 128 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[v * kLanes + i] + k / 8 + 64);
        for (int half = 0; half < 2; half++) {
            Vec words[4];
            transpose_quads(words, rows + v * kLanes, k / 8 + half * 4);
#pragma GCC unroll 4
            for (int d = 0; d < 4; d++) {
                const Codes codes = as_codes(words[d]);
                const int64_t to = half * 32 + d * 8;
                use(to + 0, mul(nf4_look_up(table, shift_right<4>(codes)), absmax));
                use(to + 1, mul(nf4_look_up(table, shift_right<0>(codes)), absmax));
                use(to + 2, mul(nf4_look_up(table, shift_right<12>(codes)), absmax));
                use(to + 3, mul(nf4_look_up(table, shift_right<8>(codes)), absmax));
                use(to + 4, mul(nf4_look_up(table, shift_right<20>(codes)), absmax));
                use(to + 5, mul(nf4_look_up(table, shift_right<16>(codes)), absmax));
                use(to + 6, mul(nf4_look_up(table, shift_right<28>(codes)), absmax));
                use(to + 7, mul(nf4_look_up(table, shift_right<24>(codes)), absmax));
            }
        }
    }
    float value(int64_t, int) const {
        return 0.0f;
    } // never: the depth is a multiple of 64
};
#endif

// Any packed format: kStep depths of every row decoded, then transposed.
struct TransposedDecoded {
    static constexpr int64_t kStep = 32;
    const ftc_weight& w;
    int64_t column, begin;
    TransposedDecoded(const ftc_weight& weight, int64_t first_column, int64_t first_depth)
        : w(weight), column(first_column), begin(first_depth) {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t k, int v, const Use& use) const {
        float stage[kLanes][kStep];
        const float* rows[kLanes];
        for (int i = 0; i < kLanes; i++) {
            rows[i] = stage[i];
            decode_row(stage[i], w, column + v * kLanes + i, begin + k, kStep);
        }
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec quads[4];
            transpose_quads(quads, rows, d);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(d + j, quads[j]);
        }
    }
    float value(int64_t k, int i) const {
        float one;
        decode_row(&one, w, column + i, begin + k, 1);
        return one;
    }
};

template <int Rows, class Columns>
void transposed_block(const Finish& f, int64_t begin, int64_t depth, int64_t) {
    const Columns columns(f.args.b.weight, f.column, begin);
    const float* a = f.a;
    const int64_t stride = f.a_stride;
    Vec sum[Rows][kTileVecs];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < kTileVecs; v++) sum[i][v] = zero();
    int64_t k = 0;
    for (; k + Columns::kStep <= depth; k += Columns::kStep)
#pragma GCC unroll 2
        for (int v = 0; v < kTileVecs; v++)
            columns.step(
                k, v, [&](int64_t d, Vec x) __attribute__((always_inline)) {
#pragma GCC unroll 4
                    for (int i = 0; i < Rows; i++) sum[i][v] = fma(broadcast(a[i * stride + k + d]), x, sum[i][v]);
                });
    for (; k < depth; k++) {
        float lanes[kTileCols];
        for (int i = 0; i < kTileCols; i++) lanes[i] = columns.value(k, i);
        for (int i = 0; i < Rows; i++)
            for (int v = 0; v < kTileVecs; v++)
                sum[i][v] = fma(broadcast(a[i * stride + k]), load(lanes + v * kLanes), sum[i][v]);
    }
    finish<Rows, kTileVecs>(sum, f);
}

// ---- Choice
// -----------------------------------------------------------------------------------------------------------------

// A run of a block of depth where columns are natural, a whole block where they are transposed.
using BlockKernel = void (*)(const Finish&, int64_t begin, int64_t depth, int64_t from);

template <class Columns>
BlockKernel natural_kernel(int64_t rows) {
    constexpr BlockKernel kKernels[kFewRows] = {natural_run<1, Columns>, natural_run<2, Columns>,
                                                natural_run<3, Columns>, natural_run<4, Columns>};
    return kKernels[rows - 1];
}

template <class Columns>
BlockKernel transposed_kernel(int64_t rows) {
    constexpr BlockKernel kKernels[kFewRows] = {transposed_block<1, Columns>, transposed_block<2, Columns>,
                                                transposed_block<3, Columns>, transposed_block<4, Columns>};
    return kKernels[rows - 1];
}

// NULL where the packed product has to do it.
BlockKernel choose(const GemmArgs& args) {
    const ColumnSource& b = args.b;
    if (!is_few_rows(args)) return nullptr;
    switch (b.weight.format) {
    case FTC_WEIGHT_F32:
        return b.transposed ? transposed_kernel<TransposedF32>(args.rows) : natural_kernel<NaturalF32>(args.rows);
    case FTC_WEIGHT_BF16:
        return b.transposed ? transposed_kernel<TransposedBf16>(args.rows) : natural_kernel<NaturalBf16>(args.rows);
    case FTC_WEIGHT_NF4:
#if FTC_NF4_VECTORS
        if (nf4_rows_aligned(b.weight))
            return b.transposed ? transposed_kernel<TransposedNf4>(args.rows) : natural_kernel<NaturalNf4>(args.rows);
#endif
        return nullptr;
    default:
        return b.transposed ? transposed_kernel<TransposedDecoded>(args.rows)
                            : natural_kernel<NaturalDecoded>(args.rows);
    }
}

// Rows of a bf16 C from their sums, which it may have to be added to.
void round_columns(const GemmArgs& args, const float* sums, int64_t column, int64_t cols) {
    for (int64_t i = 0; i < args.rows; i++) {
        uint16_t* c = static_cast<uint16_t*>(args.c) + i * args.c_stride + column;
        for (int64_t j = 0; j < cols; j += kLanes) {
            const Vec sum = load(sums + i * kStrip + j);
            store_bf16(c + j, args.add_to_c ? add(widen_bf16(c + j), sum) : sum);
        }
    }
}

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

} // namespace

int64_t gemm_few_rows(const GemmArgs& args, const FewRowsScratch& scratch, int64_t begin, int64_t end) {
    const BlockKernel kernel = choose(args);
    if (kernel == nullptr) return begin;
    const bool transposed = args.b.transposed;
    const int64_t group = transposed ? kTileCols : kNaturalVecs * kLanes;
    const int64_t last_column = begin + (end - begin) / group * group;
    const GemmAdapter* adapter = args.adapter_count == 1 ? &args.adapters[0] : nullptr;
    if (adapter != nullptr)
        pack_scaled(scratch.extra_rows, adapter->s, adapter->rank, static_cast<int>(args.rows), adapter->rank,
                    adapter->scaling);
    alignas(64) float partial[kFewRows * kStrip];
    alignas(64) float sums[kFewRows * kStrip]; // of a bf16 C
    const bool rounds = args.c_dtype == FTC_BF16;
    int64_t widened = -1; // block of a bf16 A that stands in scratch
    const int64_t step = transposed ? group : kStrip / group * group;
    for (int64_t strip = begin; strip < last_column; strip += step) {
        const int64_t width = smaller(step, last_column - strip);
        for (int64_t k = 0; k < args.depth; k += args.block_depth) {
            const int64_t depth = smaller(args.block_depth, args.depth - k);
            if (args.a_dtype == FTC_BF16 && widened != k) {
                for (int64_t i = 0; i < args.rows; i++)
                    widen_row(scratch.rows + i * args.block_depth,
                              static_cast<const uint16_t*>(args.a) + i * args.a_stride + k, depth);
                widened = k;
            }
            Finish block{args,  strip,  scratch.rows, args.block_depth, sums, kStrip, 0, scratch.extra_rows, scratch.extra,
                         k == 0, partial};
            if (args.a_dtype == FTC_F32) {
                block.a = static_cast<const float*>(args.a) + k;
                block.a_stride = args.a_stride;
            }
            const int64_t run = transposed ? depth : kRunRows;
            for (int64_t from = 0; from < depth; from += run) {
                const bool last = from + run >= depth && k + depth == args.depth;
                for (int64_t j = 0; j < width; j += group) {
                    block.column = strip + j;
                    block.partial = partial + j;
                    block.c = rounds ? sums + j : static_cast<float*>(args.c) + block.column;
                    block.c_stride = rounds ? kStrip : args.c_stride;
                    if (last && adapter != nullptr) {
                        pack_columns(scratch.extra, adapter->factor, block.column, group, 0, adapter->rank, adapter->rank);
                        block.extra_depth = adapter->rank;
                    }
                    kernel(block, k, depth, from);
                }
            }
        }
        if (rounds) round_columns(args, sums, strip, width);
    }
    return last_column;
}

} // namespace ftc::FTC_ISA_NAMESPACE
