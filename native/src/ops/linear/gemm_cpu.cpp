#include "ops/linear/gemm.h"

#include "core/pool.h"
#include "ops/linear/broadcast_rows.h"
#include "ops/linear/decoded_rows.h"
#include "ops/linear/dropout_simd.h"
#include "ops/linear/pack_beside.h"
#include "ops/linear/pool_features.h"
#include "ops/linear/slab_rows.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Columns packed at a time: 576 x 1024 words stream from L2 at the speed the tiles need (measured on 1 MB of L2).
constexpr int64_t kMaxColumns = 1024;

// Rows whose sums over several blocks of depth are kept in fp32 where C is bf16.
constexpr int64_t kMaxSumRows = 1024;

// Workspace of one thread.
struct Scratch {
    int64_t width;  // columns packed at a time
    float* columns; // packed block of B
    float* extra;   // packed factors of the adapters where they do not follow the columns; directly behind them
    float* rows;    // packed tile of A
    float* extra_rows;
    float* stage; // rows of A after pooling and dropout
    float* sums;  // of a bf16 C, a block of columns wide
    float* end;

    Scratch(float* base, int64_t cols, int64_t block, int64_t rank, int64_t rounded_rows) {
        width = smaller(round_up(cols, kTileCols), kMaxColumns + kTileCols);
        const int64_t words = words_of_depth(block);
        columns = base;
        extra = columns + width * words;
        rows = extra + width * rank; // a word of an adapter holds one rank at least
        extra_rows = rows + round_up(kTileRows * words + kPackSlack, 16);
        stage = extra_rows + round_up(kTileRows * rank + kPackSlack, 16);
        sums = stage + kTileRows * block;
        end = sums + smaller(rounded_rows, kMaxSumRows) * width;
    }
};

// A part of C that one thread computes.
struct Range {
    int64_t row_begin, row_end, col_begin, col_end;
};

struct Grid {
    int64_t row_parts, col_parts;
};

// Packing a column of B, or a row of A, costs about as much as 25 rows, or columns, of arithmetic on it (measured: 4-5
// Gelem/s against 225 GFLOP/s). Parts of rows pack all of B each, parts of columns all of A. A product of less than
// about two microseconds is not worth waking a thread for.
Grid choose_grid(int64_t rows, int64_t cols, int64_t depth, int64_t threads) {
    constexpr int64_t kPack = 25;
    constexpr int64_t kSmallProduct = int64_t{1} << 17;
    if (rows * cols * depth < kSmallProduct) return {1, 1};
    const int64_t units = divide_up(cols, kTileCols);
    Grid best{1, 1};
    int64_t best_cost = INT64_MAX;
    const int64_t max_row_parts = rows <= kFewRows ? 1 : smaller(threads, rows); // gemm_few_rows takes all rows at once
    for (int64_t row_parts = 1; row_parts <= max_row_parts; row_parts++) {
        const int64_t col_parts = smaller(threads / row_parts, units);
        const int64_t part_rows = divide_up(rows, row_parts), part_cols = divide_up(units, col_parts) * kTileCols;
        const int64_t cost = part_rows * part_cols + kPack * (part_rows + part_cols);
        if (cost < best_cost) {
            best_cost = cost;
            best = {row_parts, col_parts};
        }
    }
    return best;
}

// A block with its columns packed, or read in place.
struct PackedBlock : Block {
    int64_t in_place = 0;     // columns, from the first on, that are read where they are
    float* columns = nullptr; // micropanels of the others, panel_words rows each
    int64_t panel_words = 0;
    float* factors = nullptr; // last block: micropanels of the adapters' factors, factor_words rows apart
    int64_t factor_words = 0;

    int64_t packing_row = -1; // the tile of rows that packs every micropanel but the first along with its multiply-adds

    const float* factor_panel(int64_t j, int64_t word_offset) const {
        return factors + (j / kTileCols * factor_words + word_offset) * kTileCols;
    }
};

// Rows whose columns lie side by side need no packing when few tiles of rows would read the copy. Measured to pay up to
// five tiles where a row of a tile is two lines, and two where it is one or where rows lie whole pages apart and share
// a set of the L1 cache. Of bf16, whose rows are paired in registers again and again, it pays for two tiles and rows
// that are shorter than a page. fp32 that has to come from memory is better packed beside the multiply-adds.
constexpr int64_t kInPlaceElements = int64_t{1} << 20;

bool reads_in_place(const GemmArgs& args) {
    constexpr int32_t kFormat = kWordDepths == 1 ? FTC_WEIGHT_F32 : FTC_WEIGHT_BF16;
    const ColumnSource& b = args.b;
    if (b.transposed || b.weight.format != kFormat || !b.is_plain()) return false;
    if (kWordDepths == 2) return args.rows <= 2 * kTileRows && b.weight.row_stride < 2048;
    if (b.weight.rows * b.weight.cols > kInPlaceElements) return false;
    const bool cheap = kLanes >= 16 && b.weight.row_stride % 1024 != 0;
    return args.rows <= (cheap ? 5 : 2) * kTileRows;
}

