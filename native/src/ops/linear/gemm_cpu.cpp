#include "ops/linear/gemm.h"

#include "core/pool.h"
#include "ops/linear/dropout_simd.h"
#include "ops/linear/few_rows.h"
#include "ops/linear/pack_rows.h"
#include "ops/linear/pool_features.h"
#include "ops/linear/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Columns packed at a time: 576 x 1024 floats stream from L2 at the speed the tiles need (measured on 1 MB of L2).
constexpr int64_t kMaxColumns = 1024;

int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
int64_t round_up(int64_t a, int64_t b) {
    return divide_up(a, b) * b;
}

// Workspace of one thread.
struct Scratch {
    float* columns; // packed block of B
    float* extra;   // packed factors of the adapters where they do not follow the columns; directly behind them
    float* rows;    // packed tile of A
    float* extra_rows;
    float* stage; // rows of A after pooling and dropout

    Scratch(float* base, int64_t cols, int64_t block, int64_t rank) {
        const int64_t width = smaller(round_up(cols, kTileCols), kMaxColumns + kTileCols);
        columns = base;
        extra = columns + width * block;
        rows = extra + width * rank;
        extra_rows = rows + round_up(kTileRows * block + kPackSlack, 16);
        stage = extra_rows + round_up(kTileRows * rank + kPackSlack, 16);
        end = stage + kTileRows * block;
    }
    float* end;
};

// A part of C that one thread computes.
struct Range {
    int64_t row_begin, row_end, col_begin, col_end;
};

struct Grid {
    int64_t row_parts, col_parts;
};

// Packing a column costs about as much as 25 rows of arithmetic on it (measured: 4-5 Gelem/s against 225 GFLOP/s).
// A product of less than about two microseconds is not worth waking a thread for.
Grid choose_grid(int64_t rows, int64_t cols, int64_t depth, int64_t threads) {
    constexpr int64_t kPackRows = 25;
    constexpr int64_t kSmallProduct = int64_t{1} << 17;
    if (rows * cols * depth < kSmallProduct) return {1, 1};
    const int64_t units = divide_up(cols, kTileCols);
    Grid best{1, 1};
    int64_t best_cost = INT64_MAX;
    const int64_t max_row_parts = rows <= kFewRows ? 1 : smaller(threads, rows); // gemm_few_rows takes all rows at once
    for (int64_t row_parts = 1; row_parts <= max_row_parts; row_parts++) {
        const int64_t col_parts = smaller(threads / row_parts, units);
        const int64_t cost = (divide_up(rows, row_parts) + kPackRows) * divide_up(units, col_parts);
        if (cost < best_cost) {
            best_cost = cost;
            best = {row_parts, col_parts};
        }
    }
    return best;
}

// Columns [column, column + cols) in one block of depth, packed or read in place.
struct Block {
    const GemmArgs& args;
    int64_t column, cols;
    int64_t begin, depth;
    bool first, last;
    int64_t in_place; // columns, from the first on, that are read where they are
    float* columns;   // micropanels of the others, panel_depth rows each
    int64_t panel_depth;
    float* factors; // last block: micropanels of the adapters' factors, factor_depth rows apart
    int64_t factor_depth;

    const float* factor_panel(int64_t j, int64_t rank_offset) const {
        return factors + (j / kTileCols * factor_depth + rank_offset) * kTileCols;
    }
};

// Rows of fp32 whose columns lie side by side need no packing when few tiles of rows would read the copy. Measured to
// pay up to five tiles where a row of a tile is two lines, and two where it is one or where rows lie whole pages apart
// and share a set of the L1 cache.
bool reads_in_place(const GemmArgs& args) {
    const ColumnSource& b = args.b;
    if (b.transposed || b.weight.format != FTC_WEIGHT_F32 || !b.is_plain()) return false;
    const bool cheap = kLanes >= 16 && b.weight.row_stride % 1024 != 0;
    return args.rows <= (cheap ? 5 : 2) * kTileRows;
}

// Stores a tile that the kernel may not write in place: fewer columns than a vector, or C transposed.
void store_edge(const GemmArgs& args, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t cols,
                bool add) {
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            float* c = args.c_transposed ? args.c + (column + j) * args.c_stride + row + i
                                         : args.c + (row + i) * args.c_stride + column + j;
            *c = add ? *c + tile[i * kTileCols + j] : tile[i * kTileCols + j];
        }
    }
}

