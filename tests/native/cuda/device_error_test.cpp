// What a GPU cannot do, and what is left of a context when its device has failed.
#include <string>

#include "testing.h"
#include "variants.h"
#if defined(FTC_SIM)
#include "simt/control.h"
#endif

namespace {

using namespace ftc::testing;

void expect_refused(ftc_status status, const std::string& start) {
    EXPECT_EQ(status, FTC_ERROR_INVALID_ARGUMENT);
    const std::string message = ftc_last_error_message();
    EXPECT_EQ(message.substr(0, start.size()), start);
    EXPECT_NE(message.find("expected an address that is a multiple of"), std::string::npos) << message;
}

TEST(DeviceErrors, AddressesBetweenElementsAreRefusedAndTheContextGoesOn) {
    const Device device;
    Vector<float> x(64, 1.0f), y(64);
    char* bytes = reinterpret_cast<char*>(x.data());
    expect_refused(ftc_convert(device, y.data(), FTC_F32, bytes + 2, FTC_F32, 8), "ftc_convert: x is 0x");
    expect_refused(ftc_convert(device, y.data(), FTC_F32, bytes + 1, FTC_BF16, 8), "ftc_convert: x is 0x");
    expect_refused(ftc_sum_of_squares(device, reinterpret_cast<float*>(bytes + 3), y.data(), 8), "ftc_sum_of_squares: sum is 0x");
    // A bf16 element may begin where an fp32 one may not.
    EXPECT_EQ(device.wait(ftc_convert(device, y.data(), FTC_F32, bytes + 2, FTC_BF16, 8)), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(device.wait(ftc_convert(device, y.data(), FTC_F32, x.data(), FTC_F32, 64)), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(y, x);
}

#if defined(FTC_SIM)
// A kernel that reads memory of nobody: a GPU's driver ends such a context, and so does the simulator.
TEST(DeviceErrors, ALostDeviceIsSaidByEveryCallAndNothingCrashes) {
    ftc_context_params params{};
    params.struct_size = sizeof(params);
    ftc_context* context = nullptr;
    ftc_stream* stream = nullptr;
    ftc_buffer *buffer = nullptr, *second = nullptr;
    void* data = nullptr;
    int64_t bytes = 0;
    ASSERT_EQ(ftc_context_create(&context, &params), FTC_OK);
    ASSERT_EQ(ftc_stream_create(&stream, context), FTC_OK);
    ASSERT_EQ(ftc_buffer_create(&buffer, context, 256), FTC_OK);
    ASSERT_EQ(ftc_buffer_get_data(buffer, &data, &bytes), FTC_OK);
    const auto convert = [&](int64_t from) {
        float* y = static_cast<float*>(data);
        const ftc_status status = ftc_convert(stream, y, FTC_BF16, y + from, FTC_F32, 8);
        return status == FTC_OK ? ftc_stream_synchronize(stream) : status;
    };
    EXPECT_EQ(convert(int64_t{1} << 30), FTC_ERROR_DEVICE);
    const std::string message = ftc_last_error_message();
    EXPECT_NE(message.find("convert"), std::string::npos) << message;
    EXPECT_EQ(convert(32), FTC_ERROR_DEVICE);
    EXPECT_STRNE(ftc_last_error_message(), "");
    EXPECT_EQ(ftc_buffer_create(&second, context, 256), FTC_ERROR_DEVICE);
    EXPECT_EQ(second, nullptr);
    ftc_buffer_destroy(buffer);
    ftc_stream_destroy(stream);
    ftc_context_destroy(context);
    simt::reset_device();
    const Device device;
    Vector<float> x(8, 2.0f), y(8);
    EXPECT_EQ(device.wait(ftc_convert(device, y.data(), FTC_F32, x.data(), FTC_F32, 8)), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(y, x);
}
#endif

} // namespace
