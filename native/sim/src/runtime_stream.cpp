// The CUDA runtime's streams, events and graphs.
#include <algorithm>

#include "launch.h"
#include "stream.h"

using simt::device;
using simt::failed;
using Lock = simt::RuntimeLock;

namespace {

cudaError_t status() {
    return device().dead == cudaSuccess ? cudaSuccess : failed(device().dead);
}

bool known(const simt_stream* stream) {
    const auto& streams = device().streams;
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

} // namespace

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
    return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    simt::Device& d = device();
    *stream = new simt_stream;
    (*stream)->flags = flags;
    (*stream)->slot = static_cast<uint32_t>(d.streams.size());
    if (!d.free_slots.empty()) {
        (*stream)->slot = d.free_slots.back();
        d.free_slots.pop_back();
        (*stream)->clock = (*stream)->slot < d.host_view->clocks.size() ? d.host_view->clocks[(*stream)->slot] : 0;
    }
    d.streams.push_back(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Lock lock;
    if (stream == nullptr || !known(stream)) return failed(cudaErrorInvalidResourceHandle);
    if (status() == cudaSuccess) simt::drain_stream(stream); // the device finishes what the stream holds
    auto& streams = device().streams;
    device().free_slots.push_back(stream->slot);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Lock lock;
    stream = simt::stream_or_default(stream);
    if (!known(stream)) return failed(cudaErrorInvalidResourceHandle);
    if (stream->capture != nullptr) return simt::forbidden_in_capture();
    if (status() == cudaSuccess) simt::drain_stream(stream);
    return status();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    const Lock lock;
    stream = simt::stream_or_default(stream);
    if (status() != cudaSuccess) return status();
    // Asking makes time pass, so that a loop that polls ends.
    simt::drain_stream(stream);
    return status();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    stream = simt::stream_or_default(stream);
    if (event->capture != nullptr) {
        const auto& streams = device().streams;
        if (std::none_of(streams.begin(), streams.end(),
                         [event](const simt_stream* s) { return s->capture == event->capture; }))
            return failed(cudaErrorCapturedEvent); // of a capture that has ended
        if (stream->capture == nullptr) {
            stream->capture = event->capture;
            stream->capture_joined = false;
        } else if (stream->capture_origin && event->captured_from != nullptr) {
            event->captured_from->capture_joined = true;
        }
        return cudaSuccess;
    }
    if (!event->state) return cudaSuccess;
    if (stream->capture != nullptr) { // a graph cannot wait for what lies outside of it
        stream->capture->invalid = true;
        return failed(cudaErrorStreamCaptureIsolation);
    }
    simt::enqueue_wait(stream, event->state);
    return status();
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
    const Lock lock;
    return simt::enqueue(simt::stream_or_default(stream), [=](simt_stream&) { function(data); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    const Lock lock;
    *event = new simt_event;
    return status();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const Lock lock;
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Lock lock;
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    stream = simt::stream_or_default(stream);
    event->capture = stream->capture;
    event->captured_from = stream->capture != nullptr ? stream : nullptr;
    if (stream->capture != nullptr) return cudaSuccess;
    auto state = std::make_shared<simt::EventState>();
    event->state = state;
    return simt::enqueue(stream, [state](simt_stream& on) {
        state->view = on.view;
        state->done = true;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const Lock lock;
    if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
    if (status() == cudaSuccess && event->state) simt::drain_until(event->state);
    return status();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    return cudaEventSynchronize(event);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
    const Lock lock;
    if (start == nullptr || end == nullptr || !start->state || !end->state)
        return failed(cudaErrorInvalidResourceHandle);
    if (!start->state->done || !end->state->done) return failed(cudaErrorNotReady);
    *milliseconds = 0.0f;
    return cudaSuccess;
}

// A graph is what was captured, in the order of capture.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Lock lock;
    if (status() != cudaSuccess) return status();
    if (stream == nullptr || !known(stream) || stream->capture != nullptr)
        return failed(cudaErrorStreamCaptureUnsupported);
    stream->capture = new simt_graph;
    stream->capture_origin = true;
    ++device().captures;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Lock lock;
    *graph = nullptr;
    if (stream == nullptr || !known(stream) || stream->capture == nullptr || !stream->capture_origin)
        return failed(cudaErrorInvalidValue);
    simt_graph* captured = stream->capture;
    bool joined = true;
    for (simt_stream* other : device().streams) {
        if (other->capture != captured) continue;
        joined = joined && (other->capture_origin || other->capture_joined);
        other->capture = nullptr;
        other->capture_origin = false;
        other->capture_joined = true;
    }
    --device().captures;
    if (captured->invalid || !joined) {
        const bool invalid = captured->invalid;
        delete captured;
        return failed(invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
    }
    *graph = captured;
    return status();
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* capture_status) {
    const Lock lock;
    const simt_graph* capture = simt::stream_or_default(stream)->capture;
    *capture_status = capture == nullptr ? cudaStreamCaptureStatusNone
                      : capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    const Lock lock;
    if (graph == nullptr) return failed(cudaErrorInvalidValue);
    *exec = new simt_graph_exec{std::make_shared<simt_graph>(*graph)};
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    const Lock lock;
    if (exec == nullptr) return failed(cudaErrorInvalidValue);
    return simt::enqueue(simt::stream_or_default(stream), [graph = exec->graph](simt_stream& on) {
        for (const auto& node : graph->nodes) {
            if (device().dead != cudaSuccess) return;
            node(on);
        }
    });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
