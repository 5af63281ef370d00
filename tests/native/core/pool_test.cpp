#include "core/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using ftc::Pool;

TEST(Pool, RunsEveryPartOnceWhateverTheThreads) {
    for (const int32_t threads : {1, 2, 3, 7}) {
        Pool pool(threads);
        for (const int64_t parts : {0, 1, 2, 3, 100, 257}) {
            std::vector<std::atomic<int>> calls(static_cast<size_t>(parts));
            std::atomic<bool> bad_thread{false};
            ftc::parallel_for(pool, parts, [&](int64_t part, int32_t thread) {
                calls[static_cast<size_t>(part)]++;
                if (thread < 0 || thread >= threads) bad_thread = true;
            });
            for (const auto& count : calls) EXPECT_EQ(count.load(), 1);
            EXPECT_FALSE(bad_thread.load());
        }
    }
}

TEST(Pool, ManyRegionsInARowAndAfterSleeping) {
    Pool pool(3);
    std::atomic<int64_t> sum{0};
    for (int region = 0; region < 2000; region++) {
        if (region % 500 == 499)
            std::this_thread::sleep_for(std::chrono::milliseconds(3)); // workers sleep on the futex
        ftc::parallel_for(pool, 3, [&](int64_t part, int32_t) { sum += part + 1; });
    }
    EXPECT_EQ(sum.load(), 2000 * 6);
}

TEST(Pool, ScratchIsPerThreadAndKept) {
    Pool pool(2);
    pool.reserve_scratch(4096);
    void* first = pool.scratch(0);
    EXPECT_NE(first, pool.scratch(1));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0U);
    pool.reserve_scratch(1024);
    EXPECT_EQ(pool.scratch(0), first);
    pool.reserve_scratch(5 << 20);
    std::memset(pool.scratch(1), 1, 5 << 20);
}

} // namespace
