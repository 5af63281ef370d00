#include "api/check.h"
#include "ops/optimizer/adamw_scalars.h"

using namespace ftc;

namespace {

void check_fraction(const char* function, const char* name, float value) {
    if (value >= 0.0f && value < 1.0f) return;
    fail(FTC_ERROR_INVALID_ARGUMENT, "%s: %s is %g, expected it in [0, 1)", function, name, static_cast<double>(value));
}

// Kernels read them whole.
template <class Params>
void check_values(const char* function, const Params* params) {
    const auto check_aligned = [&](const char* name, const void* values) {
        if (reinterpret_cast<uintptr_t>(values) % 16 != 0)
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: params->%s is %p, expected an address that is a multiple of 16", function,
                 name, values);
    };
    check_aligned("step_values", params->step_values);
    check_aligned("update_values", params->update_values);
}

void check_adamw(const char* function, const ftc_adamw_params* params) {
    check_params(function, params);
    check_at_least(function, "count", params->count, 0);
    check_at_least(function, "step", params->step, 1);
    check_fraction(function, "beta1", params->beta1);
    check_fraction(function, "beta2", params->beta2);
    check_values(function, params);
}

} // namespace

ftc_status ftc_adamw_get_update_values(ftc_update_values* values, const ftc_adamw_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_adamw_get_update_values";
        check_pointer(function, "values", values);
        check_adamw(function, params);
        *values = update_values(*params);
    });
}

ftc_status ftc_adamw_step(ftc_stream* stream, float* parameter, float* m, float* v, const float* gradient,
                          const ftc_adamw_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_adamw_step";
        check_stream(function, stream);
        check_adamw(function, params);
        if (params->count == 0) return;
        check_pointer(function, "parameter", parameter);
        check_pointer(function, "m", m);
        check_pointer(function, "v", v);
        check_pointer(function, "gradient", gradient);
        backend::adamw_step(*stream, parameter, m, v, gradient, *params);
    });
}

ftc_status ftc_adamw_8bit_step(ftc_stream* stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes,
                               float* m_absmax, float* v_absmax, const float* gradient, const float* m_map,
                               const float* v_map, const ftc_adamw_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_adamw_8bit_step";
        check_stream(function, stream);
        check_adamw(function, params);
        if (params->count == 0) return;
        check_pointer(function, "parameter", parameter);
        check_pointer(function, "m_codes", m_codes);
        check_pointer(function, "v_codes", v_codes);
        check_pointer(function, "m_absmax", m_absmax);
        check_pointer(function, "v_absmax", v_absmax);
        check_pointer(function, "gradient", gradient);
        check_pointer(function, "m_map", m_map);
        check_pointer(function, "v_map", v_map);
        backend::adamw_8bit_step(*stream, parameter, m_codes, v_codes, m_absmax, v_absmax, gradient, m_map, v_map,
                                 *params);
    });
}

ftc_status ftc_sgd_step(ftc_stream* stream, float* parameter, float* velocity, const float* gradient,
                        const ftc_sgd_params* params) {
    return guard(__func__, [&] {
        const char* function = "ftc_sgd_step";
        check_stream(function, stream);
        check_params(function, params);
        check_at_least(function, "count", params->count, 0);
        if (!(params->momentum >= 0.0f))
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: momentum is %g, expected >= 0", function,
                 static_cast<double>(params->momentum));
        check_values(function, params);
        if (params->count == 0) return;
        check_pointer(function, "parameter", parameter);
        check_pointer(function, "gradient", gradient);
        const bool remembers = params->momentum > 0.0f;
        if (remembers) check_pointer(function, "velocity (needed with momentum)", velocity);
        backend::sgd_step(*stream, parameter, remembers ? velocity : nullptr, gradient, *params);
    });
}

ftc_status ftc_sum_of_squares(ftc_stream* stream, float* sum, const float* x, int64_t count) {
    return guard(__func__, [&] {
        const char* function = "ftc_sum_of_squares";
        check_stream(function, stream);
        check_pointer(function, "sum", sum);
        check_at_least(function, "count", count, 0);
        if (count > 0) check_pointer(function, "x", x);
        backend::sum_of_squares(*stream, sum, x, count);
    });
}

ftc_status ftc_clip_gradients(ftc_stream* stream, ftc_step_values* values, const float* sum, const float* nll,
                              int64_t count, float clip_norm) {
    return guard(__func__, [&] {
        const char* function = "ftc_clip_gradients";
        check_stream(function, stream);
        check_pointer(function, "values", values);
        check_pointer(function, "sum", sum);
        check_at_least(function, "count", count, 0);
        if (count > 0) check_pointer(function, "nll", nll);
        if (!(clip_norm >= 0.0f))
            fail(FTC_ERROR_INVALID_ARGUMENT, "%s: clip_norm is %g, expected >= 0 (0: no clipping)", function,
                 static_cast<double>(clip_norm));
        backend::clip_gradients(*stream, values, sum, nll, count, clip_norm);
    });
}
