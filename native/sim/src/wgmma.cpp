// wgmma m64nNk16 in bf16. Each warp of the group computes its 16 rows. From issue to wait the accumulators hold NaNs
// and the operands in shared memory are not read: they must stay as they are until then, and reading them late shows
// when they do not.
#include <cmath>
#include <cstring>
#include <limits>

#include "async.h"

namespace simt {

uint64_t wgmma_descriptor(const void* shared, uint32_t leading_bytes, uint32_t stride_bytes, uint32_t swizzle) {
    const uint64_t address = detail::shared_offset(shared);
    return (address & 0x3ffff) >> 4 | static_cast<uint64_t>((leading_bytes & 0x3ffff) >> 4) << 16 |
           static_cast<uint64_t>((stride_bytes & 0x3ffff) >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}

namespace {

struct Operand {
    uint32_t start, leading, stride, swizzle; // swizzle in bytes, 16: none
    bool transposed;                          // rows (of M or N) run fastest in memory

    Operand(uint64_t descriptor, bool is_transposed)
        : start(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
          leading(static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4),
          stride(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4), swizzle(16u << (4 - (descriptor >> 62)) % 4),
          transposed(is_transposed) {}

    // Offset in shared memory of the 16 bytes with 8 elements from (row, k) on: along k, or along the rows if
    // transposed.
    uint32_t piece(uint32_t row, uint32_t k) const {
        uint32_t address = start;
        if (!transposed) {
            address += row / 8 * stride + row % 8 * swizzle;
            address += swizzle == 16 ? k / 8 * leading : k * 2;
        } else {
            const uint32_t unit = row / 8; // of 16 bytes
            if (swizzle == 16)
                address += unit * stride + k % 8 * 16 + k / 8 * leading;
            else
                address +=
                    unit % (swizzle / 16) * 16 + unit / (swizzle / 16) * leading + k % 8 * swizzle + k / 8 * stride;
        }
        return address ^ (address >> 7 & (swizzle / 16 - 1)) << 4;
    }
};

// values[row][16] for rows first .. first + count of the operand.
void read_operand(Fiber& reader, const PendingWgmma& op, const Operand& operand, uint32_t first, uint32_t count,
                  float (*values)[16]) {
    Worker& worker = *reader.worker;
    const auto fetch = [&](uint32_t row, uint32_t k, uint16_t(&piece)[8]) {
        const char* p = worker.window + operand.piece(row, k);
        check_access(reader, p, 16, kRead, op.pc);
        if (!visible_to_async(reader, p)) {
            set_current_fiber(&reader);
            fault_at(op.where,
                     "wgmma reads shared memory+%u, written by ordinary stores with no fence.proxy.async after",
                     operand.piece(row, k));
        }
        std::memcpy(piece, p, 16);
    };
    uint16_t piece[8];
    if (!operand.transposed) {
        for (uint32_t row = 0; row < count; ++row)
            for (uint32_t k = 0; k < 16; k += 8) {
                fetch(first + row, k, piece);
                for (uint32_t i = 0; i < 8; ++i) values[row][k + i] = detail::bf16_value(piece[i]);
            }
    } else {
        for (uint32_t row = 0; row < count; row += 8)
            for (uint32_t k = 0; k < 16; ++k) {
                fetch(first + row, k, piece);
                for (uint32_t i = 0; i < 8; ++i) values[row + i][k] = detail::bf16_value(piece[i]);
            }
    }
}

void run(Worker& worker, uint32_t warp, const PendingWgmma& op) {
    Fiber& reader = worker.fibers[warp * 32];
    const uint32_t n = static_cast<uint32_t>(op.call.n);
    float a[16][16];
    static thread_local float b[256][16];
    if (op.call.a == nullptr) {
        read_operand(reader, op, Operand(op.call.a_descriptor, op.call.a_transposed), warp % 4 * 16, 16, a);
    } else {
        for (uint32_t lane = 0; lane < 32; ++lane) {
            const uint32_t g = lane / 4, t = lane % 4 * 2;
            for (uint32_t i = 0; i < 4; ++i) {
                const uint32_t pair = op.a[lane][i], row = g + i % 2 * 8, k = t + i / 2 * 8;
                a[row][k] = detail::bf16_value(static_cast<uint16_t>(pair));
                a[row][k + 1] = detail::bf16_value(static_cast<uint16_t>(pair >> 16));
            }
        }
    }
    read_operand(reader, op, Operand(op.call.b_descriptor, op.call.b_transposed), 0, n, b);
    for (uint32_t lane = 0; lane < 32; ++lane)
        for (uint32_t i = 0; i < n / 2; ++i) {
            const uint32_t row = lane / 4 + (i / 2 % 2) * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
            float sum = op.call.accumulate ? op.before[lane * (n / 2) + i] : 0.0f;
            for (uint32_t k = 0; k < 16; ++k) sum += a[row][k] * b[column][k];
            op.d[lane][i] = sum;
        }
}

void issue(Worker& worker, uint32_t warp, WarpCall** calls) {
    AsyncState& state = async_state(worker);
    PendingWgmma op;
    op.call = *calls[0]->wgmma;
    op.where = calls[0]->where;
    op.pc = calls[0]->pc;
    const uint32_t count = static_cast<uint32_t>(op.call.n) / 2;
    op.before.resize(32 * count);
    for (uint32_t lane = 0; lane < 32; ++lane) {
        const detail::WgmmaCall& call = *calls[lane]->wgmma;
        if (call.n != op.call.n || call.b_descriptor != op.call.b_descriptor ||
            call.a_descriptor != op.call.a_descriptor || call.accumulate != op.call.accumulate) {
            set_current_fiber(&worker.fibers[warp * 32 + lane]);
            fault_at(calls[lane]->where, "the lanes of one wgmma disagree about its operands");
        }
        op.d[lane] = call.d;
        if (call.a != nullptr) std::memcpy(op.a[lane], call.a, sizeof op.a[lane]);
        std::memcpy(&op.before[lane * count], call.d, count * sizeof(float));
        for (uint32_t i = 0; i < count; ++i) call.d[i] = std::numeric_limits<float>::quiet_NaN();
    }
    // Products that go on with the accumulators of one under way start from its result.
    state.wgmma[warp].push_back(std::move(op));
    ++state.wgmma_uncommitted[warp];
    count_mma(worker, 2ull * 16 * static_cast<uint64_t>(calls[0]->wgmma->n) * 16);
}

void wait(Worker& worker, uint32_t warp, int pending) {
    AsyncState& state = async_state(worker);
    std::vector<uint32_t>& groups = state.wgmma_groups[warp];
    uint32_t count = 0;
    const size_t keep = static_cast<size_t>(pending);
    const size_t done = groups.size() > keep ? groups.size() - keep : 0;
    for (size_t i = 0; i < done; ++i) count += groups[i];
    std::vector<PendingWgmma>& queue = state.wgmma[warp];
    for (uint32_t i = 0; i < count; ++i) {
        {
            Fiber* self = current_fiber();
            run(worker, warp, queue[i]);
            set_current_fiber(self);
        }
        // Later products on the same accumulators.
        for (uint32_t j = i + 1; j < queue.size(); ++j) {
            if (queue[j].d[0] != queue[i].d[0]) continue;
            const uint32_t values = static_cast<uint32_t>(queue[i].call.n) / 2;
            for (uint32_t lane = 0; lane < 32; ++lane)
                std::memcpy(&queue[j].before[lane * values], queue[i].d[lane], values * sizeof(float));
            for (uint32_t lane = 0; lane < 32; ++lane)
                for (uint32_t v = 0; v < values; ++v) queue[j].d[lane][v] = std::numeric_limits<float>::quiet_NaN();
            break;
        }
    }
    queue.erase(queue.begin(), queue.begin() + count);
    groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(done));
}

} // namespace

void resolve_wgmma(Worker& worker, uint32_t warp, WarpCall** calls) {
    // The kernel's own loads and stores are not seen by what runs here, library code included.
    switch (calls[0]->op) {
    case WarpOp::wgmma: {
        const HostScope host;
        issue(worker, warp, calls);
        break;
    }
    case WarpOp::wgmma_commit: {
        const HostScope host;
        AsyncState& state = async_state(worker);
        state.wgmma_groups[warp].push_back(state.wgmma_uncommitted[warp]);
        state.wgmma_uncommitted[warp] = 0;
        break;
    }
    default: {
        const HostScope host;
        wait(worker, warp, calls[0]->operand);
        on_warp_sync(worker, warp, ~0u);
        break;
    }
    }
}

void on_warp_exit_async(Fiber& fiber) {
    const AsyncState* state = fiber.worker->async;
    if (state == nullptr || state->wgmma[fiber.warp].empty()) return;
    fault_at(state->wgmma[fiber.warp].front().where, "a warp returns with a wgmma it never waited for");
}

namespace detail {

void wgmma(const WgmmaCall& given, Where where) {
    const WgmmaCall call_copy = given;
    if (call_copy.n < 8 || call_copy.n > 256 || call_copy.n % 8 != 0)
        fault_at(where, "wgmma with n = %d, expected a multiple of 8 up to 256", call_copy.n);
    WarpCall call{
        .op = WarpOp::wgmma, .mask = ~0u, .pc = __builtin_return_address(0), .wgmma = &call_copy, .where = where};
    enter_warp_call(call);
}
void wgmma_commit(Where where) {
    WarpCall call{.op = WarpOp::wgmma_commit, .mask = ~0u, .where = where};
    enter_warp_call(call);
}
void wgmma_wait(int pending, Where where) {
    WarpCall call{.op = WarpOp::wgmma_wait, .mask = ~0u, .operand = pending, .where = where};
    enter_warp_call(call);
}

} // namespace detail

} // namespace simt
