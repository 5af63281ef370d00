// cuBLASLt of the user's machine, opened when it is first needed.
#if !defined(FTC_SIM)

#include <dlfcn.h>

#include <cstdio>

#include "core/status.h"
#include "cuda/cublaslt_api.h"

namespace ftc::cuda::lt {

namespace {

void* open_library() {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
        if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    fail(FTC_ERROR_UNSUPPORTED,
         "cuBLASLt was not found (tried libcublasLt.so.13, .12 and libcublasLt.so on the loader's path). Install it with "
         "the CUDA toolkit or its package libcublas, or put its folder on LD_LIBRARY_PATH");
}

template <class Function>
void load(void* library, Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) fail(FTC_ERROR_UNSUPPORTED, "cuBLASLt has no function %s: expected version 12 or 13", name);
}

Api load_api() {
    void* library = open_library();
    Api api{};
    load(library, api.create, "cublasLtCreate");
    load(library, api.destroy, "cublasLtDestroy");
    load(library, api.desc_create, "cublasLtMatmulDescCreate");
    load(library, api.desc_destroy, "cublasLtMatmulDescDestroy");
    load(library, api.desc_set, "cublasLtMatmulDescSetAttribute");
    load(library, api.layout_create, "cublasLtMatrixLayoutCreate");
    load(library, api.layout_destroy, "cublasLtMatrixLayoutDestroy");
    load(library, api.preference_create, "cublasLtMatmulPreferenceCreate");
    load(library, api.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    load(library, api.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    load(library, api.heuristic, "cublasLtMatmulAlgoGetHeuristic");
    load(library, api.matmul, "cublasLtMatmul");
    return api;
}

} // namespace

const Api& api() {
    static const Api loaded = load_api(); // tried again after a failure
    return loaded;
}

} // namespace ftc::cuda::lt

#endif
