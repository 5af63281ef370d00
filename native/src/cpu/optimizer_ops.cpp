// Optimisers: the arguments of ftc.h to the kernels of the context.
#include "api/backend.h"
#include "core/context.h"
#include "core/status.h"
#include "ops/optimizer/adamw_scalars.h"

namespace ftc::backend {

void adamw_step(ftc_stream& stream, float* parameter, float* m, float* v, const float* gradient,
                const ftc_adamw_params& params) {
    ftc_context& context = *stream.context;
    context.kernels->optimizer.adamw_step(context.pool, {.parameter = parameter,
                                                         .m = m,
                                                         .v = v,
                                                         .gradient = gradient,
                                                         .count = params.count,
                                                         .scalars = adamw_scalars(params)});
}

void adamw_8bit_step(ftc_stream& stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes, float* m_absmax,
                     float* v_absmax, const float* gradient, const float* m_map, const float* v_map,
                     const ftc_adamw_params& params) {
    const auto check_ascends = [](const char* name, const float* map) {
        for (int i = 1; i < 256; i++)
            if (!(map[i - 1] < map[i]))
                fail(FTC_ERROR_INVALID_ARGUMENT,
                     "ftc_adamw_8bit_step: %s[%d] is %g after %g, expected ascending values", name, i,
                     static_cast<double>(map[i]), static_cast<double>(map[i - 1]));
    };
    check_ascends("m_map", m_map);
    check_ascends("v_map", v_map);
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
                                                              .scalars = adamw_scalars(params)});
}

void sgd_step(ftc_stream& stream, float* parameter, float* velocity, const float* gradient,
              const ftc_sgd_params& params) {
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

} // namespace ftc::backend
