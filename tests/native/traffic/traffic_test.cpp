// Runs every case with the simulator counting, holds it to the budgets, and the whole to the committed table
// benchmarks/results/sim/traffic.md. FTC_WRITE_TRAFFIC=1 writes the table instead; FTC_SHOW_TRAFFIC=1 prints the
// accesses of each case, line by line.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "simt/control.h"
#include "traffic/traffic.h"

namespace ftc::testing {
namespace {

constexpr double kBytesBudget = 1.05;      // of what the algorithm cannot do without
constexpr double kSectorBudget = 0.90;     // of the bytes of sectors moved somebody asks for
constexpr double kSharedBudget = 1.10;     // passes an access to shared memory
constexpr double kBytesPerSecond = 4.3e12; // of an H200, as a copy measures it

const std::vector<TrafficCase>& cases() {
    static const std::vector<TrafficCase> all = [] {
        std::vector<TrafficCase> list = quant_traffic();
        for (const auto& more : {linear_traffic(), attention_traffic(), elementwise_traffic()})
            list.insert(list.end(), more.begin(), more.end());
        return list;
    }();
    return all;
}

struct Counted {
    std::vector<simt::AccessSite> sites;
    double read = 0, written = 0, sectors = 0, different = 0, shared_accesses = 0, shared_passes = 0, mma_flops = 0,
           special = 0;
    int launches = 0;
    double bytes() const { return read + written; }
    double moved(const TrafficCase& c) const { return c.cached ? different : bytes(); } // what the budget is about
    double sector_efficiency() const { return sectors == 0 ? 1.0 : bytes() / (32.0 * sectors); }
    double passes() const { return shared_accesses == 0 ? 1.0 : shared_passes / shared_accesses; }
};

Counted count(const TrafficCase& c) {
    static std::map<std::string, Counted> done; // a case runs once, for its own test or for the table
    const std::string key = c.op + c.counted.shape;
    if (const auto found = done.find(key); found != done.end()) return found->second;
    Device device("ordered");
    simt::take_counters();
    simt::set_counting(true);
    c.run(device);
    simt::set_counting(false);
    Counted sum;
    for (const simt::LaunchCounters& launch : simt::take_counters()) {
        if (launch.kernel.rfind("cuda", 0) == 0) continue; // copies and fills
        if (launch.kernel.find(c.kernels) == std::string::npos) continue;
        sum.launches++;
        sum.read += double(launch.global_read_bytes);
        sum.written += double(launch.global_written_bytes);
        sum.sectors += double(launch.global_read_sectors + launch.global_written_sectors);
        sum.different += double(launch.read_footprint_bytes + launch.written_footprint_bytes);
        sum.shared_accesses += double(launch.shared_accesses);
        sum.shared_passes += double(launch.shared_passes);
        sum.mma_flops += double(launch.mma_flops);
        sum.special += double(launch.special);
        sum.sites.insert(sum.sites.end(), launch.sites.begin(), launch.sites.end());
    }
    return done[key] = sum;
}

// The accesses that move most, line by line: where to look when a case is over its budget.
std::string sites_of(const Counted& sum) {
    std::vector<simt::AccessSite> sites = sum.sites;
    std::sort(sites.begin(), sites.end(), [](const simt::AccessSite& a, const simt::AccessSite& b) {
        return a.sectors + a.passes > b.sectors + b.passes;
    });
    std::string text = "\n";
    for (size_t i = 0; i < sites.size() && i < 12; i++) {
        const simt::AccessSite& site = sites[i];
        char line[512];
        std::snprintf(line, sizeof(line), "  %s %s %.3f MB, %llu sectors, %llu accesses, %llu passes, %s\n",
                      site.shared ? "shared" : "global", site.write ? "write" : "read", double(site.bytes) / 1e6,
                      static_cast<unsigned long long>(site.sectors), static_cast<unsigned long long>(site.accesses),
                      static_cast<unsigned long long>(site.passes), simt::place_of(site.pc).c_str());
        text += line;
    }
    return text;
}

class Traffic : public ::testing::TestWithParam<size_t> {};

TEST_P(Traffic, StaysWithinItsBudget) {
    const TrafficCase& c = cases()[GetParam()];
    const Counted sum = count(c);
    ASSERT_GT(sum.launches, 0) << "no launch of a kernel named like " << c.kernels;
    if (std::getenv("FTC_SHOW_TRAFFIC") != nullptr) std::fputs((c.op + sites_of(sum)).c_str(), stdout);
    SCOPED_TRACE(sites_of(sum));
    EXPECT_LE(sum.moved(c), c.budget * c.counted.bytes) << c.op << " at " << c.counted.shape;
    EXPECT_GE(sum.moved(c), 0.95 * c.counted.bytes) << c.op << ": fewer bytes than the algorithm needs; is it right?";
    EXPECT_GE(sum.sector_efficiency(), kSectorBudget) << c.op << " at " << c.counted.shape;
    EXPECT_LE(sum.passes(), kSharedBudget) << c.op << " at " << c.counted.shape;
}

INSTANTIATE_TEST_SUITE_P(Cases, Traffic, ::testing::Range(size_t{0}, cases().size()), [](const auto& one) {
    std::string name;
    for (const char letter : cases()[one.param].op + "_" + cases()[one.param].counted.shape)
        if (std::isalnum(static_cast<unsigned char>(letter)) != 0) name += letter;
    return name;
});

// Bold when over its budget.
std::string figure(const char* format, double value, bool over) {
    char text[32];
    std::snprintf(text, sizeof(text), format, value);
    return over ? "**" + std::string(text) + "**" : text;
}

std::string table() {
    std::string text = "# Memory traffic of the CUDA kernels, counted\n"
                       "\n"
                       "Written by `./build.sh traffic`, checked by `./build.sh test`; no GPU was involved. The "
                       "simulator counts the bytes\n"
                       "that the lanes of each access to global memory ask for (read twice, counted twice) and the "
                       "32-byte sectors those\n"
                       "lie in. `asked` and `different`: those bytes, and the bytes of different sectors a launch "
                       "touches, over what any\n"
                       "implementation has to read and write once. Asked stays within 1.05; where blocks read a small "
                       "operand again that\n"
                       "the L2 cache holds (marked L2: a few rows of X, an adapter), different does. Sector "
                       "efficiency: bytes asked for, of\n"
                       "the bytes of the sectors; at least 90 %. Passes: of an access to shared memory, 1 without bank "
                       "conflicts; at most\n"
                       "1.10. Bold: over budget. The floor is what the real shape moves over 4.3 TB/s, what a copy "
                       "reaches on an H200: no\n"
                       "kernel that moves these bytes is faster, and one that is bound by memory is nearly as fast.\n"
                       "\n"
                       "| op | counted at | launches | MB read | MB written | asked | different | sectors % | passes | "
                       "real shape | MB | "
                       "H200 floor µs |\n"
                       "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for (const TrafficCase& c : cases()) {
        const Counted sum = count(c);
        const double ratio = sum.moved(c) / c.counted.bytes, real = c.real.bytes * ratio;
        const std::string asked = figure("%.3f", sum.bytes() / c.counted.bytes, !c.cached && ratio > kBytesBudget);
        const std::string different = figure("%.3f", sum.different / c.counted.bytes, c.cached && ratio > kBytesBudget);
        char line[512];
        std::snprintf(line, sizeof(line), "| %s | %s | %d | %.2f | %.2f | %s | %s | %s | %s | %s | %.1f | %.1f |\n",
                      c.op.c_str(), c.counted.shape.c_str(), sum.launches, sum.read / 1e6, sum.written / 1e6,
                      asked.c_str(), (different + (c.cached ? " L2" : "")).c_str(),
                      figure("%.1f", 100 * sum.sector_efficiency(), sum.sector_efficiency() < kSectorBudget).c_str(),
                      figure("%.2f", sum.passes(), sum.passes() > kSharedBudget).c_str(), c.real.shape.c_str(),
                      real / 1e6, real / kBytesPerSecond * 1e6);
        text += line;
    }
    return text;
}

TEST(TrafficTable, IsTheCommittedOne) {
    const std::string path = std::string(FTC_REPOSITORY_ROOT) + "/benchmarks/results/sim/traffic.md";
    const std::string fresh = table();
    if (std::getenv("FTC_WRITE_TRAFFIC") != nullptr) {
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << fresh;
        return;
    }
    std::stringstream committed;
    committed << std::ifstream(path).rdbuf();
    EXPECT_EQ(committed.str(), fresh) << "kernels move other bytes than " << path << " says: run ./build.sh traffic";
}

} // namespace
} // namespace ftc::testing
