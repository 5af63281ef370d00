// A matrix product as one piece of work of a stream, its reads and writes checked as a whole.
#include "simt/cublaslt.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "execution.h"
#include "memory.h"
#include "stream.h"

namespace simt::lt {

namespace {

constexpr Status kSuccess = 0, kInvalid = 7, kUnsupported = 15, kFailed = 13;
constexpr int kF32 = 0, kBf16 = 14, kComputeF32 = 68;

struct Desc {
    bool transpose_a = false, transpose_b = false;
};

struct Layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batches = 1;
    int64_t batch_stride = 0;

    size_t element() const { return type == kBf16 ? 2 : 4; }
};

struct Product {
    Desc desc;
    Layout a, b, c, d;
    const char *pa, *pb, *pc;
    char* pd;
    float alpha, beta;

    uint64_t depth() const { return desc.transpose_a ? a.rows : a.cols; }
};

float load(const char* p, int type) {
    if (type == kBf16) {
        uint16_t bits;
        std::memcpy(&bits, p, 2);
        return detail::bf16_value(bits);
    }
    float value;
    std::memcpy(&value, p, 4);
    return value;
}

void store(char* p, int type, float value) {
    if (type == kBf16) {
        const uint16_t bits = detail::bf16_bits(value);
        std::memcpy(p, &bits, 2);
    } else {
        std::memcpy(p, &value, 4);
    }
}

// op(M) as dense fp32: [rows of op(M)] contiguous for every column of op(M).
std::vector<float> unpack(const char* p, const Layout& m, bool transposed) {
    const uint64_t rows = transposed ? m.cols : m.rows, cols = transposed ? m.rows : m.cols;
    std::vector<float> dense(rows * cols);
    for (uint64_t j = 0; j < m.cols; ++j)
        for (uint64_t i = 0; i < m.rows; ++i) {
            const float value = load(p + (j * static_cast<uint64_t>(m.ld) + i) * m.element(), m.type);
            dense[transposed ? i * rows + j : j * rows + i] = value;
        }
    return dense;
}

// Every column of every batch; false: the device has died.
bool check_matrix(uint64_t launch, const StreamView& view, const char* p, const Layout& m, bool write,
                  const char* name) {
    for (int64_t batch = 0; batch < m.batches; ++batch)
        for (uint64_t j = 0; j < m.cols; ++j) {
            const char* column =
                p + (batch * m.batch_stride + static_cast<int64_t>(j) * m.ld) * static_cast<int64_t>(m.element());
            const size_t bytes = m.rows * m.element();
            const Allocation* allocation = find_allocation(column);
            const std::string where = std::string("cublasLtMatmul: column ") + std::to_string(j) + " of " + name +
                                      " [" + std::to_string(m.rows) + ", " + std::to_string(m.cols) +
                                      "], leading dimension " + std::to_string(m.ld) + ",";
            if (!is_device_accessible(column, bytes)) {
                die(where + (allocation == nullptr ? " is no device memory"
                             : allocation->freed   ? " has been freed"
                                                   : " reaches outside its allocation"));
                return false;
            }
            if (!write && allocation->tracked && !all_written(column, bytes)) {
                die(where + " is read, but nobody has written it");
                return false;
            }
            if (!bulk_access(launch, view, column, bytes, write, "cublasLtMatmul")) return false;
            if (write) mark_written(column, bytes);
        }
    return true;
}

void run(const Product& p, simt_stream& stream) {
    const uint64_t serial = begin_launch(stream.view, stream.slot, stream.clock);
    if (!check_matrix(serial, stream.view, p.pa, p.a, false, "A")) return;
    if (!check_matrix(serial, stream.view, p.pb, p.b, false, "B")) return;
    if (p.beta != 0.0f && !check_matrix(serial, stream.view, p.pc, p.c, false, "C")) return;
    if (!check_matrix(serial, stream.view, p.pd, p.d, true, "D")) return;
    const uint64_t m = p.d.rows, n = p.d.cols, k = p.depth(), batches = static_cast<uint64_t>(p.d.batches);
    const uint64_t c_bytes = p.beta != 0.0f ? m * n * p.c.element() : 0;
    count_stream_work("cublasLtMatmul", batches * ((m * k + k * n) * p.a.element() + c_bytes),
                      batches * m * n * p.d.element(), batches * 2 * m * n * k);
    std::vector<float> sums(m);
    for (int64_t batch = 0; batch < p.d.batches; ++batch) {
        const auto at = [batch](const char* base, const Layout& layout) {
            return base + batch * layout.batch_stride * static_cast<int64_t>(layout.element());
        };
        const std::vector<float> a = unpack(at(p.pa, p.a), p.a, p.desc.transpose_a);
        const std::vector<float> b = unpack(at(p.pb, p.b), p.b, p.desc.transpose_b);
        for (uint64_t j = 0; j < n; ++j) {
            std::fill(sums.begin(), sums.end(), 0.0f);
            for (uint64_t l = 0; l < k; ++l) {
                const float factor = b[j * k + l];
                const float* column = a.data() + l * m;
                for (uint64_t i = 0; i < m; ++i) sums[i] = std::fma(column[i], factor, sums[i]);
            }
            for (uint64_t i = 0; i < m; ++i) {
                float value = p.alpha * sums[i];
                if (p.beta != 0.0f)
                    value = std::fma(
                        p.beta, load(at(p.pc, p.c) + (j * static_cast<uint64_t>(p.c.ld) + i) * p.c.element(), p.c.type),
                        value);
                store(const_cast<char*>(at(p.pd, p.d)) + (j * static_cast<uint64_t>(p.d.ld) + i) * p.d.element(),
                      p.d.type, value);
            }
        }
    }
}

bool fits(const Product& p) {
    const uint64_t m = p.desc.transpose_a ? p.a.cols : p.a.rows;
    const uint64_t n = p.desc.transpose_b ? p.b.rows : p.b.cols;
    const uint64_t k = p.desc.transpose_b ? p.b.cols : p.b.rows;
    return m == p.d.rows && n == p.d.cols && k == p.depth() && p.c.rows == m && p.c.cols == n && p.a.type == p.b.type &&
           p.a.batches == p.d.batches && p.b.batches == p.d.batches;
}

template <class T>
void read_attribute(T& to, const void* value) {
    std::memcpy(&to, value, sizeof(T));
}

} // namespace

