#include <gtest/gtest.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/memory.h"

namespace {

// A made-up /proc and /sys.
class MachineLimits : public ::testing::Test {
protected:
    void SetUp() override {
        root_ = std::filesystem::temp_directory_path() /
                (std::string("ftc_limits_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
        std::filesystem::remove_all(root_);
        write("/proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n");
    }
    void TearDown() override { std::filesystem::remove_all(root_); }

    void write(const std::string& path, const std::string& text) {
        const std::filesystem::path file = root_.string() + path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    ftc::MachineLimits read() const { return ftc::read_machine_limits(root_.c_str()); }

    std::filesystem::path root_;
};

TEST_F(MachineLimits, WithoutControlGroupsTheMachineCounts) {
    EXPECT_EQ(read().memory_total_bytes, 1000 * 1024);
    EXPECT_EQ(read().memory_available_bytes, 600 * 1024);
    EXPECT_EQ(read().cpu_quota, INT32_MAX);
}

TEST_F(MachineLimits, Version2TakesTheTightestAncestor) {
    write("/proc/self/cgroup", "0::/outer/inner\n");
    write("/sys/fs/cgroup/outer/memory.max", "409600\n");
    write("/sys/fs/cgroup/outer/memory.current", "204800\n");
    write("/sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 102400\n");
    write("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write("/sys/fs/cgroup/outer/inner/cpu.max", "150000 100000\n");
    write("/sys/fs/cgroup/outer/cpu.max", "max 100000\n");
    EXPECT_EQ(read().memory_total_bytes, 409600);
    EXPECT_EQ(read().memory_available_bytes, 409600 - 204800 + 102400); // file cache can be dropped
    EXPECT_EQ(read().cpu_quota, 2);                                     // 1.5 CPUs, rounded up
}

TEST_F(MachineLimits, Version1) {
    write("/proc/self/cgroup", "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n");
    write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "307200\n"); // the container's own, mounted as the root
    write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "7200\n");
    write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(read().memory_total_bytes, 307200);
    EXPECT_EQ(read().memory_available_bytes, 300000);
    EXPECT_EQ(read().cpu_quota, INT32_MAX);
}

} // namespace
