#include "api/check.h"

using namespace ftc;

ftc_status ftc_stream_begin_capture(ftc_stream* stream) {
    return guard(__func__, [&] {
        check_stream("ftc_stream_begin_capture", stream);
        backend::stream_begin_capture(*stream);
    });
}

ftc_status ftc_stream_end_capture(ftc_stream* stream, ftc_graph** out) {
    return guard(__func__, [&] {
        check_pointer("ftc_stream_end_capture", "out", out);
        *out = nullptr;
        check_stream("ftc_stream_end_capture", stream);
        *out = backend::stream_end_capture(*stream);
    });
}

ftc_status ftc_graph_launch(ftc_stream* stream, ftc_graph* graph) {
    return guard(__func__, [&] {
        check_stream("ftc_graph_launch", stream);
        check_pointer("ftc_graph_launch", "graph", graph);
        backend::graph_launch(*stream, *graph);
    });
}

void ftc_graph_destroy(ftc_graph* graph) {
    if (graph != nullptr) backend::graph_destroy(graph);
}
