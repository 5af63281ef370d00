#include "stream.h"

#include <atomic>

#include "launch.h"
#include "memory.h"
#include "shadow.h"

namespace simt {

namespace {

std::atomic<uint64_t> queued{0};
thread_local int tls_inside = 0;

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
        case Schedule::reversed:
            chosen = stream;
            break;
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
        --queued;
        if (d.dead != cudaSuccess) continue;
        stream->view.join(*work.host_view);
        if (work.wait_for) stream->view.join(work.wait_for->view);
        if (work.run) work.run(*stream);
    }
}

// The host now knows what the view knows.
void host_waited_for(Device& d, const StreamView& view) {
    auto known = std::make_shared<StreamView>(*d.host_view);
    known->join(view);
    advance_all_before(*known);
    d.host_view = std::move(known);
}

void run_stream(simt_stream* stream) {
    drain(device(), stream, [stream] { return stream->queue.empty(); });
}

} // namespace

RuntimeLock::RuntimeLock() {
    device().mutex.lock();
    ++tls_inside;
}
RuntimeLock::~RuntimeLock() {
    --tls_inside;
    device().mutex.unlock();
}
bool RuntimeLock::held() {
    return tls_inside > 0;
}

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

cudaError_t forbidden_in_capture() {
    for (simt_stream* stream : device().streams)
        if (stream->capture != nullptr) stream->capture->invalid = true;
    return failed(cudaErrorStreamCaptureUnsupported);
}

simt_stream* stream_or_default(simt_stream* stream) {
    return stream != nullptr ? stream : device().streams[0];
}

cudaError_t enqueue(simt_stream* stream, Task run) {
    Device& d = device();
    if (d.dead != cudaSuccess) return failed(d.dead);
    if (stream->capture != nullptr) {
        if (stream->capture->invalid) return failed(cudaErrorStreamCaptureInvalidated);
        stream->capture->nodes.push_back(std::move(run));
        if (!stream->capture_origin) stream->capture_joined = false;
        return cudaSuccess;
    }
    // The default stream orders itself after and before every stream that has not opted out.
    if (stream == d.streams[0]) {
        for (simt_stream* other : d.streams)
            if (other == stream || (other->flags & cudaStreamNonBlocking) == 0) {
                run_stream(other);
                stream->view.join(other->view);
            }
    } else if ((stream->flags & cudaStreamNonBlocking) == 0) {
        run_stream(d.streams[0]);
        stream->view.join(d.streams[0]->view);
    }
    ++queued;
    stream->queue.push_back({std::move(run), nullptr, ++d.order, d.host_view});
    if (settings().launch_blocking) {
        drain_stream(stream);
        if (d.dead != cudaSuccess) return failed(d.dead);
    }
    return cudaSuccess;
}

void enqueue_wait(simt_stream* stream, std::shared_ptr<EventState> state) {
    Device& d = device();
    ++queued;
    stream->queue.push_back({nullptr, std::move(state), ++d.order, d.host_view});
    if (settings().launch_blocking) drain_stream(stream);
}

void drain_stream(simt_stream* stream) {
    run_stream(stream);
    host_waited_for(device(), stream->view);
}

void drain_all() {
    Device& d = device();
    drain(d, nullptr, [] { return false; });
    for (const simt_stream* stream : d.streams) host_waited_for(d, stream->view);
}

void drain_until(const std::shared_ptr<EventState>& state) {
    Device& d = device();
    drain(d, nullptr, [&state] { return state->done; });
    if (state->done) host_waited_for(d, state->view);
}

void die(std::string fault) {
    Device& d = device();
    d.dead = cudaErrorLaunchFailure;
    d.fault = std::move(fault);
}

bool bulk_access(uint64_t launch, const StreamView& view, const void* p, size_t bytes, bool write, const char* what) {
    if (!in_arena(p)) return true;
    if (!is_device_accessible(p, bytes)) {
        die(std::string(what) + ": touches device memory that has been freed");
        return false;
    }
    const bool remember = !settings().launch_blocking;
    const char* end = static_cast<const char*>(p) + bytes;
    for (const char* at = static_cast<const char*>(p); at < end;
         at += kGranule - reinterpret_cast<uintptr_t>(at) % kGranule) {
        GlobalCell& cell = *global_cell(at);
        const uint64_t serial = cell.header >> 32;
        if (serial != 0 && serial != launch && !happened_before(serial, view))
            for (uint32_t i = 0; i < (cell.header & 0xff); ++i) {
                const GlobalAccess other = GlobalAccess::unpack(cell.accesses[i]);
                if (!write && other.kind == kRead) continue;
                die(std::string(what) + ": race on device memory with a " + access_name(other.kind) +
                    " by work of another stream, with no event or synchronisation between");
                return false;
            }
        if (!remember) continue;
        cell.accesses[0] = GlobalAccess{0xffff, 0x7ff, write ? kWrite : kRead, 7, 1, 1}.pack();
        cell.header = launch << 32 | (write ? 0x100 : 0) | 1;
    }
    return true;
}

bool work_is_queued() {
    return queued.load() != 0;
}

void forget_queued_work() {
    for (simt_stream* stream : device().streams) {
        queued -= stream->queue.size();
        stream->queue.clear();
    }
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
    const RuntimeLock lock;
    if (d.dead != cudaSuccess) {
        failed(d.dead);
        return;
    }
    if (const cudaError_t error = check_configuration(request); error != cudaSuccess) {
        failed(error);
        return;
    }
    simt_stream* stream = stream_or_default(request.stream);
    enqueue(stream, [request = std::move(request)](simt_stream& on) {
        const uint64_t serial = begin_launch(on.view, on.slot, on.clock);
        std::string fault = run_launch(request, serial, on.view);
        if (!fault.empty()) die(std::move(fault));
    });
}

} // namespace detail

std::string fault() {
    const RuntimeLock lock;
    return device().fault;
}

void reset_device() {
    Device& d = device();
    const RuntimeLock lock;
    forget_queued_work();
    d.dead = d.last_error = cudaSuccess;
    d.fault.clear();
}

} // namespace simt
