#include "stream_order.h"

#include <algorithm>
#include <deque>
#include <mutex>

#include "execution.h"

namespace simt {

namespace {

struct LaunchPlace {
    uint32_t slot;
    uint64_t clock;
};

// Of launches first_serial, first_serial + 1, ...; written between launches, read by workers during one.
struct Places {
    std::deque<LaunchPlace> places;
    uint64_t first_serial = 1;
} the_places;

constexpr size_t kRemembered = 1 << 20;

bool covers(const StreamView& view, const LaunchPlace& place) {
    return place.slot < view.clocks.size() && view.clocks[place.slot] >= place.clock;
}

} // namespace

void StreamView::join(const StreamView& other) {
    if (clocks.size() < other.clocks.size()) clocks.resize(other.clocks.size());
    for (size_t i = 0; i < other.clocks.size(); ++i) clocks[i] = std::max(clocks[i], other.clocks[i]);
    all_before = std::max(all_before, other.all_before);
}

void StreamView::set(uint32_t slot, uint64_t clock) {
    if (clocks.size() <= slot) clocks.resize(slot + 1);
    clocks[slot] = clock;
}

uint64_t begin_launch(StreamView& view, uint32_t slot, uint64_t& stream_clock) {
    advance_all_before(view);
    view.set(slot, ++stream_clock);
    the_places.places.push_back({slot, stream_clock});
    if (the_places.places.size() > kRemembered) {
        the_places.places.pop_front();
        ++the_places.first_serial;
    }
    return the_places.first_serial + the_places.places.size() - 1;
}

void advance_all_before(StreamView& view) {
    const uint64_t end = the_places.first_serial + the_places.places.size();
    view.all_before = std::max(view.all_before, the_places.first_serial);
    while (view.all_before < end && covers(view, the_places.places[view.all_before - the_places.first_serial]))
        ++view.all_before;
}

bool happened_before(uint64_t launch, const StreamView& view) {
    const HostScope host;
    if (launch < view.all_before || launch < the_places.first_serial) return true;
    return covers(view, the_places.places[launch - the_places.first_serial]);
}

} // namespace simt
