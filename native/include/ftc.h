/* ftc.h: fine-tuning kernels for decoder language models, behind one C ABI.
 *
 * Libraries that implement it, all with the same exports: `ftc` (any x86-64 CPU) and `ftc_cuda` (NVIDIA GPUs from sm_80).
 *
 * How to read this file
 *   [device]  memory of the stream's device. For the CPU library that is ordinary memory. CUDA refuses addresses that are
 *             not a multiple of the size of the elements there.
 *   [host]    ordinary memory, read or written before the call returns.
 *   Shapes are row-major. A `_row_stride` counts elements between the starts of two rows and is at least the row's
 *   length; sizes and strides are int64_t; byte counts say `_bytes`.
 *   M rows (tokens of a micro-batch laid end to end), K in-features, N out-features, r rank.
 *
 * Rules
 *   - Every function that can fail returns ftc_status: FTC_OK (0) or a negative error. The reason is a sentence in
 *     ftc_last_error_message(), kept per thread until that thread's next failing call.
 *   - An op enqueues on its stream and returns. It allocates nothing (workspace comes from the caller), has no hidden
 *     stream and no hidden random state. FTC_OK means accepted; late failures appear at ftc_stream_synchronize.
 *   - Params structs start with `uint32_t struct_size = sizeof(struct)`, and only grow at the end. Set unused fields to 0.
 *   - Sums are accumulated in fp32 (or wider) in a fixed order: the same inputs give the same bits, whatever the number
 *     of threads, and on AVX2 as on AVX-512.
 *   - The library is a guest: it does not print, exit or abort. Objects of one context may be used from one thread at
 *     a time; different contexts are independent.
 */
#ifndef FTC_H
#define FTC_H

#include <stdint.h>

#if defined(_WIN32)
#  if defined(FTC_BUILDING)
#    define FTC_API __declspec(dllexport)
#  else
#    define FTC_API __declspec(dllimport)
#  endif
#else
#  define FTC_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status and version ------------------------------------------------------------------------------------- */

typedef int32_t ftc_status;

#define FTC_OK 0
#define FTC_ERROR_INVALID_ARGUMENT (-1) /* an argument is NULL, out of range or inconsistent                      */
#define FTC_ERROR_UNSUPPORTED (-2)      /* valid, but this library does not have it; the message names it         */
#define FTC_ERROR_OUT_OF_MEMORY (-3)    /* refused before allocating; the message has needed and free bytes       */
#define FTC_ERROR_DEVICE (-4)           /* the device failed; the context is dead                                 */
#define FTC_ERROR_INTERNAL (-5)         /* a defect of this library                                               */

#define FTC_VERSION_MAJOR 0
#define FTC_VERSION_MINOR 3
#define FTC_VERSION_PATCH 0

/* Version of the loaded library, as major * 1000000 + minor * 1000 + patch. Minor changes of 0.x may change the ABI. */
FTC_API int32_t ftc_version(void);

/* [host] UTF-8 sentence about this thread's last failing call; "" if none failed. Valid until its next failing call. */
FTC_API const char* ftc_last_error_message(void);

/* ---- Context: one device, its threads and its memory limit ----------------------------------------------------- */

/* [host] Devices this library can open: 1 for the CPU, the GPUs of compute capability 8.0 and up for CUDA.
 * Errors: UNSUPPORTED with the reason when there is none (no driver, a driver too old, no GPU). */
FTC_API ftc_status ftc_get_device_count(int32_t* count);

typedef struct ftc_context ftc_context;

typedef struct ftc_context_params {
    uint32_t struct_size;
    int32_t device_index;        /* below ftc_get_device_count                                                     */
    int32_t threads;             /* CPU: 0 = min(affinity mask, ceil(cgroup cpu.max)); otherwise 1..256            */
    int32_t reserved;
    int64_t memory_limit_bytes;  /* buffers of this context together; 0 = what the machine has free                */
} ftc_context_params;

typedef struct ftc_context_info {
    uint32_t struct_size;
    int32_t threads;
    int64_t memory_total_bytes;     /* of the device (CPU: MemTotal, or the cgroup's limit if lower)               */
    int64_t memory_available_bytes; /* now: min(MemAvailable, cgroup limit - usage, memory_limit - used)           */
    int64_t memory_used_bytes;      /* by this context's buffers                                                   */
    char device_kind[16];           /* "cpu", "cuda"                                                               */
    char device_name[64];           /* CPU or GPU model                                                            */
    char isa[16];                   /* "portable", "avx2", "avx512", "avx512bf16" (FTC_CPU_ISA forces one); "sm_90"         */
    int64_t host_memory_used_bytes; /* by this context's host buffers                                              */
    int64_t memory_overhead_bytes;  /* what the process takes on the device beside buffers: the driver's context, kernels
                                       loaded so far, streams' workspaces, rounding. Other processes' allocations since the
                                       context was made cannot be told apart and count too. CPU: 0                 */
    int32_t captures_graphs;        /* 1 where ftc_stream_begin_capture works: CUDA                                */
    int32_t reserved;
} ftc_context_info;

/* Errors: INVALID_ARGUMENT (threads out of range, device_index), UNSUPPORTED (FTC_CPU_ISA names an ISA this CPU lacks). */
FTC_API ftc_status ftc_context_create(ftc_context** out, const ftc_context_params* params);
FTC_API void ftc_context_destroy(ftc_context* context); /* accepts NULL; destroy streams and buffers first */
FTC_API ftc_status ftc_context_get_info(ftc_context* context, ftc_context_info* info);

