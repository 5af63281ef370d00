#include "launch.h"

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <thread>

namespace simt {

namespace {

Settings settings_of_environment() {
    Settings s;
    if (const char* schedule = std::getenv("FTC_SIM_SCHEDULE")) {
        if (std::strcmp(schedule, "reversed") == 0) s.schedule = Schedule::reversed;
        if (std::strncmp(schedule, "random", 6) == 0) {
            s.schedule = Schedule::random;
            if (schedule[6] == ':') s.seed = std::strtoull(schedule + 7, nullptr, 10);
        }
    }
    if (const char* workers = std::getenv("FTC_SIM_WORKERS")) s.workers = std::atoi(workers);
    if (s.workers < 1 || s.workers > 8) s.workers = 2;
    const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
    s.launch_blocking = blocking != nullptr && std::strcmp(blocking, "1") == 0;
    if (const char* seconds = std::getenv("FTC_SIM_TIMEOUT")) s.timeout_seconds = std::atoi(seconds);
    if (s.timeout_seconds < 1) s.timeout_seconds = 600;
    s.counting = std::getenv("FTC_SIM_COUNT") != nullptr;
    return s;
}

thread_local bool tls_is_worker = false;

// OS threads that wait for launches. They live as long as the process.
class Pool {
public:
    void run(Launch& launch, int workers) {
        std::unique_lock lock(mutex_);
        while (static_cast<int>(threads_.size()) < workers) {
            const int number = static_cast<int>(threads_.size());
            threads_.emplace_back([this, number] { work(number); }).detach();
        }
        launch_ = &launch;
        wanted_ = running_ = workers;
        ++turn_;
        start_.notify_all();
        const std::chrono::seconds limit(settings().timeout_seconds);
        if (!done_.wait_for(lock, limit, [this] { return running_ == 0; })) {
            launch.overdue.store(true);
            done_.wait(lock, [this] { return running_ == 0; });
        }
        launch_ = nullptr;
    }

private:
    void work(int number) {
        tls_is_worker = true;
        Worker* worker = make_worker(number);
        uint64_t seen = 0;
        std::unique_lock lock(mutex_);
        while (true) {
            start_.wait(lock, [&] { return turn_ != seen; });
            seen = turn_;
            if (number >= wanted_) continue;
            Launch* launch = launch_;
            lock.unlock();
            run_blocks(*worker, *launch);
            lock.lock();
            if (--running_ == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable start_, done_;
    std::vector<std::thread> threads_;
    Launch* launch_ = nullptr;
    int wanted_ = 0, running_ = 0;
    uint64_t turn_ = 0;
};

Pool& pool() {
    static Pool* the_pool = new Pool;
    return *the_pool;
}

} // namespace

bool is_worker_thread() {
    return tls_is_worker;
}

Settings& settings() {
    static Settings the_settings = settings_of_environment();
    return the_settings;
}

std::string run_launch(const LaunchRequest& request, uint64_t serial, const StreamView& view) {
    Launch launch;
    launch.request = request;
    launch.serial = serial;
    launch.view = &view;
    launch.blocks = static_cast<uint64_t>(request.grid.x) * request.grid.y * request.grid.z;
    launch.threads = request.block.x * request.block.y * request.block.z;
    const Settings& s = settings();
    launch.schedule = s.schedule;
    launch.seed = s.seed * 1000003 + launch.serial;
    if (s.schedule == Schedule::random) {
        uint64_t factor = (launch.seed * 0x9e3779b97f4a7c15u >> 33) | 1;
        while (std::gcd(factor % launch.blocks, launch.blocks) != 1 && launch.blocks > 1) ++factor;
        launch.permutation_factor = launch.blocks > 1 ? factor % launch.blocks : 0;
        launch.permutation_offset = (launch.seed * 0xbf58476d1ce4e5b9u >> 33) % launch.blocks;
    }
    const int workers = static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(s.workers), launch.blocks));
    LaunchCounters counters;
    if (s.counting) {
        counters.kernel = kernel_name(request);
        counters.grid = request.grid;
        counters.block = request.block;
        launch.counters = &counters;
    }
    pool().run(launch, workers);
    if (s.counting && launch.fault.empty()) {
        counters.read_footprint_bytes = launch.footprint.first.size() * 32;
        counters.written_footprint_bytes = launch.footprint.second.size() * 32;
        finish_counters(std::move(counters));
    }
    return launch.fault.empty() ? std::string() : kernel_name(request) + ": " + resolve_places(launch.fault);
}

void set_schedule(Schedule schedule, uint64_t seed) {
    settings().schedule = schedule;
    settings().seed = seed;
}
void set_workers(int workers) {
    settings().workers = workers < 1 ? 1 : workers > 8 ? 8 : workers;
}
void set_timeout(int seconds) {
    settings().timeout_seconds = seconds < 1 ? 1 : seconds;
}
void set_launch_blocking(bool on) {
    settings().launch_blocking = on;
}

} // namespace simt
