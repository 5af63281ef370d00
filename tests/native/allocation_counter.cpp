// In a unit of its own: inlined beside their callers, these replacements look mismatched to the compiler.
#include "allocation_counter.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> g_allocations{0};
}

int64_t ftc::testing::allocations() {
    return g_allocations;
}

void* operator new(size_t size) {
    g_allocations++;
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}