/* ---- Stream: an ordered queue of ops ----------------------------------------------------------------------------- */

typedef struct ftc_stream ftc_stream;

FTC_API ftc_status ftc_stream_create(ftc_stream** out, ftc_context* context);
/* A stream for copies, fills, conversions and dequantisation beside another stream's products: of lower priority, and a
 * dequantisation of NF4 takes at most share_percent of the multiprocessors, 1..100 (what writes a weight ahead of a product of
 * M rows keeps up with some 31,000 / M). It has no workspace for dense products: an op that needs one is refused (UNSUPPORTED). */
FTC_API ftc_status ftc_stream_create_background(ftc_stream** out, ftc_context* context, int32_t share_percent);
FTC_API void ftc_stream_destroy(ftc_stream* stream); /* accepts NULL; waits for what is enqueued */
FTC_API ftc_status ftc_stream_synchronize(ftc_stream* stream);
/* *flops_per_second [host]: what the context's threads reach together in multiply-adds on registers, each counted as two
 * operations, on products of this dtype (F32 or BF16) summed in fp32: the roof that shares of peak refer to. Takes a tenth of a
 * second. Errors: UNSUPPORTED on CUDA, whose roof no such chain shows. */
FTC_API ftc_status ftc_measure_peak(ftc_stream* stream, int32_t dtype, double* flops_per_second);

/* ---- Events: order between streams of one context ---------------------------------------------------------------- */

typedef struct ftc_event ftc_event;

FTC_API ftc_status ftc_event_create(ftc_event** out, ftc_context* context);
FTC_API void ftc_event_destroy(ftc_event* event); /* accepts NULL; waits that are enqueued stay valid */
/* The event now stands for all that has been enqueued on the stream; what it stood for before is forgotten. */
FTC_API ftc_status ftc_event_record(ftc_event* event, ftc_stream* stream);
/* What is enqueued on the stream from now on runs after what the event stands for at this moment: nothing, if it was never
 * recorded. Does not block the host. The CPU's ops run inside their calls, so that there this holds by itself.
 * Errors: INVALID_ARGUMENT (event and stream of different contexts). */
FTC_API ftc_status ftc_stream_wait_event(ftc_stream* stream, ftc_event* event);

/* ---- Buffers: memory of the device -------------------------------------------------------------------------------- */

typedef struct ftc_buffer ftc_buffer;

/* A zeroed buffer of size_bytes > 0, 64-byte aligned, on huge pages where the system grants them.
 * Errors: OUT_OF_MEMORY when it exceeds what is free (MemAvailable, cgroup, memory_limit_bytes); nothing is allocated then. */
FTC_API ftc_status ftc_buffer_create(ftc_buffer** out, ftc_context* context, int64_t size_bytes);
/* A buffer over memory of somebody else (a mapped file, another library's tensor), which must outlive it. */
FTC_API ftc_status ftc_buffer_borrow(ftc_buffer** out, ftc_context* context, void* data, int64_t size_bytes);
FTC_API void ftc_buffer_destroy(ftc_buffer* buffer); /* accepts NULL */
FTC_API ftc_status ftc_buffer_get_data(ftc_buffer* buffer, void** data, int64_t* size_bytes); /* [device] address */

/* ---- Host buffers: memory of the host that the device reaches as well ------------------------------------------- */

typedef struct ftc_host_buffer ftc_host_buffer;

/* Zeroed host memory of size_bytes > 0, 64-byte aligned, pinned for GPUs: copies to and from it run beside the host and other
 * streams, and kernels may read and write it over the bus. Not counted in memory_used_bytes nor bound by memory_limit_bytes.
 * Errors: OUT_OF_MEMORY when it exceeds what the machine has free; nothing is allocated then. */
FTC_API ftc_status ftc_host_buffer_create(ftc_host_buffer** out, ftc_context* context, int64_t size_bytes);
FTC_API void ftc_host_buffer_destroy(ftc_host_buffer* buffer); /* accepts NULL; waits for work that may still use it */
FTC_API ftc_status ftc_host_buffer_get_data(ftc_host_buffer* buffer, void** data,
                                            int64_t* size_bytes); /* [host] and [device]: one address */

/* Copies and fills; ranges must not overlap. From and to the host: when all of `host` lies in one host buffer of the stream's
 * context the copy is only enqueued, so `host` must stay as it is until the stream has come past it; any other `host` has
 * been read, or written, when the call returns. */
FTC_API ftc_status ftc_copy_from_host(ftc_stream* stream, void* device, const void* host, int64_t size_bytes);
FTC_API ftc_status ftc_copy_to_host(ftc_stream* stream, void* host, const void* device, int64_t size_bytes);
FTC_API ftc_status ftc_copy(ftc_stream* stream, void* y, const void* x, int64_t size_bytes);
FTC_API ftc_status ftc_fill_zero(ftc_stream* stream, void* y, int64_t size_bytes);

/* ---- Graphs: a step recorded once, then enqueued as one --------------------------------------------------------------- */

typedef struct ftc_graph ftc_graph;

/* From here to ftc_stream_end_capture what is enqueued on the stream is recorded instead of run. Refused meanwhile, and no
 * part of the recording: waiting, copies from and to memory that is no host buffer, ftc_linear_tune, new streams and buffers
 * of the context. Other streams of the context join the recording by events, both ways. What is recorded should have run once
 * before, as a library may prepare at a first call what cannot be recorded.
 * Errors: UNSUPPORTED where ftc_context_info.captures_graphs is 0; INVALID_ARGUMENT when the context is recording already. */
