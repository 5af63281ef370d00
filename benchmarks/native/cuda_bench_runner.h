// How the CUDA library's ops are timed: by events on their stream, with the L2 cache flushed before each call, medians
// of rounds. One JSON object a line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/context.h"
#include "ftc.h"

namespace ftc::bench {

inline void check(ftc_status status) {
    if (status == FTC_OK) return;
    std::fprintf(stderr, "cuda_bench: %s\n", ftc_last_error_message());
    std::exit(1);
}

// Device memory holding numbers in [-scale, scale), the same every time.
class DeviceBuffer {
public:
    DeviceBuffer(ftc_stream* stream, int64_t count, int32_t dtype, float scale = 1.0f) {
        const int64_t size = count * (dtype == FTC_F32 ? 4 : 2);
        check(ftc_buffer_create(&handle_, stream->context, std::max<int64_t>(size, 1)));
        check(ftc_buffer_get_data(handle_, &data_, nullptr));
        // A piece made on the host, then doubled on the device.
        const int64_t piece = std::min(count, int64_t{1} << 20);
        std::vector<float> host(static_cast<size_t>(piece));
        uint32_t state = 12345;
        for (float& x : host) {
            state = state * 1664525U + 1013904223U;
            x = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f * scale;
        }
        const int64_t piece_bytes = dtype == FTC_F32 ? 4 * piece : 2 * piece;
        if (dtype == FTC_F32) {
            check(ftc_copy_from_host(stream, data_, host.data(), piece_bytes));
        } else {
            std::vector<uint16_t> narrow(host.size()); // truncated to bf16
            for (size_t i = 0; i < host.size(); i++) narrow[i] = static_cast<uint16_t>(bits(host[i]) >> 16);
            check(ftc_copy_from_host(stream, data_, narrow.data(), piece_bytes));
            check(ftc_stream_synchronize(stream));
        }
        for (int64_t filled = piece_bytes; filled < size;) {
            const int64_t step = std::min(filled, size - filled);
            check(ftc_copy(stream, static_cast<char*>(data_) + filled, data_, step));
            filled += step;
        }
        check(ftc_stream_synchronize(stream));
    }
    // Bytes taken over from the host.
    template <class T>
    DeviceBuffer(ftc_stream* stream, const std::vector<T>& values) {
        const int64_t size = static_cast<int64_t>(values.size() * sizeof(T));
        check(ftc_buffer_create(&handle_, stream->context, size));
        check(ftc_buffer_get_data(handle_, &data_, nullptr));
        check(ftc_copy_from_host(stream, data_, values.data(), size));
        check(ftc_stream_synchronize(stream));
    }
    DeviceBuffer(const DeviceBuffer&) = delete;
    DeviceBuffer& operator=(const DeviceBuffer&) = delete;
    ~DeviceBuffer() { ftc_buffer_destroy(handle_); }

    template <class T = void>
    T* as() const {
        return static_cast<T*>(data_);
    }
    operator void*() const { return data_; }
    operator float*() const { return as<float>(); }

private:
    static uint32_t bits(float x) {
        uint32_t b;
        static_assert(sizeof(b) == sizeof(x));
        __builtin_memcpy(&b, &x, sizeof(b));
        return b;
    }
    ftc_buffer* handle_ = nullptr;
    void* data_ = nullptr;
};

// What a call moves and computes at least; its time is held against the ceiling of whichever takes longer.
struct Work {
    double bytes = 0;
    double flops = 0; // of tensor cores
};

class Runner {
public:
    Runner(bool tiny_shapes, int rounds) : tiny(tiny_shapes), rounds_(rounds) {
        ftc_context_params params{};
        params.struct_size = sizeof(params);
        check(ftc_context_create(&context, &params));
        check(ftc_stream_create(&stream, context));
        flush_bytes_ = tiny ? 4096 : int64_t{256} << 20; // several times the 50 MB of L2 of the largest GPU
        check(ftc_buffer_create(&flush_, context, flush_bytes_));
        check(ftc_buffer_get_data(flush_, &flush_data_, nullptr));
        cuda::check(cudaEventCreate(&begin_), "cudaEventCreate");
        cuda::check(cudaEventCreate(&end_), "cudaEventCreate");
    }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    ~Runner() {
        cudaEventDestroy(begin_);
        cudaEventDestroy(end_);
        ftc_buffer_destroy(flush_);
        ftc_stream_destroy(stream);
        ftc_context_destroy(context);
    }

    void set_filter(std::string text) { filter_ = std::move(text); }
    bool wants(std::string_view name) const { return name.find(filter_) != std::string_view::npos; }

    // Times `body`, a callable that returns ftc_status, and prints a row. Returns the median in seconds; 0 when the row
    // is filtered out or the op refused.
    template <class Body>
    double measure(const std::string& op, const std::string& shape, Work work, const Body& body) {
        if (!wants(op + " " + shape)) return 0;
        std::printf("{\"op\": \"%s\", \"shape\": \"%s\"", op.c_str(), shape.c_str());
        ftc_status status = body();
        if (status == FTC_OK) status = ftc_stream_synchronize(stream);
        if (status != FTC_OK) {
            std::printf(", \"status\": \"refused\", \"message\": \"%s\"}\n", ftc_last_error_message());
            std::fflush(stdout);
            return 0;
        }
        std::vector<double> seconds;
        for (int round = 0; round < rounds_; round++) {
            // The fill keeps the GPU busy while the calls behind it are enqueued, so launches cost the events nothing.
            check(ftc_fill_zero(stream, flush_data_, flush_bytes_));
            cuda::check(cudaEventRecord(begin_, stream->handle), "cudaEventRecord");
            check(body());
            cuda::check(cudaEventRecord(end_, stream->handle), "cudaEventRecord");
            check(ftc_stream_synchronize(stream));
            float milliseconds = 0;
            cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
            seconds.push_back(1e-3 * static_cast<double>(milliseconds));
        }
        std::sort(seconds.begin(), seconds.end());
        const double median = seconds[seconds.size() / 2];
        std::printf(", \"us\": %.2f, \"us_min\": %.2f, \"us_max\": %.2f", 1e6 * median, 1e6 * seconds.front(),
                    1e6 * seconds.back());
        if (median > 0 && work.bytes > 0) std::printf(", \"gb_per_s\": %.1f", 1e-9 * work.bytes / median);
        if (median > 0 && work.flops > 0) std::printf(", \"tflop_per_s\": %.1f", 1e-12 * work.flops / median);
        if (median > 0 && copy_rate > 0 && matmul_rate > 0) {
            const double memory = work.bytes / copy_rate, arithmetic = work.flops / matmul_rate;
            std::printf(", \"ceiling\": \"%s\", \"share\": %.3f", memory > arithmetic ? "copy" : "cublaslt",
                        std::max(memory, arithmetic) / median);
        }
        std::printf("}\n");
        std::fflush(stdout);
        return median;
    }

    const bool tiny; // shapes for a rehearsal without a GPU
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    double copy_rate = 0;   // bytes per second, read and written, of a large copy on the device
    double matmul_rate = 0; // flops per second of cuBLASLt's bf16 product

private:
    int rounds_;
    std::string filter_;
    int64_t flush_bytes_ = 0;
    ftc_buffer* flush_ = nullptr;
    void* flush_data_ = nullptr;
    cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

} // namespace ftc::bench
