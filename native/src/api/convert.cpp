#include "api/check.h"

using namespace ftc;

namespace {

void check_dtype(const char* function, const char* name, int32_t dtype) {
    if (dtype == FTC_F32 || dtype == FTC_BF16 || dtype == FTC_F16) return;
    fail(FTC_ERROR_UNSUPPORTED, "%s: %s is %d, expected FTC_F32, FTC_BF16 or FTC_F16", function, name,
         static_cast<int>(dtype));
}

} // namespace

ftc_status ftc_convert(ftc_stream* stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count) {
    return guard(__func__, [&] {
        const char* function = "ftc_convert";
        check_stream(function, stream);
        check_dtype(function, "y_dtype", y_dtype);
        check_dtype(function, "x_dtype", x_dtype);
        check_at_least(function, "count", count, 0);
        if (count == 0) return;
        check_elements(function, "y", y, y_dtype);
        check_elements(function, "x", x, x_dtype);
        backend::convert(*stream, y, y_dtype, x, x_dtype, count);
    });
}