FTC_API ftc_status ftc_stream_begin_capture(ftc_stream* stream);
/* Ends the recording; the stream runs what follows again, also after an error, when *out is NULL.
 * Errors: UNSUPPORTED, with the reason, when what was enqueued cannot be recorded; INVALID_ARGUMENT when nothing was begun. */
FTC_API ftc_status ftc_stream_end_capture(ftc_stream* stream, ftc_graph** out);
/* Enqueues all that was recorded, with the addresses and numbers it was recorded with, on the stream it was recorded from.
 * What changes from one step to the next stands in device memory: ftc_step_values. */
FTC_API ftc_status ftc_graph_launch(ftc_stream* stream, ftc_graph* graph);
FTC_API void ftc_graph_destroy(ftc_graph* graph); /* accepts NULL; destroy it before its stream */

/* The numbers of a step that its ops may take from device memory instead of from their params, at a multiple of 16 bytes.
 * The caller copies them there, once a step. */
typedef struct ftc_step_values {
    float loss_scale;      /* for gradient_scale of ftc_linear_cross_entropy                                       */
    uint32_t dropout_step; /* for dropout_step of ftc_linear_forward and ftc_linear_backward                       */
    float gradient_scale;  /* for gradient_scale of the optimisers; ftc_clip_gradients writes it                   */
    int32_t skip;          /* not 0: the optimisers leave everything as it is; ftc_clip_gradients writes it        */
} ftc_step_values;

/* The same for one group of parameters: what an optimiser otherwise computes from its params, on the host. */
typedef struct ftc_update_values {
    float learning_rate; /* SGD                                                                                  */
    float decay;         /* AdamW: 1 - learning_rate * weight_decay                                              */
    float step_size;     /* AdamW: learning_rate / (1 - beta1^step)                                              */
    float v_correction;  /* AdamW: sqrt(1 - beta2^step)                                                          */
} ftc_update_values;

/* ---- Types of elements and formats of weights ---------------------------------------------------------------------- */

#define FTC_F32 0
#define FTC_BF16 1
#define FTC_F16 2

/* y[i] = x[i] in another dtype, rounded to nearest even; NaN stays NaN.  y, x [device] [count]. */
FTC_API ftc_status ftc_convert(ftc_stream* stream, void* y, int32_t y_dtype, const void* x, int32_t x_dtype, int64_t count);

#define FTC_WEIGHT_F32 0
#define FTC_WEIGHT_BF16 1
#define FTC_WEIGHT_NF4 2 /* 4-bit NormalFloat, laid out as bitsandbytes stores it. Dettmers et al. 2023, arXiv:2305.14314 */
#define FTC_WEIGHT_INT8 3 /* a scale for every row, as LLM.int8(). Dettmers et al. 2022, arXiv:2208.07339 */
#define FTC_WEIGHT_AFFINE 4 /* 4, 3 or 2 bits, a scale and a minimum for every group of a row: the base of QA-LoRA */

/* A matrix W [rows = N out-features, cols = K in-features].
 *
 * NF4: element e = n * cols + k of the flattened matrix is code e of `data` (even e in the high nibble), its value is
 * quant_map[code] * absmax(e / block_size), one rounding. Blocks run over the flattened matrix and straddle rows.
 * absmax(b) is absmax[b] (fp32) when nested_absmax is NULL; otherwise absmax is uint8 and
 * absmax(b) = nested_map[absmax[b]] * nested_absmax[b / nested_block_size] + nested_offset, rounded after each operation.
 *
 * INT8: the value of element (n, k) is data[n, k] * scale[n], one rounding.
 *
 * AFFINE: the value of element (n, k) is fmaf(scale[n, g], code, minimum[n, g]) with g = k / group_size: a product and a sum
 * with one rounding together. A row of codes is a string of bits, lowest first: code k fills bits [bits * k, bits * (k + 1))
 * of it, bit 0 being the lowest of the first byte. So 4 bits have the even element in the low nibble, 3 bits put 32 codes
 * into 12 bytes, 2 bits 4 into one. These are the bytes of MLX, whose scales and biases are scale and minimum; GGUF's Q4_1 is
 * 4 bits in groups of 32, d and m being scale and minimum in fp16, codes j and j + 16 of a group sharing a byte. */
typedef struct ftc_weight {
    uint32_t struct_size;
    int32_t format;             /* FTC_WEIGHT_*                                                                     */
    int64_t rows;
    int64_t cols;
    int64_t row_stride;         /* F32, BF16: elements, >= cols. Others: ignored (flat)                             */
    const void* data;           /* [device] F32, BF16: [rows, cols]; NF4: uint8 [ceil(rows * cols / 2)];
                                   INT8: int8 [rows, cols]; AFFINE: uint8 [rows, cols * bits / 8]                   */
    const void* absmax;         /* [device] NF4: [ceil(rows * cols / block_size)] fp32, or uint8 when nested        */
    const float* nested_absmax; /* [device] [ceil(blocks / nested_block_size)], or NULL                             */
    const float* nested_map;    /* [device] [256], with nested_absmax                                               */
    const float* quant_map;     /* [device] [16]                                                                    */
    float nested_offset;
    int32_t block_size;         /* NF4: 64                                                                          */
    int32_t nested_block_size;  /* NF4 nested: 256                                                                  */
    int32_t border;             /* F32, BF16: columns behind every row and rows below the last (of row_stride) that
                                   a linear layer may overwrite: ftc_linear_get_layout. 0 = none                    */
    int32_t bits;               /* AFFINE: 4, 3 or 2                                                                */
    int32_t group_size;         /* AFFINE: 32, 64 or 128 columns, cols is a multiple                                */
    const float* scale;         /* [device] INT8: [rows]; AFFINE: [rows, cols / group_size]                         */
    const float* minimum;       /* [device] AFFINE: [rows, cols / group_size]                                       */
} ftc_weight;

