// gemm_few_rows on words of two bf16 depths (word.h): B is read or decoded to words once and never packed.
#include "ops/linear/bf16_rows.h"
#include "ops/linear/few_rows.h"
#include "ops/linear/pack_rows.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// As in few_rows_cpu.cpp: W in strips of columns and runs of rows.
constexpr int kNaturalVecs = 4;
constexpr int64_t kStrip = 1024;
constexpr int64_t kRunRows = 8;
constexpr int64_t kAheadRows = kRunRows;

// A block of A, the adapter's extra depth and where the sums go.
struct Finish {
    const GemmArgs& args;
    int64_t column;
    const float* a; // words of the block, rows a_stride words apart
    int64_t a_stride;
    float* sums; // of the group, rows kStrip apart
    int64_t extra_words;     // 0 before the last block
    const float* extra_rows; // [extra_words, rows]
    const float* extra;      // micropanels [extra_words, kTileCols]
    bool first;
    float* partial; // natural: the group's sums in the course of a block, rows kStrip apart
};

// Sums of a block: the adapter's depth joins the chain, then bias and the blocks before.
template <int Rows, int Vecs>
[[gnu::always_inline]] inline void finish(Vec (&sum)[Rows][Vecs], const Finish& f) {
    for (int64_t t = 0; t < f.extra_words; t++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            const Vec x =
                load(f.extra + v / kTileVecs * f.extra_words * kTileCols + t * kTileCols + v % kTileVecs * kLanes);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; i++)
                sum[i][v] = multiply_words(broadcast(f.extra_rows[t * Rows + i]), x, sum[i][v]);
        }
    }
    const bool with_bias = f.first && f.args.bias != nullptr;
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            float* to = f.sums + i * kStrip + v * kLanes;
            Vec x = sum[i][v];
            if (with_bias) x = add(x, load(f.args.bias + f.column + v * kLanes));
            store(to, f.first ? x : add(load(to), x));
        }
    }
}

// ---- Natural: two rows of W are a word ------------------------------------------------------------------------------

struct NaturalBf16 {
    const ftc_weight& w;
    int64_t first_row, column;
    void word(Vec x[kNaturalVecs], int64_t k, bool has_second) const {
        const uint16_t* from = bf16_row(w, first_row + k) + column;
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            const uint16_t* p = from + half * 2 * kLanes;
            __builtin_prefetch(p + kAheadRows * w.row_stride);
            __builtin_prefetch(p + (kAheadRows + 1) * w.row_stride);
            const __m512i first = _mm512_loadu_si512(p);
            const __m512i second = has_second ? _mm512_loadu_si512(p + w.row_stride) : _mm512_setzero_si512();
            x[2 * half] = _mm512_castsi512_ps(pair_low(first, second));
            x[2 * half + 1] = _mm512_castsi512_ps(pair_high(first, second));
        }
    }
};

struct NaturalNf4 {
    const ftc_weight& w;
    int64_t first_row, column;
    void word(Vec x[kNaturalVecs], int64_t k, bool has_second) const {
        const Nf4Table table = nf4_table(w.quant_map);
        const int64_t e = (first_row + k) * w.cols + column;
        const int64_t next = has_second ? w.cols : 0;
        const uint8_t* from = static_cast<const uint8_t*>(w.data) + e / 2;
        __builtin_prefetch(from + kAheadRows * w.cols / 2);
        __builtin_prefetch(from + (kAheadRows + 1) * w.cols / 2);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) { // kTileCols columns lie in one block
            const Vec absmax = broadcast(nf4_absmax(w, (e + half * kTileCols) / 64));
            const Vec absmax_of_next = has_second ? broadcast(nf4_absmax(w, (e + next + half * kTileCols) / 64)) : zero();
#pragma GCC unroll 2
            for (int v = half * 2; v < half * 2 + 2; v++)
                x[v] = round_to_words(mul(nf4_look_up(table, nf4_spread(from + v * kLanes / 2)), absmax),
                                      mul(nf4_look_up(table, nf4_spread(from + next / 2 + v * kLanes / 2)), absmax_of_next));
        }
    }
};

