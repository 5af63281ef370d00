// Threads of one context. The caller is thread 0; the others wait in a bounded spin, then yield, then sleep (core/os.h):
// a region costs about a microsecond while a step runs, and nothing between steps.
#pragma once

#include <atomic>
#include <cstdint>

namespace ftc {

class Pool {
public:
    using Part = void (*)(void* context, int64_t part, int32_t thread);

    explicit Pool(int32_t threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int32_t threads() const;

    // Calls part(context, i, thread) once for every i in [0, parts), thread in [0, threads()). Thread t takes an even,
    // contiguous range; what a part computes must not depend on the thread that runs it. Parts must not throw.
    void run(int64_t parts, Part part, void* context);

    // Scratch memory of each thread, kept until the context ends: reserve before run() (throws when memory is short),
    // read inside a part. 64-byte aligned, contents undefined.
    void reserve_scratch(int64_t bytes);
    void* scratch(int32_t thread) const;

private:
    struct State;
    State* state_;
};

// run() for a lambda void(int64_t part, int32_t thread). Always inlined: kernel units may share no weak symbols.
template <class Body>
[[gnu::always_inline]] inline void parallel_for(Pool& pool, int64_t parts, const Body& body) {
    struct Call {
        static void part(void* context, int64_t index, int32_t thread) {
            (*static_cast<const Body*>(context))(index, thread);
        }
    };
    pool.run(parts, &Call::part, const_cast<Body*>(&body));
}

} // namespace ftc