/* ---- NF4 quantisation ------------------------------------------------------------------------------------------------ */

/* codes, absmax of x, in blocks of 64 over the flattened array; bit-equal to bitsandbytes: ties go to the lower code,
 * an all-zero block gets absmax 0 and code 7.
 *   codes  [device] out  uint8 [ceil(count / 2)]     absmax [device] out [ceil(count / 64)]     x [device] in [count] */
FTC_API ftc_status ftc_nf4_quantize(ftc_stream* stream, uint8_t* codes, float* absmax, const float* x, int64_t count);

/* Double quantisation of absmax: offset = mean(absmax) (fp32, in the order PyTorch's AVX2 sum uses), then 8-bit codes of
 * (absmax - offset) / nested_absmax on `nested_map`, in blocks of 256.
 *   codes [device] out uint8 [count]   nested_absmax [device] out [ceil(count / 256)]   nested_offset [device] out [1]
 *   absmax [device] in [count]         nested_map [device] in [256], ascending */
FTC_API ftc_status ftc_nf4_quantize_absmax(ftc_stream* stream, uint8_t* codes, float* nested_absmax, float* nested_offset,
                                           const float* absmax, const float* nested_map, int64_t count);

/* ---- INT8 and affine quantisation -------------------------------------------------------------------------------------- */

/* scale = max |x| of the row / 127, codes = x / scale rounded to nearest even; a row of zeros gets scale 0 and codes 0.
 *   codes [device] out int8 [rows, cols]   scale [device] out [rows]   x [device] in fp32 [rows, cols], x_row_stride */
FTC_API ftc_status ftc_int8_quantize(ftc_stream* stream, int8_t* codes, float* scale, const float* x, int64_t rows,
                                     int64_t cols, int64_t x_row_stride);

typedef struct ftc_affine_quantize_params {
    uint32_t struct_size;
    int32_t bits;       /* 4, 3 or 2                                                                                   */
    int64_t rows;
    int64_t cols;       /* a multiple of group_size                                                                    */
    int64_t x_row_stride;
    int32_t group_size; /* 32, 64 or 128                                                                               */
    int32_t search;     /* 1: of 21 ranges, the whole one and it narrowed about its middle in steps of 2 % down to 60 %, the
                           one with the smallest squared error (a tie: the wider); 0: the whole one                    */
} ftc_affine_quantize_params;

/* Of every group: minimum = min(x), scale = (max(x) - min(x)) / (2^bits - 1), codes = (x - minimum) / scale rounded to
 * nearest even and brought into [0, 2^bits). A group of equal values gets scale 1, codes 0 and its value as minimum.
 *   codes [device] out uint8 [rows, cols * bits / 8]   scale, minimum [device] out [rows, cols / group_size]
 *   x     [device] in fp32 [rows, cols]
 * Errors: INVALID_ARGUMENT (bits, group_size, cols, stride). */
FTC_API ftc_status ftc_affine_quantize(ftc_stream* stream, uint8_t* codes, float* scale, float* minimum, const float* x,
                                       const ftc_affine_quantize_params* params);

/* Merges a QA-LoRA adapter into the affine weight it was trained on: minimum += scaling / group_size * B A. Codes and
 * scales stay, so the merged weight is the adapted one up to the rounding of minimum. Sums over ranks are in double, in
 * order. Xu et al. 2024, arXiv:2309.14717.
 *   minimum [device] inout [rows, groups]   b [device] in [rows, rank]   a [device] in [rank, groups]
 * The adapter's pool is the weight's group_size. */
FTC_API ftc_status ftc_affine_merge(ftc_stream* stream, float* minimum, const float* b, const float* a, int64_t rows,
                                    int64_t groups, int32_t rank, int32_t group_size, float scaling);

/* ---- Weights as fp32 ------------------------------------------------------------------------------------------------------ */

/* y [device] out [row_count, cols] = rows [row_begin, row_begin + row_count) of any weight format: the fp32 value, rounded
 * once more when y_dtype is BF16. */
FTC_API ftc_status ftc_weight_dequantize(ftc_stream* stream, void* y, int32_t y_dtype, int64_t y_row_stride,
                                         const ftc_weight* weight, int64_t row_begin, int64_t row_count);

/* ---- Embedding ---------------------------------------------------------------------------------------------------------- */

typedef struct ftc_embedding_params {
    uint32_t struct_size;
    int32_t dtype;              /* of y and dy */
    int64_t rows;
    int64_t y_row_stride;       /* of y, or of dy in backward */
    int64_t dweight_row_stride; /* backward only */
} ftc_embedding_params;

/* y[i] = W[ids[i]].   y [device] out [rows, cols]   ids [device] in int32 [rows]   weight F32 or BF16 [vocab_size, cols]
 * Errors: INVALID_ARGUMENT when an id lies outside [0, vocab_size); what only the device can see (ids, positions, targets,
 * key_begin) is reported by CUDA at ftc_stream_synchronize. */