// Any other format, a row of columns at a time.
struct NaturalRounded {
    const ftc_weight& w;
    int64_t first_row, column;
    void word(Vec x[kNaturalVecs], int64_t k, bool has_second) const {
        constexpr int64_t kCount = kNaturalVecs * kLanes;
        uint16_t stage[2][kCount] = {};
        read_bf16(stage[0], w, first_row + k, column, kCount);
        if (has_second) read_bf16(stage[1], w, first_row + k + 1, column, kCount);
        for (int half = 0; half < 2; half++) {
            const __m512i first = _mm512_loadu_si512(stage[0] + half * 2 * kLanes);
            const __m512i second = _mm512_loadu_si512(stage[1] + half * 2 * kLanes);
            x[2 * half] = _mm512_castsi512_ps(pair_low(first, second));
            x[2 * half + 1] = _mm512_castsi512_ps(pair_high(first, second));
        }
    }
};

// Depths [from, from + kRunRows) of the block that begins at `begin` and is `depth` deep.
template <int Rows, class Columns>
void natural_run(const Finish& f, int64_t begin, int64_t depth, int64_t from) {
    const Columns columns{f.args.b.weight, begin, f.column};
    const int64_t to = from + kRunRows < depth ? from + kRunRows : depth;
    Vec sum[Rows][kNaturalVecs];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < kNaturalVecs; v++)
            sum[i][v] = from == 0 ? zero() : load(f.partial + i * kStrip + v * kLanes);
