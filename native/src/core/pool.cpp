#include "core/pool.h"

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "core/memory.h"
#include "core/os.h"

namespace ftc {

namespace {

// A wake-up costs 80-100 us once a virtual CPU has halted, so spinning through the serial gaps inside a step pays;
// yielding early keeps an oversubscribed machine alive.
constexpr int kSpins = 1500;
constexpr std::chrono::microseconds kYieldTime{200};

// Tells the core that this is a spin.
void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    asm volatile("yield");
#endif
}

// A counter that one side advances and others wait on.
struct alignas(64) Signal {
    std::atomic<uint32_t> value{0};
    std::atomic<uint32_t> sleepers{0};

    void add(uint32_t amount) {
        value.fetch_add(amount, std::memory_order_seq_cst);
        if (sleepers.load(std::memory_order_seq_cst) != 0) os::wake_all(value);
    }

    // Returns once `done(value)` holds.
    template <class Done>
    void wait(const Done& done) {
        for (int i = 0; i < kSpins; i++) {
            if (done(value.load(std::memory_order_acquire))) return;
            relax();
        }
        const auto deadline = std::chrono::steady_clock::now() + kYieldTime;
        do {
            if (done(value.load(std::memory_order_acquire))) return;
            std::this_thread::yield();
        } while (std::chrono::steady_clock::now() < deadline);
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        for (;;) {
            const uint32_t seen = value.load(std::memory_order_seq_cst);
            if (done(seen)) break;
            os::wait(value, seen);
        }
        sleepers.fetch_sub(1, std::memory_order_seq_cst);
    }
};

} // namespace

struct Pool::State {
    int32_t threads = 1;
    std::vector<std::thread> workers;
    std::vector<Memory> scratch;

    Signal started;  // regions begun
    Signal finished; // workers that are through with the current region, over all regions
    std::atomic<bool> stop{false};
    uint32_t expected_finished = 0;

    Part part = nullptr;
    void* context = nullptr;
    int64_t parts = 0;

    void run_share(int32_t thread) const {
        const int64_t begin = parts * thread / threads;
        const int64_t end = parts * (thread + 1) / threads;
        for (int64_t i = begin; i < end; i++) part(context, i, thread);
    }

    void work(int32_t thread) {
        for (uint32_t region = 0;; region++) {
            started.wait([region](uint32_t value) { return value != region; });
            if (stop.load(std::memory_order_relaxed)) return;
            run_share(thread);
            finished.add(1);
        }
    }

    void stop_workers() {
        stop.store(true, std::memory_order_relaxed);
        started.add(1);
        for (std::thread& worker : workers) worker.join();
    }
};

Pool::Pool(int32_t threads) : state_(nullptr) {
    auto state = std::make_unique<State>();
    state->threads = threads;
    state->scratch.resize(static_cast<size_t>(threads));
    try {
        for (int32_t t = 1; t < threads; t++) state->workers.emplace_back([s = state.get(), t] { s->work(t); });
    } catch (...) {
        state->stop_workers();
        throw;
    }
    state_ = state.release();
}

Pool::~Pool() {
    state_->stop_workers();
    delete state_;
}

int32_t Pool::threads() const {
    return state_->threads;
}

void Pool::run(int64_t parts, Part part, void* context) {
    State& state = *state_;
    if (parts <= 0) return;
    if (parts == 1 || state.threads == 1) {
        for (int64_t i = 0; i < parts; i++) part(context, i, 0);
        return;
    }
    state.part = part;
    state.context = context;
    state.parts = parts;
    state.expected_finished += static_cast<uint32_t>(state.threads - 1);
    state.started.add(1);
    state.run_share(0);
    state.finished.wait([goal = state.expected_finished](uint32_t value) { return value == goal; });
}

void Pool::reserve_scratch(int64_t bytes) {
    for (Memory& memory : state_->scratch)
        if (memory.size() < bytes) memory = Memory(bytes);
}

void* Pool::scratch(int32_t thread) const {
    return state_->scratch[static_cast<size_t>(thread)].data();
}

} // namespace ftc