FTC_API ftc_status ftc_embedding_forward(ftc_stream* stream, void* y, const int32_t* ids, const ftc_weight* weight,
                                         const ftc_embedding_params* params);
/* dweight[ids[i]] += dy[i], in the order of i.   dweight [device] inout fp32 [vocab_size, hidden_size] */
FTC_API ftc_status ftc_embedding_backward(ftc_stream* stream, float* dweight, const void* dy, const int32_t* ids,
                                          int64_t vocab_size, int64_t hidden_size, const ftc_embedding_params* params);

/* ---- RMSNorm -------------------------------------------------------------------------------------------------------------- */

typedef struct ftc_rms_norm_params {
    uint32_t struct_size;
    int32_t dtype;
    int64_t rows;
    int64_t heads;               /* groups normalised separately in a row, each hidden_size wide, side by side; >= 1    */
    int64_t hidden_size;         /* elements that share one mean                                                        */
    int64_t x_row_stride;        /* of x and sum; >= heads * hidden_size                                                 */
    int64_t y_row_stride;        /* of y; in backward of dy                                                              */
    int64_t residual_row_stride; /* of residual; in backward of dsum                                                     */
    int64_t dx_row_stride;       /* backward: of dx                                                                      */
    float eps;
    int32_t reserved;
} ftc_rms_norm_params;

/* t = x + residual (or x when residual is NULL); y = t / sqrt(mean(t^2) + eps) * weight, per row and head.
 * Zhang & Sennrich 2019, arXiv:1910.07467.
 *
 *   y         [device] out   [rows, heads * hidden_size]; may be x
 *   sum       [device] out   t, with x_row_stride; may be x or residual (then the strides must agree); NULL without residual
 *   rstd      [device] out   fp32 [rows, heads], for backward; NULL when not training
 *   x, residual [device] in  [rows, heads * hidden_size]
 *   weight    [device] in    fp32 [hidden_size], shared by the heads
 * Errors: INVALID_ARGUMENT (NULL, size <= 0, stride too small), UNSUPPORTED (dtype). */
FTC_API ftc_status ftc_rms_norm_forward(ftc_stream* stream, void* y, void* sum, float* rstd, const void* x,
                                        const void* residual, const float* weight, const ftc_rms_norm_params* params);
/* dx = d(y)/d(t) . dy + dsum.
 *   dx      [device] out    may be dy or dsum        dweight [device] inout fp32 [hidden_size], added to; NULL when frozen
 *   dy      [device] in     dsum [device] in: gradient that reaches t past the norm, or NULL
 *   x       [device] in     t of the forward         rstd    [device] in */
FTC_API ftc_status ftc_rms_norm_backward(ftc_stream* stream, void* dx, float* dweight, const void* dy, const void* dsum,
                                         const void* x, const float* rstd, const float* weight,
                                         const ftc_rms_norm_params* params);

/* ---- RoPE, half-split ------------------------------------------------------------------------------------------------------ */

typedef struct ftc_rope_params {
    uint32_t struct_size;
    int32_t dtype;
    int64_t rows;
    int64_t heads;      /* heads side by side in a row                                            */
    int64_t head_dim;
    int64_t rope_dim;   /* even, <= head_dim: the first rope_dim features of a head are turned    */
    int64_t row_stride;
    int64_t table_rows; /* rows of cos and sin; every position is below it                        */
} ftc_rope_params;

/* In place, with h = rope_dim / 2, c = cos[position, i], s = sin[position, i]:
 *   (x[i], x[i+h]) <- (x[i] c - x[i+h] s, x[i+h] c + x[i] s).   Su et al. 2021, arXiv:2104.09864.
 *   x [device] inout [rows, heads * head_dim]   positions [device] in int32 [rows]   cos, sin [device] in fp32 [table_rows, h]
 * Scaling (linear, NTK, llama3, YaRN) lives in the tables. Backward turns the other way: the transpose.
 * Errors: INVALID_ARGUMENT when a position lies outside [0, table_rows). */
FTC_API ftc_status ftc_rope_forward(ftc_stream* stream, void* x, const int32_t* positions, const float* cos,
                                    const float* sin, const ftc_rope_params* params);
FTC_API ftc_status ftc_rope_backward(ftc_stream* stream, void* dx, const int32_t* positions, const float* cos,
                                     const float* sin, const ftc_rope_params* params);

/* ---- Attention over a key interval ------------------------------------------------------------------------------------------- */

typedef struct ftc_attention_params {
    uint32_t struct_size;
    int32_t dtype;
    int64_t query_rows;
    int64_t key_rows;
    int64_t first_query;           /* key row of query 0: query i sits at key row first_query + i; + query_rows <= key_rows */
    int32_t heads;                 /* query heads, a multiple of key_value_heads                                           */
    int32_t key_value_heads;
    int32_t head_dim;              /* 1..256                                                                               */
    float scale;                   /* usually 1 / sqrt(head_dim)                                                           */
    int64_t q_row_stride, k_row_stride, v_row_stride, o_row_stride;
    int64_t dq_row_stride, dk_row_stride, dv_row_stride, do_row_stride; /* backward only */
} ftc_attention_params;

