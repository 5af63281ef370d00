#include "ops/linear/gemm.h"

#include "core/pool.h"
#include "ops/linear/dropout_simd.h"
#include "ops/linear/few_rows.h"
#include "ops/linear/pack_rows.h"
#include "ops/linear/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {

namespace {

// Columns packed at a time: 576 x 1024 floats stream from L2 at the speed the tiles need (measured on 1 MB of L2).
constexpr int64_t kMaxColumns = 1024;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// Workspace of one thread.
struct Scratch {
    float* columns; // packed block of B
    float* extra;   // packed factors of the adapters, [total_rank, columns] micropanels
    float* rows;    // packed tile of A
    float* extra_rows;
    float* stage; // rows of A after dropout

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

// One block of depth.
struct Block {
    const GemmArgs& args;
    int64_t begin, depth;
    bool first, last;
    int64_t direct; // columns of the sweep that are read in place instead of packed
};

// Rows of fp32 whose columns lie side by side need no packing when few tiles of rows would read the copy: measured to pay up
// to five tiles, fewer where the rows lie whole pages apart and share a set of the L1 cache.
bool reads_in_place(const GemmArgs& args) {
    const ColumnSource& b = args.b;
    if (b.transposed || b.weight.format != FTC_WEIGHT_F32 || b.dropout != nullptr) return false;
    return args.rows <= (b.weight.row_stride % 1024 == 0 ? 2 : 5) * kTileRows;
}

// Stores a tile that the kernel may not write in place: fewer columns than a vector, or C transposed.
void store_edge(const GemmArgs& args, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t cols, bool add) {
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

// c += dropout(scaling s factor) for one tile of rows, for an adapter whose path drops features. Four tiles at a time fill
// a register of counters.
void add_dropped_adapter(const GemmArgs& args, const GemmAdapter& adapter, Tile tile, int64_t row, int rows, int64_t column,
                         int64_t cols) {
    static_assert(4 * kTileCols == kDropoutFeatures);
    float part[kTileRows * kDropoutFeatures];
    const float* factor = tile.extra_b;
    tile.depth = 0;
    tile.extra_depth = adapter.rank;
    tile.c_stride = kDropoutFeatures;
    for (int64_t j = 0; j < cols; j += kDropoutFeatures) {
        const int64_t width = smaller(kDropoutFeatures, cols - j);
        for (int64_t t = 0; t < width; t += kTileCols) {
            tile.c = part + t;
            tile.extra_b = factor + (j + t) * adapter.rank;
            kTiles[rows - 1][width - t > kLanes ? 1 : 0](tile);
        }
        for (int64_t i = 0; i < rows; i++)
            apply_dropout<true>(args.c + (row + i) * args.c_stride + column + j, part + i * kDropoutFeatures, width, *adapter.dropout,
                                row + i, column + j);
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
        pack_depth_major(scratch.rows, args.a + block.begin * args.a_stride + row, args.a_stride, rows, block.depth, args.a_scale);
        return;
    }
    const float* a = args.a + row * args.a_stride + block.begin;
    if (args.a_dropout == nullptr) {
        pack_row_major(scratch.rows, a, args.a_stride, rows, block.depth);
        return;
    }
    for (int i = 0; i < rows; i++)
        apply_dropout<false>(scratch.stage + i * block.depth, a + i * args.a_stride, block.depth, *args.a_dropout, row + i,
                             block.begin);
    pack_row_major(scratch.rows, scratch.stage, block.depth, rows, block.depth);
}

// One tile of rows against the packed columns [column, column + cols).
void sweep_columns(const Block& block, const Scratch& scratch, const GemmAdapter* adapter, int64_t extra_offset, int64_t row,
                   int rows, int64_t column, int64_t cols) {
    const GemmArgs& args = block.args;
    pack_tile_rows(block, scratch, row, rows);
    const bool rides = adapter != nullptr && block.last;
    if (rides)
        pack_scaled(scratch.extra_rows, adapter->s + (row - adapter->row_begin) * adapter->rank, adapter->rank, rows, adapter->rank,
                    adapter->scaling);
    Tile tile{};
    tile.a = scratch.rows;
    tile.depth = block.depth;
    tile.extra_a = scratch.extra_rows;
    const float* factor = rides ? scratch.extra + extra_offset : scratch.extra;
    const bool chained = rides && adapter->dropout == nullptr;
    for (int64_t j = 0; j < cols; j += kTileCols) {
        if (j < block.direct) {
            tile.b = static_cast<const float*>(args.b.weight.data) + block.begin * args.b.weight.row_stride + column + j;
            tile.b_stride = args.b.weight.row_stride;
        } else {
            tile.b = scratch.columns + (j - block.direct) * block.depth;
            tile.b_stride = kTileCols;
        }
        tile.extra_depth = chained ? adapter->rank : 0;
        tile.extra_b = chained ? factor + j * adapter->rank : factor;
        run_one_tile(block, tile, row, column + j, rows, smaller(kTileCols, cols - j));
    }
    if (!rides || chained) return;
    Tile dropped{};
    dropped.a = scratch.rows;
    dropped.b = scratch.columns;
    dropped.extra_a = scratch.extra_rows;
    dropped.extra_b = factor;
    add_dropped_adapter(args, *adapter, dropped, row, rows, column, cols);
}

// All rows of the range against the packed columns, in tiles of even height that do not cross adapters.
void sweep_rows(const Block& block, const Scratch& scratch, const Range& range, int64_t column, int64_t cols) {
    const GemmArgs& args = block.args;
    const int64_t packed = round_up(cols, kTileCols);
    int64_t next = 0;
    for (int64_t row = range.row_begin; row < range.row_end; row = next) {
        const GemmAdapter* adapter = adapter_at(args, row, range.row_end, &next);
        int64_t extra_offset = 0;
        for (const GemmAdapter* before = args.adapters; adapter != nullptr && before != adapter; before++)
            extra_offset += before->rank * packed;
        int64_t tiles = divide_up(next - row, kTileRows);
        for (int64_t r = row; r < next; tiles--) {
            const int rows = static_cast<int>(divide_up(next - r, tiles));
            sweep_columns(block, scratch, adapter, extra_offset, r, rows, column, cols);
            r += rows;
        }
    }
}

void compute_range(const GemmArgs& args, const Scratch& scratch, Range range) {
    range.col_begin = gemm_few_rows(args, {scratch.extra, scratch.extra_rows}, range.col_begin, range.col_end);
    if (range.col_begin == range.col_end) return;
    const int64_t width = range.col_end - range.col_begin;
    const int64_t step = round_up(divide_up(width, divide_up(width, kMaxColumns)), kTileCols);
    for (int64_t column = range.col_begin; column < range.col_end; column += step) {
        const int64_t cols = smaller(step, range.col_end - column);
        for (int64_t begin = 0; begin < args.depth; begin += args.block_depth) {
            const int64_t depth = smaller(args.block_depth, args.depth - begin);
            const int64_t direct = reads_in_place(args) ? cols / kTileCols * kTileCols : 0;
            const Block block{args, begin, depth, begin == 0, begin + depth == args.depth, direct};
            if (direct < cols) pack_columns(scratch.columns, args.b, column + direct, cols - direct, begin, depth);
            if (block.last) {
                float* extra = scratch.extra;
                for (int32_t i = 0; i < args.adapter_count; i++) {
                    pack_columns(extra, args.adapters[i].factor, column, cols, 0, args.adapters[i].rank);
                    extra += args.adapters[i].rank * round_up(cols, kTileCols);
                }
            }
            sweep_rows(block, scratch, range, column, cols);
        }
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
