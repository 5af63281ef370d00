// Bulk tensor copies of two dimensions: queued, and run when no thread can, or at random; the bytes belong to the copy
// engine until somebody has waited on the mbarrier.
#include <cstring>

#include "async.h"
#include "memory.h"

int cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, uint32_t rank, void* base, const uint64_t* size,
                           const uint64_t* row_bytes, const uint32_t* box, const uint32_t* element_strides,
                           CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                           CUtensorMapFloatOOBfill) {
    constexpr int kInvalid = 1;
    const uint32_t element = type == CU_TENSOR_MAP_DATA_TYPE_UINT8     ? 1
                             : type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4
                                                                       : 2;
    const uint32_t swizzle_bytes = swizzle == CU_TENSOR_MAP_SWIZZLE_NONE ? 0 : 16u << swizzle;
    if (rank != 2 || base == nullptr || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || element_strides[0] != 1 ||
        element_strides[1] != 1)
        return kInvalid;
    if (reinterpret_cast<uintptr_t>(base) % 16 != 0 || row_bytes[0] % 16 != 0 || row_bytes[0] < size[0] * element)
        return kInvalid;
    if (box[0] == 0 || box[1] == 0 || box[0] > 256 || box[1] > 256 || box[0] * element % 16 != 0) return kInvalid;
    if (swizzle_bytes != 0 && box[0] * element > swizzle_bytes) return kInvalid;
    if (size[0] == 0 || size[1] == 0 || size[0] > (uint64_t{1} << 32) || size[1] > (uint64_t{1} << 32)) return kInvalid;
    *map = {base, {size[0], size[1]}, row_bytes[0], {box[0], box[1]}, element, swizzle_bytes, {}};
    return 0;
}

namespace simt {

namespace {

// Byte `offset` of the box as it lies in shared memory: 16-byte pieces change places by bits 7 and up of their address.
char* placed(const Worker& worker, char* shared, uint32_t offset, uint32_t swizzle_bytes) {
    const uint32_t address = static_cast<uint32_t>(shared - worker.window) + offset;
    const uint32_t mask = swizzle_bytes == 0 ? 0 : swizzle_bytes / 16 - 1;
    return worker.window + (address ^ (address >> 7 & mask) << 4);
}

// The part of 16 bytes of a row that lies inside the tensor, from byte x of the row on.
uint32_t bytes_inside(const CUtensorMap& map, int64_t x_bytes, int64_t row) {
    const int64_t row_end = static_cast<int64_t>(map.size[0] * map.element_bytes);
    if (row < 0 || row >= static_cast<int64_t>(map.size[1]) || x_bytes < 0 || x_bytes >= row_end) return 0;
    return static_cast<uint32_t>(std::min<int64_t>(16, row_end - x_bytes));
}

// visit(target, source or null, bytes of it) for every 16 bytes of the box.
template <class Visit>
void for_each_piece(const Worker& worker, const BulkCopy& copy, Visit visit) {
    const CUtensorMap& map = copy.map;
    const uint32_t box_row = map.box[0] * map.element_bytes;
    for (uint32_t row = 0; row < map.box[1]; ++row)
        for (uint32_t column = 0; column < box_row; column += 16) {
            const int64_t x = static_cast<int64_t>(copy.x) * map.element_bytes + column,
                          y = copy.y + static_cast<int64_t>(row);
            const uint32_t inside = bytes_inside(map, x, y);
            const char* source = inside == 0
                                     ? nullptr
                                     : static_cast<const char*>(map.base) + y * static_cast<int64_t>(map.row_bytes) + x;
            visit(placed(worker, copy.shared, row * box_row + column, map.swizzle_bytes), source, inside);
        }
}

} // namespace

void run_bulk_copy(Worker& worker, const BulkCopy& copy) {
    AsyncState& state = async_state(worker);
    if (state.engine_clock != 0xffff) ++state.engine_clock;
    for_each_piece(worker, copy, [&](char* target, const char* source, uint32_t bytes) {
        std::memset(target, 0, 16);
        if (source != nullptr) std::memcpy(target, source, bytes);
        record_engine_write(worker, target, 16, state.engine_clock, copy.pc);
    });
    complete_bytes(worker, copy.barrier, copy.map.box[0] * copy.map.box[1] * copy.map.element_bytes,
                   state.engine_clock);
}

bool run_async_work(Worker& worker) {
    if (worker.async == nullptr || worker.async->copies.empty()) return false;
    const HostScope host;
    std::deque<BulkCopy>& copies = worker.async->copies;
    // Copies end in any order; an ordered schedule takes them as they were issued.
    const size_t which = worker.launch->schedule == Schedule::ordered    ? 0
                         : worker.launch->schedule == Schedule::reversed ? copies.size() - 1
                                                                         : (next_random(worker) >> 32) % copies.size();
    const BulkCopy copy = copies[which];
    copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(which));
    run_bulk_copy(worker, copy);
    return true;
}

namespace detail {

void tma_load_2d(void* shared, const CUtensorMap* map, int x, int y, uint64_t* barrier, Where where) {
    Fiber& fiber = *current_fiber();
    Worker& worker = *fiber.worker;
    const void* pc = __builtin_return_address(0);
    BulkCopy copy{static_cast<char*>(shared), *map, x, y, barrier, pc, where};
    if (shared_region(worker, shared) != &worker.window_region)
        fault_at(where, "a bulk copy to %p, expected dynamic shared memory", shared);
    const uint32_t alignment = copy.map.swizzle_bytes == 0 ? 128 : copy.map.swizzle_bytes * 8;
    if (shared_offset(shared) % alignment != 0)
        fault_at(where, "a bulk copy to offset %u of shared memory, expected a multiple of %u (swizzle of %u bytes)",
                 shared_offset(shared), alignment, copy.map.swizzle_bytes);
    // The barrier must be ready, the bytes free, the source written.
    check_access(fiber, barrier, 8, kAtomic, pc);
    for_each_piece(worker, copy, [&](char* target, const char* source, uint32_t bytes) {
        if (source != nullptr) check_access(fiber, source, bytes, kRead, pc);
        check_access(fiber, target, 16, kWrite, pc);
        std::memset(target, 0xff, 16);
        mark_pending(fiber, target, 16, true);
        if (source != nullptr) count_bulk(worker, source, bytes, false, pc);
    });
    const HostScope host;
    AsyncState& state = async_state(worker);
    if (state.mbarriers.find(barrier) == state.mbarriers.end()) {
        set_current_fiber(&fiber);
        fault_at(where, "a bulk copy reports to an mbarrier that has not been initialised");
    }
    state.copies.push_back(copy);
}

} // namespace detail

} // namespace simt