void run_one_tile(const Block& block, Tile& tile, int64_t row, int64_t column, int rows, int64_t cols) {
    const GemmArgs& args = block.args;
    const RunTile run = kTiles[rows - 1][cols > kLanes ? 1 : 0];
    const bool add = args.add_to_c || !block.first;
    const float* bias = block.first ? args.bias : nullptr;
    if (!args.c_transposed && (cols == kTileCols || cols == kLanes)) {
        tile.c = args.c + row * args.c_stride + column;
        tile.c_stride = args.c_stride;
        tile.bias = bias != nullptr ? bias + column : nullptr;
        tile.add_to_c = add;
        run(tile);
        return;
    }
    float edge[kTileRows * kTileCols];
    float edge_bias[kTileCols] = {};
    if (bias != nullptr)
        for (int64_t j = 0; j < cols; j++) edge_bias[j] = bias[column + j];
    tile.c = edge;
    tile.c_stride = kTileCols;
    tile.bias = bias != nullptr ? edge_bias : nullptr;
    tile.add_to_c = false;
    run(tile);
    store_edge(args, edge, row, column, rows, cols, add || args.c_transposed);
}

// c += dropout(scaling s factor) for one tile of rows, for an adapter whose path drops features. Four tiles at a time
// fill a register of counters.
void add_dropped_adapter(const Block& block, const Scratch& scratch, const GemmAdapter& adapter, int64_t rank_offset,
                         int64_t row, int rows) {
    static_assert(4 * kTileCols == kDropoutFeatures);
    const GemmArgs& args = block.args;
    float part[kTileRows * kDropoutFeatures];
    Tile tile{};
    tile.a = scratch.rows;
    tile.b = block.columns;
    tile.extra_depth = adapter.rank;
    tile.extra_a = scratch.extra_rows;
    tile.c_stride = kDropoutFeatures;
    for (int64_t j = 0; j < block.cols; j += kDropoutFeatures) {
        const int64_t width = smaller(kDropoutFeatures, block.cols - j);
        for (int64_t t = 0; t < width; t += kTileCols) {
            tile.c = part + t;
            tile.extra_b = block.factor_panel(j + t, rank_offset);
            kTiles[rows - 1][width - t > kLanes ? 1 : 0](tile);
        }
        const int64_t column = block.column + j;
        for (int64_t i = 0; i < rows; i++) {
            float* c = args.c + (row + i) * args.c_stride + column;
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

void pack_tile_rows(const Block& block, const Scratch& scratch, int64_t row, int rows) {
    const GemmArgs& args = block.args;
    if (args.a_depth_major) {
        pack_depth_major(scratch.rows, args.a + block.begin * args.a_stride + row, args.a_stride, rows, block.depth,
                         args.a_scale);
        return;
    }
    const int64_t pool = args.a_pool > 1 ? args.a_pool : 1;
    const float* a = args.a + row * args.a_stride + block.begin * pool;
    if (args.a_dropout == nullptr && pool == 1) {
        pack_row_major(scratch.rows, a, args.a_stride, rows, block.depth);
        return;
    }
    for (int i = 0; i < rows; i++) {
        float* staged = scratch.stage + i * block.depth;
        const float* x = a + i * args.a_stride;
        if (pool > 1) {
            pool_features(staged, x, block.depth, args.a_pool);
            x = staged;
        }
        if (args.a_dropout != nullptr) apply_dropout<false>(staged, x, block.depth, *args.a_dropout, row + i, block.begin);
    }
    pack_row_major(scratch.rows, scratch.stage, block.depth, rows, block.depth);
}

// One tile of rows against the columns of the block.
void sweep_columns(const Block& block, const Scratch& scratch, const GemmAdapter* adapter, int64_t rank_offset,
                   int64_t row, int rows) {
    const ftc_weight& b = block.args.b.weight;
    pack_tile_rows(block, scratch, row, rows);
    const bool rides = adapter != nullptr && block.last;
    if (rides)
        pack_scaled(scratch.extra_rows, adapter->s + (row - adapter->row_begin) * adapter->rank, adapter->rank, rows,
                    adapter->rank, adapter->scaling);
    Tile tile{};
    tile.a = scratch.rows;
    tile.depth = block.depth;
    tile.extra_a = scratch.extra_rows;
    tile.extra_b = block.columns;
    const bool chained = rides && adapter->dropout == nullptr;
    for (int64_t j = 0; j < block.cols; j += kTileCols) {
        if (j < block.in_place) {
            tile.b = static_cast<const float*>(b.data) + block.begin * b.row_stride + block.column + j;
            tile.b_stride = b.row_stride;
        } else {
            tile.b = block.columns + (j - block.in_place) * block.panel_depth;
            tile.b_stride = kTileCols;
        }
        if (chained) {
            tile.extra_depth = adapter->rank;
            tile.extra_b = block.factor_panel(j, rank_offset);
        }
        run_one_tile(block, tile, row, block.column + j, rows, smaller(kTileCols, block.cols - j));
    }
    if (rides && !chained) add_dropped_adapter(block, scratch, *adapter, rank_offset, row, rows);
}

// All rows of the range against the columns of the block, in tiles of even height that do not cross adapters.
void sweep_rows(const Block& block, const Scratch& scratch, const Range& range) {
    const GemmArgs& args = block.args;
    int64_t next = 0;
    for (int64_t row = range.row_begin; row < range.row_end; row = next) {
        const GemmAdapter* adapter = adapter_at(args, row, range.row_end, &next);
        int64_t rank_offset = 0;
        for (const GemmAdapter* before = args.adapters; adapter != nullptr && before != adapter; before++)
            rank_offset += before->rank;
        int64_t tiles = divide_up(next - row, kTileRows);
        for (int64_t r = row; r < next; tiles--) {
            const int rows = static_cast<int>(divide_up(next - r, tiles));
            sweep_columns(block, scratch, adapter, rank_offset, r, rows);
            r += rows;
        }
    }
}

// Packs what the block reads. The factors of adapters follow the last block's depth in the same micropanels, so that
// tiles read one stream.
Block pack_block(const GemmArgs& args, const Scratch& scratch, int64_t column, int64_t cols, int64_t begin) {
    Block block{args,       column, cols, begin,           smaller(args.block_depth, args.depth - begin),
                begin == 0, false,  0,    scratch.columns, 0,
                nullptr,    0};
    block.last = begin + block.depth == args.depth;
    block.in_place = reads_in_place(args) ? cols / kTileCols * kTileCols : 0;
    const bool follow = block.last && block.in_place == 0;
    block.panel_depth = block.depth + (follow ? args.total_rank : 0);
    if (block.in_place < cols)
        pack_columns(block.columns, args.b, column + block.in_place, cols - block.in_place, begin, block.depth,
                     block.panel_depth);
    if (!block.last || args.adapter_count == 0) return block;
    block.factors = follow ? block.columns + block.depth * kTileCols : scratch.extra;
    block.factor_depth = follow ? block.panel_depth : args.total_rank;
    int64_t rank_offset = 0;
    for (int32_t i = 0; i < args.adapter_count; i++) {
        const GemmAdapter& adapter = args.adapters[i];
        pack_columns(block.factors + rank_offset * kTileCols, adapter.factor, column, cols, 0, adapter.rank,
                     block.factor_depth);
        rank_offset += adapter.rank;
    }
    return block;
}

void compute_range(const GemmArgs& args, const Scratch& scratch, Range range) {
    range.col_begin = gemm_few_rows(args, {scratch.extra, scratch.extra_rows}, range.col_begin, range.col_end);
    if (range.col_begin == range.col_end) return;
    const int64_t width = range.col_end - range.col_begin;
    const int64_t step = round_up(divide_up(width, divide_up(width, kMaxColumns)), kTileCols);
    for (int64_t column = range.col_begin; column < range.col_end; column += step) {
        const int64_t cols = smaller(step, range.col_end - column);
        for (int64_t begin = 0; begin < args.depth; begin += args.block_depth)
            sweep_rows(pack_block(args, scratch, column, cols, begin), scratch, range);
    }
}

} // namespace

int64_t gemm_workspace_floats(int32_t threads, int64_t cols, int64_t depth_of_block, int64_t total_rank) {
    float* const base = nullptr;
    const Scratch scratch(base, cols, depth_of_block, total_rank);
    return threads * round_up(scratch.end - base, 16);
}

void gemm(Pool& pool, const GemmArgs& args, float* workspace) {
    if (args.rows == 0 || args.cols == 0) return;
    const Grid grid = choose_grid(args.rows, args.cols, args.depth, pool.threads());
    const int64_t units = divide_up(args.cols, kTileCols);
    const int64_t per_thread = gemm_workspace_floats(1, args.cols, args.block_depth, args.total_rank);
    parallel_for(pool, grid.row_parts * grid.col_parts, [&](int64_t part, int32_t thread) {
        const int64_t i = part / grid.col_parts;
        const int64_t j = part % grid.col_parts;
        const Range range{args.rows * i / grid.row_parts, args.rows * (i + 1) / grid.row_parts,
                          units * j / grid.col_parts * kTileCols,
                          smaller(args.cols, units * (j + 1) / grid.col_parts * kTileCols)};
        const Scratch scratch(workspace + thread * per_thread, args.cols, args.block_depth, args.total_rank);
        compute_range(args, scratch, range);
    });
}

} // namespace ftc::FTC_ISA_NAMESPACE
