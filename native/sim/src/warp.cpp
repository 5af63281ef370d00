// Warp-wide operations and the block's barrier: each lane leaves what it brings and waits; the last one computes for
// all.
#include "execution.h"

namespace simt {

namespace {

const char* op_name(WarpOp op) {
    switch (op) {
    case WarpOp::sync:
        return "__syncwarp";
    case WarpOp::shfl_index:
        return "__shfl_sync";
    case WarpOp::shfl_up:
        return "__shfl_up_sync";
    case WarpOp::shfl_down:
        return "__shfl_down_sync";
    case WarpOp::shfl_xor:
        return "__shfl_xor_sync";
    case WarpOp::ballot:
        return "__ballot_sync";
    case WarpOp::any:
        return "__any_sync";
    case WarpOp::all:
        return "__all_sync";
    case WarpOp::match_any:
        return "__match_any_sync";
    case WarpOp::match_all:
        return "__match_all_sync";
    case WarpOp::load_matrix:
        return "ldmatrix";
    case WarpOp::store_matrix:
        return "stmatrix";
    case WarpOp::mma_bf16:
    case WarpOp::mma_f16:
    case WarpOp::mma_s8:
    case WarpOp::mma_bf16_k8:
        return "mma";
    case WarpOp::wgmma:
        return "wgmma";
    case WarpOp::wgmma_commit:
        return "wgmma.commit_group";
    case WarpOp::wgmma_wait:
        return "wgmma.wait_group";
    default:
        return "__reduce_sync";
    }
}

bool is_matrix(WarpOp op) {
    return op >= WarpOp::load_matrix;
}

bool same_place(const Where& a, const Where& b) {
    return a.line() == b.line() &&
           (a.file_name() == b.file_name() || __builtin_strcmp(a.file_name(), b.file_name()) == 0);
}

void resolve_shuffles(Worker& worker, WarpCall** calls, uint32_t lanes) {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        WarpCall& call = *calls[lane];
        const int width = call.width;
        if (width < 1 || width > 32 || (width & (width - 1)) != 0)
            fault_at(call.where, "%s with width %d, expected a power of two up to 32", op_name(call.op), width);
        const int first = lane & ~(width - 1);
        int source = lane;
        switch (call.op) {
        case WarpOp::shfl_index:
            source = first + (call.operand & (width - 1));
            break;
        case WarpOp::shfl_up:
            source = lane - call.operand < first ? lane : lane - call.operand;
            break;
        case WarpOp::shfl_down:
            source = call.operand >= width || lane + call.operand >= first + width ? lane : lane + call.operand;
            break;
        default:
            source = (lane ^ call.operand) >= first + width ? lane : lane ^ call.operand;
            break;
        }
        if ((lanes >> source & 1u) == 0) {
            set_current_fiber(&worker.fibers[(current_fiber()->warp) * 32 + static_cast<uint32_t>(lane)]);
            fault_at(call.where, "%s reads lane %d, which does not take part", op_name(call.op), source);
        }
        call.result = calls[source]->value;
    }
}

uint64_t combine(WarpOp op, uint64_t a, uint64_t b) {
    const auto x = static_cast<uint32_t>(a), y = static_cast<uint32_t>(b);
    const auto sx = static_cast<int32_t>(x), sy = static_cast<int32_t>(y);
    switch (op) {
    case WarpOp::any:
        return a | b;
    case WarpOp::all:
        return a & b;
    case WarpOp::reduce_add:
        return static_cast<uint32_t>(x + y);
    case WarpOp::reduce_min:
        return x < y ? x : y;
    case WarpOp::reduce_max:
        return x > y ? x : y;
    case WarpOp::reduce_min_signed:
        return sx < sy ? x : y;
    case WarpOp::reduce_max_signed:
        return sx > sy ? x : y;
    case WarpOp::reduce_and:
        return x & y;
    case WarpOp::reduce_or:
        return x | y;
    default:
        return x ^ y;
    }
}

void resolve(Worker& worker, uint32_t warp, WarpCall** calls, uint32_t lanes) {
    const WarpOp op = calls[__builtin_ctz(lanes)]->op;
    switch (op) {
    case WarpOp::sync:
        on_warp_sync(worker, warp, lanes);
        return;
    case WarpOp::shfl_index:
    case WarpOp::shfl_up:
    case WarpOp::shfl_down:
    case WarpOp::shfl_xor:
        resolve_shuffles(worker, calls, lanes);
        return;
    case WarpOp::ballot: {
        uint64_t bits = 0;
        for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
            const int lane = __builtin_ctz(rest);
            bits |= calls[lane]->value << lane;
        }
        for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) calls[__builtin_ctz(rest)]->result = bits;
        return;
    }
    case WarpOp::match_any:
    case WarpOp::match_all:
        for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
            WarpCall& call = *calls[__builtin_ctz(rest)];
            uint32_t equal = 0;
            for (uint32_t others = lanes; others != 0; others &= others - 1) {
                const int other = __builtin_ctz(others);
                if (calls[other]->value == call.value) equal |= 1u << other;
            }
            call.result = op == WarpOp::match_any ? equal : (equal == lanes ? lanes : 0u);
        }
        return;
    default:
        break;
    }
    if (op >= WarpOp::wgmma) {
        resolve_wgmma(worker, warp, calls);
        return;
    }
    if (is_matrix(op)) {
        resolve_matrix(worker, warp, calls);
        return;
    }
    uint64_t total = calls[__builtin_ctz(lanes)]->value;
    for (uint32_t rest = lanes & (lanes - 1); rest != 0; rest &= rest - 1)
        total = combine(op, total, calls[__builtin_ctz(rest)]->value);
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) calls[__builtin_ctz(rest)]->result = total;
}

