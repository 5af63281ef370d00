// cp.async: nothing is copied before the wait that covers it, as late as the device may be.
#include <cstring>

#include "execution.h"

namespace simt {

namespace {

void complete_oldest(Fiber& fiber, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const PendingCopy& copy = fiber.copies[i];
        std::memcpy(copy.to, copy.from, copy.source_bytes);
        std::memset(copy.to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
        mark_pending(fiber, copy.to, copy.bytes, false);
        check_access(fiber, copy.to, copy.bytes, kWrite, copy.pc);
    }
    const HostScope host;
    fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + static_cast<std::ptrdiff_t>(count));
}

} // namespace

namespace detail {

void copy_async(void* shared, const void* global, int bytes, int source_bytes, Where where) {
    Fiber& fiber = *current_fiber();
    const void* pc = __builtin_return_address(0);
    if ((bytes != 4 && bytes != 8 && bytes != 16) || source_bytes < 0 || source_bytes > bytes)
        fault_at(where, "cp.async of %d bytes with %d from the source, expected 4, 8 or 16 and at most as many", bytes,
                 source_bytes);
    const uintptr_t misaligned =
        (reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) & static_cast<uintptr_t>(bytes - 1);
    if (misaligned != 0) fault_at(where, "cp.async of %d bytes from %p to %p: misaligned", bytes, global, shared);
    if (source_bytes > 0) check_access(fiber, global, static_cast<uint32_t>(source_bytes), kRead, pc);
    check_access(fiber, shared, static_cast<uint32_t>(bytes), kWrite, pc);
    if (shared_region(*fiber.worker, shared) == nullptr)
        fault_at(where, "cp.async to %p, which is not shared memory", shared);
    std::memset(shared, 0xff, static_cast<size_t>(bytes)); // NaNs, for who does not wait
    mark_pending(fiber, shared, static_cast<uint32_t>(bytes), true);
    if (source_bytes > 0) count_access(fiber, global, static_cast<uint32_t>(source_bytes), false, pc);
    count_access(fiber, shared, static_cast<uint32_t>(bytes), true,
                 static_cast<const char*>(pc) + 1); // a site of its own
    const HostScope host;
    fiber.copies.push_back({static_cast<char*>(shared), static_cast<const char*>(global), static_cast<uint32_t>(bytes),
                            static_cast<uint32_t>(source_bytes), pc});
    ++fiber.uncommitted;
}

void copy_async_commit() {
    Fiber& fiber = *current_fiber();
    const HostScope host;
    fiber.committed_groups.push_back(fiber.uncommitted);
    fiber.uncommitted = 0;
}

void copy_async_wait(int pending) {
    Fiber& fiber = *current_fiber();
    const size_t groups = fiber.committed_groups.size();
    const size_t keep = static_cast<size_t>(pending);
    if (groups <= keep) return;
    size_t copies = 0;
    for (size_t i = 0; i < groups - keep; ++i) copies += fiber.committed_groups[i];
    complete_oldest(fiber, copies);
    const HostScope host;
    fiber.committed_groups.erase(fiber.committed_groups.begin(),
                                 fiber.committed_groups.begin() + static_cast<std::ptrdiff_t>(groups - keep));
}

} // namespace detail

} // namespace simt
