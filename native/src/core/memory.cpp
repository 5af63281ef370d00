#include "core/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace ftc {

namespace {
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kPage = 4096;
constexpr int64_t kAlignment = 64;

void* map_aligned(int64_t bytes) {
    const size_t reserved = static_cast<size_t>(bytes + kHugePage);
    void* raw = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const uintptr_t start = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (start + kHugePage - 1) & ~static_cast<uintptr_t>(kHugePage - 1);
    if (aligned > start) munmap(raw, aligned - start);
    const uintptr_t end = start + reserved;
    const uintptr_t used_end = aligned + static_cast<uintptr_t>(bytes);
    if (end > used_end) munmap(reinterpret_cast<void*>(used_end), end - used_end);
    return reinterpret_cast<void*>(aligned);
}

} // namespace

Memory::Memory(int64_t bytes) {
    if (bytes >= kHugePage) {
        // A huge page that would stay half empty is a waste where there are many buffers: such an end gets small pages.
        const int64_t end = bytes % kHugePage, page = end > kHugePage / 2 ? kHugePage : kPage;
        mapped_ = bytes - end + (end + page - 1) / page * page;
        data_ = map_aligned(mapped_);
        size_ = bytes;
        const size_t mapped = static_cast<size_t>(mapped_);
        madvise(data_, mapped / kHugePage * kHugePage, MADV_HUGEPAGE);
        if (madvise(data_, mapped, MADV_POPULATE_WRITE) != 0) std::memset(data_, 0, mapped); // before Linux 5.14
        return;
    }
    const size_t rounded = static_cast<size_t>((bytes + kAlignment - 1) / kAlignment * kAlignment);
    data_ = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_, 0, rounded);
    size_ = bytes;
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
    return *this;
}

Memory::~Memory() {
    if (mapped_ != 0)
        munmap(data_, static_cast<size_t>(mapped_));
    else
        std::free(data_);
}

} // namespace ftc
