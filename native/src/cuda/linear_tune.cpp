// Where multiplying a quantised weight packed stops paying: both ways are timed on this device with NF4, for more and more
// rows of a layer of ordinary size.
#include <algorithm>
#include <memory>

#include "api/backend.h"
#include "cuda/context.h"
#include "ops/linear/packed_product_cuda.h"

namespace ftc::backend {

using cuda::check;

namespace {

#if defined(FTC_SIM)
constexpr int64_t kFeatures = 64, kRuns = 1; // nothing is timed there; the calls are made
#else
constexpr int64_t kFeatures = 4096, kRuns = 5;
#endif
constexpr int64_t kRowCounts[] = {16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024};
static_assert(kRowCounts[std::size(kRowCounts) - 1] == cuda::kMostPackedRows);

struct BufferOwner {
    void operator()(ftc_buffer* buffer) const { buffer_destroy(buffer); }
};
using Buffer = std::unique_ptr<ftc_buffer, BufferOwner>;

struct EventOwner {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, EventOwner>;

Event new_event() {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    return Event(event);
}

class Layer {
public:
    explicit Layer(ftc_stream& stream) : stream_(stream), begin_(new_event()), end_(new_event()) {
        weight_.struct_size = sizeof(weight_);
        weight_.format = FTC_WEIGHT_NF4;
        weight_.rows = weight_.cols = kFeatures;
        weight_.block_size = 64;
        weight_.data = take(kFeatures * kFeatures / 2);
        weight_.absmax = take(kFeatures * kFeatures / 64 * 4);
        weight_.quant_map = static_cast<const float*>(take(64));
        x_ = take(cuda::kMostPackedRows * kFeatures * 2);
        y_ = take(cuda::kMostPackedRows * kFeatures * 2);
        params_.struct_size = sizeof(params_);
        params_.dtype = FTC_BF16;
        params_.x_row_stride = params_.y_row_stride = kFeatures;
        workspace_ = take(linear_workspace_bytes(*stream.context, {sizeof(ftc_linear_workspace_params), FTC_BF16,
                                                                   FTC_WEIGHT_NF4, 0, cuda::kMostPackedRows, kFeatures,
                                                                   kFeatures, 0}));
    }

    // Milliseconds of one forward, the fastest of a few.
    float milliseconds(int64_t rows, bool packed) {
        stream_.context->packed_rows = packed ? cuda::kMostPackedRows : 0;
        params_.rows = rows;
        float best = 0.0f;
        for (int64_t run = -1; run < kRuns; run++) { // the first one warms up
            check(cudaEventRecord(begin_.get(), stream_.handle), "cudaEventRecord");
            linear_forward(stream_, y_, x_, weight_, nullptr, nullptr, 0, params_, workspace_);
            check(cudaEventRecord(end_.get(), stream_.handle), "cudaEventRecord");
            check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
            float elapsed = 0.0f;
            check(cudaEventElapsedTime(&elapsed, begin_.get(), end_.get()), "cudaEventElapsedTime");
            if (run >= 0) best = run == 0 ? elapsed : std::min(best, elapsed);
        }
        return best;
    }

private:
    void* take(int64_t bytes) {
        buffers_[count_].reset(buffer_create(*stream_.context, bytes));
        return buffers_[count_++]->data;
    }

    ftc_stream& stream_;
    Buffer buffers_[6];
    int count_ = 0;
    Event begin_, end_;
    ftc_weight weight_{};
    ftc_linear_params params_{};
    void *x_, *y_, *workspace_;
};

int64_t measure(ftc_stream& stream) {
    const int64_t before = stream.context->packed_rows;
    try {
        Layer layer(stream);
        int64_t best = 0;
        float packed_total = 0.0f;
        for (const int64_t rows : kRowCounts) {
            const float packed = layer.milliseconds(rows, true), dense = layer.milliseconds(rows, false);
            packed_total += packed;
            if (packed > dense) break;
            best = rows;
        }
        return packed_total > 0.0f ? best : before; // a clock that stands still measures nothing
    } catch (...) {
        stream.context->packed_rows = before;
        throw;
    }
}

} // namespace

int64_t linear_tune(ftc_stream& stream, int64_t packed_rows) {
    cuda::refuse_while_capturing("ftc_linear_tune", *stream.context);
    if (packed_rows < 0) packed_rows = measure(stream);
    return stream.context->packed_rows = std::min(packed_rows, cuda::kMostPackedRows);
}

} // namespace ftc::backend
