// y[i] = x[i] in another dtype. An array that is no multiple of the vector is one whole row of vectors and a short row.
#include "api/backend.h"
#include "ops/convert/convert_rows.cuh"

namespace ftc::cuda {
namespace {

constexpr int64_t kWhole = 8; // elements, a multiple of every kConvertVector

int64_t bytes_of(int32_t dtype) {
    return dtype == FTC_F32 ? 4 : 2;
}

void convert_flat(ftc_stream& stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count) {
    if (count == 0) return;
    if (x_dtype == FTC_F32)
        convert_rows_from<float>(stream.handle, y, y_dtype, count, x, count, 1, count);
    else if (x_dtype == FTC_BF16)
        convert_rows_from<bf16>(stream.handle, y, y_dtype, count, x, count, 1, count);
    else
        convert_rows_from<f16>(stream.handle, y, y_dtype, count, x, count, 1, count);
}

} // namespace
} // namespace ftc::cuda

namespace ftc::backend {

void convert(ftc_stream& stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count) {
    using namespace ftc::cuda;
    const int64_t whole = count / kWhole * kWhole;
    convert_flat(stream, y, y_dtype, x, x_dtype, whole);
    convert_flat(stream, static_cast<uint8_t*>(y) + whole * bytes_of(y_dtype), y_dtype,
                 static_cast<const uint8_t*>(x) + whole * bytes_of(x_dtype), x_dtype, count - whole);
}

} // namespace ftc::backend