// The lanes that wait with this mask if they are all that are left of it, else 0.
uint32_t complete_lanes(const Worker& worker, uint32_t warp, uint32_t mask) {
    const uint32_t needed = mask & ~worker.finished[warp];
    return (worker.in_call[warp] & needed) == needed ? needed : 0;
}

void release(Worker& worker, uint32_t warp, uint32_t lanes) {
    WarpCall* calls[32] = {};
    Fiber* fibers = worker.fibers + warp * 32;
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        calls[lane] = fibers[lane].call;
    }
    resolve(worker, warp, calls, lanes);
    worker.in_call[warp] &= ~lanes;
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        Fiber& fiber = fibers[__builtin_ctz(rest)];
        ++fiber.count_epoch;
        make_runnable(fiber);
    }
}

} // namespace

void enter_warp_call(WarpCall& call) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    const uint32_t warp = fiber.warp, self = 1u << fiber.lane;
    if ((call.mask & self) == 0)
        fault_at(call.where, "%s by lane %u, which is not in its mask 0x%08x", op_name(call.op), fiber.lane, call.mask);
    if (is_matrix(call.op) && worker.finished[warp] != 0)
        fault_at(call.where, "%s needs the whole warp, but lanes 0x%08x have returned or do not exist",
                 op_name(call.op), worker.finished[warp]);
    for (uint32_t rest = worker.in_call[warp]; rest != 0; rest &= rest - 1) {
        const WarpCall& other = *worker.fibers[warp * 32 + static_cast<uint32_t>(__builtin_ctz(rest))].call;
        const uint32_t lane = 1u << __builtin_ctz(rest);
        if ((call.mask & lane) == 0 && (other.mask & self) == 0) continue;
        if (other.op != call.op || other.mask != call.mask ||
            (call.op != WarpOp::sync && !same_place(other.where, call.where)))
            fault_at(call.where, "%s with mask 0x%08x, while lane %d waits in %s with mask 0x%08x at %s:%u",
                     op_name(call.op), call.mask, __builtin_ctz(rest), op_name(other.op), other.mask,
                     other.where.file_name(), other.where.line());
        break; // the ones before agreed among themselves
    }
    fiber.call = &call;
    worker.in_call[warp] |= self;
    const uint32_t lanes = complete_lanes(worker, warp, call.mask);
    if (lanes != 0) {
        release(worker, warp, lanes);
        maybe_yield(fiber);
    } else {
        make_waiting(fiber, Waiting::warp, call.where);
        park(fiber);
    }
    fiber.call = nullptr;
}

