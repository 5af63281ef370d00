// A stand-in for cuBLASLt on the simulator: the functions of cublaslt_api.h, computed by plain loops when the stream
// comes to them. One sequential fp32 chain per element.
#if defined(FTC_SIM)

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda/cublaslt_api.h"

namespace ftc::cuda::lt {

namespace {

struct Desc {
    int32_t transpose[2] = {kNormal, kNormal}; // of A and B
};
struct Layout {
    int type;
    int64_t rows, cols, ld; // column-major
};

constexpr Status kInvalid = 7;

float read(const void* p, int type, int64_t index) {
    if (type == kF32) return static_cast<const float*>(p)[index];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(p)[index]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

void write(void* p, int type, int64_t index, float value) {
    if (type == kF32) {
        static_cast<float*>(p)[index] = value;
        return;
    }
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    const bool nan = std::isnan(value);
    bits = nan ? bits | 0x00400000U : bits + 0x7fffU + (bits >> 16 & 1U); // to nearest even
    static_cast<uint16_t*>(p)[index] = static_cast<uint16_t>(bits >> 16);
}

struct Product {
    Desc desc;
    Layout a_layout, b_layout, d_layout;
    const void* a;
    const void* b;
    void* d;
    float alpha, beta;

    void run() const {
        const int64_t m = d_layout.rows, n = d_layout.cols;
        const int64_t k = desc.transpose[0] == kTransposed ? a_layout.rows : a_layout.cols;
        // Both operands with k running fastest.
        const auto gather = [k](const void* p, const Layout& l, bool k_is_row, int64_t count) {
            std::vector<float> values(static_cast<size_t>(count * k));
            for (int64_t i = 0; i < count; i++)
                for (int64_t j = 0; j < k; j++)
                    values[static_cast<size_t>(i * k + j)] = read(p, l.type, k_is_row ? j + i * l.ld : i + j * l.ld);
            return values;
        };
        const std::vector<float> left = gather(a, a_layout, desc.transpose[0] == kTransposed, m);
        const std::vector<float> right = gather(b, b_layout, desc.transpose[1] == kNormal, n);
        for (int64_t col = 0; col < n; col++)
            for (int64_t row = 0; row < m; row++) {
                const float* x = left.data() + row * k;
                const float* y = right.data() + col * k;
                float sum = 0.0f;
                for (int64_t j = 0; j < k; j++) sum = std::fma(x[j], y[j], sum);
                const int64_t index = row + col * d_layout.ld;
                const float old = beta == 0.0f ? 0.0f : beta * read(d, d_layout.type, index);
                write(d, d_layout.type, index, alpha * sum + old);
            }
    }
};

Status create(Handle* handle) {
    *handle = new int;
    return 0;
}
Status destroy(Handle handle) {
    delete static_cast<int*>(handle);
    return 0;
}
Status desc_create(MatmulDesc* desc, int compute_type, int scale_type) {
    if (compute_type != kComputeF32 || scale_type != kF32) return kInvalid;
    *desc = new Desc;
    return 0;
}
Status desc_destroy(MatmulDesc desc) {
    delete static_cast<Desc*>(desc);
    return 0;
}
Status desc_set(MatmulDesc desc, int attribute, const void* value, size_t size) {
    if ((attribute != kTransposeA && attribute != kTransposeB) || size != sizeof(int32_t)) return kInvalid;
    std::memcpy(&static_cast<Desc*>(desc)->transpose[attribute - kTransposeA], value, size);
    return 0;
}
Status layout_create(MatrixLayout* layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    if ((type != kF32 && type != kBf16) || ld < static_cast<int64_t>(rows)) return kInvalid;
    *layout = new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld};
    return 0;
}
Status layout_destroy(MatrixLayout layout) {
    delete static_cast<Layout*>(layout);
    return 0;
}
Status preference_create(Preference* preference) {
    *preference = new int;
    return 0;
}
Status preference_destroy(Preference preference) {
    delete static_cast<int*>(preference);
    return 0;
}
Status preference_set(Preference, int, const void*, size_t) {
    return 0;
}

bool shapes_agree(const Desc& desc, const Layout& a, const Layout& b, const Layout& d) {
    const bool a_turned = desc.transpose[0] == kTransposed, b_turned = desc.transpose[1] == kTransposed;
    return (a_turned ? a.cols : a.rows) == d.rows && (b_turned ? b.rows : b.cols) == d.cols &&
           (a_turned ? a.rows : a.cols) == (b_turned ? b.cols : b.rows) && a.type == b.type;
}

Status heuristic(Handle, MatmulDesc desc, MatrixLayout a, MatrixLayout b, MatrixLayout, MatrixLayout d, Preference, int,
                 HeuristicResult* result, int* found) {
    if (!shapes_agree(*static_cast<Desc*>(desc), *static_cast<Layout*>(a), *static_cast<Layout*>(b),
                      *static_cast<Layout*>(d)))
        return kInvalid;
    *result = {};
    *found = 1;
    return 0;
}

Status multiply(Handle, MatmulDesc desc, const void* alpha, const void* a, MatrixLayout a_layout, const void* b,
                MatrixLayout b_layout, const void* beta, const void*, MatrixLayout, void* d, MatrixLayout d_layout,
                const Algo*, void*, size_t, cudaStream_t stream) {
    auto product = std::make_unique<Product>(
        Product{*static_cast<Desc*>(desc), *static_cast<Layout*>(a_layout), *static_cast<Layout*>(b_layout),
                *static_cast<Layout*>(d_layout), a, b, d, *static_cast<const float*>(alpha),
                *static_cast<const float*>(beta)});
    if (!shapes_agree(product->desc, product->a_layout, product->b_layout, product->d_layout)) return kInvalid;
    const auto run = [](void* data) {
        const std::unique_ptr<Product> owned(static_cast<Product*>(data));
        owned->run();
    };
    return cudaLaunchHostFunc(stream, run, product.release()) == cudaSuccess ? 0 : kInvalid;
}

} // namespace

const Api& api() {
    static constexpr Api table = {create,         destroy,           desc_create,        desc_destroy,  desc_set,  layout_create,
                                  layout_destroy, preference_create, preference_destroy, preference_set, heuristic, multiply};
    return table;
}

} // namespace ftc::cuda::lt

#endif
