#include "ops/linear/few_rows.h"

#include "ops/linear/natural_columns.h"
#include "ops/linear/pack_rows.h"
#include "ops/linear/transposed_columns.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// W in natural order is read in strips of kStrip columns and runs of rows, so that memory hands out few long pieces;
// the sums of a strip stay in the cache meanwhile.
constexpr int64_t kStrip = 4096;
constexpr int kNaturalVecs = 4;

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Rows of W in a run, and how many rows further on its columns are asked into the L2 cache, 0: not at all. In the L1
// cache the next run would push out this one. Measured best: 12 rows of 8, 12, 16 and 32; of NF4, an eighth as long, 48
// of 32 to 192. With AVX2 the L2 cache may be 512 KiB that two threads share: runs of at most 64 KiB (4096 x 4096 up to
// 1.5 times as fast on Zen 3).
struct Runs {
    int64_t rows, ahead;
};
template <class Columns>
Runs runs_of([[maybe_unused]] const ftc_weight& w, [[maybe_unused]] int64_t columns) {
    constexpr int64_t kRows = Columns::kShort ? 48 : 12;
#if defined(FTC_ISA_avx2)
    constexpr int64_t kFewest = 4, kBytes = int64_t{64} << 10;
    if (!Columns::kShort) {
        const bool f32 = w.format == FTC_WEIGHT_F32;
        const int64_t piece = smaller(columns, kStrip) * (f32 ? 4 : 2);
        const int64_t rows = piece * kFewest >= kBytes ? kFewest : smaller(kRows, kBytes / piece);
        return {rows, f32 && !asks_ahead(w) ? 0 : rows};
    }
#endif
    return {kRows, kRows};
}

// A block of A, the adapter's extra depth and where the sums go.
struct Finish {
    const GemmArgs& args;
    int64_t column;
    const float* a; // words of the block's rows, a_stride words apart
    int64_t a_stride;
    float* c; // the group's first column
    int64_t c_stride;
    int64_t extra_words;     // 0 before the last block
    const float* extra_rows; // [extra_words, rows]
    const float* extra;      // micropanels [extra_words, kTileCols]
    bool first;
    float* partial; // natural: the group's sums in the course of a block, rows kStrip apart
    Runs runs;      // natural
};

// Sums of a block: the adapter's depth joins the chain, then bias and the blocks before.
template <int Rows, int Vecs, class V>
[[gnu::always_inline]] inline void finish(V (&sum)[Rows][Vecs], const Finish& f) {
    constexpr int kWidth = lanes_of<V>();
    for (int64_t t = 0; t < f.extra_words; t++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            const int column = v * kWidth;
            const float* panel = f.extra + column / kTileCols * f.extra_words * kTileCols;
            const V x = load<V>(panel + t * kTileCols + column % kTileCols);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; i++)
                sum[i][v] = multiply_words(broadcast<V>(f.extra_rows[t * Rows + i]), x, sum[i][v]);
        }
    }
    const bool with_bias = f.first && f.args.bias != nullptr;
    const bool add_to_c = !f.first || (f.args.add_to_c && f.args.c_dtype == FTC_F32);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++) {
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) {
            float* c = f.c + i * f.c_stride + v * kWidth;
            V x = sum[i][v];
            if (with_bias) x = add(x, load<V>(f.args.bias + f.column + v * kWidth));
            if (add_to_c) x = add(load<V>(c), x);
            store(c, x);
        }
    }
}

// A run of depths from `from` on of the block that begins at `begin` and is `depth` deep.
template <int Rows, class Columns, int Vecs>
void natural_run(const Finish& f, int64_t begin, int64_t depth, int64_t from) {
    const Columns columns(f.args.b.weight, begin, f.column);
    const int64_t to = smaller(from + f.runs.rows, depth);
    Vec sum[Rows][Vecs];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) sum[i][v] = from == 0 ? zero() : load(f.partial + i * kStrip + v * kLanes);
#pragma GCC unroll 1
    for (int64_t k = from; k < to; k += kWordDepths) {
        Vec x[Vecs];
        if (f.runs.ahead > 0) columns.prefetch(k + f.runs.ahead, 0);
        columns.word(x, k, k + 1 < depth);
#pragma GCC unroll 4
        for (int i = 0; i < Rows; i++) {
            const Vec factor = broadcast(f.a[i * f.a_stride + k / kWordDepths]);
#pragma GCC unroll 8
            for (int v = 0; v < Vecs; v++) sum[i][v] = multiply_words(factor, x[v], sum[i][v]);
        }
    }
    if (to == depth) {
        if (shuffles_columns(f.args.b.weight, false)) {
#pragma GCC unroll 4
            for (int i = 0; i < Rows; i++) unshuffle_columns(sum[i]);
        }
        finish<Rows, Vecs>(sum, f);
        return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < Vecs; v++) store(f.partial + i * kStrip + v * kLanes, sum[i][v]);
}

