// CUDA graphs: what a stream is given between begin and end is recorded, then launched as often as wanted.
#include "api/backend.h"
#include "cuda/context.h"

namespace ftc::cuda {

void refuse_while_capturing(const char* function, const ftc_context& context) {
    if (context.capturing == nullptr) return;
    fail(FTC_ERROR_INVALID_ARGUMENT,
         "%s: work is being recorded since ftc_stream_begin_capture, and this cannot be part of a graph; call "
         "ftc_stream_end_capture first",
         function);
}

} // namespace ftc::cuda

namespace ftc::backend {

using namespace ftc::cuda;

void stream_begin_capture(ftc_stream& stream) {
    ftc_context& context = *stream.context;
    refuse_while_capturing("ftc_stream_begin_capture", context);
    // Of this thread only: what other threads of the process do with the device is their own affair.
    check(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    context.capturing = &stream;
}

ftc_graph* stream_end_capture(ftc_stream& stream) {
    ftc_context& context = *stream.context;
    if (context.capturing != &stream)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "ftc_stream_end_capture: nothing is being recorded, expected ftc_stream_begin_capture on this stream before");
    context.capturing = nullptr;
    cudaGraph_t recorded = nullptr;
    check(cudaStreamEndCapture(stream.handle, &recorded), "cudaStreamEndCapture");
    cudaGraphExec_t exec = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&exec, recorded, 0);
    cudaGraphDestroy(recorded);
    check(error, "cudaGraphInstantiate");
    return new ftc_graph{&stream, exec};
}

void graph_launch(ftc_stream& stream, ftc_graph& graph) {
    refuse_while_capturing("ftc_graph_launch", *stream.context);
    if (graph.stream != &stream)
        fail(FTC_ERROR_INVALID_ARGUMENT,
             "ftc_graph_launch: the graph was recorded from another stream, expected the one it was recorded from");
    check(cudaGraphLaunch(graph.exec, stream.handle), "cudaGraphLaunch");
}

void graph_destroy(ftc_graph* graph) {
    cudaSetDevice(graph->stream->context->device);
    cudaGraphExecDestroy(graph->exec); // one that still runs goes when it is done
    delete graph;
}

} // namespace ftc::backend
