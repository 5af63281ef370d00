// The simulator's stand-in for cuBLASLt.
#if defined(FTC_SIM)

#include "cuda/cublaslt_api.h"
#include "simt/cublaslt.h"

namespace ftc::cuda::lt {

static_assert(sizeof(HeuristicResult) == sizeof(simt::lt::HeuristicResult));

const Api& api() {
    static const Api table = {
        simt::lt::create,
        simt::lt::destroy,
        simt::lt::desc_create,
        simt::lt::desc_destroy,
        simt::lt::desc_set,
        simt::lt::layout_create,
        simt::lt::layout_destroy,
        simt::lt::preference_create,
        simt::lt::preference_destroy,
        simt::lt::preference_set,
        [](Handle handle, MatmulDesc desc, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d,
           Preference preference, int requested, HeuristicResult* results, int* found) {
            return simt::lt::heuristic(handle, desc, a, b, c, d, preference, requested,
                                       reinterpret_cast<simt::lt::HeuristicResult*>(results), found);
        },
        [](Handle handle, MatmulDesc desc, const void* alpha, const void* a, MatrixLayout a_layout, const void* b,
           MatrixLayout b_layout, const void* beta, const void* c, MatrixLayout c_layout, void* d,
           MatrixLayout d_layout, const Algo* algo, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
            return simt::lt::matmul(handle, desc, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algo,
                                    workspace, workspace_bytes, stream);
        },
    };
    return table;
}

} // namespace ftc::cuda::lt

#endif
