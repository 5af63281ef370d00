// The numbers of one AdamW step that do not depend on the element, computed in double on the host, for every library.
#pragma once

#include <cmath>

#include "core/scalar_math.h"
#include "ftc.h"

namespace ftc {

struct AdamwScalars {
    float gradient_scale; // g = gradient_scale * gradient
    float beta1, one_minus_beta1;
    float beta2, one_minus_beta2;
    float decay;        // 1 - learning_rate * weight_decay
    float step_size;    // learning_rate / (1 - beta1^step)
    float v_correction; // sqrt(1 - beta2^step)
    float eps;
};

inline AdamwScalars adamw_scalars(const ftc_adamw_params& params) {
    const double beta1 = params.beta1, beta2 = params.beta2, rate = params.learning_rate;
    return {.gradient_scale = params.gradient_scale,
            .beta1 = params.beta1,
            .one_minus_beta1 = static_cast<float>(1.0 - beta1),
            .beta2 = params.beta2,
            .one_minus_beta2 = static_cast<float>(1.0 - beta2),
            .decay = static_cast<float>(1.0 - rate * static_cast<double>(params.weight_decay)),
            .step_size = static_cast<float>(rate / (1.0 - integer_power(beta1, params.step))),
            .v_correction = static_cast<float>(std::sqrt(1.0 - integer_power(beta2, params.step))),
            .eps = params.eps};
}

// What of it changes from step to step, as it stands in device memory.
inline ftc_update_values update_values(const ftc_adamw_params& params) {
    const AdamwScalars a = adamw_scalars(params);
    return {.learning_rate = params.learning_rate,
            .decay = a.decay,
            .step_size = a.step_size,
            .v_correction = a.v_correction};
}

} // namespace ftc
