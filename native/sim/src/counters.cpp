// Memory traffic and operations of a launch. On a GPU the lanes of a warp run an instruction together; here they run
// one after the other. So accesses are gathered by instruction (pc) and by how often the lane has come to it since the
// warp last did something together, and an access of the warp is what has the same of both.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "counters.h"
#include "execution.h"
#include "launch.h"
#include "memory.h"

namespace simt {

namespace {

struct Key {
    const void* pc;
    uint32_t warp, epoch, turn;
    bool operator==(const Key&) const = default;
};
struct KeyHash {
    size_t operator()(const Key& key) const {
        uint64_t h = reinterpret_cast<uintptr_t>(key.pc) * 0x9e3779b97f4a7c15u;
        h ^= (static_cast<uint64_t>(key.epoch) << 32 | key.turn) + (h >> 29);
        h = (h + key.warp) * 0xbf58476d1ce4e5b9u;
        return h ^ h >> 32;
    }
};

struct WarpAccess {
    uint32_t lanes = 0;
    uint8_t bytes = 0;
    bool write = false, shared = false;
    uint64_t address[32];
};

struct Turn {
    uint32_t epoch = 0, next = 0;
};

uint64_t pc_and_thread(const void* pc, uint32_t thread) {
    return reinterpret_cast<uintptr_t>(pc) << 11 ^ thread;
}

} // namespace

struct WorkerCounters {
    LaunchCounters totals;
    std::unordered_map<const void*, AccessSite> sites;
    std::unordered_map<Key, WarpAccess, KeyHash> open;
    std::unordered_map<uint64_t, Turn> turns; // by pc and thread
    std::unordered_set<uint64_t> read_sectors, written_sectors;

    AccessSite& site(const void* pc, bool shared, bool write) {
        AccessSite& s = sites[pc];
        s.pc = pc;
        s.shared = shared;
        s.write = write;
        return s;
    }

    void finish(const void* pc, const WarpAccess& access) {
        AccessSite& s = site(pc, access.shared, access.write);
        if (access.shared)
            finish_shared(s, access);
        else
            finish_global(s, access);
    }

    void finish_global(AccessSite& s, const WarpAccess& access) {
        uint64_t starts[32];
        uint32_t count = 0;
        for (uint32_t rest = access.lanes; rest != 0; rest &= rest - 1)
            starts[count++] = access.address[__builtin_ctz(rest)];
        std::sort(starts, starts + count);
        uint64_t end = 0, last_sector = ~uint64_t{0};
        auto& footprint = access.write ? written_sectors : read_sectors;
        for (uint32_t i = 0; i < count; ++i) {
            const uint64_t from = std::max(starts[i], end), to = starts[i] + access.bytes;
            if (to > from) s.bytes += to - from;
            end = std::max(end, to);
            for (uint64_t sector = starts[i] / 32; sector <= (to - 1) / 32; ++sector) {
                if (sector == last_sector) continue;
                last_sector = sector;
                ++s.sectors;
                footprint.insert(sector);
            }
        }
        ++s.accesses;
    }

    void finish_shared(AccessSite& s, const WarpAccess& access) {
        const uint32_t width = access.bytes > 8 ? 8 : access.bytes > 4 ? 16 : 32; // lanes in a phase
        for (uint32_t first = 0; first < 32; first += width) {
            const uint32_t lanes = access.lanes & ((width == 32 ? ~0u : (1u << width) - 1u) << first);
            if (lanes == 0) continue;
            uint64_t words[64];
            uint32_t count = 0;
            for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
                const uint64_t at = access.address[__builtin_ctz(rest)];
                for (uint64_t word = at / 4; word <= (at + access.bytes - 1) / 4; ++word) words[count++] = word;
            }
            std::sort(words, words + count);
            count = static_cast<uint32_t>(std::unique(words, words + count) - words);
            uint32_t in_bank[32] = {}, fullest = 0;
            for (uint32_t i = 0; i < count; ++i) fullest = std::max(fullest, ++in_bank[words[i] % 32]);
            ++s.accesses;
            s.passes += fullest;
            s.bytes += count * 4;
        }
    }
};

void begin_launch_counters(Worker& worker) {
    worker.counters = worker.launch->counters != nullptr ? new WorkerCounters : nullptr;
}

void end_block_counters(Worker& worker) {
    if (worker.counters == nullptr) return;
    WorkerCounters& c = *worker.counters;
    for (const auto& [key, access] : c.open) c.finish(key.pc, access);
    c.open.clear();
    c.turns.clear();
}

void end_launch_counters(Worker& worker) {
    if (worker.counters == nullptr) return;
    WorkerCounters& c = *worker.counters;
    Launch& launch = *worker.launch;
    {
        const std::lock_guard lock(launch.counters_mutex);
        LaunchCounters& total = *launch.counters;
        total.mma += c.totals.mma;
        total.mma_flops += c.totals.mma_flops;
        total.special += c.totals.special;
        for (const auto& [pc, site] : c.sites) {
            auto known = std::find_if(total.sites.begin(), total.sites.end(),
                                      [pc = pc](const AccessSite& s) { return s.pc == pc; });
            if (known == total.sites.end()) {
                total.sites.push_back(site);
                continue;
            }
            known->accesses += site.accesses;
            known->bytes += site.bytes;
            known->sectors += site.sectors;
            known->passes += site.passes;
        }
        launch.footprint.first.insert(c.read_sectors.begin(), c.read_sectors.end());
        launch.footprint.second.insert(c.written_sectors.begin(), c.written_sectors.end());
    }
    delete worker.counters;
    worker.counters = nullptr;
}