// A tile of rows of a bf16 C from its sums.
void round_rows(const PackedBlock& block, int64_t row, int rows) {
    for (int64_t i = row; i < row + rows; i++) {
        float* sum = block.sums.at(i, block.column);
        uint16_t* rounded = block.rounded_at(i, block.column);
        if (block.args.add_to_c)
            for (int64_t j = 0; j < block.cols; j++) sum[j] = value_of(rounded[j]) + sum[j];
        round_row(rounded, sum, block.cols);
    }
}

// c += dropout(scaling s factor) for one tile of rows, for an adapter whose path drops features. Four tiles at a time
// fill a register of counters.
void add_dropped_adapter(const PackedBlock& block, const Scratch& scratch, const GemmAdapter& adapter,
                         int64_t word_offset, int64_t row, int rows) {
    static_assert(4 * kTileCols == kDropoutFeatures);
    float part[kTileRows * kDropoutFeatures];
    Tile tile{};
    tile.a = scratch.rows;
    tile.b = block.columns;
    tile.extra_words = words_of_depth(adapter.rank);
    tile.extra_a = scratch.extra_rows;
    tile.c_stride = kDropoutFeatures;
    for (int64_t j = 0; j < block.cols; j += kDropoutFeatures) {
        const int64_t width = smaller(kDropoutFeatures, block.cols - j);
        for (int64_t t = 0; t < width; t += kTileCols) {
            tile.c = part + t;
            tile.extra_b = block.factor_panel(j + t, word_offset);
            kTiles[rows - 1][width - t > kLanes ? 1 : 0](tile);
        }
        const int64_t column = block.column + j;
        for (int64_t i = 0; i < rows; i++) {
            float* c = block.sums.at(row + i, column);
            const float* added = part + i * kDropoutFeatures;
            if (adapter.factor.repeat > 1)
                add_dropped_groups(c, added, width, *adapter.dropout, row + i, column, adapter.factor.repeat);
            else
                apply_dropout<true>(c, added, width, *adapter.dropout, row + i, column);
        }
    }
}

// The adapter of `row` and the first row after it that has another one.
const GemmAdapter* adapter_at(const GemmArgs& args, int64_t row, int64_t row_end, int64_t* next) {
    *next = row_end;
    for (int32_t i = 0; i < args.adapter_count; i++) {
        const GemmAdapter& adapter = args.adapters[i];
        if (row >= adapter.row_begin && row < adapter.row_end) {
            *next = smaller(row_end, adapter.row_end);
            return &adapter;
        }
        if (adapter.row_begin > row) *next = smaller(*next, adapter.row_begin);
    }
    return nullptr;
}

template <class T>
void pack_tile_rows(const PackedBlock& block, const Scratch& scratch, const T* data, int64_t row, int rows) {
    const GemmArgs& args = block.args;
    if (args.a_depth_major) {
        pack_depth_major(scratch.rows, data + block.begin * args.a_stride + row, args.a_stride, rows, block.depth,
                         args.a_scale);
        return;
    }
    const int64_t pool = args.a_pool > 1 ? args.a_pool : 1;
    const T* a = data + row * args.a_stride + block.begin * pool;
    if (args.a_dropout == nullptr && pool == 1) {
        pack_row_major(scratch.rows, rows, a, args.a_stride, rows, block.depth);
        return;
    }
    for (int i = 0; i < rows; i++) {
        float* staged = scratch.stage + i * block.depth;
        const T* x = a + i * args.a_stride;
        if (pool > 1) pool_features(staged, x, block.depth, args.a_pool);
        if (args.a_dropout == nullptr) continue;
        if (pool > 1)
            apply_dropout<false>(staged, staged, block.depth, *args.a_dropout, row + i, block.begin);
        else
            apply_dropout<false>(staged, x, block.depth, *args.a_dropout, row + i, block.begin);
    }
    pack_row_major(scratch.rows, rows, scratch.stage, block.depth, rows, block.depth);
}

