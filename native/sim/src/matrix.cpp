// ldmatrix, stmatrix and mma.sync: who holds what is PTX's (ISA, "Matrix fragments for mma"); sums are fp32, k
// ascending. The hardware sums in another order with other rounding, so results are compared with tolerances.
#include <cstring>

#include "execution.h"

namespace simt {

namespace {

// Register m of lane l holds elements 2 (l % 4) and + 1 of row l / 4 of matrix m; of its column when transposed.
void load_matrices(Worker& worker, uint32_t warp, WarpCall** calls) {
    const int count = calls[0]->count;
    const bool transposed = calls[0]->transposed;
    for (int m = 0; m < count; ++m) {
        uint16_t matrix[8][8];
        for (int i = 0; i < 8; ++i) {
            const WarpCall& call = *calls[m * 8 + i];
            check_access(worker.fibers[warp * 32 + static_cast<uint32_t>(m * 8 + i)], call.row, 16, kRead, call.pc);
            std::memcpy(matrix[i], call.row, 16);
        }
        for (int lane = 0; lane < 32; ++lane) {
            const int row = lane / 4, column = lane % 4 * 2;
            const uint16_t low = transposed ? matrix[column][row] : matrix[row][column];
            const uint16_t high = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
            static_cast<uint32_t*>(calls[lane]->registers)[m] = static_cast<uint32_t>(high) << 16 | low;
        }
    }
}

void store_matrices(Worker& worker, uint32_t warp, WarpCall** calls) {
    const int count = calls[0]->count;
    const bool transposed = calls[0]->transposed;
    for (int m = 0; m < count; ++m) {
        uint16_t matrix[8][8];
        for (int lane = 0; lane < 32; ++lane) {
            const int row = lane / 4, column = lane % 4 * 2;
            const uint32_t pair = static_cast<const uint32_t*>(calls[lane]->registers)[m];
            const auto low = static_cast<uint16_t>(pair), high = static_cast<uint16_t>(pair >> 16);
            if (transposed) {
                matrix[column][row] = low;
                matrix[column + 1][row] = high;
            } else {
                matrix[row][column] = low;
                matrix[row][column + 1] = high;
            }
        }
        for (int i = 0; i < 8; ++i) {
            const WarpCall& call = *calls[m * 8 + i];
            check_access(worker.fibers[warp * 32 + static_cast<uint32_t>(m * 8 + i)], call.row, 16, kWrite, call.pc);
            std::memcpy(const_cast<void*>(call.row), matrix[i], 16);
        }
    }
}

using Row8 = float __attribute__((vector_size(32), aligned(4)));

// d[16][8] += a[16][k] b[k][8].
void multiply(float (&d)[16][8], const float (&a)[16][16], const float (&b)[16][8], int k_end) {
    for (int row = 0; row < 16; ++row) {
        Row8 sum;
        std::memcpy(&sum, d[row], 32);
        for (int k = 0; k < k_end; ++k) {
            Row8 line;
            std::memcpy(&line, b[k], 32);
            // The product of two 16-bit floats is exact in fp32, so this rounds once an addition.
            sum += a[row][k] * line;
        }
        std::memcpy(d[row], &sum, 32);
    }
}

template <class Value>
void spread_pair(uint32_t pair, float& low, float& high, Value value) {
    low = value(static_cast<uint16_t>(pair));
    high = value(static_cast<uint16_t>(pair >> 16));
}

template <class Value>
void product(WarpCall** calls, int k_end, Value value) {
    float a[16][16], b[16][8], d[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4 * 2;
        const auto* ra = static_cast<const uint32_t*>(calls[lane]->a);
        const auto* rb = static_cast<const uint32_t*>(calls[lane]->b);
        const auto* rd = static_cast<const float*>(calls[lane]->registers);
        for (int half = 0; half < k_end / 8; ++half) {
            spread_pair(ra[2 * half], a[g][t + 8 * half], a[g][t + 1 + 8 * half], value);
            spread_pair(ra[2 * half + 1], a[g + 8][t + 8 * half], a[g + 8][t + 1 + 8 * half], value);
            spread_pair(rb[half], b[t + 8 * half][g], b[t + 1 + 8 * half][g], value);
        }
        d[g][t] = rd[0];
        d[g][t + 1] = rd[1];
        d[g + 8][t] = rd[2];
        d[g + 8][t + 1] = rd[3];
    }
    multiply(d, a, b, k_end);
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4 * 2;
        auto* rd = static_cast<float*>(calls[lane]->registers);
        rd[0] = d[g][t];
        rd[1] = d[g][t + 1];
        rd[2] = d[g + 8][t];
        rd[3] = d[g + 8][t + 1];
    }
}

// m16n8k32, signed bytes: register i of a holds k = 4 t .. 4 t + 3 (+ 16 for i >= 2) of row g (+ 8 for odd i).
void product_s8(WarpCall** calls) {
    int8_t a[16][32], b[32][8];
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4 * 4;
        const auto* ra = static_cast<const uint32_t*>(calls[lane]->a);
        const auto* rb = static_cast<const uint32_t*>(calls[lane]->b);
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j)
                a[g + 8 * (i & 1)][t + j + 16 * (i >> 1)] = static_cast<int8_t>(ra[i] >> (8 * j));
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 4; ++j) b[t + j + 16 * i][g] = static_cast<int8_t>(rb[i] >> (8 * j));
    }
    for (int lane = 0; lane < 32; ++lane) {
        auto* rd = static_cast<int32_t*>(calls[lane]->registers);
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i >> 1), column = lane % 4 * 2 + (i & 1);
            for (int k = 0; k < 32; ++k) rd[i] += a[row][k] * b[k][column];
        }
    }
}

} // namespace

void resolve_matrix(Worker& worker, uint32_t warp, WarpCall** calls) {
    switch (calls[0]->op) {
    case WarpOp::mma_bf16:
    case WarpOp::mma_f16:
        count_mma(worker, 2 * 16 * 8 * 16);
        break;
    case WarpOp::mma_bf16_k8:
        count_mma(worker, 2 * 16 * 8 * 8);
        break;
    case WarpOp::mma_s8:
        count_mma(worker, 2 * 16 * 8 * 32);
        break;
    default:
        break;
    }
    switch (calls[0]->op) {
    case WarpOp::load_matrix:
    case WarpOp::store_matrix:
        for (int lane = 1; lane < 32; ++lane)
            if (calls[lane]->count != calls[0]->count || calls[lane]->transposed != calls[0]->transposed)
                fault_at(calls[lane]->where, "the lanes of one ldmatrix or stmatrix ask for different shapes");
        {
            const void* rows[32];
            const uint32_t count = calls[0]->count * 8u;
            for (uint32_t i = 0; i < count; ++i) rows[i] = calls[i]->row;
            count_matrix_rows(worker, rows, count, calls[0]->op == WarpOp::store_matrix, calls[0]->pc);
        }
        if (calls[0]->op == WarpOp::load_matrix)
            load_matrices(worker, warp, calls);
        else
            store_matrices(worker, warp, calls);
        break;
    case WarpOp::mma_bf16:
        product(calls, 16, [](uint16_t bits) { return detail::bf16_value(bits); });
        break;
    case WarpOp::mma_bf16_k8:
        product(calls, 8, [](uint16_t bits) { return detail::bf16_value(bits); });
        break;
    case WarpOp::mma_f16:
        product(calls, 16, [](uint16_t bits) { return detail::f16_value(bits); });
        break;
    default:
        product_s8(calls);
        break;
    }
}

} // namespace simt