/* o_i = softmax_j(scale * q_i . k_j) v_j over keys j in [key_begin[i], first_query + i], per head; head h reads key-value
 * head h / (heads / key_value_heads). One kernel for causal, sliding window, packed documents (key_begin = start of the
 * row's document) and decoding over a KV cache (query_rows = 1). Dao 2023, arXiv:2307.08691.
 *
 *   o    [device] out [query_rows, heads * head_dim]      lse [device] out fp32 [query_rows, heads]: log sum exp; NULL when not training
 *   q    [device] in  [query_rows, heads * head_dim]      k, v [device] in [key_rows, key_value_heads * head_dim]
 *   key_begin [device] in int32 [query_rows], not decreasing; NULL = 0. A row whose interval is empty gives o = 0, lse = -inf.
 * UNSUPPORTED on CUDA in FTC_BF16: head_dim > 128, scale <= 0. */
FTC_API ftc_status ftc_attention_forward(ftc_stream* stream, void* o, float* lse, const void* q, const void* k,
                                         const void* v, const int32_t* key_begin, const ftc_attention_params* params,
                                         void* workspace, int64_t workspace_bytes);
/* dq, dk, dv [device] out, written (not added to); they may not alias q, k, v. dout, o, lse as of the forward. */
FTC_API ftc_status ftc_attention_backward(ftc_stream* stream, void* dq, void* dk, void* dv, const void* dout,
                                          const void* q, const void* k, const void* v, const void* o, const float* lse,
                                          const int32_t* key_begin, const ftc_attention_params* params, void* workspace,
                                          int64_t workspace_bytes);
/* Bytes of workspace for forward (backward = 0) or backward (backward = 1) with these params. */
FTC_API ftc_status ftc_attention_workspace_bytes(ftc_context* context, const ftc_attention_params* params,
                                                 int32_t backward, int64_t* bytes);

/* ---- SwiGLU ---------------------------------------------------------------------------------------------------------------------- */

typedef struct ftc_swiglu_params {
    uint32_t struct_size;
    int32_t dtype;
    int64_t rows;
    int64_t cols;             /* intermediate_size                                              */
    int64_t gate_row_stride;  /* of gate and up (two column blocks of one buffer, or two buffers) */
    int64_t y_row_stride;     /* of y; in backward of dy                                        */
    int64_t dgate_row_stride; /* backward: of dgate and dup                                     */
} ftc_swiglu_params;

/* y = silu(gate) * up.   Shazeer 2020, arXiv:2002.05202.   All [device] [rows, cols]. */
FTC_API ftc_status ftc_swiglu_forward(ftc_stream* stream, void* y, const void* gate, const void* up,
                                      const ftc_swiglu_params* params);
/* dgate may be gate, dup may be up. */
FTC_API ftc_status ftc_swiglu_backward(ftc_stream* stream, void* dgate, void* dup, const void* dy, const void* gate,
                                       const void* up, const ftc_swiglu_params* params);

/* ---- Linear layer: weight formats and adapters ------------------------------------------------------------------------------------ */

/* Rows [row_begin, row_end) of X use this LoRA adapter. Hu et al. 2021, arXiv:2106.09685. Segments do not overlap. */
typedef struct ftc_lora_segment {
    uint32_t struct_size;
    int32_t rank;              /* >= 1                                                                                       */
    int64_t row_begin, row_end;
    const float* a;            /* [device] [rank, K], contiguous                                                             */
    const float* b;            /* [device] [N, rank], contiguous                                                             */
    float* s;                  /* [device] [row_end - row_begin, rank]: drop(X) A^T, written by forward, read by backward     */
    float* da;                 /* [device] backward: added to; NULL when frozen                                              */
    float* db;
    float scaling;             /* alpha / rank, or alpha / sqrt(rank) for rsLoRA                                             */
    float dropout_probability; /* of dropping a feature of X on the adapter's path; [0, 1); rounded to 1/65536               */
    uint64_t dropout_seed;     /* Philox key; names adapter and layer                                                        */
    int32_t pool;              /* 0 or 1: LoRA. 32, 64 or 128, which K is a multiple of: QA-LoRA, below                      */
    int32_t reserved;
} ftc_lora_segment;

/* QA-LoRA, Xu et al. 2024, arXiv:2309.14717: the adapter sees the mean of every `pool` neighbouring features, so A and dA are
 * [rank, K / pool] and the adapter can be merged into the minimum of an affine weight (ftc_affine_merge). With P(X)[m, g] the
 * mean of X[m, k] over k / pool = g: S = drop(P(X)) A^T, and every feature of group g gets 1 / pool of (mask * (dS A))[m, g]
 * in dX. Dropout drops groups: g takes the place of the feature k below. */

/* Dropout of element (row m, feature k): Philox4x32-10 (Salmon et al. 2011) with key = dropout_seed (low word, high word) and
 * counter = (k / 8, dropout_positions[m], dropout_samples[m], dropout_step) gives eight 16-bit numbers, low half of word 0
 * first; feature k takes number k % 8 and is dropped when it is < round(65536 p). Kept features are divided by
 * 1 - round(65536 p) / 65536. So the bits depend on what a token is, not on where the batch puts it. */
