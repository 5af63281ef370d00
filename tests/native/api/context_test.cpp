#include <cstring>
#include <thread>

#include "environment.h"
#include "testing.h"

namespace {

using ftc::testing::Device;

ftc_context_info info_of(ftc_context* context) {
    ftc_context_info info{};
    info.struct_size = sizeof(info);
    EXPECT_EQ(ftc_context_get_info(context, &info), FTC_OK) << ftc_last_error_message();
    return info;
}

TEST(Context, ForcedIsaIsTheOneThatRuns) {
    for (const std::string& isa : ftc::testing::variants()) {
        const Device device(isa, 2);
        const ftc_context_info info = info_of(device.context());
        EXPECT_EQ(isa, info.isa);
        EXPECT_EQ(info.threads, 2);
        EXPECT_STREQ(info.device_kind, "cpu");
        EXPECT_GT(std::strlen(info.device_name), 0U);
    }
}

TEST(Context, UnknownIsaIsRefused) {
    ftc::testing::set_environment("FTC_CPU_ISA", "sse9");
    ftc_context_params params{};
    params.struct_size = sizeof(params);
    ftc_context* context = nullptr;
    EXPECT_EQ(ftc_context_create(&context, &params), FTC_ERROR_UNSUPPORTED);
    ftc::testing::unset_environment("FTC_CPU_ISA");
    EXPECT_EQ(context, nullptr);
#if defined(__aarch64__)
    const char* expected = "ftc_context_create: FTC_CPU_ISA is 'sse9', expected neon";
#else
    const char* expected = "ftc_context_create: FTC_CPU_ISA is 'sse9', expected portable, avx2, avx512 or avx512bf16";
#endif
    EXPECT_STREQ(ftc_last_error_message(), expected);
}

TEST(Context, WrongParamsAreNamed) {
    ftc_context_params params{};
    ftc_context* context = nullptr;
    EXPECT_EQ(ftc_context_create(&context, &params), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_context_create: params->struct_size is 0, expected 24; header and library "
                 "differ in version");
    params.struct_size = sizeof(params);
    params.threads = 257;
    EXPECT_EQ(ftc_context_create(&context, &params), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_context_create: threads is 257, expected 1..256, or 0 for all this process may use");
}

TEST(Context, MeasuresThePeakOfEachInstructionSet) {
    for (const std::string& isa : ftc::testing::variants()) {
        const Device device(isa, 1);
        for (const int32_t dtype : {FTC_F32, FTC_BF16}) {
            double peak = 0;
            ASSERT_EQ(ftc_measure_peak(device, dtype, &peak), FTC_OK) << ftc_last_error_message();
            EXPECT_GT(peak, 1e8) << isa;
            EXPECT_LT(peak, 1e13) << isa;
        }
    }
    const Device device;
    double peak = 0;
    EXPECT_EQ(ftc_measure_peak(device, FTC_F16, &peak), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_measure_peak: dtype is 2, expected FTC_F32 or FTC_BF16");
    EXPECT_EQ(ftc_measure_peak(device, FTC_F32, nullptr), FTC_ERROR_INVALID_ARGUMENT);
}

TEST(Context, MessagesArePerThread) {
    EXPECT_EQ(ftc_stream_synchronize(nullptr), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_stream_synchronize: stream is NULL, expected a pointer");
    std::thread([] { EXPECT_STREQ(ftc_last_error_message(), ""); }).join();
}

TEST(Buffer, CountsWhatItHoldsAndRefusesWithNumbers) {
    const Device device("", 1, 3 << 20);
    ftc_buffer* buffer = nullptr;
    ASSERT_EQ(ftc_buffer_create(&buffer, device.context(), 5 << 19), FTC_OK) << ftc_last_error_message();
    EXPECT_EQ(info_of(device.context()).memory_used_bytes, 5 << 19);
    EXPECT_LE(info_of(device.context()).memory_available_bytes, 1 << 19);
    void* data = nullptr;
    int64_t size = 0;
    ASSERT_EQ(ftc_buffer_get_data(buffer, &data, &size), FTC_OK);
    EXPECT_EQ(size, 5 << 19);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0U);
    for (int64_t i = 0; i < size; i++) ASSERT_EQ(static_cast<char*>(data)[i], 0);

    ftc_buffer* second = nullptr;
    EXPECT_EQ(ftc_buffer_create(&second, device.context(), 1 << 20), FTC_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(second, nullptr);
    EXPECT_STREQ(ftc_last_error_message(),
                 "ftc_buffer_create: 1048576 bytes are needed, 524288 are free (2621440 in use by "
                 "this context, limit 3145728, 0 = none)");
    ftc_buffer_destroy(buffer);
    EXPECT_EQ(info_of(device.context()).memory_used_bytes, 0);
}

TEST(Buffer, BorrowedMemoryIsNotCounted) {
    const Device device;
    char memory[16] = "borrowed";
    ftc_buffer* buffer = nullptr;
    ASSERT_EQ(ftc_buffer_borrow(&buffer, device.context(), memory, sizeof(memory)), FTC_OK);
    EXPECT_EQ(info_of(device.context()).memory_used_bytes, 0);
    void* data = nullptr;
    ASSERT_EQ(ftc_buffer_get_data(buffer, &data, nullptr), FTC_OK);
    EXPECT_EQ(data, memory);
    ftc_buffer_destroy(buffer);
    EXPECT_STREQ(memory, "borrowed");
}

TEST(Copy, CopiesAndFillsAcrossChunks) {
    const Device device("", 2);
    for (const int64_t size : {0, 1, 64, 3'000'001}) {
        std::vector<char> x(static_cast<size_t>(size + 1), 'x');
        std::vector<char> y(static_cast<size_t>(size + 1), 'y');
        ASSERT_EQ(ftc_copy_from_host(device, y.data(), x.data(), size), FTC_OK);
        EXPECT_EQ(y[static_cast<size_t>(size)], 'y');
        y[static_cast<size_t>(size)] = 'x';
        EXPECT_EQ(x, y);
        ASSERT_EQ(ftc_fill_zero(device, y.data(), size), FTC_OK);
        for (int64_t i = 0; i < size; i++) ASSERT_EQ(y[static_cast<size_t>(i)], 0);
        EXPECT_EQ(y[static_cast<size_t>(size)], 'x');
    }
}

} // namespace
