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

namespace simt {

// A record of an event: done when the stream has come to it.
struct EventState {
    bool done = false;
};

struct Work {
    std::function<void()> run;             // empty for a wait
    std::shared_ptr<EventState> wait_for;  // null unless a wait
    uint64_t order = 0;                    // of enqueueing, over all streams
};

} // namespace simt

struct simt_graph {
    std::vector<std::function<void()>> nodes;
};
struct simt_graph_exec {
    std::shared_ptr<simt_graph> graph;
};

struct simt_stream {
    uint64_t number = 0;
    unsigned flags = 0;
    std::deque<simt::Work> queue;
    simt_graph* capture = nullptr;  // the graph it is being captured into
    bool capture_origin = false;
    bool capture_joined = true;     // what it holds has been waited for by the origin
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
    uint64_t order = 0;
    uint64_t random = 1;
    cudaError_t last_error = cudaSuccess; // of the last failed call, until read
    cudaError_t dead = cudaSuccess;       // sticky
    std::string fault;
    int captures = 0; // streams under capture that forbid unsafe calls
};
Device& device();

// Keeps and returns the error.
cudaError_t failed(cudaError_t error);

// Puts work at the end of the stream (of its graph, under capture); runs it at once when launches block.
cudaError_t enqueue(simt_stream* stream, std::function<void()> run);
simt_stream* stream_or_default(simt_stream* stream);
void drain_stream(simt_stream* stream);
void drain_all();
void drain_until(const std::shared_ptr<EventState>& state);
void forget_queued_work();

} // namespace simt
