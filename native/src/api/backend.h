// What a library provides behind the checks of api/*.cpp: one function per op of ftc.h, with the same arguments, already
// checked for NULL, ranges, strides and workspace. `ftc` implements them in cpu/*.cpp, `ftc_cuda` in *_cuda.cu. What only
// the device can see (token ids, targets, positions, key intervals) is checked there: the CPU fails at once, CUDA at
// ftc_stream_synchronize.
#pragma once

#include <cstdint>

#include "ftc.h"

namespace ftc::backend {

// ---- Devices, contexts, streams, memory
int32_t device_count(); // throws UNSUPPORTED with the reason when there is none
ftc_context* context_create(const ftc_context_params& params);
void context_destroy(ftc_context* context);
void context_get_info(ftc_context& context, ftc_context_info& info);
ftc_stream* stream_create(ftc_context& context);
ftc_stream* stream_create_background(ftc_context& context, int32_t share_percent);
void stream_destroy(ftc_stream* stream);
void stream_synchronize(ftc_stream& stream);
double measure_peak(ftc_stream& stream, int32_t dtype); // operations a second; F32 or BF16
void enter(const ftc_stream& stream); // before every op: makes its device the current one of the thread
ftc_context& context_of(const ftc_stream& stream);
ftc_context& context_of(const ftc_event& event);
ftc_event* event_create(ftc_context& context);
void event_destroy(ftc_event* event);
void event_record(ftc_event& event, ftc_stream& stream); // of one context, as for the wait
void stream_wait_event(ftc_stream& stream, ftc_event& event);
ftc_buffer* buffer_create(ftc_context& context, int64_t size_bytes);
ftc_buffer* buffer_borrow(ftc_context& context, void* data, int64_t size_bytes);
void buffer_destroy(ftc_buffer* buffer);
void buffer_get_data(ftc_buffer& buffer, void** data, int64_t* size_bytes);
ftc_host_buffer* host_buffer_create(ftc_context& context, int64_t size_bytes);
void host_buffer_destroy(ftc_host_buffer* buffer);
void host_buffer_get_data(ftc_host_buffer& buffer, void** data, int64_t* size_bytes);
void stream_begin_capture(ftc_stream& stream);
ftc_graph* stream_end_capture(ftc_stream& stream);
void graph_launch(ftc_stream& stream, ftc_graph& graph);
void graph_destroy(ftc_graph* graph);
void copy_from_host(ftc_stream& stream, void* device, const void* host, int64_t size_bytes);
void copy_to_host(ftc_stream& stream, void* host, const void* device, int64_t size_bytes);
void copy(ftc_stream& stream, void* y, const void* x, int64_t size_bytes);
void fill_zero(ftc_stream& stream, void* y, int64_t size_bytes);

bool needs_aligned_elements(); // whether an element is loaded only from a multiple of its size

// ---- Elements, weights
void convert(ftc_stream& stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count);
void nf4_quantize(ftc_stream& stream, uint8_t* codes, float* absmax, const float* x, int64_t count);
void nf4_quantize_absmax(ftc_stream& stream, uint8_t* codes, float* nested_absmax, float* nested_offset,
                         const float* absmax, const float* nested_map, int64_t count);
void int8_quantize(ftc_stream& stream, int8_t* codes, float* scale, const float* x, int64_t rows, int64_t cols,
                   int64_t x_row_stride);
void affine_quantize(ftc_stream& stream, uint8_t* codes, float* scale, float* minimum, const float* x,
                     const ftc_affine_quantize_params& params);
void affine_merge(ftc_stream& stream, float* minimum, const float* b, const float* a, int64_t rows, int64_t groups,
                  int32_t rank, int32_t group_size, float scaling);
void weight_dequantize(ftc_stream& stream, void* y, int32_t y_dtype, int64_t y_row_stride, const ftc_weight& weight,
                       int64_t row_begin, int64_t row_count);

// ---- Decoder ops; rows > 0
void embedding_forward(ftc_stream& stream, void* y, const int32_t* ids, const ftc_weight& weight,
                       const ftc_embedding_params& params);
void embedding_backward(ftc_stream& stream, float* dweight, const void* dy, const int32_t* ids, int64_t vocab_size,
                        int64_t hidden_size, const ftc_embedding_params& params);
void rms_norm_forward(ftc_stream& stream, void* y, void* sum, float* rstd, const void* x, const void* residual,
                      const float* weight, const ftc_rms_norm_params& params);
void rms_norm_backward(ftc_stream& stream, void* dx, float* dweight, const void* dy, const void* dsum, const void* x,
                       const float* rstd, const float* weight, const ftc_rms_norm_params& params);
void rope_forward(ftc_stream& stream, void* x, const int32_t* positions, const float* cos, const float* sin,
                  const ftc_rope_params& params);
void rope_backward(ftc_stream& stream, void* dx, const int32_t* positions, const float* cos, const float* sin,
                   const ftc_rope_params& params);
void swiglu_forward(ftc_stream& stream, void* y, const void* gate, const void* up, const ftc_swiglu_params& params);
void swiglu_backward(ftc_stream& stream, void* dgate, void* dup, const void* dy, const void* gate, const void* up,
                     const ftc_swiglu_params& params);

// Workspaces are given at 64-byte alignment, of at least the bytes the query answered.
int64_t attention_workspace_bytes(ftc_context& context, const ftc_attention_params& params, bool backward);
void attention_forward(ftc_stream& stream, void* o, float* lse, const void* q, const void* k, const void* v,
                       const int32_t* key_begin, const ftc_attention_params& params, void* workspace);
void attention_backward(ftc_stream& stream, void* dq, void* dk, void* dv, const void* dout, const void* q,
                        const void* k, const void* v, const void* o, const float* lse, const int32_t* key_begin,
                        const ftc_attention_params& params, void* workspace);

constexpr int32_t kMaxSegments = 256; // adapters of one call

void linear_get_layout(ftc_context& context, int64_t in_features, int64_t out_features, int64_t rank, int32_t dtype,
                       ftc_linear_layout& layout);
int64_t linear_workspace_bytes(ftc_context& context, const ftc_linear_workspace_params& params);
void linear_forward(ftc_stream& stream, void* y, const void* x, const ftc_weight& weight, const float* bias,
                    const ftc_lora_segment* segments, int32_t segment_count, const ftc_linear_params& params,
                    void* workspace);
void linear_backward(ftc_stream& stream, void* dx, float* dweight, float* dbias, const void* dy, const void* x,
                     const ftc_weight& weight, const ftc_lora_segment* segments, int32_t segment_count,
                     const ftc_linear_params& params, void* workspace);

int64_t linear_tune(ftc_stream& stream, int64_t packed_rows);

int64_t linear_cross_entropy_workspace_bytes(ftc_context& context, const ftc_cross_entropy_workspace_params& params);
void linear_cross_entropy(ftc_stream& stream, float* nll, int32_t* predictions, void* dx, float* dweight, const void* x,
                          const ftc_weight& weight, const int32_t* targets, const ftc_cross_entropy_params& params,
                          void* workspace);

// ---- Optimisers; count > 0
void adamw_step(ftc_stream& stream, float* parameter, float* m, float* v, const float* gradient,
                const ftc_adamw_params& params);
void adamw_8bit_step(ftc_stream& stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes, float* m_absmax,
                     float* v_absmax, const float* gradient, const float* m_map, const float* v_map,
                     const ftc_adamw_params& params);
void sgd_step(ftc_stream& stream, float* parameter, float* velocity, const float* gradient, const ftc_sgd_params& params);
void sum_of_squares(ftc_stream& stream, float* sum, const float* x, int64_t count); // count may be 0
void clip_gradients(ftc_stream& stream, ftc_step_values* values, const float* sum, const float* nll, int64_t count,
                    float clip_norm); // count may be 0

} // namespace ftc::backend
