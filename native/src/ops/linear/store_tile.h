// Where a tile's sums go: C itself, a bf16 C after its last block, or by way of a stack tile what a kernel may not
// write in place.
#pragma once

#include "ops/linear/gemm_block.h"
#include "ops/linear/tile.h"

namespace ftc::FTC_ISA_NAMESPACE {
namespace {

// Stores a tile that the kernel may not write in place: fewer columns than a vector, or C transposed.
inline void store_edge(const Block& block, const float* tile, int64_t row, int64_t column, int64_t rows, int64_t cols,
                       bool add, bool finish) {
    const GemmArgs& args = block.args;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            float* c = args.c_transposed ? static_cast<float*>(args.c) + (column + j) * args.c_stride + row + i
                                         : block.sums.at(row + i, column + j);
            const float sum = add ? *c + tile[i * kTileCols + j] : tile[i * kTileCols + j];
            if (!finish) {
                *c = sum;
                continue;
            }
            uint16_t* rounded = block.rounded_at(row + i, column + j);
            *rounded = bf16_of(args.add_to_c ? value_of(*rounded) + sum : sum);
        }
    }
}

// Runs the tile of `rows` rows from `row` on and `cols` columns from `column` on, with run(tile); at most kTileRows
// rows unless it is stored in place: whole registers of columns of a C that is not transposed. finish: of a bf16 C,
// after the last block.
template <class Run>
void run_and_store(const Block& block, Tile& tile, int64_t row, int64_t column, int64_t rows, int64_t cols, bool finish,
                   const Run& run) {
    const GemmArgs& args = block.args;
    const bool add = !block.first || (args.add_to_c && !block.rounds());
    const float* bias = block.first ? args.bias : nullptr;
    if (!args.c_transposed && (cols == kTileCols || cols == kLanes)) {
        tile.c = block.sums.data != nullptr ? block.sums.at(row, column) : nullptr;
        tile.c_stride = block.sums.stride;
        tile.bias = bias != nullptr ? bias + column : nullptr;
        tile.add_to_c = add;
        tile.rounded = finish ? block.rounded_at(row, column) : nullptr;
        tile.rounded_stride = args.c_stride;
        tile.add_to_rounded = args.add_to_c;
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
    tile.rounded = nullptr;
    run(tile);
    store_edge(block, edge, row, column, rows, cols, add || args.c_transposed, finish);
}

} // namespace
} // namespace ftc::FTC_ISA_NAMESPACE