// Each lane is a row of W, transposed in registers.
template <int Rows, class Columns>
void transposed_block(const Finish& f, int64_t begin, int64_t depth, int64_t) {
    using V = typename Columns::Register;
    constexpr int kVecs = static_cast<int>(Columns::kGroup) / lanes_of<V>();
    Columns columns(f.args.b.weight, f.column, begin);
    const float* a = f.a;
    const int64_t stride = f.a_stride;
    V sum[Rows][kVecs];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; v++) sum[i][v] = zero<V>();
    int64_t w = 0;
    for (constexpr int64_t kWords = Columns::kSteps * Columns::kStep; (w + kWords) * kWordDepths <= depth;) {
        columns.prepare(w);
        const auto step = [&](int64_t at, int first) __attribute__((always_inline)) {
            columns.step(
                at, first, [&](int beside, int64_t d, V x) __attribute__((always_inline)) {
                    const int v = first + beside;
#pragma GCC unroll 4
                    for (int i = 0; i < Rows; i++)
                        sum[i][v] = multiply_words(broadcast<V>(a[i * stride + at + d]), x, sum[i][v]);
                });
        };
#if defined(FTC_ISA_avx512)
#pragma GCC unroll 2
        for (int64_t at = 0; at < kWords; at += Columns::kStep)
#pragma GCC unroll 4
            for (int v = 0; v < kVecs; v += Columns::kTogether) step(w + at, v);
#else
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; v += Columns::kTogether)
#pragma GCC unroll 2
            for (int64_t at = 0; at < kWords; at += Columns::kStep) step(w + at, v);
#endif
        w += kWords;
    }
    for (; w * kWordDepths < depth; w++) { // of a block that is no multiple of a step
        float lanes[Columns::kGroup];
        for (int i = 0; i < Columns::kGroup; i++)
            weight_words(lanes + i, f.args.b.weight, f.column + i, begin + w * kWordDepths,
                         smaller(kWordDepths, depth - w * kWordDepths));
        for (int i = 0; i < Rows; i++)
            for (int v = 0; v < kVecs; v++)
                sum[i][v] =
                    multiply_words(broadcast<V>(a[i * stride + w]), load<V>(lanes + v * lanes_of<V>()), sum[i][v]);
    }
    finish<Rows, kVecs>(sum, f);
}

// ---- Choice ---------------------------------------------------------------------------------------------------------

// A run of a block of depth where columns are natural, a whole block where they are transposed.
struct Kernel {
    void (*run)(const Finish&, int64_t begin, int64_t depth, int64_t from);
    int64_t group;  // columns; 0: the packed product has to do it
    Runs runs = {}; // 0 rows: all of the block
};

// The last columns of a range may be fewer than a group, down to kTileCols.
template <template <int, int> class Reader>
Kernel natural_kernel(const GemmArgs& args, int64_t columns) {
    using Columns = Reader<kNaturalVecs, 2>;
    using Fewer = Reader<kTileVecs, 2>;
    const Runs runs = runs_of<Columns>(args.b.weight, columns);
    // One row of A leaves registers for twice the columns, so that longer pieces of W are read; where rows lie pages
    // apart these would fall into the same sets of the L1 cache.
    if constexpr (kLanes == 8 && !Columns::kShort) {
        constexpr int kWide = 2 * kNaturalVecs;
        if (args.rows == 1 && columns >= kWide * kLanes && args.b.weight.row_stride % 1024 != 0)
            return {natural_run<1, Reader<kWide, 2>, kWide>, kWide * kLanes, runs};
    }
    constexpr decltype(Kernel::run) kRuns[kFewRows] = {
        natural_run<1, Columns, kNaturalVecs>, natural_run<2, Columns, kNaturalVecs>,
        natural_run<3, Columns, kNaturalVecs>, natural_run<4, Columns, kNaturalVecs>};
    constexpr decltype(Kernel::run) kRunsOfFewer[kFewRows] = {
        natural_run<1, Fewer, kTileVecs>, natural_run<2, Fewer, kTileVecs>, natural_run<3, Fewer, kTileVecs>,
        natural_run<4, Fewer, kTileVecs>};
    if (columns < kNaturalVecs * kLanes) return {kRunsOfFewer[args.rows - 1], kTileCols, runs};
    return {kRuns[args.rows - 1], kNaturalVecs * kLanes, runs};
}

