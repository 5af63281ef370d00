#include "everywhere.h"

namespace ftc::testing {
namespace {

uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}

// Value of a 16-bit number with `exponent_bits` exponent bits.
double value_of(uint16_t bits, int exponent_bits) {
    const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
    const int exponent = (bits & 0x7fff) >> mantissa_bits, mantissa = bits & ((1 << mantissa_bits) - 1);
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                             : sign * std::numeric_limits<double>::infinity();
    if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

struct Format {
    int32_t dtype;
    int exponent_bits;
};

class Convert : public ::testing::TestWithParam<Format> {};

TEST_P(Convert, EverySixteenBitNumberComesBack) {
    const Format f = GetParam();
    Vector<uint16_t> all(65536);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    for (const std::string& isa : variants()) {
        Device device(isa, 2);
        Vector<float> wide(all.size());
        Vector<uint16_t> back(all.size());
        ASSERT_EQ(ftc_convert(device, wide.data(), FTC_F32, all.data(), f.dtype, 65536), FTC_OK)
            << ftc_last_error_message();
        ASSERT_EQ(ftc_convert(device, back.data(), f.dtype, wide.data(), FTC_F32, 65536), FTC_OK);
        for (size_t i = 0; i < all.size(); ++i) {
            const double value = value_of(all[i], f.exponent_bits);
            if (std::isnan(value)) {
                ASSERT_TRUE(std::isnan(wide[i]) && std::isnan(value_of(back[i], f.exponent_bits))) << isa << " " << i;
            } else {
                ASSERT_EQ(bits_of(wide[i]), bits_of(static_cast<float>(value))) << isa << " " << i;
                ASSERT_EQ(back[i], all[i]) << isa << " " << i;
            }
        }
    }
}

TEST_P(Convert, RoundsToNearestEven) {
    const Format f = GetParam();
    Vector<float> x;
    for (uint32_t high = 0; high < 0x7f80u; high += 37) // all exponents, around every kind of tie
        for (const uint32_t low :
             {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u, 0xf000u, 0xffffu}) {
            const uint32_t bits = high << 16 | low;
            float value;
            std::memcpy(&value, &bits, sizeof(value));
            x.push_back(value);
            x.push_back(-value);
        }
    x.push_back(std::numeric_limits<float>::infinity());
    const int64_t count = static_cast<int64_t>(x.size());
    for (const std::string& isa : variants()) {
        Device device(isa, 2);
        Vector<uint16_t> y(x.size());
        ASSERT_EQ(ftc_convert(device, y.data(), f.dtype, x.data(), FTC_F32, count), FTC_OK) << ftc_last_error_message();
        for (size_t i = 0; i < x.size(); ++i) {
            const double value = static_cast<double>(x[i]), got = value_of(y[i], f.exponent_bits);
            const uint16_t magnitude = y[i] & 0x7fff,
                           infinity = static_cast<uint16_t>(((1 << f.exponent_bits) - 1) << (15 - f.exponent_bits));
            ASSERT_EQ(std::signbit(value), (y[i] & 0x8000) != 0) << isa << " " << value;
            // Half way to the neighbours bounds what rounds here; the border itself belongs to the even number.
            const auto step = [&](int neighbour) { // magnitude of the number `neighbour` steps away; past the last as
                                                   // if there were one
                const int mantissa_bits = 15 - f.exponent_bits;
                const int last = infinity - 1;
                if (magnitude + neighbour <= last)
                    return std::abs(value_of(static_cast<uint16_t>(magnitude + neighbour), f.exponent_bits));
                const double top = value_of(static_cast<uint16_t>(last), f.exponent_bits);
                return top + (magnitude + neighbour - last) * std::ldexp(1.0, std::ilogb(top) - mantissa_bits);
            };
            const double here = magnitude >= infinity ? step(0) : std::abs(got);
            const double above = magnitude >= infinity ? std::numeric_limits<double>::infinity() : (here + step(1)) / 2;
            const double below = magnitude == 0 ? -1.0 : (here + step(-1)) / 2;
            const bool even = magnitude % 2 == 0;
            const double size = std::abs(value);
            ASSERT_TRUE(even ? size >= below && size <= above : size > below && size < above)
                << isa << " " << value << " became " << got;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, Convert, ::testing::Values(Format{FTC_BF16, 8}, Format{FTC_F16, 5}));

TEST(Convert, BetweenSixteenBitFormats) {
    Device device;
    const Vector<uint16_t> bf16 = {0x3f80, 0x4049, 0xc2f7, 0x7f80, 0x0000};
    Vector<uint16_t> f16(5), back(5);
    ASSERT_EQ(ftc_convert(device, f16.data(), FTC_F16, bf16.data(), FTC_BF16, 5), FTC_OK);
    EXPECT_EQ(f16, (Vector<uint16_t>{0x3c00, 0x4248, 0xd7b8, 0x7c00, 0x0000}));
    ASSERT_EQ(ftc_convert(device, back.data(), FTC_BF16, f16.data(), FTC_F16, 5), FTC_OK);
    EXPECT_EQ(back, bf16);
}

TEST(Convert, ErrorsSayWhereAndWhat) {
    Device device;
    Vector<float> x_memory(1);
    float* x = x_memory.data();
    EXPECT_EQ(ftc_convert(device, x, 7, x, FTC_F32, 1), FTC_ERROR_UNSUPPORTED);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_convert: y_dtype is 7, expected FTC_F32, FTC_BF16 or FTC_F16");
    EXPECT_EQ(ftc_convert(device, x, FTC_F32, nullptr, FTC_F32, 1), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(ftc_convert(device, x, FTC_F32, x, FTC_F32, -1), FTC_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(ftc_last_error_message(), "ftc_convert: count is -1, expected >= 0");
    EXPECT_EQ(ftc_convert(device, x, FTC_F32, nullptr, FTC_F32, 0), FTC_OK);
}

} // namespace
} // namespace ftc::testing
