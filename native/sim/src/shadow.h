// What is remembered about memory: a cell for every 16 bytes, with the accesses that a later one could race with.
//
// Time inside a block is a pair. The generation counts block-wide barriers: what happened in an earlier one is ordered
// before everything in a later one. Within a generation each thread has a clock, which moves on whenever it releases
// something (__syncwarp, an mbarrier, a fence), and a view: of each other thread, the last clock it has synchronised
// with. (Vector clocks: Mattern 1989; their use for race detection with few records a location: Flanagan and Freund
// 2009.)
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace simt {

constexpr uint32_t kGranule = 16;
constexpr uint16_t kCopyEngine = 1024; // the "thread" of asynchronous copies
constexpr uint32_t kClocks = 1025;

// ---- Shared memory: belongs to one worker.

struct SharedAccess {
    uint16_t mask; // bytes of the granule
    uint16_t thread;
    uint16_t clock;
    uint16_t kind;
    uint32_t pc; // low half
};

constexpr uint32_t kSharedSlots = 6;

struct SharedCell {
    uint32_t block;      // serial of the block `written` and `pending` speak of
    uint32_t generation; // that the accesses belong to; older ones are ordered before whatever comes
    uint16_t written;
    uint16_t pending; // targets of cp.async on its way
    uint16_t last_writer;
    uint8_t count;
    uint8_t any_write;   // among the accesses
    uint32_t write_time; // in fences of the block, for fence.proxy.async
    SharedAccess accesses[kSharedSlots];
};

// A stretch of addresses that is one worker's shared memory: the dynamic window, or a module's thread-local segment.
struct SharedRegion {
    const char* begin = nullptr;
    size_t bytes = 0; // addresses
    size_t limit = 0; // usable, from begin
    SharedCell* cells = nullptr;
    bool dynamic = false;
};

// ---- Global memory: cells are shared by the workers without locks. An update may be lost, which can lose a report but
// not invent one; whether memory has been written, which must be exact, is kept apart in bits.

constexpr uint32_t kGlobalSlots = 4;

struct GlobalCell {
    uint64_t header; // serial of the launch: 32, zero: 23, whether any is no read: 1, count of accesses: 8
    uint64_t accesses[kGlobalSlots];
    uint32_t pcs[kGlobalSlots];
    uint64_t unused;
};
static_assert(sizeof(GlobalCell) == 64);

constexpr uint32_t kClockLimit = (1u << 10) - 1;      // saturated records count as ordered
constexpr uint32_t kGenerationLimit = (1u << 22) - 1; // of one worker in one launch

// One access to global memory in 64 bits.
struct GlobalAccess {
    uint32_t mask, thread, kind, worker, clock, generation;

    uint64_t pack() const {
        return static_cast<uint64_t>(mask) | static_cast<uint64_t>(thread) << 16 | static_cast<uint64_t>(kind) << 27 |
               static_cast<uint64_t>(worker) << 29 | static_cast<uint64_t>(clock) << 32 |
               static_cast<uint64_t>(generation) << 42;
    }
    static GlobalAccess unpack(uint64_t bits) {
        return {static_cast<uint32_t>(bits & 0xffff),
                static_cast<uint32_t>(bits >> 16 & 0x7ff),
                static_cast<uint32_t>(bits >> 27 & 3),
                static_cast<uint32_t>(bits >> 29 & 7),
                static_cast<uint32_t>(bits >> 32 & kClockLimit),
                static_cast<uint32_t>(bits >> 42)};
    }
};

// The written bits of the device's memory.
bool all_written(const void* p, size_t bytes);
void mark_written(const void* p, size_t bytes);

// ---- Order between blocks of a launch: atomics after a __threadfence ("the last block sums up").

struct AtomicHistory;

// What a block had published when it did an atomic operation after a fence.
struct Published {
    uint32_t worker, first_generation; // the block
    uint32_t before_generation;        // everything of these generations
    struct Mark {
        uint32_t thread, generation, clock;
    };
    std::vector<Mark> marks;                                       // and single threads up to a clock
    std::vector<std::pair<const AtomicHistory*, size_t>> acquired; // what it had seen itself
};

struct AtomicHistory {
    std::deque<Published> published; // entries stay where they are
};

// Of one launch.
struct BlockOrder {
    std::mutex mutex;
    std::unordered_map<const void*, AtomicHistory> histories;
};

// Of one block: what it has seen of others.
struct SeenBlocks {
    std::vector<std::pair<const AtomicHistory*, size_t>> acquired;
    bool indexed = false;
    std::map<uint64_t, std::vector<const Published*>> index; // by worker and first generation
};

} // namespace simt
