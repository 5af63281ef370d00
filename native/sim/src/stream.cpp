#include "stream.h"

#include "launch.h"
#include "memory.h"

namespace simt {

namespace {

// Work that could run now: the head of a queue, unless it waits for an event that has not come.
bool ready(const simt_stream* stream) {
    return !stream->queue.empty() && (!stream->queue.front().wait_for || stream->queue.front().wait_for->done);
}

// Ordered runs what was enqueued first; reversed runs the wanted stream as far as it goes, then the youngest other;
// random takes any.
simt_stream* choose(Device& d, simt_stream* wanted) {
    simt_stream* chosen = nullptr;
    uint32_t candidates = 0;
    if (settings().schedule == Schedule::reversed && wanted != nullptr && ready(wanted)) return wanted;
    for (simt_stream* stream : d.streams) {
        if (!ready(stream)) continue;
        ++candidates;
        switch (settings().schedule) {
        case Schedule::ordered:
            if (chosen == nullptr || stream->queue.front().order < chosen->queue.front().order) chosen = stream;
            break;
        case Schedule::reversed: chosen = stream; break;
        case Schedule::random:
            d.random = d.random * 6364136223846793005u + 1442695040888963407u;
            if ((d.random >> 33) % candidates == 0) chosen = stream;
            break;
        }
    }
    return chosen;
}

template <class Done>
void drain(Device& d, simt_stream* wanted, Done done) {
    while (!done()) {
        simt_stream* stream = choose(d, wanted);
        if (stream == nullptr) break;
        const Work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        if (work.run && d.dead == cudaSuccess) work.run();
    }
}

} // namespace

Device& device() {
    static Device* the_device = [] {
        auto* d = new Device;
        d->streams.push_back(new simt_stream);
        d->random = settings().seed * 2 + 1;
        return d;
    }();
    return *the_device;
}

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) device().last_error = error;
    return error;
}

simt_stream* stream_or_default(simt_stream* stream) {
    return stream != nullptr ? stream : device().streams[0];
}

cudaError_t enqueue(simt_stream* stream, std::function<void()> run) {
    Device& d = device();
    if (d.dead != cudaSuccess) return failed(d.dead);
    if (stream->capture != nullptr) {
        stream->capture->nodes.push_back(std::move(run));
        if (!stream->capture_origin) stream->capture_joined = false;
        return cudaSuccess;
    }
    // The default stream orders itself after and before every stream that has not opted out.
    if (stream == d.streams[0])
        drain_all();
    else if ((stream->flags & cudaStreamNonBlocking) == 0 && !d.streams[0]->queue.empty())
        drain_stream(d.streams[0]);
    stream->queue.push_back({std::move(run), nullptr, ++d.order});
    if (settings().launch_blocking) {
        drain_stream(stream);
        if (d.dead != cudaSuccess) return failed(d.dead);
    }
    return cudaSuccess;
}

void drain_stream(simt_stream* stream) {
    drain(device(), stream, [stream] { return stream->queue.empty(); });
}

void drain_all() {
    drain(device(), nullptr, [] { return false; });
}

void drain_until(const std::shared_ptr<EventState>& state) {
    drain(device(), nullptr, [&state] { return state->done; });
}

void forget_queued_work() {
    for (simt_stream* stream : device().streams) stream->queue.clear();
}

namespace detail {

namespace {

cudaError_t check_configuration(const LaunchRequest& r) {
    const uint64_t threads = static_cast<uint64_t>(r.block.x) * r.block.y * r.block.z;
    if (threads == 0 || threads > kMaxThreads || r.block.z > 64) return cudaErrorInvalidConfiguration;
    if (r.grid.x == 0 || r.grid.y == 0 || r.grid.z == 0) return cudaErrorInvalidConfiguration;
    if (r.grid.x > 0x7fffffffu || r.grid.y > 65535 || r.grid.z > 65535) return cudaErrorInvalidConfiguration;
    if (r.shared_bytes > shared_limit(r.kernel)) return cudaErrorInvalidValue;
    return cudaSuccess;
}

} // namespace

void enqueue_launch(LaunchRequest request) {
    Device& d = device();
    const std::lock_guard lock(d.mutex);
    if (d.dead != cudaSuccess) {
        failed(d.dead);
        return;
    }
    if (const cudaError_t error = check_configuration(request); error != cudaSuccess) {
        failed(error);
        return;
    }
    simt_stream* stream = stream_or_default(request.stream);
    enqueue(stream, [request = std::move(request)] {
        std::string fault = run_launch(request);
        if (fault.empty()) return;
        Device& dev = device();
        dev.dead = cudaErrorLaunchFailure;
        dev.fault = std::move(fault);
    });
}

} // namespace detail

std::string fault() {
    const std::lock_guard lock(device().mutex);
    return device().fault;
}

void reset_device() {
    Device& d = device();
    const std::lock_guard lock(d.mutex);
    forget_queued_work();
    d.dead = d.last_error = cudaSuccess;
    d.fault.clear();
}

} // namespace simt
