// Streams beside each other, with work left queued: what the events between them are for. On the simulator a missing
// one is a fault; a GPU runs the right programs alone.
#include <cstring>
#include <memory>
#include <string>

#include "bf16_matrix.h"
#include "ops/quant/nf4_weight.h"
#include "testing.h"
#if defined(FTC_SIM)
#include "simt/control.h"
#endif

namespace {

using namespace ftc::testing;

#define FTC_OK_OR_SAY(call) ASSERT_EQ(call, FTC_OK) << ftc_last_error_message()

enum class Missing { nothing, filled, free, ready, taken };

// Three NF4 weights of one shape from host memory through one slot on the device and one dequantised matrix, the way a
// trainer streams layers: upload and dequantisation in streams of their own, the product's stand-in (a copy) in the
// main one.
class Ring {
public:
    static constexpr int64_t kRows = 24, kCols = 128, kCount = kRows * kCols;
    static constexpr int kLayers = 3;

    explicit Ring(const Device& device) : device_(device) {}
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() {
        ftc_stream_destroy(upload_);
        ftc_stream_destroy(dequantise_);
        for (ftc_event* event : {filled_, free_, ready_, taken_}) ftc_event_destroy(event);
        ftc_host_buffer_destroy(host_);
        for (ftc_buffer* buffer : {slot_, dense_, y_}) ftc_buffer_destroy(buffer);
    }

    void prepare() {
        ftc_context* context = device_.context();
        FTC_OK_OR_SAY(ftc_stream_create_background(&upload_, context, 100));
        FTC_OK_OR_SAY(ftc_stream_create_background(&dequantise_, context, 25));
        for (ftc_event** event : {&filled_, &free_, &ready_, &taken_}) FTC_OK_OR_SAY(ftc_event_create(event, context));
        FTC_OK_OR_SAY(ftc_host_buffer_create(&host_, context, kLayers * kCount / 2));
        FTC_OK_OR_SAY(ftc_buffer_create(&slot_, context, kCount / 2));
        FTC_OK_OR_SAY(ftc_buffer_create(&dense_, context, kCount * 2));
        FTC_OK_OR_SAY(ftc_buffer_create(&y_, context, kLayers * kCount * 2));
        weight_ = std::make_unique<Nf4Weight>(device_, random_floats(kCount, 1), kRows, kCols, true);
        const Vector<float> codes = random_floats(kLayers * kCount / 2, 2);
        char* host = static_cast<char*>(data(host_));
        for (int64_t i = 0; i < kLayers * kCount / 2; i++)
            host[i] = static_cast<char>(static_cast<int>(codes[static_cast<size_t>(i)] * 127.0f));
    }

    // Enqueues the whole run and waits once, at its end.
    ftc_status run(Missing missing) {
        ftc_weight weight = *weight_->operator&();
        weight.data = data(slot_);
        ftc_status status = FTC_OK;
        const auto then = [&](ftc_status next) { status = status == FTC_OK ? next : status; };
        for (int layer = 0; layer < kLayers; layer++) {
            if (missing != Missing::free) then(ftc_stream_wait_event(upload_, free_));
            then(ftc_copy_from_host(upload_, data(slot_), static_cast<char*>(data(host_)) + layer * kCount / 2,
                                    kCount / 2));
            then(ftc_event_record(filled_, upload_));
            if (missing != Missing::filled) then(ftc_stream_wait_event(dequantise_, filled_));
            if (missing != Missing::taken) then(ftc_stream_wait_event(dequantise_, taken_));
            then(ftc_weight_dequantize(dequantise_, data(dense_), FTC_BF16, kCols, &weight, 0, kRows));
            then(ftc_event_record(free_, dequantise_));
            then(ftc_event_record(ready_, dequantise_));
            if (missing != Missing::ready) then(ftc_stream_wait_event(device_, ready_));
            then(ftc_copy(device_, static_cast<char*>(data(y_)) + layer * kCount * 2, data(dense_), kCount * 2));
            then(ftc_event_record(taken_, device_));
        }
        for (ftc_stream* stream : {upload_, dequantise_, static_cast<ftc_stream*>(device_)})
            then(ftc_stream_synchronize(stream));
        return status;
    }

    // What one stream alone makes of it.
    void expect_right() {
        std::vector<uint16_t> y(kLayers * kCount), expected(kCount);
        FTC_OK_OR_SAY(ftc_copy_to_host(device_, y.data(), data(y_), kLayers * kCount * 2));
        ftc_weight weight = *weight_->operator&();
        weight.data = data(slot_);
        for (int layer = 0; layer < kLayers; layer++) {
            FTC_OK_OR_SAY(ftc_copy_from_host(device_, data(slot_), static_cast<char*>(data(host_)) + layer * kCount / 2,
                                             kCount / 2));
            FTC_OK_OR_SAY(ftc_weight_dequantize(device_, data(dense_), FTC_BF16, kCols, &weight, 0, kRows));
            FTC_OK_OR_SAY(ftc_copy_to_host(device_, expected.data(), data(dense_), kCount * 2));
            EXPECT_EQ(std::memcmp(expected.data(), y.data() + layer * kCount, kCount * 2), 0) << "layer " << layer;
        }
    }

private:
    static void* data(ftc_buffer* buffer) {
        void* p = nullptr;
        EXPECT_EQ(ftc_buffer_get_data(buffer, &p, nullptr), FTC_OK);
        return p;
    }
    static void* data(ftc_host_buffer* buffer) {
        void* p = nullptr;
        EXPECT_EQ(ftc_host_buffer_get_data(buffer, &p, nullptr), FTC_OK);
        return p;
    }

