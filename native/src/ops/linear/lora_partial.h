// How the skinny products of LoRA are cut into blocks, and their partial sums added. Cuts follow from the shape alone, so
// the bits do not depend on the GPU.
#pragma once

#include <cstdint>

#include "ops/linear/lora_cuda.h"

namespace ftc::cuda {

// Parts of the features in `down`: enough blocks of 64 rows to fill a large GPU, each with at least 8 tiles of 64.
inline int32_t down_splits(int64_t rows, int64_t k) {
    const int64_t row_tiles = (rows + 63) / 64, tiles = (k + 63) / 64;
    const int64_t wanted = (128 + row_tiles - 1) / row_tiles, most = tiles / 8 > 1 ? tiles / 8 : 1;
    return static_cast<int32_t>(wanted < most ? wanted : most);
}

// Rows of one block in the products that sum over rows (dB, dA): at most 512, a multiple of 32, 16 parts if they fit.
inline int64_t transposed_rows(int64_t rows) {
    const int64_t part = (rows / 16 + 31) / 32 * 32;
    return part < 32 ? 32 : part > 512 ? 512 : part;
}
inline int64_t transposed_parts(int64_t rows) {
    return (rows + transposed_rows(rows) - 1) / transposed_rows(rows);
}
// The most parts that any number of rows up to this one has.
inline int64_t transposed_parts_up_to(int64_t rows) {
    const int64_t few = (rows + 31) / 32 < 17 ? (rows + 31) / 32 : 17, many = (rows + 511) / 512;
    return few > many ? few : many;
}

// Columns of one block, by the ranks it covers, in the product that also makes dS: the wider, the fewer parts of dS.
constexpr int64_t up_columns(int ranks) {
    return ranks <= 16 ? 512 : 256;
}

// dA has no such parts, so its blocks are narrow and tall: at most 2048 rows, four parts of fewer.
constexpr int64_t kDownColumns = 128;
inline int64_t down_rows(int64_t rows) {
    const int64_t part = (rows / 4 + 31) / 32 * 32;
    return part < 32 ? 32 : part > 2048 ? 2048 : part;
}
inline int64_t down_parts(int64_t rows) {
    return (rows + down_rows(rows) - 1) / down_rows(rows); // never more than transposed_parts_up_to
}

struct AddPartials { // out[m, j] = scale * sum over splits of partial[split][m, j]; tail too
    float* out;      // [rows, rank]
    Tail tail;       // bf16
    const float* partial;
    int32_t splits;
    int64_t rows;
    int32_t rank;
    float scale;
};
void add_partials(ftc_stream& stream, const AddPartials& args);

struct AddTransposed { // out[c * column_stride + j * rank_stride] += scale * sum over parts of partial[part][c, j]
    float* out;
    int64_t column_stride, rank_stride;
    const float* partial; // [parts, columns, rank]
    int64_t parts, columns;
    int32_t rank;
    float scale;
};
void add_transposed(ftc_stream& stream, const AddTransposed& args);

} // namespace ftc::cuda