Status create(void** handle) {
    *handle = new int(0);
    return kSuccess;
}
Status destroy(void* handle) {
    delete static_cast<int*>(handle);
    return kSuccess;
}
Status desc_create(void** desc, int compute_type, int scale_type) {
    if (compute_type != kComputeF32 || scale_type != kF32) return kUnsupported;
    *desc = new Desc;
    return kSuccess;
}
Status desc_destroy(void* desc) {
    delete static_cast<Desc*>(desc);
    return kSuccess;
}
Status desc_set(void* desc, int attribute, const void* value, size_t size) {
    if (size != sizeof(int32_t)) return kInvalid;
    int32_t operation;
    read_attribute(operation, value);
    if (attribute == 3)
        static_cast<Desc*>(desc)->transpose_a = operation != 0;
    else if (attribute == 4)
        static_cast<Desc*>(desc)->transpose_b = operation != 0;
    else
        return kUnsupported;
    return kSuccess;
}
Status layout_create(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    if (type != kF32 && type != kBf16) return kUnsupported;
    if (rows == 0 || cols == 0 || ld < static_cast<int64_t>(rows)) return kInvalid;
    *layout = new Layout{type, rows, cols, ld};
    return kSuccess;
}
Status layout_destroy(void* layout) {
    delete static_cast<Layout*>(layout);
    return kSuccess;
}
Status layout_set(void* layout, int attribute, const void* value, size_t) {
    if (attribute == 5)
        read_attribute(static_cast<Layout*>(layout)->batches, value);
    else if (attribute == 6)
        read_attribute(static_cast<Layout*>(layout)->batch_stride, value);
    else
        return kUnsupported;
    return kSuccess;
}
Status preference_create(void** preference) {
    *preference = new int(0);
    return kSuccess;
}
Status preference_destroy(void* preference) {
    delete static_cast<int*>(preference);
    return kSuccess;
}
Status preference_set(void*, int, const void*, size_t) {
    return kSuccess;
}

Status heuristic(void*, void* desc, void* a, void* b, void* c, void* d, void*, int requested, HeuristicResult* results,
                 int* found) {
    *found = 0;
    const Product p{*static_cast<Desc*>(desc),
                    *static_cast<Layout*>(a),
                    *static_cast<Layout*>(b),
                    *static_cast<Layout*>(c),
                    *static_cast<Layout*>(d),
                    nullptr,
                    nullptr,
                    nullptr,
                    nullptr,
                    0,
                    0};
    if (requested < 1 || !fits(p)) return kInvalid;
    results[0] = {};
    *found = 1;
    return kSuccess;
}

Status matmul(void*, void* desc, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout,
              const void* beta, const void* c, void* c_layout, void* d, void* d_layout, const void*, void* workspace,
              size_t workspace_bytes, cudaStream_t stream) {
    const RuntimeLock lock;
    Product p{*static_cast<Desc*>(desc),
              *static_cast<Layout*>(a_layout),
              *static_cast<Layout*>(b_layout),
              *static_cast<Layout*>(c_layout),
              *static_cast<Layout*>(d_layout),
              static_cast<const char*>(a),
              static_cast<const char*>(b),
              static_cast<const char*>(c),
              static_cast<char*>(d),
              0,
              0};
    read_attribute(p.alpha, alpha);
    read_attribute(p.beta, beta);
    if (!fits(p)) return kInvalid;
    const auto misaligned = [](const void* q, const Layout& layout) {
        return (reinterpret_cast<uintptr_t>(q) & (layout.element() - 1)) != 0;
    };
    if (misaligned(a, p.a) || misaligned(b, p.b) || misaligned(c, p.c) || misaligned(d, p.d)) return kInvalid;
    if (workspace_bytes > 0 && !is_device_accessible(workspace, workspace_bytes)) return kInvalid;
    const cudaError_t error = enqueue(stream_or_default(stream), [p](simt_stream& on) { run(p, on); });
    return error == cudaSuccess ? kSuccess : kFailed;
}

} // namespace simt::lt