    const Device& device_;
    ftc_stream *upload_ = nullptr, *dequantise_ = nullptr;
    ftc_event *filled_ = nullptr, *free_ = nullptr, *ready_ = nullptr, *taken_ = nullptr;
    ftc_host_buffer* host_ = nullptr;
    ftc_buffer *slot_ = nullptr, *dense_ = nullptr, *y_ = nullptr;
    std::unique_ptr<Nf4Weight> weight_;
};

void leave_queued([[maybe_unused]] bool on) {
#if defined(FTC_SIM)
    simt::set_launch_blocking(!on);
#endif
}

TEST(Stream, LayersGoThroughOneSlotUnharmed) {
    for (const std::string& variant : variants()) {
        SCOPED_TRACE(variant);
        const Device device(variant);
        Ring ring(device);
        ring.prepare();
        leave_queued(true);
        FTC_OK_OR_SAY(ring.run(Missing::nothing));
        ring.expect_right();
        leave_queued(false);
    }
}

TEST(Stream, ACopyFromAHostBufferIsOnlyEnqueued) {
    const Device device;
    ftc_host_buffer* host = nullptr;
    ftc_buffer* buffer = nullptr;
    FTC_OK_OR_SAY(ftc_host_buffer_create(&host, device.context(), 64));
    FTC_OK_OR_SAY(ftc_buffer_create(&buffer, device.context(), 64));
    void *from = nullptr, *to = nullptr;
    FTC_OK_OR_SAY(ftc_host_buffer_get_data(host, &from, nullptr));
    FTC_OK_OR_SAY(ftc_buffer_get_data(buffer, &to, nullptr));
    std::memset(from, 1, 64);
    leave_queued(true);
    FTC_OK_OR_SAY(ftc_copy_from_host(device, to, from, 64));
#if defined(FTC_SIM)
    std::memset(from, 2, 64); // a GPU may have read it by now; the simulator waits as long as it may
#endif
    char pageable[64];
    FTC_OK_OR_SAY(ftc_copy_to_host(device, pageable, to, 64)); // is there when the call returns
    EXPECT_EQ(pageable[63], is_simulated() ? 2 : 1);
    std::memset(pageable, 3, 64);
    FTC_OK_OR_SAY(ftc_copy_from_host(device, to, pageable, 64)); // has been read when the call returns
    std::memset(pageable, 4, 64);
    FTC_OK_OR_SAY(ftc_copy_to_host(device, from, to, 64));
    FTC_OK_OR_SAY(ftc_stream_synchronize(device));
    EXPECT_EQ(static_cast<char*>(from)[63], 3);
    leave_queued(false);
    ftc_buffer_destroy(buffer);
    ftc_host_buffer_destroy(host);
}

TEST(Stream, ABackgroundStreamRefusesDenseProducts) {
    const Device device;
    ftc_stream* background = nullptr;
    FTC_OK_OR_SAY(ftc_stream_create_background(&background, device.context(), 25));
    Vector<float> x(64), y(64), w(64);
    ftc_weight weight{};
    weight.struct_size = sizeof(weight);
    weight.format = FTC_WEIGHT_F32;
    weight.rows = weight.cols = weight.row_stride = 8;
    weight.data = w.data();
    ftc_linear_params params{};
    params.struct_size = sizeof(params);
    params.rows = 8;
    params.x_row_stride = params.y_row_stride = 8;
    ftc_linear_workspace_params shape{};
    shape.struct_size = sizeof(shape);
    shape.rows = shape.in_features = shape.out_features = 8;
    int64_t bytes = 0;
    FTC_OK_OR_SAY(ftc_linear_workspace_bytes(device.context(), &shape, &bytes));
    Vector<char> workspace(static_cast<size_t>(bytes));
    EXPECT_EQ(ftc_linear_forward(background, y.data(), x.data(), &weight, nullptr, nullptr, 0, &params,
                                 workspace.data(), bytes),
              FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(ftc_last_error_message(),
                 "a background stream has no workspace for dense products; expected a stream of ftc_stream_create");
    ftc_stream_destroy(background);
}

#if defined(FTC_SIM)
TEST(Stream, EveryEventOfTheRingIsNeeded) {
    for (const std::string& variant : variants())
        for (const Missing missing : {Missing::filled, Missing::free, Missing::ready, Missing::taken}) {
            SCOPED_TRACE(variant + ", missing " + std::to_string(static_cast<int>(missing)));
            const Device device(variant);
            Ring ring(device);
            ring.prepare();
            leave_queued(true);
            EXPECT_EQ(ring.run(missing), FTC_ERROR_DEVICE);
            EXPECT_NE(std::string(ftc_last_error_message()).find("race on device memory"), std::string::npos)
                << ftc_last_error_message();
            leave_queued(false);
            simt::reset_device();
        }
}
#endif

} // namespace