#pragma GCC unroll 1
    for (int64_t k = from; k < to; k += 2) {
        Vec x[kNaturalVecs];
        columns.word(x, k, k + 1 < depth);
#pragma GCC unroll 4
        for (int i = 0; i < Rows; i++) {
            const Vec factor = broadcast(f.a[i * f.a_stride + k / 2]);
#pragma GCC unroll 4
            for (int v = 0; v < kNaturalVecs; v++) sum[i][v] = multiply_words(factor, x[v], sum[i][v]);
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

// ---- Transposed: each lane is a row of W, transposed in registers ---------------------------------------------------

// step(w, v) hands out words w .. w + kStep - 1 of the rows of register v; value(k, i) is one element.
struct TransposedBf16 {
    static constexpr int64_t kStep = 4;
    const float* pairs[kTileCols];
    TransposedBf16(const ftc_weight& weight, int64_t column, int64_t begin) {
        for (int i = 0; i < kTileCols; i++)
            pairs[i] = reinterpret_cast<const float*>(bf16_row(weight, column + i) + begin);
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        if (w % 16 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(pairs[v * kLanes + i] + w + 64);
        Vec words[4];
        transpose_quads(words, pairs + v * kLanes, w);
#pragma GCC unroll 4
        for (int d = 0; d < 4; d++) use(d, words[d]);
    }
};

struct TransposedF32 {
    static constexpr int64_t kStep = 2;
    const float* rows[kTileCols];
    TransposedF32(const ftc_weight& weight, int64_t column, int64_t begin) {
        for (int i = 0; i < kTileCols; i++) rows[i] = f32_row(weight, column + i) + begin;
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        if (w % 8 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[v * kLanes + i] + 2 * w + 64);
        Vec quads[4];
        transpose_quads(quads, rows + v * kLanes, 2 * w);
        use(0, round_to_words(quads[0], quads[1]));
        use(1, round_to_words(quads[2], quads[3]));
    }
};

// Whole blocks of 64; a step is one block.
struct TransposedNf4 {
    static constexpr int64_t kStep = 32;
    const ftc_weight& weight;
    int64_t column, begin;
    const float* rows[kTileCols]; // bytes, moved as words
    Nf4Table table;
    TransposedNf4(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth), table(nf4_table(w.quant_map)) {
        for (int i = 0; i < kTileCols; i++)
            rows[i] = reinterpret_cast<const float*>(static_cast<const uint8_t*>(w.data) +
                                                     ((column + i) * w.cols + begin) / 2);
    }
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        const int64_t blocks_per_row = weight.cols / 64;
        float lanes[kLanes];
        for (int i = 0; i < kLanes; i++)
            lanes[i] = nf4_absmax(weight, (column + v * kLanes + i) * blocks_per_row + (begin + 2 * w) / 64);
        const Vec absmax = load(lanes);
        if (w % 64 == 0)
            for (int i = 0; i < kLanes; i++) __builtin_prefetch(rows[v * kLanes + i] + w / 4 + 64);
        for (int half = 0; half < 2; half++) {
            Vec words[4];
            transpose_quads(words, rows + v * kLanes, w / 4 + half * 4);
#pragma GCC unroll 4
            for (int d = 0; d < 4; d++) {
                const Codes codes = as_codes(words[d]);
                const int64_t to = half * 16 + d * 4;
                use(to + 0, nf4_words<4, 0>(table, codes, absmax));
                use(to + 1, nf4_words<12, 8>(table, codes, absmax));
                use(to + 2, nf4_words<20, 16>(table, codes, absmax));
                use(to + 3, nf4_words<28, 24>(table, codes, absmax));
            }
        }
    }
};

// Any other format: kStep words of every row rounded, then transposed.
struct TransposedRounded {
    static constexpr int64_t kStep = 16;
    const ftc_weight& weight;
    int64_t column, begin;
    TransposedRounded(const ftc_weight& w, int64_t first_column, int64_t first_depth)
        : weight(w), column(first_column), begin(first_depth) {}
    template <class Use>
    [[gnu::always_inline]] void step(int64_t w, int v, const Use& use) const {
        uint16_t stage[kLanes][2 * kStep];
        const float* rows[kLanes];
        for (int i = 0; i < kLanes; i++) {
            rows[i] = reinterpret_cast<const float*>(stage[i]);
            read_bf16(stage[i], weight, column + v * kLanes + i, begin + 2 * w, 2 * kStep);
        }
        for (int64_t d = 0; d < kStep; d += 4) {
            Vec words[4];
            transpose_quads(words, rows, d);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) use(d + j, words[j]);
        }
    }
};

// A word of each column at the end of a block that is no multiple of a step.
void last_words(float* lanes, const ftc_weight& w, int64_t column, int64_t k, int64_t count) {
    for (int64_t i = 0; i < kTileCols; i++) {
        uint16_t two[2] = {};
        read_bf16(two, w, column + i, k, count);
        lanes[i] = word_of(two[0], two[1]);
    }
}

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
    int64_t w = 0;
    for (; w + Columns::kStep <= depth / 2; w += Columns::kStep)
#pragma GCC unroll 2
        for (int v = 0; v < kTileVecs; v++)
            columns.step(
                w, v, [&](int64_t d, Vec x) __attribute__((always_inline)) {
#pragma GCC unroll 4
                    for (int i = 0; i < Rows; i++)
                        sum[i][v] = multiply_words(broadcast(a[i * stride + w + d]), x, sum[i][v]);
                });
    for (; 2 * w < depth; w++) {
        float lanes[kTileCols];
        last_words(lanes, f.args.b.weight, f.column, begin + 2 * w, depth - 2 * w < 2 ? 1 : 2);
        for (int i = 0; i < Rows; i++)
            for (int v = 0; v < kTileVecs; v++)
                sum[i][v] = multiply_words(broadcast(a[i * stride + w]), load(lanes + v * kLanes), sum[i][v]);
    }
    finish<Rows, kTileVecs>(sum, f);
}

// ---- Choice ---------------------------------------------------------------------------------------------------------

// A run of a block of depth where columns are natural, a whole block where they are transposed.
using BlockKernel = void (*)(const Finish&, int64_t begin, int64_t depth, int64_t from);

template <class Natural, class Transposed>
BlockKernel kernel_of(bool transposed, int64_t rows) {
    constexpr BlockKernel kKernels[2][kFewRows] = {
        {natural_run<1, Natural>, natural_run<2, Natural>, natural_run<3, Natural>, natural_run<4, Natural>},
        {transposed_block<1, Transposed>, transposed_block<2, Transposed>, transposed_block<3, Transposed>,
         transposed_block<4, Transposed>}};
    return kKernels[transposed ? 1 : 0][rows - 1];
}

