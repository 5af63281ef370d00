#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "core/memory.h"

namespace ftc {

namespace {

std::string read_first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// A number, or fallback for a missing file, "max" and the like.
int64_t read_number(const std::string& path, int64_t fallback) {
    const std::string text = read_first_line(path);
    char* end = nullptr;
    const long long value = std::strtoll(text.c_str(), &end, 10);
    return end == text.c_str() ? fallback : int64_t{value};
}

// Value of "key value" or "key: value kB" lines; -1 when the key is missing.
int64_t read_key(const std::string& path, const std::string& key) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        if (line.compare(0, key.size(), key) != 0 || line.size() <= key.size()) continue;
        const char next = line[key.size()];
        if (next != ':' && next != ' ') continue;
        const int64_t value = std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
        return line.ends_with("kB") ? value * 1024 : value;
    }
    return -1;
}

// Path of this process in the hierarchy of `controller` ("" is version 2), from /proc/self/cgroup; "/" when not listed.
std::string group_path(const std::string& root, const std::string& controller) {
    std::ifstream file(root + "/proc/self/cgroup");
    std::string line;
    while (std::getline(file, line)) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        std::string controllers(1, ',');
        controllers.append(line, first + 1, second - first - 1).push_back(',');
        std::string wanted(1, ',');
        wanted.append(controller).push_back(',');
        if (controllers.find(wanted) != std::string::npos) return line.substr(second + 1);
    }
    return "/";
}

struct GroupLimits {
    int64_t limit = INT64_MAX;
    int64_t available = INT64_MAX;
    int64_t cpus = INT32_MAX;

    void add_memory(int64_t group_limit, int64_t usage, int64_t reclaimable) {
        if (group_limit <= 0) return;
        limit = std::min(limit, group_limit);
        available = std::min(available, group_limit - usage + std::max<int64_t>(reclaimable, 0));
    }

    void add_quota(int64_t quota, int64_t period) {
        if (quota > 0 && period > 0) cpus = std::min(cpus, (quota + period - 1) / period);
    }
};

// Visits the group and its ancestors: each may be the tightest. A path that is not mounted here (a container without a
// cgroup namespace) ends at the mount's root, which then is this container's own group.
template <class Visit>
void for_each_group(const std::string& mount, std::string path, const Visit& visit) {
    for (;;) {
        visit(mount + (path == "/" ? "" : path));
        if (path.size() <= 1) return;
        const size_t slash = path.find_last_of('/');
        path = slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
    }
}

GroupLimits read_groups(const std::string& root) {
    GroupLimits limits;
    const std::string mount = root + "/sys/fs/cgroup";
    for_each_group(mount, group_path(root, ""), [&](const std::string& group) {
        limits.add_memory(read_number(group + "/memory.max", 0), read_number(group + "/memory.current", 0),
                          read_key(group + "/memory.stat", "inactive_file"));
        const std::string quota = read_first_line(group + "/cpu.max");
        long long used = 0, period = 0;
        if (std::sscanf(quota.c_str(), "%lld %lld", &used, &period) == 2) limits.add_quota(used, period);
    });
    for_each_group(mount + "/memory", group_path(root, "memory"), [&](const std::string& group) {
        limits.add_memory(read_number(group + "/memory.limit_in_bytes", 0),
                          read_number(group + "/memory.usage_in_bytes", 0),
                          read_key(group + "/memory.stat", "total_inactive_file"));
    });
    for_each_group(mount + "/cpu", group_path(root, "cpu"), [&](const std::string& group) {
        limits.add_quota(read_number(group + "/cpu.cfs_quota_us", 0), read_number(group + "/cpu.cfs_period_us", 0));
    });
    return limits;
}

} // namespace

MachineLimits read_machine_limits(const char* root) {
    const std::string base = root;
    const GroupLimits groups = read_groups(base);
    const int64_t total = read_key(base + "/proc/meminfo", "MemTotal");
    const int64_t available = read_key(base + "/proc/meminfo", "MemAvailable");
    MachineLimits limits{};
    limits.memory_total_bytes = std::min(total < 0 ? INT64_MAX : total, groups.limit);
    limits.memory_available_bytes =
        std::max<int64_t>(0, std::min(available < 0 ? INT64_MAX : available, groups.available));
    limits.cpu_quota = static_cast<int32_t>(std::min<int64_t>(groups.cpus, INT32_MAX));
    return limits;
}

} // namespace ftc