// One tile of rows against the columns of the block.
void sweep_columns(const PackedBlock& block, const Scratch& scratch, const GemmAdapter* adapter, int64_t word_offset,
                   int64_t row, int rows) {
    const GemmArgs& args = block.args;
    const ftc_weight& b = args.b.weight;
    if (args.a_dtype == FTC_F32)
        pack_tile_rows(block, scratch, static_cast<const float*>(args.a), row, rows);
    else
        pack_tile_rows(block, scratch, static_cast<const uint16_t*>(args.a), row, rows);
    const bool rides = adapter != nullptr && block.last;
    if (rides)
        pack_scaled(scratch.extra_rows, rows, adapter->s + (row - adapter->row_begin) * adapter->rank, adapter->rank,
                    rows, adapter->rank, adapter->scaling);
    Tile tile{};
    tile.a = scratch.rows;
    tile.extra_a = scratch.extra_rows;
    tile.extra_b = block.columns;
    tile.depth = block.depth;
    tile.shuffled = shuffles_columns(b, args.b.transposed);
    const bool chained = rides && adapter->dropout == nullptr;
    const bool finish = block.rounds() && block.last && (!rides || chained);
    for (int64_t j = 0; j < block.cols; j += kTileCols) {
        const bool in_place = j < block.in_place;
        tile.words = words_of_depth(block.depth);
        tile.b_rows = nullptr;
        if (!in_place) {
            tile.b = block.columns + (j - block.in_place) * block.panel_words;
            tile.b_stride = kTileCols;
        } else if (kWordDepths == 1) {
            tile.b = static_cast<const float*>(b.data) + block.begin * b.row_stride + block.column + j;
            tile.b_stride = b.row_stride;
        } else {
            tile.words = 0;
            tile.b_rows = static_cast<const uint16_t*>(b.data) + block.begin * b.row_stride + block.column + j;
            tile.b_stride = b.row_stride;
        }
        if (chained) {
            tile.extra_words = words_of_depth(adapter->rank);
            tile.extra_b = block.factor_panel(j, word_offset);
        }
        const int64_t after = j + kTileCols;
        const NextPanel next{b, block.begin, block.depth, block.column + after,
                             block.columns + after * block.panel_words};
        const bool packs = row == block.packing_row && after + kTileCols <= block.cols;
        const int64_t cols = smaller(kTileCols, block.cols - j);
        run_and_store(block, tile, row, block.column + j, rows, cols, finish, [&](const Tile& t) {
            if (packs)
                choose_tile_packing(args.b, rows)(t, next);
            else
                kTiles[rows - 1][cols > kLanes ? 1 : 0](t);
        });
    }
    if (!rides || chained) return;
    add_dropped_adapter(block, scratch, *adapter, word_offset, row, rows);
    if (block.rounds()) round_rows(block, row, rows);
}

// All rows of the range against the columns of the block, in tiles of even height that do not cross adapters.
void sweep_rows(const PackedBlock& block, const Scratch& scratch, const Range& range) {
    const GemmArgs& args = block.args;
    int64_t next = 0;
    for (int64_t row = range.row_begin; row < range.row_end; row = next) {
        const GemmAdapter* adapter = adapter_at(args, row, range.row_end, &next);
        int64_t word_offset = 0;
        for (const GemmAdapter* before = args.adapters; adapter != nullptr && before != adapter; before++)
            word_offset += words_of_depth(before->rank);
        const int64_t packing = row == block.packing_row ? smaller(kBesideRows, next - row) : 0; // rows of that tile
        int64_t tiles = divide_up(next - row - packing, kTileRows) + (packing > 0 ? 1 : 0);
        for (int64_t r = row; r < next; tiles--) {
            const int rows = static_cast<int>(r == row && packing > 0 ? packing : divide_up(next - r, tiles));
            sweep_columns(block, scratch, adapter, word_offset, r, rows);
            r += rows;
        }
    }
}

// Packs what the block reads, or lets the tiles of first_row do so. The factors of adapters follow the last block's
// depth in the same micropanels, so that tiles read one stream.
PackedBlock pack_block(const Block& of, const Scratch& scratch, int64_t first_row) {
    PackedBlock block{of};
    const GemmArgs& args = block.args;
    const int64_t column = block.column, cols = block.cols, begin = block.begin;
    block.columns = scratch.columns;
    block.in_place = reads_in_place(args) ? cols / kTileCols * kTileCols : 0;
    int64_t factor_words = 0;
    for (int32_t i = 0; i < args.adapter_count; i++) factor_words += words_of_depth(args.adapters[i].rank);
    const int64_t words = words_of_depth(block.depth);
    const bool follow = block.last && block.in_place == 0;
    block.panel_words = words + (follow ? factor_words : 0);
    int64_t packed = block.in_place;
    if (block.in_place == 0 && cols >= 2 * kTileCols && choose_tile_packing(args.b, 1) != nullptr) {
        block.packing_row = first_row;
        pack_columns(block.columns, args.b, column, kTileCols, begin, block.depth, block.panel_words);
        packed = cols / kTileCols * kTileCols;
    }
    if (packed < cols)
        pack_columns(block.columns + (packed - block.in_place) * block.panel_words, args.b, column + packed,
                     cols - packed, begin, block.depth, block.panel_words);
    if (!block.last || args.adapter_count == 0) return block;
    block.factors = follow ? block.columns + words * kTileCols : scratch.extra;
    block.factor_words = follow ? block.panel_words : factor_words;
    float* factors = block.factors;
    for (int32_t i = 0; i < args.adapter_count; i++) {
        const GemmAdapter& adapter = args.adapters[i];
        pack_columns(factors, adapter.factor, column, cols, 0, adapter.rank, block.factor_words);
        factors += words_of_depth(adapter.rank) * kTileCols;
    }
    return block;
}

