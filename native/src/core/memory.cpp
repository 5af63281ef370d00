#include "core/memory.h"

#include <cstring>
#include <utility>

#include "core/os.h"

namespace ftc {

namespace {
constexpr int64_t kAlignment = 64;
} // namespace

Memory::Memory(int64_t bytes) {
    if (bytes >= os::kHugePage) {
        data_ = os::map(bytes, &mapped_);
    } else {
        const int64_t rounded = bytes == 0 ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
        data_ = os::allocate_aligned(kAlignment, rounded);
        std::memset(data_, 0, static_cast<size_t>(rounded));
    }
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
        os::unmap(data_, mapped_);
    else if (data_ != nullptr)
        os::free_aligned(data_);
}

} // namespace ftc
