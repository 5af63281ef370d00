// Contexts, streams and memory of the CPU. Ops run inside their call, so a stream has nothing of its own.
#include "core/context.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>

#include "api/backend.h"
#include "core/os.h"
#include "core/status.h"

namespace ftc {

int64_t available_bytes(const ftc_context& context, const MachineLimits& limits) {
    int64_t available = limits.memory_available_bytes;
    if (context.memory_limit_bytes > 0)
        available = std::min(available, context.memory_limit_bytes - context.memory_used_bytes);
    return std::max<int64_t>(available, 0);
}

namespace backend {

int32_t device_count() {
    return 1;
}

ftc_context* context_create(const ftc_context_params& params) {
    int32_t threads = params.threads;
    if (threads == 0) threads = std::clamp(std::min(os::affinity_cpus(), read_machine_limits("").cpu_quota), 1, 256);
    return std::make_unique<ftc_context>(threads, choose_isa(), params.memory_limit_bytes).release();
}

void context_destroy(ftc_context* context) {
    delete context;
}

void context_get_info(ftc_context& context, ftc_context_info& info) {
    const MachineLimits limits = read_machine_limits("");
    info.captures_graphs = 0;
    info.reserved = 0;
    info.threads = context.pool.threads();
    info.memory_total_bytes = limits.memory_total_bytes;
    info.memory_available_bytes = available_bytes(context, limits);
    info.memory_used_bytes = context.memory_used_bytes;
    info.host_memory_used_bytes = context.host_memory_used_bytes;
    info.memory_overhead_bytes = 0;
    std::snprintf(info.device_kind, sizeof(info.device_kind), "cpu");
    cpu_name(info.device_name, sizeof(info.device_name));
    std::snprintf(info.isa, sizeof(info.isa), "%s", context.kernels->isa);
}

ftc_stream* stream_create(ftc_context& context) {
    return new ftc_stream{&context};
}

ftc_stream* stream_create_background(ftc_context& context, int32_t) {
    return stream_create(context);
}

void stream_destroy(ftc_stream* stream) {
    delete stream;
}

void stream_synchronize(ftc_stream&) {}

double measure_peak(ftc_stream& stream, int32_t dtype) {
    constexpr int64_t kRounds = 1'000'000; // some milliseconds
    constexpr int kRepetitions = 8;        // the best of them counts: a neighbour may take the others
    const PeakKernels& peak = stream.context->kernels->peak;
    Pool& pool = stream.context->pool;
    double best = 0;
    for (int i = 0; i < kRepetitions; i++) {
        std::atomic<double> operations = 0;
        const auto begin = std::chrono::steady_clock::now();
        parallel_for(pool, pool.threads(),
                     [&](int64_t, int32_t) { operations += (dtype == FTC_BF16 ? peak.bf16 : peak.f32)(kRounds); });
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        best = std::max(best, operations.load() / seconds.count());
    }
    return best;
}

namespace {

[[noreturn]] void refuse_graphs(const char* function) {
    fail(FTC_ERROR_UNSUPPORTED,
         "%s: the CPU library runs an op inside its call and records no graphs (ftc_context_info.captures_graphs is 0)",
         function);
}

} // namespace

void stream_begin_capture(ftc_stream&) {
    refuse_graphs("ftc_stream_begin_capture");
}

ftc_graph* stream_end_capture(ftc_stream&) {
    refuse_graphs("ftc_stream_end_capture");
}

void graph_launch(ftc_stream&, ftc_graph&) {
    refuse_graphs("ftc_graph_launch");
}

void graph_destroy(ftc_graph*) {} // there is none

void enter(const ftc_stream&) {}

bool needs_aligned_elements() {
    return false;
}

ftc_context& context_of(const ftc_stream& stream) {
    return *stream.context;
}

ftc_context& context_of(const ftc_event& event) {
    return *event.context;
}

ftc_event* event_create(ftc_context& context) {
    return new ftc_event{&context};
}

void event_destroy(ftc_event* event) {
    delete event;
}

void event_record(ftc_event&, ftc_stream&) {}

void stream_wait_event(ftc_stream&, ftc_event&) {}

ftc_host_buffer* host_buffer_create(ftc_context& context, int64_t size_bytes) {
    const int64_t available = read_machine_limits("").memory_available_bytes;
    if (size_bytes > available) fail_host_memory(size_bytes, available, context.host_memory_used_bytes);
    auto buffer = std::make_unique<ftc_host_buffer>(ftc_host_buffer{&context, Memory(size_bytes)});
    context.host_memory_used_bytes += size_bytes;
    return buffer.release();
}

void host_buffer_destroy(ftc_host_buffer* buffer) {
    buffer->context->host_memory_used_bytes -= buffer->memory.size();
    delete buffer;
}

void host_buffer_get_data(ftc_host_buffer& buffer, void** data, int64_t* size_bytes) {
    if (data != nullptr) *data = buffer.memory.data();
    if (size_bytes != nullptr) *size_bytes = buffer.memory.size();
}

ftc_buffer* buffer_create(ftc_context& context, int64_t size_bytes) {
    const int64_t available = available_bytes(context, read_machine_limits(""));
    if (size_bytes > available)
        fail(FTC_ERROR_OUT_OF_MEMORY,
             "ftc_buffer_create: %" PRId64 " bytes are needed, %" PRId64 " are free (%" PRId64
             " in use by this context, limit %" PRId64 ", 0 = none)",
             size_bytes, available, context.memory_used_bytes, context.memory_limit_bytes);
    auto buffer = std::make_unique<ftc_buffer>(ftc_buffer{&context, Memory(size_bytes), nullptr, size_bytes});
    buffer->data = buffer->owned.data();
    context.memory_used_bytes += size_bytes;
    return buffer.release();
}

ftc_buffer* buffer_borrow(ftc_context& context, void* data, int64_t size_bytes) {
    return new ftc_buffer{&context, Memory(), data, size_bytes};
}

void buffer_destroy(ftc_buffer* buffer) {
    if (buffer->owned.data() != nullptr) buffer->context->memory_used_bytes -= buffer->size_bytes;
    delete buffer;
}

void buffer_get_data(ftc_buffer& buffer, void** data, int64_t* size_bytes) {
    if (data != nullptr) *data = buffer.data;
    if (size_bytes != nullptr) *size_bytes = buffer.size_bytes;
}

void copy(ftc_stream& stream, void* y, const void* x, int64_t size_bytes) {
    constexpr int64_t kChunk = int64_t{1} << 20; // enough work to wake a thread for
    parallel_for(stream.context->pool, (size_bytes + kChunk - 1) / kChunk, [=](int64_t part, int32_t) {
        const int64_t begin = part * kChunk;
        std::memcpy(static_cast<char*>(y) + begin, static_cast<const char*>(x) + begin,
                    static_cast<size_t>(std::min(kChunk, size_bytes - begin)));
    });
}

void copy_from_host(ftc_stream& stream, void* device, const void* host, int64_t size_bytes) {
    copy(stream, device, host, size_bytes);
}

void copy_to_host(ftc_stream& stream, void* host, const void* device, int64_t size_bytes) {
    copy(stream, host, device, size_bytes);
}

void fill_zero(ftc_stream& stream, void* y, int64_t size_bytes) {
    constexpr int64_t kChunk = int64_t{1} << 20;
    parallel_for(stream.context->pool, (size_bytes + kChunk - 1) / kChunk, [=](int64_t part, int32_t) {
        const int64_t begin = part * kChunk;
        std::memset(static_cast<char*>(y) + begin, 0, static_cast<size_t>(std::min(kChunk, size_bytes - begin)));
    });
}

} // namespace backend
} // namespace ftc