// The sums of a bf16 C stay in registers when there is one block of depth and nothing is added behind it.
bool sums_wait(const GemmArgs& args) {
    if (args.depth > args.block_depth) return true;
    for (int32_t i = 0; i < args.adapter_count; i++)
        if (args.adapters[i].dropout != nullptr) return true;
    return false;
}

// Columns [column, column + cols) of rows of the range, block of depth after block.
void sweep_blocks(const GemmArgs& args, const Scratch& scratch, const Range& range, int64_t column, int64_t cols,
                  const Sums& sums) {
    const bool broadcasts = broadcasts_rows(args, range.row_end - range.row_begin, scratch.width),
               decodes = decodes_rows(args, scratch.width), slabs = takes_slabs(args, scratch.width);
    for (int64_t begin = 0; begin < args.depth; begin += args.block_depth) {
        const int64_t depth = smaller(args.block_depth, args.depth - begin);
        const Block block{args, sums, column, cols, begin, depth, begin == 0, begin + depth == args.depth};
        if (broadcasts)
            broadcast_block(block, {scratch.columns, scratch.rows, scratch.extra}, range.row_begin, range.row_end);
        else if (slabs)
            slab_block(block, {scratch.columns, scratch.extra}, range.row_begin, range.row_end);
        else if (decodes)
            decoded_block(block, {scratch.columns, scratch.extra}, range.row_begin, range.row_end);
        else
            sweep_rows(pack_block(block, scratch, range.row_begin), scratch, range);
    }
}

void compute_range(const GemmArgs& args, const Scratch& scratch, Range range) {
    range.col_begin =
        gemm_few_rows(args, {scratch.extra, scratch.extra_rows, scratch.rows}, range.col_begin, range.col_end);
    if (range.col_begin == range.col_end) return;
    const int64_t width = range.col_end - range.col_begin;
    const int64_t step = round_up(divide_up(width, divide_up(width, kMaxColumns)), kTileCols);
    const bool waits = args.c_dtype == FTC_BF16 && sums_wait(args);
    const int64_t chunk = waits ? kMaxSumRows : range.row_end - range.row_begin;
    for (int64_t column = range.col_begin; column < range.col_end; column += step) {
        const int64_t cols = smaller(step, range.col_end - column);
        for (int64_t row = range.row_begin; row < range.row_end; row += chunk) {
            const Range rows{row, smaller(row + chunk, range.row_end), column, column + cols};
            Sums sums{nullptr, 0, 0, 0};
            if (args.c_dtype == FTC_F32)
                sums = {static_cast<float*>(args.c), args.c_stride, 0, 0};
            else if (waits)
                sums = {scratch.sums, step, row, column};
            sweep_blocks(args, scratch, rows, column, cols, sums);
        }
    }
}

} // namespace

int64_t gemm_workspace_floats(int32_t threads, int64_t cols, int64_t depth_of_block, int64_t total_rank,
                              int64_t rounded_rows) {
    float* const base = nullptr;
    const Scratch scratch(base, cols, depth_of_block, total_rank, rounded_rows);
    return threads * round_up(scratch.end - base, 16);
}

void gemm(Pool& pool, const GemmArgs& args, float* workspace) {
    if (args.rows == 0 || args.cols == 0) return;
    const Grid grid = choose_grid(args.rows, args.cols, args.depth, pool.threads());
    const int64_t units = divide_up(args.cols, kTileCols);
    const int64_t rounded_rows = args.c_dtype == FTC_BF16 ? args.rows : 0;
    const int64_t per_thread = gemm_workspace_floats(1, args.cols, args.block_depth, args.total_rank, rounded_rows);
    parallel_for(pool, grid.row_parts * grid.col_parts, [&](int64_t part, int32_t thread) {
        const int64_t i = part / grid.col_parts;
        const int64_t j = part % grid.col_parts;
        const Range range{args.rows * i / grid.row_parts, args.rows * (i + 1) / grid.row_parts,
                          units * j / grid.col_parts * kTileCols,
                          smaller(args.cols, units * (j + 1) / grid.col_parts * kTileCols)};
        const Scratch scratch(workspace + thread * per_thread, args.cols, args.block_depth, args.total_rank,
                              rounded_rows);
        compute_range(args, scratch, range);
    });
}

} // namespace ftc::FTC_ISA_NAMESPACE
