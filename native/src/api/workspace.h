// The caller's workspace: checked for size, its address brought to 64 bytes.
#pragma once

#include "api/check.h"

namespace ftc {

constexpr int64_t kWorkspaceAlignment = 64;

// Bytes to ask for so that `bytes` fit wherever the workspace begins.
inline int64_t with_alignment(int64_t bytes) {
    return bytes + kWorkspaceAlignment;
}

// needed as the backend answered; query is the function that tells it to the caller.
inline void* check_workspace(const char* function, void* workspace, int64_t workspace_bytes, int64_t needed,
                             const char* query) {
    if (needed == 0) return workspace;
    if (workspace == nullptr || workspace_bytes < with_alignment(needed))
        fail(FTC_ERROR_INVALID_ARGUMENT, "%s: workspace has %" PRId64 " bytes, expected >= %" PRId64 " (%s)", function,
             workspace == nullptr ? 0 : workspace_bytes, with_alignment(needed), query);
    const uintptr_t address = reinterpret_cast<uintptr_t>(workspace);
    return reinterpret_cast<void*>((address + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment);
}

} // namespace ftc