template <class Columns>
Kernel transposed_kernel(int64_t rows) {
    constexpr decltype(Kernel::run) kRuns[kFewRows] = {transposed_block<1, Columns>, transposed_block<2, Columns>,
                                                       transposed_block<3, Columns>, transposed_block<4, Columns>};
    return {kRuns[rows - 1], Columns::kGroup};
}

// One row has as many chains of multiply-adds as there are registers of columns; two would wait for one another, and
// with four (32 rows of W) the L2 cache answers at half its rate: three are 1.2 times as fast as either (measured on
// Zen 5; 0.95 to 1.1 times while somebody else uses the other half of the core). Four rows have enough of them with one
// register, which is faster than two that fill the ways of their sets to the last.
template <template <int64_t> class Columns>
Kernel streams_kernel(const ftc_weight& w, int64_t element_bytes, int64_t rows, int64_t columns) {
    constexpr int64_t kWidth = lanes_of<NarrowVec>(), kOfOneRow = kLanes >= 8 ? 3 : 2;
    const int64_t row_bytes = w.row_stride * element_bytes;
    const int64_t most = rows == 1 ? kOfOneRow : rows == 4 && stream_registers(row_bytes, 3) <= 2 ? 1 : 2;
    const int64_t registers = stream_registers(row_bytes, smaller(most, columns / kWidth));
    if constexpr (kOfOneRow == 3)
        if (registers == 3) return {transposed_block<1, Columns<3 * kWidth>>, 3 * kWidth};
    return registers >= 2 ? transposed_kernel<Columns<2 * kWidth>>(rows) : transposed_kernel<Columns<kWidth>>(rows);
}

// For the first of `columns` columns that are left.
Kernel choose(const GemmArgs& args, int64_t columns) {
    const ftc_weight& w = args.b.weight;
    const bool transposed = args.b.transposed;
    if (args.rows > kFewRows || !is_plain_product(args)) return {nullptr, 0};
    switch (w.format) {
    case FTC_WEIGHT_F32:
        return transposed ? streams_kernel<TransposedF32>(w, 4, args.rows, columns)
                          : natural_kernel<NaturalF32>(args, columns);
    case FTC_WEIGHT_BF16:
        return transposed ? streams_kernel<TransposedBf16>(w, 2, args.rows, columns)
                          : natural_kernel<NaturalBf16>(args, columns);
    case FTC_WEIGHT_NF4:
#if FTC_NF4_VECTORS
        if (nf4_rows_aligned(w)) {
            if (!transposed) return natural_kernel<NaturalNf4>(args, columns);
            constexpr int64_t kGroup = 4 * kLanes;
            if (args.rows == 1 && columns >= kGroup) {
                if (rows_side_by_side(w.cols / 2) < kGroup)
                    return {transposed_block<1, TransposedNf4<kGroup, 4, true>>, kGroup};
                return {transposed_block<1, TransposedNf4<kGroup, 4>>, kGroup};
            }
            if (args.rows <= 2) return transposed_kernel<TransposedNf4<kTileCols, 2>>(args.rows);
            return transposed_kernel<TransposedNf4<kTileCols, kLanes == 8 ? 2 : 1>>(args.rows); // measured
        }
#endif
        [[fallthrough]];
    default:
        return transposed ? transposed_kernel<TransposedDecoded>(args.rows)
                          : natural_kernel<NaturalDecoded>(args, columns);
    }
}

// Depths [k, k + depth) of the rows of A as words, `stride` words apart in scratch unless they lie in A as words.
void stage_rows(Finish& f, float* scratch, int64_t stride, int64_t k, int64_t depth) {
    constexpr int32_t kWordType = kWordDepths == 1 ? FTC_F32 : FTC_BF16;
    const GemmArgs& args = f.args;
    if (args.a_dtype == kWordType && depth % kWordDepths == 0 && args.a_stride % kWordDepths == 0) {
        f.a = static_cast<const float*>(args.a) + k / kWordDepths;
        f.a_stride = args.a_stride / kWordDepths;
        return;
    }
    f.a = scratch;
    f.a_stride = stride;
    for (int64_t i = 0; i < args.rows; i++) {
        const int64_t from = i * args.a_stride + k;
        if (args.a_dtype == FTC_F32)
            stage_words(scratch + i * stride, static_cast<const float*>(args.a) + from, depth);
        else
            stage_words(scratch + i * stride, static_cast<const uint16_t*>(args.a) + from, depth);
    }
}