namespace {

int reduce_barrier(Worker& worker) {
    int total = worker.barrier_kind == 1 ? 1 : 0;
    for (uint32_t i = 0; i < worker.threads; ++i) {
        const Fiber& fiber = worker.fibers[i];
        if (fiber.waiting == Waiting::finished) continue;
        const int value = fiber.barrier_value != 0;
        total = worker.barrier_kind == 0 ? total + value : worker.barrier_kind == 1 ? (total & value) : (total | value);
    }
    return total;
}

int barrier(int kind, int value, Where where) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    if (worker.at_barrier == 0) {
        worker.barrier_where = where;
        worker.barrier_kind = kind;
    } else if (worker.barrier_kind != kind || !same_place(worker.barrier_where, where)) {
        fault_at(where, "divergent __syncthreads: other threads of the block wait in the one at %s:%u",
                 worker.barrier_where.file_name(), worker.barrier_where.line());
    }
    fiber.barrier_value = value;
    ++worker.at_barrier;
    make_waiting(fiber, Waiting::block_barrier, where);
    if (worker.at_barrier == worker.alive) {
        complete_barrier_if_all_arrived(worker);
        maybe_yield(fiber);
    } else {
        park(fiber);
    }
    return worker.barrier_result;
}

} // namespace

bool complete_warp_calls(Worker& worker, uint32_t warp) {
    bool any = false;
    for (uint32_t rest = worker.in_call[warp]; rest != 0;) {
        const WarpCall& call = *worker.fibers[warp * 32 + static_cast<uint32_t>(__builtin_ctz(rest))].call;
        if (is_matrix(call.op))
            fault_at(call.where, "a lane returned while the rest of its warp waits in %s", op_name(call.op));
        const uint32_t lanes = complete_lanes(worker, warp, call.mask);
        rest &= ~call.mask;
        if (lanes == 0) continue;
        release(worker, warp, lanes);
        any = true;
    }
    return any;
}

void complete_barrier_if_all_arrived(Worker& worker) {
    if (worker.at_barrier == 0 || worker.at_barrier != worker.alive) return;
    if (worker.barrier_kind >= 0) worker.barrier_result = reduce_barrier(worker);
    worker.at_barrier = 0;
    on_block_barrier(worker);
    for (uint32_t i = 0; i < worker.threads; ++i)
        if (worker.fibers[i].waiting == Waiting::block_barrier) {
            ++worker.fibers[i].count_epoch;
            make_runnable(worker.fibers[i]);
        }
}

namespace detail {

uint64_t warp_shuffle(WarpOp op, uint32_t mask, uint64_t value, int operand, int width, Where where) {
    WarpCall call{.op = op, .mask = mask, .value = value, .operand = operand, .width = width, .where = where};
    enter_warp_call(call);
    return call.result;
}
uint64_t warp_collect(WarpOp op, uint32_t mask, uint64_t value, Where where) {
    WarpCall call{.op = op, .mask = mask, .value = value, .where = where};
    enter_warp_call(call);
    return call.result;
}
void warp_matrix(WarpOp op, const void* row, void* registers, int count, bool transposed, Where where) {
    WarpCall call{.op = op,
                  .count = static_cast<uint8_t>(count),
                  .transposed = transposed,
                  .mask = ~0u,
                  .row = row,
                  .registers = registers,
                  .pc = __builtin_return_address(0),
                  .where = where};
    enter_warp_call(call);
}
void warp_mma(WarpOp op, void* d, const void* a, const void* b, Where where) {
    WarpCall call{.op = op, .mask = ~0u, .registers = d, .a = a, .b = b, .where = where};
    enter_warp_call(call);
}
void block_barrier(Where where) {
    barrier(-1, 0, where);
}
int block_barrier_reduce(int predicate, int kind, Where where) {
    return barrier(kind, predicate, where);
}

} // namespace detail

} // namespace simt
