// Host buffers, events and background streams, as far as every library has them; what a missing event does on CUDA is
// tests/native/cuda/stream_test.cpp.
#include <cstring>
#include <string>

#include "testing.h"

namespace {

using namespace ftc::testing;

ftc_context_info info_of(ftc_context* context) {
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    EXPECT_EQ(ftc_context_get_info(context, &info), FTC_OK) << ftc_last_error_message();
    return info;
}

TEST(HostBuffer, IsZeroedAndCountedByItself) {
    const Device device;
    const ftc_context_info before = info_of(device.context());
    ftc_host_buffer* buffer = nullptr;
    ASSERT_EQ(ftc_host_buffer_create(&buffer, device.context(), 3'000'001), FTC_OK) << ftc_last_error_message();
    const ftc_context_info with = info_of(device.context());
    EXPECT_EQ(with.host_memory_used_bytes, before.host_memory_used_bytes + 3'000'001);
    EXPECT_EQ(with.memory_used_bytes, before.memory_used_bytes);
    void* data = nullptr;
    int64_t size = 0;
    ASSERT_EQ(ftc_host_buffer_get_data(buffer, &data, &size), FTC_OK);
    EXPECT_EQ(size, 3'000'001);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0U);
    for (int64_t i = 0; i < size; i++) ASSERT_EQ(static_cast<char*>(data)[i], 0);
    ftc_host_buffer_destroy(buffer);
    EXPECT_EQ(info_of(device.context()).host_memory_used_bytes, before.host_memory_used_bytes);
    EXPECT_GE(info_of(device.context()).memory_overhead_bytes, 0);
}

TEST(HostBuffer, RefusesWithNumbersAndARemedy) {
    const Device device;
    ftc_host_buffer* buffer = nullptr;
    EXPECT_EQ(ftc_host_buffer_create(&buffer, device.context(), int64_t{1} << 52), FTC_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(buffer, nullptr);
    const std::string message = ftc_last_error_message();
    EXPECT_EQ(message.rfind("ftc_host_buffer_create: 4503599627370496 bytes of host memory are needed, ", 0), 0U)
        << message;
    EXPECT_NE(message.find(" are free on this machine (0 in host buffers of this context); free some"),
              std::string::npos)
        << message;
    EXPECT_EQ(ftc_host_buffer_create(&buffer, device.context(), 0), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_host_buffer_create: size_bytes is 0, expected > 0");
    EXPECT_EQ(ftc_host_buffer_get_data(nullptr, nullptr, nullptr), FTC_ERROR_INVALID_ARGUMENT);
    ftc_host_buffer_destroy(nullptr);
}

TEST(HostBuffer, OpsReachItsMemory) {
    for (const std::string& variant : variants()) {
        const Device device(variant);
        ftc_host_buffer* buffer = nullptr;
        EXPECT_EQ(ftc_host_buffer_create(&buffer, device.context(), 4 * 300), FTC_OK) << ftc_last_error_message();
        void* data = nullptr;
        EXPECT_EQ(ftc_host_buffer_get_data(buffer, &data, nullptr), FTC_OK);
        const Vector<float> x = random_floats(300, 1);
        std::memcpy(data, x.data(), 4 * 300);
        Vector<float> y(300);
        EXPECT_EQ(ftc_convert(device, y.data(), FTC_F32, data, FTC_F32, 300), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_copy(device, data, y.data() + 150, 4 * 150), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(y, x);
        EXPECT_EQ(static_cast<float*>(data)[0], x[150]);
        EXPECT_EQ(static_cast<float*>(data)[299], x[299]);
        ftc_host_buffer_destroy(buffer);
    }
}

TEST(Event, OrdersABackgroundStream) {
    for (const std::string& variant : variants()) {
        const Device device(variant);
        ftc_stream* background = nullptr;
        ftc_event *filled = nullptr, *free = nullptr;
        EXPECT_EQ(ftc_stream_create_background(&background, device.context(), 25), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_event_create(&filled, device.context()), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(ftc_event_create(&free, device.context()), FTC_OK) << ftc_last_error_message();
        const Vector<float> x = random_floats(600, 2);
        Vector<float> slot(300), y(600);
        EXPECT_EQ(ftc_stream_wait_event(background, free), FTC_OK); // never recorded: nothing to wait for
        for (const int64_t part : {0, 300}) {
            EXPECT_EQ(ftc_copy(background, slot.data(), x.data() + part, 4 * 300), FTC_OK) << ftc_last_error_message();
            EXPECT_EQ(ftc_event_record(filled, background), FTC_OK) << ftc_last_error_message();
            EXPECT_EQ(ftc_stream_wait_event(device, filled), FTC_OK) << ftc_last_error_message();
            EXPECT_EQ(ftc_copy(device, y.data() + part, slot.data(), 4 * 300), FTC_OK) << ftc_last_error_message();
            EXPECT_EQ(ftc_event_record(free, device), FTC_OK) << ftc_last_error_message();
            EXPECT_EQ(ftc_stream_wait_event(background, free), FTC_OK) << ftc_last_error_message();
        }
        EXPECT_EQ(ftc_stream_synchronize(device), FTC_OK) << ftc_last_error_message();
        EXPECT_EQ(y, x);
        ftc_stream_destroy(background);
        ftc_event_destroy(filled);
        ftc_event_destroy(free);
    }
}

TEST(Event, WrongArgumentsAreNamed) {
    const Device device, other;
    ftc_event* event = nullptr;
    EXPECT_EQ(ftc_event_create(nullptr, device.context()), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(ftc_event_create(&event, nullptr), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_event_create: context is NULL, expected a pointer");
    ASSERT_EQ(ftc_event_create(&event, device.context()), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(ftc_event_record(event, nullptr), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(ftc_event_record(nullptr, device), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_event_record: event is NULL, expected a pointer");
    EXPECT_EQ(ftc_stream_wait_event(other, event), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_stream_wait_event: event and stream belong to different contexts, expected one");
    ftc_event_destroy(event);
    ftc_event_destroy(nullptr);
    ftc_stream* stream = nullptr;
    EXPECT_EQ(ftc_stream_create_background(&stream, nullptr, 50), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_stream_create_background: context is NULL, expected a pointer");
    EXPECT_EQ(ftc_stream_create_background(&stream, device.context(), 0), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_stream_create_background: share_percent is 0, expected 1..100");
}

} // namespace