void count_access(Fiber& fiber, const void* p, uint32_t bytes, bool write, const void* pc) {
    Worker& worker = *fiber.worker;
    if (worker.counters == nullptr) return;
    const bool shared = shared_region(worker, p) != nullptr;
    if (!shared && !in_arena(p) && find_registered(p) == nullptr) return; // constants
    const HostScope host;
    WorkerCounters& c = *worker.counters;
    Turn& turn = c.turns[pc_and_thread(pc, fiber.thread)];
    if (turn.epoch != fiber.count_epoch) turn = {fiber.count_epoch, 0};
    const auto entry = c.open.try_emplace(Key{pc, fiber.warp, fiber.count_epoch, turn.next++}).first;
    WarpAccess& access = entry->second;
    access.bytes = static_cast<uint8_t>(bytes);
    access.write = write;
    access.shared = shared;
    access.lanes |= 1u << fiber.lane;
    access.address[fiber.lane] = reinterpret_cast<uintptr_t>(p);
    if ((access.lanes | worker.finished[fiber.warp]) != ~0u) return;
    c.finish(pc, access);
    c.open.erase(entry);
}

void count_matrix_rows(Worker& worker, const void* const* rows, uint32_t count, bool write, const void* pc) {
    if (worker.counters == nullptr) return;
    const HostScope host;
    WarpAccess access;
    access.bytes = 16;
    access.write = write;
    access.shared = true;
    for (uint32_t i = 0; i < count; ++i) {
        access.lanes |= 1u << i;
        access.address[i] = reinterpret_cast<uintptr_t>(rows[i]);
    }
    worker.counters->finish(pc, access);
}

void count_bulk(Worker& worker, const void* p, size_t bytes, bool write, const void* pc) {
    if (worker.counters == nullptr) return;
    const HostScope host;
    WorkerCounters& c = *worker.counters;
    AccessSite& s = c.site(pc, false, write);
    const uint64_t start = reinterpret_cast<uintptr_t>(p);
    ++s.accesses;
    s.bytes += bytes;
    for (uint64_t sector = start / 32; sector <= (start + bytes - 1) / 32; ++sector) {
        ++s.sectors;
        (write ? c.written_sectors : c.read_sectors).insert(sector);
    }
}

void count_mma(Worker& worker, uint64_t flops) {
    if (worker.counters == nullptr) return;
    ++worker.counters->totals.mma;
    worker.counters->totals.mma_flops += flops;
}

namespace detail {
void count_special() noexcept {
    const Fiber* fiber = current_fiber();
    if (fiber != nullptr && fiber->worker->counters != nullptr) ++fiber->worker->counters->totals.special;
}
} // namespace detail

// ---- The list that the test reads.

namespace {

std::mutex list_mutex;
std::vector<LaunchCounters> list;

void append_to_file(const LaunchCounters& c) {
    static const char* path = std::getenv("FTC_SIM_COUNT");
    if (path == nullptr) return;
    FILE* file = std::fopen(path, "a");
    if (file == nullptr) return;
    std::fprintf(file,
                 "%s\tgrid %u,%u,%u\tblock %u,%u,%u\tread %llu\twritten %llu\tsector efficiency %.3f\tread footprint "
                 "%llu\twritten footprint %llu\tshared passes per access %.3f\tmma flops %llu\tspecial %llu\n",
                 c.kernel.c_str(), c.grid.x, c.grid.y, c.grid.z, c.block.x, c.block.y, c.block.z,
                 static_cast<unsigned long long>(c.global_read_bytes),
                 static_cast<unsigned long long>(c.global_written_bytes), c.sector_efficiency(),
                 static_cast<unsigned long long>(c.read_footprint_bytes),
                 static_cast<unsigned long long>(c.written_footprint_bytes), c.passes_per_shared_access(),
                 static_cast<unsigned long long>(c.mma_flops), static_cast<unsigned long long>(c.special));
    std::fclose(file);
}

} // namespace

void finish_counters(LaunchCounters counters) {
    for (const AccessSite& site : counters.sites) {
        if (site.shared) {
            counters.shared_accesses += site.accesses;
            counters.shared_passes += site.passes;
        } else if (site.write) {
            counters.global_written_bytes += site.bytes;
            counters.global_written_sectors += site.sectors;
        } else {
            counters.global_read_bytes += site.bytes;
            counters.global_read_sectors += site.sectors;
        }
    }
    append_to_file(counters);
    const std::lock_guard lock(list_mutex);
    list.push_back(std::move(counters));
}

void count_stream_work(const char* name, uint64_t read_bytes, uint64_t written_bytes, uint64_t flops) {
    if (!settings().counting) return;
    LaunchCounters counters;
    counters.kernel = name;
    counters.read_footprint_bytes = read_bytes;
    counters.written_footprint_bytes = written_bytes;
    counters.mma_flops = flops;
    if (read_bytes > 0) counters.sites.push_back({nullptr, false, false, 1, read_bytes, (read_bytes + 31) / 32, 0});
    if (written_bytes > 0)
        counters.sites.push_back({nullptr, false, true, 1, written_bytes, (written_bytes + 31) / 32, 0});
    finish_counters(std::move(counters));
}

double LaunchCounters::sector_efficiency() const {
    const uint64_t sectors = global_read_sectors + global_written_sectors;
    return sectors == 0
               ? 1.0
               : static_cast<double>(global_read_bytes + global_written_bytes) / (32.0 * static_cast<double>(sectors));
}
double LaunchCounters::passes_per_shared_access() const {
    return shared_accesses == 0 ? 1.0 : static_cast<double>(shared_passes) / static_cast<double>(shared_accesses);
}

void set_counting(bool on) {
    settings().counting = on;
}
std::vector<LaunchCounters> take_counters() {
    const std::lock_guard lock(list_mutex);
    return std::exchange(list, {});
}

} // namespace simt
