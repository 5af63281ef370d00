// What the CUDA library says to an op it does not have yet: UNSUPPORTED, by name. Weak, so an op's own file takes its
// place.
#include "api/backend.h"
#include "core/status.h"

#define FTC_MISSING [[gnu::weak]]

namespace ftc::backend {

[[noreturn]] static void missing(const char* op) {
    fail(FTC_ERROR_UNSUPPORTED, "%s is not in the CUDA library yet", op);
}

FTC_MISSING int32_t device_count() {
    missing(__func__);
}
FTC_MISSING ftc_context* context_create(const ftc_context_params&) {
    missing(__func__);
}
FTC_MISSING void context_destroy(ftc_context*) {
    missing(__func__);
}
FTC_MISSING void context_get_info(ftc_context&, ftc_context_info&) {
    missing(__func__);
}
FTC_MISSING ftc_stream* stream_create(ftc_context&) {
    missing(__func__);
}
FTC_MISSING void stream_destroy(ftc_stream*) {
    missing(__func__);
}
FTC_MISSING void stream_synchronize(ftc_stream&) {
    missing(__func__);
}
FTC_MISSING ftc_context& context_of(const ftc_stream&) {
    missing(__func__);
}
FTC_MISSING ftc_buffer* buffer_create(ftc_context&, int64_t) {
    missing(__func__);
}
FTC_MISSING ftc_buffer* buffer_borrow(ftc_context&, void*, int64_t) {
    missing(__func__);
}
FTC_MISSING void buffer_destroy(ftc_buffer*) {
    missing(__func__);
}
FTC_MISSING void buffer_get_data(ftc_buffer&, void**, int64_t*) {
    missing(__func__);
}
FTC_MISSING void copy_from_host(ftc_stream&, void*, const void*, int64_t) {
    missing(__func__);
}
FTC_MISSING void copy_to_host(ftc_stream&, void*, const void*, int64_t) {
    missing(__func__);
}
FTC_MISSING void copy(ftc_stream&, void*, const void*, int64_t) {
    missing(__func__);
}
FTC_MISSING void fill_zero(ftc_stream&, void*, int64_t) {
    missing(__func__);
}
FTC_MISSING void check_activations(const char*, int32_t) {
    missing(__func__);
}
FTC_MISSING void convert(ftc_stream&, void*, int32_t, const void*, int32_t, int64_t) {
    missing(__func__);
}
FTC_MISSING void nf4_quantize(ftc_stream&, uint8_t*, float*, const float*, int64_t) {
    missing(__func__);
}
FTC_MISSING void nf4_quantize_absmax(ftc_stream&, uint8_t*, float*, float*, const float*, const float*, int64_t) {
    missing(__func__);
}
FTC_MISSING void weight_dequantize(ftc_stream&, void*, int32_t, int64_t, const ftc_weight&, int64_t, int64_t) {
    missing(__func__);
}
FTC_MISSING void embedding_forward(ftc_stream&, void*, const int32_t*, const ftc_weight&, const ftc_embedding_params&) {
    missing(__func__);
}
FTC_MISSING void embedding_backward(ftc_stream&, float*, const void*, const int32_t*, int64_t, int64_t,
                                    const ftc_embedding_params&) {
    missing(__func__);
}
FTC_MISSING void rms_norm_forward(ftc_stream&, void*, void*, float*, const void*, const void*, const float*,
                                  const ftc_rms_norm_params&) {
    missing(__func__);
}
FTC_MISSING void rms_norm_backward(ftc_stream&, void*, float*, const void*, const void*, const void*, const float*,
                                   const float*, const ftc_rms_norm_params&) {
    missing(__func__);
}
FTC_MISSING void rope_forward(ftc_stream&, void*, const int32_t*, const float*, const float*, const ftc_rope_params&) {
    missing(__func__);
}
FTC_MISSING void rope_backward(ftc_stream&, void*, const int32_t*, const float*, const float*, const ftc_rope_params&) {
    missing(__func__);
}
FTC_MISSING void swiglu_forward(ftc_stream&, void*, const void*, const void*, const ftc_swiglu_params&) {
    missing(__func__);
}
FTC_MISSING void swiglu_backward(ftc_stream&, void*, void*, const void*, const void*, const void*,
                                 const ftc_swiglu_params&) {
    missing(__func__);
}
FTC_MISSING int64_t attention_workspace_bytes(ftc_context&, const ftc_attention_params&, bool) {
    missing(__func__);
}
FTC_MISSING void attention_forward(ftc_stream&, void*, float*, const void*, const void*, const void*, const int32_t*,
                                   const ftc_attention_params&, void*) {
    missing(__func__);
}
FTC_MISSING void attention_backward(ftc_stream&, void*, void*, void*, const void*, const void*, const void*,
                                    const void*, const void*, const float*, const int32_t*, const ftc_attention_params&,
                                    void*) {
    missing(__func__);
}
FTC_MISSING void linear_get_layout(ftc_context&, int64_t, int64_t, int64_t, int32_t, ftc_linear_layout&) {
    missing(__func__);
}
FTC_MISSING int64_t linear_workspace_bytes(ftc_context&, const ftc_linear_workspace_params&) {
    missing(__func__);
}
FTC_MISSING void linear_forward(ftc_stream&, void*, const void*, const ftc_weight&, const float*,
                                const ftc_lora_segment*, int32_t, const ftc_linear_params&, void*) {
    missing(__func__);
}
FTC_MISSING void linear_backward(ftc_stream&, void*, float*, float*, const void*, const void*, const ftc_weight&,
                                 const ftc_lora_segment*, int32_t, const ftc_linear_params&, void*) {
    missing(__func__);
}
FTC_MISSING int64_t linear_cross_entropy_workspace_bytes(ftc_context&, const ftc_cross_entropy_workspace_params&) {
    missing(__func__);
}
FTC_MISSING void linear_cross_entropy(ftc_stream&, float*, int32_t*, void*, float*, const void*, const ftc_weight&,
                                      const int32_t*, const ftc_cross_entropy_params&, void*) {
    missing(__func__);
}
FTC_MISSING void adamw_8bit_step(ftc_stream&, float*, uint8_t*, uint8_t*, float*, float*, const float*, const float*,
                                 const float*, const ftc_adamw_params&) {
    missing(__func__);
}
FTC_MISSING void adamw_step(ftc_stream&, float*, float*, float*, const float*, const ftc_adamw_params&) {
    missing(__func__);
}
FTC_MISSING void sgd_step(ftc_stream&, float*, float*, const float*, const ftc_sgd_params&) {
    missing(__func__);
}
FTC_MISSING void sum_of_squares(ftc_stream&, float*, const float*, int64_t) {
    missing(__func__);
}

} // namespace ftc::backend
