// Order between streams: for every stream, how far a piece of work knows it to have come.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace simt {

struct StreamView {
    std::vector<uint64_t> clocks; // by stream slot
    uint64_t all_before = 0;      // every launch with a lower serial has happened before

    void join(const StreamView& other);
    void set(uint32_t slot, uint64_t clock);
};

// The next launch (or copy) of the stream in `slot` gets a serial and a clock, written into its view.
uint64_t begin_launch(StreamView& view, uint32_t slot, uint64_t& stream_clock);
// Moves view.all_before up over launches the view covers.
void advance_all_before(StreamView& view);

} // namespace simt
