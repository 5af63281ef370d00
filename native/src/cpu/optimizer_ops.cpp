// Optimisers: the arguments of ftc.h to the kernels of the context.
#include "api/backend.h"
#include "core/context.h"
#include "core/status.h"
#include <cmath>
#include "ops/optimizer/adamw_scalars.h"

namespace ftc::backend {

namespace {

// The params with what stands in step_values and update_values; false when the step is skipped.
template <class Params>
bool take_step(Params& params) {
    if (params.step_values == nullptr) return true;
    params.gradient_scale = params.step_values->gradient_scale;
    return params.step_values->skip == 0;
}

AdamwScalars scalars_of(const ftc_adamw_params& params) {
    AdamwScalars scalars = adamw_scalars(params);
    if (params.update_values == nullptr) return scalars;
    scalars.decay = params.update_values->decay;
    scalars.step_size = params.update_values->step_size;
    scalars.v_correction = params.update_values->v_correction;
    return scalars;
}

} // namespace

void adamw_step(ftc_stream& stream, float* parameter, float* m, float* v, const float* gradient,
                const ftc_adamw_params& given) {
    ftc_adamw_params params = given;
    if (!take_step(params)) return;
    ftc_context& context = *stream.context;
    context.kernels->optimizer.adamw_step(context.pool, {.parameter = parameter,
                                                         .m = m,
                                                         .v = v,
                                                         .gradient = gradient,
                                                         .count = params.count,
                                                         .scalars = scalars_of(params)});
}

void adamw_8bit_step(ftc_stream& stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes, float* m_absmax,
                     float* v_absmax, const float* gradient, const float* m_map, const float* v_map,
                     const ftc_adamw_params& given) {
    ftc_adamw_params params = given;
    const auto check_ascends = [](const char* name, const float* map) {
        for (int i = 1; i < 256; i++)
            if (!(map[i - 1] < map[i]))
                fail(FTC_ERROR_INVALID_ARGUMENT,
                     "ftc_adamw_8bit_step: %s[%d] is %g after %g, expected ascending values", name, i,
                     static_cast<double>(map[i]), static_cast<double>(map[i - 1]));
    };
    check_ascends("m_map", m_map);
    check_ascends("v_map", v_map);
    if (!take_step(params)) return;
    ftc_context& context = *stream.context;
    context.kernels->optimizer.adamw_8bit_step(context.pool, {.parameter = parameter,
                                                              .m_codes = m_codes,
                                                              .v_codes = v_codes,
                                                              .m_absmax = m_absmax,
                                                              .v_absmax = v_absmax,
                                                              .gradient = gradient,
                                                              .m_map = m_map,
                                                              .v_map = v_map,
                                                              .count = params.count,
                                                              .scalars = scalars_of(params)});
}

void sgd_step(ftc_stream& stream, float* parameter, float* velocity, const float* gradient,
              const ftc_sgd_params& given) {
    ftc_sgd_params params = given;
    if (!take_step(params)) return;
    if (params.update_values != nullptr) params.learning_rate = params.update_values->learning_rate;
    ftc_context& context = *stream.context;
    context.kernels->optimizer.sgd_step(context.pool, {.parameter = parameter,
                                                       .velocity = velocity,
                                                       .gradient = gradient,
                                                       .count = params.count,
                                                       .gradient_scale = params.gradient_scale,
                                                       .learning_rate = params.learning_rate,
                                                       .momentum = params.momentum,
                                                       .weight_decay = params.weight_decay});
}

void sum_of_squares(ftc_stream& stream, float* sum, const float* x, int64_t count) {
    *sum = static_cast<float>(stream.context->kernels->optimizer.sum_of_squares(stream.context->pool, x, count));
}

void clip_gradients(ftc_stream&, ftc_step_values* values, const float* sum, const float* nll, int64_t count,
                    float clip_norm) {
    bool finite = std::isfinite(*sum);
    for (int64_t i = 0; i < count; i++) finite = finite && std::isfinite(nll[i]);
    const double factor = static_cast<double>(clip_norm) / (std::sqrt(static_cast<double>(*sum)) + 1e-6);
    values->gradient_scale = clip_norm > 0.0f && factor < 1.0 ? static_cast<float>(factor) : 1.0f;
    values->skip = finite ? 0 : 1;
}

} // namespace ftc::backend