// NULL where the packed product has to do it.
BlockKernel choose(const GemmArgs& args) {
    const ColumnSource& b = args.b;
    if (!is_few_rows(args)) return nullptr;
    if (b.weight.format == FTC_WEIGHT_BF16) return kernel_of<NaturalBf16, TransposedBf16>(b.transposed, args.rows);
    if (b.weight.format == FTC_WEIGHT_F32) return kernel_of<NaturalRounded, TransposedF32>(b.transposed, args.rows);
    if (b.weight.format == FTC_WEIGHT_NF4 && nf4_rows_aligned(b.weight))
        return kernel_of<NaturalNf4, TransposedNf4>(b.transposed, args.rows);
    return kernel_of<NaturalRounded, TransposedRounded>(b.transposed, args.rows);
}

// Depths [k, k + depth) of the rows of A, as words.
void stage_rows(float* words, int64_t stride, const GemmArgs& args, int64_t k, int64_t depth) {
    for (int64_t i = 0; i < args.rows; i++) {
        uint16_t* row = reinterpret_cast<uint16_t*>(words + i * stride);
        const int64_t from = i * args.a_stride + k;
        if (args.a_dtype == FTC_F32)
            round_run(row, static_cast<const float*>(args.a) + from, depth);
        else
            __builtin_memcpy(row, static_cast<const uint16_t*>(args.a) + from, static_cast<size_t>(depth) * sizeof(uint16_t));
        if (depth % 2 != 0) __builtin_memset(row + depth, 0, sizeof(uint16_t));
    }
}

// C, which it may have to be added to, from the sums.
void store_sums(const GemmArgs& args, const float* sums, int64_t column, int64_t cols) {
    for (int64_t i = 0; i < args.rows; i++) {
        for (int64_t j = 0; j < cols; j += kLanes) {
            const Vec sum = load(sums + i * kStrip + j);
            const int64_t at = i * args.c_stride + column + j;
            if (args.c_dtype == FTC_F32) {
                float* c = static_cast<float*>(args.c) + at;
                store(c, args.add_to_c ? add(load(c), sum) : sum);
            } else {
                uint16_t* c = static_cast<uint16_t*>(args.c) + at;
                store_bf16(c, args.add_to_c ? add(widen_bf16(c), sum) : sum);
            }
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
    const int64_t stride = words_of_depth(args.block_depth);
    const GemmAdapter* adapter = args.adapter_count == 1 ? &args.adapters[0] : nullptr;
    const int64_t extra_words = adapter != nullptr ? words_of_depth(adapter->rank) : 0;
    if (adapter != nullptr)
        pack_scaled(scratch.extra_rows, adapter->s, adapter->rank, static_cast<int>(args.rows), adapter->rank,
                    adapter->scaling);
    alignas(64) float partial[kFewRows * kStrip];
    alignas(64) float sums[kFewRows * kStrip];
    int64_t staged = -1; // the block of A that stands in scratch
    const int64_t step = transposed ? group : kStrip;
    for (int64_t strip = begin; strip < last_column; strip += step) {
        const int64_t width = smaller(step, last_column - strip);
        for (int64_t k = 0; k < args.depth; k += args.block_depth) {
            const int64_t depth = smaller(args.block_depth, args.depth - k);
            if (staged != k) stage_rows(scratch.rows, stride, args, k, depth);
            staged = k;
            const int64_t run = transposed ? depth : kRunRows;
            for (int64_t from = 0; from < depth; from += run) {
                const bool last = from + run >= depth && k + depth == args.depth;
                for (int64_t j = 0; j < width; j += group) {
                    if (last && adapter != nullptr)
                        pack_columns(scratch.extra, adapter->factor, strip + j, group, 0, adapter->rank, extra_words);
                    kernel({args, strip + j, scratch.rows, stride, sums + j, last ? extra_words : 0, scratch.extra_rows,
                            scratch.extra, k == 0, partial + j},
                           k, depth, from);
                }
            }
        }
        store_sums(args, sums, strip, width);
    }
    return last_column;
}

} // namespace ftc::FTC_ISA_NAMESPACE