typedef struct ftc_linear_params {
    uint32_t struct_size;
    int32_t dtype;                      /* of x, y, dx, dy                                                                    */
    int64_t rows;                       /* M >= 0                                                                             */
    int64_t x_row_stride, y_row_stride, dx_row_stride, dy_row_stride;
    int64_t dweight_row_stride;
    int32_t accumulate;                 /* 1: forward y += ..., backward dx += ...; 0: written                                */
    uint32_t dropout_step;
    int32_t x_border, dy_border;        /* columns behind every row of x and of dy that the op may overwrite; 0 = none        */
    const uint32_t* dropout_samples;    /* [device] [rows], or NULL when no segment drops                                     */
    const uint32_t* dropout_positions;  /* [device] [rows]                                                                    */
    const ftc_step_values* step_values; /* [device] dropout_step stands there, or NULL                                        */
} ftc_linear_params;

/* What a library wants for a linear layer of this shape; other strides and borders are as right, only slower.
 * With a border LoRA rides inside the one matrix product: [X | S] [W | B]^T forward, [dY | dS] [W ; A] backward. X, dY and
 * the weight then have `border` more columns, which lie inside their row strides, and the weight `border` more rows. */
typedef struct ftc_linear_layout {
    uint32_t struct_size;
    int32_t border;            /* 0 where it does not pay                                                                     */
    int64_t x_row_stride;      /* for x and dx: >= in_features + border                                                       */
    int64_t y_row_stride;      /* for y and dy: >= out_features + border                                                      */
    int64_t weight_row_stride; /* for F32 and BF16 weights: >= in_features + border                                           */
} ftc_linear_layout;

FTC_API ftc_status ftc_linear_get_layout(ftc_context* context, int64_t in_features, int64_t out_features, int64_t rank,
                                         int32_t dtype, ftc_linear_layout* layout);

/* Y = X W^T + bias + sum over segments of scaling * drop(X) A^T B^T.
 *   y [device] out [M, N]   x [device] in [M, K]   bias [device] in fp32 [N] or NULL
 *   segments [host] in [segment_count]; 0 is a plain linear layer, several are multi-LoRA
 * Errors: INVALID_ARGUMENT (sizes, strides, NULL, segment outside [0, M), rank < 1), UNSUPPORTED (format, dtype). */
FTC_API ftc_status ftc_linear_forward(ftc_stream* stream, void* y, const void* x, const ftc_weight* weight,
                                      const float* bias, const ftc_lora_segment* segments, int32_t segment_count,
                                      const ftc_linear_params* params, void* workspace, int64_t workspace_bytes);
/* dX = dY W + mask * (dS A), dS = scaling * dY B;  dB += scaling * dY^T S;  dA += dS^T drop(X);  dweight += dY^T X;  dbias += sum_m dY.
 *   dx [device] out [M, K] or NULL   dweight [device] inout fp32 [N, K] or NULL   dbias [device] inout fp32 [N] or NULL
 *   x is read only for dA and dweight and may be NULL without them. */
FTC_API ftc_status ftc_linear_backward(ftc_stream* stream, void* dx, float* dweight, float* dbias, const void* dy,
                                       const void* x, const ftc_weight* weight, const ftc_lora_segment* segments,
                                       int32_t segment_count, const ftc_linear_params* params, void* workspace,
                                       int64_t workspace_bytes);
typedef struct ftc_linear_workspace_params {
    uint32_t struct_size;
    int32_t dtype;         /* of the activations                                        */
    int32_t weight_format; /* FTC_WEIGHT_*                                              */
    int32_t border;        /* of weight, x and dy, the smallest of them                 */
    int64_t rows;          /* the most rows a call will have                            */
    int64_t in_features, out_features;
    int64_t rank;          /* of all segments together, 0 without adapters              */
} ftc_linear_workspace_params;

/* Bytes of workspace for forward or backward. */
FTC_API ftc_status ftc_linear_workspace_bytes(ftc_context* context, const ftc_linear_workspace_params* params,
                                              int64_t* bytes);

/* Up to how many rows a quantised weight is multiplied packed, instead of being dequantised first: it depends on the device.
 * *packed_rows [host] inout: negative measures it (a second at most; allocates and frees, waits for the stream), otherwise
 * the value of an earlier measurement is taken over. The context keeps it; out: what it keeps. The CPU always multiplies
 * packed and answers INT64_MAX. */
FTC_API ftc_status ftc_linear_tune(ftc_stream* stream, int64_t* packed_rows);

/* ---- Linear head + cross-entropy in chunks --------------------------------------------------------------------------------------------- */

typedef struct ftc_cross_entropy_params {
    uint32_t struct_size;
    int32_t dtype;              /* of x and dx                                                             */
    int64_t rows;
    int64_t x_row_stride, dx_row_stride, dweight_row_stride;
    float gradient_scale;       /* dL/d(nll) of every trained token: 1 / trained tokens of the global batch */
    int32_t trained_rows;       /* at most so many targets are not FTC_IGNORE_INDEX; 0 = not known. A GPU, which   */
                                /* cannot ask before it multiplies, then does so for that many rows only           */
    const ftc_step_values* step_values; /* [device] gradient_scale stands there as loss_scale, or NULL             */
} ftc_cross_entropy_params;

#define FTC_IGNORE_INDEX (-100)

/* nll_i = logsumexp(W x_i) - (W x_i)[target_i]; rows whose target is FTC_IGNORE_INDEX are skipped, not computed: nll 0, dx 0.
 * Logits exist for one chunk of trained rows at a time.
 *   nll         [device] out fp32 [rows]                 predictions [device] out int32 [rows]: argmax (-1 where ignored), or NULL
 *   dx          [device] out [rows, hidden_size]: gradient_scale * dnll/dx; NULL to evaluate only
 *   dweight     [device] inout fp32 [vocab_size, hidden_size], added to; NULL when the head is frozen
 *   x           [device] in [rows, hidden_size]          targets [device] in int32 [rows]
 *   weight      [vocab_size, hidden_size]
 * Errors: INVALID_ARGUMENT when a target is neither FTC_IGNORE_INDEX nor in [0, vocab_size), or when more targets than
 * trained_rows are trained. */