// Rows of a bf16 C from their sums, which it may have to be added to.
void round_columns(const GemmArgs& args, const float* sums, int64_t column, int64_t cols) {
    for (int64_t i = 0; i < args.rows; i++) {
        uint16_t* c = static_cast<uint16_t*>(args.c) + i * args.c_stride + column;
        for (int64_t j = 0; j < cols; j += lanes_of<NarrowVec>()) {
            const NarrowVec sum = load<NarrowVec>(sums + i * kStrip + j);
            store_bf16(c + j, args.add_to_c ? add(widen_bf16<NarrowVec>(c + j), sum) : sum);
        }
    }
}

// Columns [begin, end) of C as far as whole groups go; returns the first that is left.
int64_t run_groups(const GemmArgs& args, const FewRowsScratch& scratch, const Kernel& kernel, int64_t begin,
                   int64_t end) {
    const bool transposed = args.b.transposed;
    const int64_t group = kernel.group;
    const int64_t last_column = begin + (end - begin) / group * group;
    const int64_t stride = words_of_depth(args.block_depth);
    const GemmAdapter* adapter = args.adapter_count == 1 ? &args.adapters[0] : nullptr;
    const int64_t extra_words = adapter != nullptr ? words_of_depth(adapter->rank) : 0;
    if (adapter != nullptr)
        pack_scaled(scratch.extra_rows, args.rows, adapter->s, adapter->rank, static_cast<int>(args.rows),
                    adapter->rank, adapter->scaling);
    alignas(64) float partial[kFewRows * kStrip];
    alignas(64) float sums[kFewRows * kStrip]; // of a bf16 C
    const bool rounds = args.c_dtype == FTC_BF16;
    int64_t staged = -1; // the block of A that stands in scratch
    Finish f{args,          0,     nullptr, 0,          nullptr, rounds ? kStrip : args.c_stride, 0, scratch.extra_rows,
             scratch.extra, false, nullptr, kernel.runs};
    const int64_t step = transposed ? group : kStrip;
    for (int64_t strip = begin; strip < last_column; strip += step) {
        const int64_t width = smaller(step, last_column - strip);
        for (int64_t k = 0; k < args.depth; k += args.block_depth) {
            const int64_t depth = smaller(args.block_depth, args.depth - k);
            if (staged != k) stage_rows(f, scratch.rows, stride, k, depth);
            staged = k;
            f.first = k == 0;
            const int64_t run = kernel.runs.rows > 0 ? kernel.runs.rows : depth;
            for (int64_t from = 0; from < depth; from += run) {
                const bool last = from + run >= depth && k + depth == args.depth;
                for (int64_t j = 0; j < width; j += group) {
                    f.column = strip + j;
                    f.partial = partial + j;
                    f.c = rounds ? sums + j : static_cast<float*>(args.c) + f.column;
                    f.extra_words = last ? extra_words : 0;
                    if (f.extra_words > 0)
                        pack_columns(scratch.extra, adapter->factor, f.column, group, 0, adapter->rank, extra_words);
                    kernel.run(f, k, depth, from);
                }
            }
        }
        if (rounds) round_columns(args, sums, strip, width);
    }
    return last_column;
}

// Groups of NF4 lie in one of its blocks each: columns before the first whole group of a range are done by themselves.
int64_t first_stop(const GemmArgs& args, int64_t begin, int64_t end) {
    constexpr int64_t kGroup = kNaturalVecs * kLanes;
    const bool natural_nf4 = args.b.weight.format == FTC_WEIGHT_NF4 && !args.b.transposed;
    return natural_nf4 && begin % kGroup != 0 ? smaller(end, begin / kGroup * kGroup + kGroup) : end;
}

} // namespace

int64_t gemm_few_rows(const GemmArgs& args, const FewRowsScratch& scratch, int64_t begin, int64_t end) {
    while (begin < end) {
        const int64_t stop = first_stop(args, begin, end);
        const Kernel kernel = choose(args, stop - begin);
        if (kernel.run == nullptr || kernel.group > stop - begin) break;
        begin = run_groups(args, scratch, kernel, begin, stop);
    }
    return begin;
}

} // namespace ftc::FTC_ISA_NAMESPACE
