#include "cuda/matmul.h"

#include <map>
#include <memory>
#include <tuple>

#include "cuda/context.h"
#include "cuda/cublaslt_api.h"

namespace ftc::cuda {

namespace {

// A product's shape as far as the choice of an algorithm depends on it.
using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int32_t, int32_t, int32_t, int32_t>;

void check_lt(lt::Status status, const char* call) {
    if (status != 0) fail(FTC_ERROR_DEVICE, "%s failed with status %d", call, status);
}

int32_t type_of(int32_t dtype) {
    return dtype == FTC_BF16 ? lt::kBf16 : lt::kF32;
}

// The largest power of two up to 16 that divides address and row bytes.
uint32_t alignment_of(const void* p, int64_t row_stride, int32_t dtype) {
    const int64_t element = dtype == FTC_BF16 ? 2 : 4;
    const uint64_t bits = reinterpret_cast<uintptr_t>(p) | static_cast<uint64_t>(row_stride * element);
    uint32_t alignment = 16;
    while (bits % alignment != 0) alignment /= 2;
    return alignment;
}

class Layout {
public:
    Layout(const lt::Api& api, int32_t dtype, int64_t rows, int64_t cols, int64_t row_stride) : api_(api) {
        // Row-major [rows, cols] is column-major [cols, rows].
        check_lt(api.layout_create(&layout_, type_of(dtype), static_cast<uint64_t>(cols), static_cast<uint64_t>(rows),
                                   row_stride),
                 "cublasLtMatrixLayoutCreate");
    }
    Layout(const Layout&) = delete;
    Layout& operator=(const Layout&) = delete;
    ~Layout() { api_.layout_destroy(layout_); }
    operator lt::MatrixLayout() const { return layout_; }

private:
    const lt::Api& api_;
    lt::MatrixLayout layout_ = nullptr;
};

} // namespace

struct CublasLt {
    const lt::Api& api;
    lt::Handle handle = nullptr;
    std::map<Key, lt::HeuristicResult> algorithms;
};

void close_cublaslt(CublasLt* cublaslt) {
    if (cublaslt == nullptr) return;
    cublaslt->api.destroy(cublaslt->handle);
    delete cublaslt;
}

namespace {

CublasLt& opened(ftc_context& context) {
    if (context.cublaslt == nullptr) {
        auto opened = std::make_unique<CublasLt>(CublasLt{lt::api(), nullptr, {}});
        check_lt(opened->api.create(&opened->handle), "cublasLtCreate");
        context.cublaslt = opened.release();
    }
    return *context.cublaslt;
}

lt::HeuristicResult choose(const CublasLt& cublaslt, lt::MatmulDesc desc, const Layout& first, const Layout& second,
                           const Layout& d, const uint32_t (&alignments)[3], const Matmul& p) {
    const lt::Api& api = cublaslt.api;
    lt::Preference preference = nullptr;
    check_lt(api.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    const std::unique_ptr<void, lt::Status (*)(lt::Preference)> owner(preference, api.preference_destroy);
    const uint64_t workspace = kMatmulWorkspaceBytes;
    const auto set = [&](int attribute, const void* value, size_t size) {
        check_lt(api.preference_set(preference, attribute, value, size), "cublasLtMatmulPreferenceSetAttribute");
    };
    set(lt::kMaxWorkspaceBytes, &workspace, sizeof(workspace));
    set(lt::kMinAlignmentA, &alignments[0], sizeof(uint32_t));
    set(lt::kMinAlignmentB, &alignments[1], sizeof(uint32_t));
    set(lt::kMinAlignmentC, &alignments[2], sizeof(uint32_t));
    set(lt::kMinAlignmentD, &alignments[2], sizeof(uint32_t));
    lt::HeuristicResult result{};
    int found = 0;
    const lt::Status status =
        api.heuristic(cublaslt.handle, desc, first, second, d, d, preference, 1, &result, &found);
    if (status != 0 || found == 0)
        fail(FTC_ERROR_DEVICE,
             "cuBLASLt has no algorithm for a product of [%lld, %lld] by [%lld, %lld] in %s (status %d)",
             static_cast<long long>(p.m), static_cast<long long>(p.k), static_cast<long long>(p.k),
             static_cast<long long>(p.n), p.dtype == FTC_BF16 ? "bf16" : "fp32", status);
    return result;
}

} // namespace

// cuBLASLt is column-major, so it is asked for D^T = op(B)^T op(A)^T: B comes first.
void matmul(ftc_stream& stream, const Matmul& p) {
    if (p.m == 0 || p.n == 0) return;
    if (stream.matmul_workspace == nullptr)
        fail(FTC_ERROR_UNSUPPORTED,
             "a background stream has no workspace for dense products; expected a stream of ftc_stream_create");
    CublasLt& cublaslt = opened(*stream.context);
    const lt::Api& api = cublaslt.api;
    lt::MatmulDesc desc = nullptr;
    check_lt(api.desc_create(&desc, lt::kComputeF32, lt::kF32), "cublasLtMatmulDescCreate");
    const std::unique_ptr<void, lt::Status (*)(lt::MatmulDesc)> owner(desc, api.desc_destroy);
    const int32_t first_op = p.b_transposed ? lt::kTransposed : lt::kNormal;
    const int32_t second_op = p.a_transposed ? lt::kTransposed : lt::kNormal;
    check_lt(api.desc_set(desc, lt::kTransposeA, &first_op, sizeof(first_op)), "cublasLtMatmulDescSetAttribute");
    check_lt(api.desc_set(desc, lt::kTransposeB, &second_op, sizeof(second_op)), "cublasLtMatmulDescSetAttribute");
    const Layout first(api, p.dtype, p.b_transposed ? p.n : p.k, p.b_transposed ? p.k : p.n, p.b_row_stride);
    const Layout second(api, p.dtype, p.a_transposed ? p.k : p.m, p.a_transposed ? p.m : p.k, p.a_row_stride);
    const Layout d(api, p.d_dtype, p.m, p.n, p.d_row_stride);

    const uint32_t alignments[3] = {alignment_of(p.b, p.b_row_stride, p.dtype), alignment_of(p.a, p.a_row_stride, p.dtype),
                                    alignment_of(p.d, p.d_row_stride, p.d_dtype)};
    const int32_t flags = (first_op << 1) | second_op;
    const int32_t aligned = static_cast<int32_t>(alignments[0] << 16 | alignments[1] << 8 | alignments[2]);
    const Key key{p.m, p.n, p.k, p.a_row_stride, p.b_row_stride, p.d_row_stride, p.dtype, p.d_dtype, flags, aligned};
    auto algorithm = cublaslt.algorithms.find(key);
    if (algorithm == cublaslt.algorithms.end())
        algorithm = cublaslt.algorithms.emplace(key, choose(cublaslt, desc, first, second, d, alignments, p)).first;

    check_lt(api.matmul(cublaslt.handle, desc, &p.alpha, p.b, first, p.a, second, &p.beta, p.d, d, p.d, d,
                        &algorithm->second.algo, stream.matmul_workspace, kMatmulWorkspaceBytes, stream.handle),
             "cublasLtMatmul");
}

} // namespace ftc::cuda
