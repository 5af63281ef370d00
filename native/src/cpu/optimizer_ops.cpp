// Optimisers: the arguments of ftc.h to the kernels of the context.
#include "api/backend.h"
#include "core/context.h"
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
