// The CUDA library on a GPU.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

#include "variants.h"

namespace ftc::testing {

namespace {

// Blocks of 256 bytes times a power of two, the exponent kept in front; freed blocks are used again.
constexpr size_t kSmallest = 256, kClasses = 32, kPiece = size_t{256} << 20;
struct Free {
    Free* next;
};
Free* g_free[kClasses];
char* g_piece = nullptr;
size_t g_left = 0;

void* managed(size_t size) {
    void* p = nullptr;
    if (cudaMallocManaged(&p, size, cudaMemAttachGlobal) != cudaSuccess) {
        std::fputs("no GPU: cudaMallocManaged failed\n", stderr);
        std::_Exit(77);
    }
    return p;
}

} // namespace

void* device_allocate(size_t size) {
    size_t size_class = 0;
    while ((kSmallest << size_class) < size + kSmallest) ++size_class;
    const size_t bytes = kSmallest << size_class;
    char* block;
    if (g_free[size_class] != nullptr) {
        block = reinterpret_cast<char*>(g_free[size_class]);
        g_free[size_class] = g_free[size_class]->next;
    } else if (bytes > kPiece / 4) {
        block = static_cast<char*>(managed(bytes));
    } else {
        if (g_left < bytes) {
            g_piece = static_cast<char*>(managed(kPiece));
            g_left = kPiece;
        }
        block = g_piece;
        g_piece += bytes;
        g_left -= bytes;
    }
    *reinterpret_cast<size_t*>(block) = size_class;
    return block + kSmallest;
}

void device_free(void* p) {
    if (p == nullptr) return;
    char* block = static_cast<char*>(p) - kSmallest;
    const size_t size_class = *reinterpret_cast<size_t*>(block);
    auto* free_block = reinterpret_cast<Free*>(block);
    free_block->next = g_free[size_class];
    g_free[size_class] = free_block;
}


std::vector<std::string> variants() {
    return {"gpu"};
}

void select_variant(const std::string&) {}

std::string same_bits_as(const std::string&) {
    return "";
}

std::vector<int32_t> thread_counts() {
    return {1};
}

bool is_simulated() {
    return false;
}

bool rounds_weights(const std::string&) {
    return true;
}

} // namespace ftc::testing
