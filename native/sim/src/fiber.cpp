#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#if !defined(__x86_64__)
#error "simt: the fiber switch is written for x86-64 only"
#endif

// The callee-saved registers of the System V ABI; control words are the same in every fiber.
asm(R"(
    .text
    .p2align 4
    .globl simt_switch_stack
    .hidden simt_switch_stack
    .type simt_switch_stack, @function
simt_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size simt_switch_stack, .-simt_switch_stack
)");

namespace simt {

void* prepare_stack(char* bottom, size_t colour, void (*entry)()) {
    uintptr_t top = (reinterpret_cast<uintptr_t>(bottom) + kStackBytes - colour) & ~uintptr_t{63};
    auto* slot = reinterpret_cast<uint64_t*>(top - 8);
    *slot = 0;                                   // entry's return address: at entry the stack pointer is 8 mod 16
    *--slot = reinterpret_cast<uint64_t>(entry); // where the switch's ret goes
    for (int i = 0; i < 6; ++i) *--slot = 0;     // the six registers it pops before
    return slot;
}

char* map_stacks(size_t count) {
    const size_t bytes = count * stack_stride();
    void* p =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    char* base = static_cast<char*>(p);
    for (size_t i = 0; i < count; ++i) mprotect(base + i * stack_stride(), 4096, PROT_NONE);
    return base + 4096;
}

} // namespace simt
