// Streams as queues: what is put into one runs when something waits for it, in an order the schedule chooses among the
// streams. So work that should have been ordered by an event, and is not, does run in the wrong order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "simt/cuda_runtime.h"
#include "stream_order.h"

namespace simt {

// A record of an event: done when the stream has come to it.
struct EventState {
    bool done = false;
    StreamView view; // what had happened by then
};

using Task = std::function<void(simt_stream&)>;

struct Work {
    Task run;                                    // empty for a wait
    std::shared_ptr<EventState> wait_for;        // null unless a wait
    uint64_t order;                              // of enqueueing, over all streams
    std::shared_ptr<const StreamView> host_view; // what the host had waited for when it enqueued this
};

} // namespace simt

struct simt_graph {
    std::vector<simt::Task> nodes;
    bool invalid = false; // something was done that a capture does not survive
};
struct simt_graph_exec {
    std::shared_ptr<simt_graph> graph;
};

struct simt_stream {
    uint32_t slot = 0;     // in views
    uint64_t clock = 0;    // launches and copies so far
    simt::StreamView view; // what happened before the next of them
    unsigned flags = 0;
    std::deque<simt::Work> queue;
    simt_graph* capture = nullptr; // the graph it is being captured into
    bool capture_origin = false;
    bool capture_joined = true; // what it holds has been waited for by the origin
};

struct simt_event {
    std::shared_ptr<simt::EventState> state; // of the last record
    simt_graph* capture = nullptr;           // recorded inside this capture
    simt_stream* captured_from = nullptr;
};

namespace simt {

struct Device {
    std::recursive_mutex mutex;
    std::vector<simt_stream*> streams; // [0] is the default stream
    std::vector<uint32_t> free_slots;
    uint64_t order = 0;
    uint64_t random = 1;
    std::shared_ptr<const StreamView> host_view = std::make_shared<StreamView>();
    cudaError_t last_error = cudaSuccess; // of the last failed call, until read
    cudaError_t dead = cudaSuccess;       // sticky
    std::string fault;
    int captures = 0; // streams under capture that forbid unsafe calls
};
Device& device();

// Held during every call of the API. A thread knows that it is inside: what the simulator frees for itself, in a
// program whose heap is device memory, must not wait for the device.
class RuntimeLock {
public:
    RuntimeLock();
    ~RuntimeLock();
    RuntimeLock(const RuntimeLock&) = delete;
    RuntimeLock& operator=(const RuntimeLock&) = delete;
    static bool held();
};

// Keeps and returns the error.
cudaError_t failed(cudaError_t error);

// What may not be done while streams are captured was asked for: the captures are lost, the error is kept and returned.
cudaError_t forbidden_in_capture();

// Puts work at the end of the stream (of its graph, under capture); runs it at once when launches block.
cudaError_t enqueue(simt_stream* stream, Task run);
void enqueue_wait(simt_stream* stream, std::shared_ptr<EventState> state);
simt_stream* stream_or_default(simt_stream* stream);
// Run what is queued; the host has waited for it afterwards.
void drain_stream(simt_stream* stream);
void drain_all();
void drain_until(const std::shared_ptr<EventState>& state);
// The device dies with this fault.
void die(std::string fault);
// A copy or fill is about to touch [p, p + bytes) as one piece of work of the stream. False: the device has died of it.
bool bulk_access(uint64_t launch, const StreamView& view, const void* p, size_t bytes, bool write, const char* what);
void forget_queued_work();
// Whether any stream holds work; may be asked from any thread.
bool work_is_queued();

} // namespace simt