FTC_API ftc_status ftc_linear_cross_entropy(ftc_stream* stream, float* nll, int32_t* predictions, void* dx, float* dweight,
                                            const void* x, const ftc_weight* weight, const int32_t* targets,
                                            const ftc_cross_entropy_params* params, void* workspace,
                                            int64_t workspace_bytes);
typedef struct ftc_cross_entropy_workspace_params {
    uint32_t struct_size;
    int32_t dtype;         /* of x and dx                    */
    int32_t weight_format; /* FTC_WEIGHT_*                   */
    int32_t reserved;
    int64_t rows;          /* the most rows a call will have */
    int64_t hidden_size, vocab_size;
} ftc_cross_entropy_workspace_params;

FTC_API ftc_status ftc_linear_cross_entropy_workspace_bytes(ftc_context* context,
                                                            const ftc_cross_entropy_workspace_params* params,
                                                            int64_t* bytes);

/* ---- Optimisers on flat fp32 arrays ------------------------------------------------------------------------------------------------------ */

typedef struct ftc_adamw_params {
    uint32_t struct_size;
    float learning_rate;
    float beta1, beta2;     /* 0.9, 0.999                                                                     */
    float eps;              /* 1e-8                                                                           */
    float weight_decay;     /* decoupled                                                                      */
    float gradient_scale;   /* the gradient is multiplied by this first: clipping                             */
    int32_t reserved;
    int64_t step;           /* 1 for the first update; bias corrections are computed from it in double        */
    int64_t count;
    const ftc_step_values* step_values;     /* [device] gradient_scale and skip stand there, or NULL          */
    const ftc_update_values* update_values; /* [device] stand for learning_rate, weight_decay and step, or NULL */
} ftc_adamw_params;

/* [host] What ftc_adamw_step computes from learning_rate, weight_decay, betas and step: its update_values. */
FTC_API ftc_status ftc_adamw_get_update_values(ftc_update_values* values, const ftc_adamw_params* params);

/* p *= 1 - lr * wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
 * Loshchilov & Hutter 2019, arXiv:1711.05101.   parameter, m, v [device] inout, gradient [device] in, all fp32 [count]. */
FTC_API ftc_status ftc_adamw_step(ftc_stream* stream, float* parameter, float* m, float* v, const float* gradient,
                                  const ftc_adamw_params* params);

/* The same update with m and v in 8 bits, a quarter of the memory. Dettmers et al. 2022, arXiv:2110.02861. Element i of m is
 * m_map[m_codes[i]] * m_absmax[i / 256]; after the update in fp32 absmax is the block's largest |m|, and the code that of the
 * map's value nearest to m / absmax (ties: the lower one). v alike. A zeroed state is m = v = 0.
 *   parameter [device] inout fp32 [count]   m_codes, v_codes [device] inout uint8 [count]
 *   m_absmax, v_absmax [device] inout fp32 [ceil(count / 256)]   gradient [device] in fp32 [count]
 *   m_map [device] in fp32 [256], ascending from -1 to 1         v_map [device] in fp32 [256], ascending from 0 to 1
 * Errors: INVALID_ARGUMENT (as above, or a map that does not ascend). */
FTC_API ftc_status ftc_adamw_8bit_step(ftc_stream* stream, float* parameter, uint8_t* m_codes, uint8_t* v_codes,
                                       float* m_absmax, float* v_absmax, const float* gradient, const float* m_map,
                                       const float* v_map, const ftc_adamw_params* params);

typedef struct ftc_sgd_params {
    uint32_t struct_size;
    float learning_rate;
    float momentum;         /* 0 = none, then `velocity` may be NULL */
    float weight_decay;     /* added to the gradient (L2), as PyTorch */
    float gradient_scale;
    int32_t reserved;
    int64_t count;
    const ftc_step_values* step_values;     /* [device] as for AdamW, or NULL */
    const ftc_update_values* update_values;
} ftc_sgd_params;

/* g += wd * p;  u = momentum * u + g;  p -= lr * u. */
FTC_API ftc_status ftc_sgd_step(ftc_stream* stream, float* parameter, float* velocity, const float* gradient,
                                const ftc_sgd_params* params);

/* sum [device] out fp32 [1] = sum of x[i]^2, accumulated in double in a fixed order. NaN and infinity pass through. */
FTC_API ftc_status ftc_sum_of_squares(ftc_stream* stream, float* sum, const float* x, int64_t count);

/* What is decided between backward and update, without asking the device: with norm = sqrt(sum), in double,
 * values->gradient_scale = min(1, clip_norm / (norm + 1e-6)), as PyTorch clips, or 1 when clip_norm is 0;
 * values->skip = 1 when sum or one of nll is NaN or infinite, otherwise 0.
 *   values [device] out   sum [device] in fp32 [1]: ftc_sum_of_squares of all gradients   nll [device] in fp32 [count] */
FTC_API ftc_status ftc_clip_gradients(ftc_stream* stream, ftc_step_values* values, const float* sum, const float* nll,
                                      int64_t count, float clip_norm);

#ifdef __cplusplus
}
#endif

#endif /* FTC_H */
