// The caller's workspace: checked for size, its address brought to 64 bytes.
#pragma once

#include "api/check.h"

namespace ftc {

constexpr int64_t kWorkspaceAlignment = 64;

// Bytes to ask for so that `floats` fit wherever the workspace begins.
inline int64_t workspace_bytes_of(int64_t floats) {
    return floats * static_cast<int64_t>(sizeof(float)) + kWorkspaceAlignment;
}

// needed as workspace_bytes_of() answered; query is the function that tells it to the caller.
inline float* check_workspace(const char* function, void* workspace, int64_t workspace_bytes, int64_t needed,
                              const char* query) {
    check_pointer(function, "workspace", workspace);
    if (workspace_bytes < needed)
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: workspace_bytes is %" PRId64 ", expected >= %" PRId64 " (%s)", function,
             workspace_bytes, needed, query);
    const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
    return reinterpret_cast<float*>((address + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment);
}

} // namespace ftc
