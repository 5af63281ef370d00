// Switching between stacks: the threads of a block are fibers of one OS thread.
#pragma once

#include <cstddef>

namespace simt {

constexpr size_t kStackBytes = 64 * 1024;

// Saves where the caller stands in *save and goes on where `load` was saved.
extern "C" void simt_switch_stack(void** save, void* load);

// A stack pointer which, when switched to, calls entry() on the stack [bottom, bottom + kStackBytes). entry never
// returns. `colour` moves the top down, so that the hot ends of many stacks do not share one set of the first-level
// cache.
void* prepare_stack(char* bottom, size_t colour, void (*entry)());

// Maps `count` stacks, each with an unreadable page below it; returns the lowest, the next are stack_stride() apart.
char* map_stacks(size_t count);
constexpr size_t stack_stride() {
    return kStackBytes + 4096;
}

} // namespace simt
