// The heap of a test program of the CUDA library: memory that host and device both reach, so that tests written for
// ordinary vectors run on the device as they are. Linked into programs of the simulator, where every block has bounds of
// its own, and of a GPU, where blocks are cut from large pieces.
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

#include "cuda/runtime.h"

namespace {

#if defined(FTC_SIM)

// What the simulator itself allocates while it allocates comes from here and stays.
alignas(64) char g_own[1 << 20];
size_t g_own_used = 0;
thread_local bool g_inside = false;

bool is_own(const void* p) {
    return p >= g_own && p < g_own + sizeof(g_own);
}

void* take(size_t size) {
    if (g_inside) {
        void* p = g_own + g_own_used;
        g_own_used += (size + 63) / 64 * 64;
        if (g_own_used > sizeof(g_own)) throw std::bad_alloc();
        return p;
    }
    g_inside = true;
    void* p = nullptr;
    const cudaError_t error = cudaMallocManaged(&p, size == 0 ? 1 : size);
    g_inside = false;
    if (error != cudaSuccess) throw std::bad_alloc();
    return p;
}

void give(void* p) {
    if (p == nullptr || is_own(p)) return;
    g_inside = true;
    cudaFree(p);
    g_inside = false;
}

#else

// Blocks of 256 bytes times a power of two, the exponent kept in front; freed blocks are used again.
constexpr size_t kSmallest = 256, kClasses = 32, kPiece = size_t{256} << 20;
struct Free {
    Free* next;
};
std::mutex g_mutex;
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

void* take(size_t size) {
    size_t size_class = 0;
    while ((kSmallest << size_class) < size + kSmallest) ++size_class;
    const size_t bytes = kSmallest << size_class;
    const std::lock_guard lock(g_mutex);
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

void give(void* p) {
    if (p == nullptr) return;
    char* block = static_cast<char*>(p) - kSmallest;
    const size_t size_class = *reinterpret_cast<size_t*>(block);
    const std::lock_guard lock(g_mutex);
    auto* free_block = reinterpret_cast<Free*>(block);
    free_block->next = g_free[size_class];
    g_free[size_class] = free_block;
}

#endif

} // namespace

void* operator new(size_t size) {
    return take(size);
}
void* operator new[](size_t size) {
    return take(size);
}
void operator delete(void* p) noexcept {
    give(p);
}
void operator delete[](void* p) noexcept {
    give(p);
}
void operator delete(void* p, size_t) noexcept {
    give(p);
}
void operator delete[](void* p, size_t) noexcept {
    give(p);
}
