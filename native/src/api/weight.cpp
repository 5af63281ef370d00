#include "api/check.h"
#include "api/check_weight.h"

namespace ftc {

void check_affine(const char* function, const char* prefix, int32_t bits, int32_t group_size, int64_t cols) {
    if (bits != 4 && bits != 3 && bits != 2)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %sbits is %d, expected 4, 3 or 2", function, prefix,
             static_cast<int>(bits));
    if (group_size != 32 && group_size != 64 && group_size != 128)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %sgroup_size is %d, expected 32, 64 or 128", function, prefix,
             static_cast<int>(group_size));
    if (cols % group_size != 0)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %scols is %" PRId64 ", expected a multiple of group_size %d", function,
             prefix, cols, static_cast<int>(group_size));
}

const char* weight_format_name(int32_t format) {
    switch (format) {
    case FTC_WEIGHT_F32:
        return "FTC_WEIGHT_F32";
    case FTC_WEIGHT_BF16:
        return "FTC_WEIGHT_BF16";
    case FTC_WEIGHT_NF4:
        return "FTC_WEIGHT_NF4";
    case FTC_WEIGHT_INT8:
        return "FTC_WEIGHT_INT8";
    case FTC_WEIGHT_AFFINE:
        return "FTC_WEIGHT_AFFINE";
    default:
        return "unknown";
    }
}

void check_weight(const char* function, const ftc_weight* weight) {
    check_params(function, weight, "weight");
    check_at_least(function, "weight->rows", weight->rows, 1);
    check_at_least(function, "weight->cols", weight->cols, 1);
    check_pointer(function, "weight->data", weight->data);
    switch (weight->format) {
    case FTC_WEIGHT_F32:
    case FTC_WEIGHT_BF16:
        check_at_least(function, "weight->border", weight->border, 0);
        check_at_least(function, "weight->row_stride", weight->row_stride, weight->cols + weight->border);
        check_elements(function, "weight->data", weight->data, weight->format == FTC_WEIGHT_F32 ? FTC_F32 : FTC_BF16);
        return;
    case FTC_WEIGHT_INT8:
        check_pointer(function, "weight->scale", weight->scale);
        return;
    case FTC_WEIGHT_AFFINE:
        check_affine(function, "weight->", weight->bits, weight->group_size, weight->cols);
        check_pointer(function, "weight->scale", weight->scale);
        check_pointer(function, "weight->minimum", weight->minimum);
        return;
    case FTC_WEIGHT_NF4:
        break;
    default:
        fail(FTC_ERROR_UNSUPPORTED,
             "%s: weight->format is %d, expected FTC_WEIGHT_F32, FTC_WEIGHT_BF16, FTC_WEIGHT_NF4, FTC_WEIGHT_INT8 or "
             "FTC_WEIGHT_AFFINE",
             function, static_cast<int>(weight->format));
    }
    check_pointer(function, "weight->absmax", weight->absmax);
    if (weight->nested_absmax == nullptr) check_elements(function, "weight->absmax", weight->absmax, FTC_F32);
    check_optional(function, "weight->nested_absmax", weight->nested_absmax, FTC_F32);
    check_pointer(function, "weight->quant_map", weight->quant_map);
    if (weight->block_size != 64)
        fail(FTC_ERROR_UNSUPPORTED, "%s: weight->block_size is %d, expected 64", function,
             static_cast<int>(weight->block_size));
    if (weight->nested_absmax == nullptr) return;
    check_pointer(function, "weight->nested_map", weight->nested_map);
    if (weight->nested_block_size != 256)
        fail(FTC_ERROR_UNSUPPORTED, "%s: weight->nested_block_size is %d, expected 256", function,
             static_cast<int>(weight->nested_block_size));
}

} // namespace ftc

using namespace ftc;

ftc_status ftc_weight_dequantize(ftc_stream* stream, void* y, int32_t y_dtype, int64_t y_row_stride,
                                 const ftc_weight* weight, int64_t row_begin, int64_t row_count) {
    return guard(__func__, [&] {
        const char* function = "ftc_weight_dequantize";
        check_stream(function, stream);
        check_weight(function, weight);
        if (y_dtype != FTC_F32 && y_dtype != FTC_BF16)
            fail(FTC_ERROR_UNSUPPORTED, "%s: y_dtype is %d, expected FTC_F32 or FTC_BF16", function,
                 static_cast<int>(y_dtype));
        check_at_least(function, "row_begin", row_begin, 0);
        check_at_least(function, "row_count", row_count, 0);
        if (row_count > weight->rows - row_begin)
            fail(FTC_ERROR_INVALID_ARGUMENT,
                 "%s: rows [%" PRId64 ", %" PRId64 ") are asked for, expected them in [0, %" PRId64 ")", function,
                 row_begin, row_begin + row_count, weight->rows);
        if (row_count == 0) return;
        check_elements(function, "y", y, y_dtype);
        check_at_least(function, "y_row_stride", y_row_stride, weight->cols);
        backend::weight_dequantize(*stream, y, y_dtype, y_row_stride, *weight, row_begin, row_count);
    });
}
