#include <cinttypes>

#include "core/memory.h"
#include "core/status.h"

namespace ftc {

void fail_host_memory(int64_t size_bytes, int64_t available_bytes, int64_t used_bytes) {
    fail(FTC_ERROR_OUT_OF_MEMORY,
         "ftc_host_buffer_create: %" PRId64 " bytes of host memory are needed, %" PRId64
         " are free on this machine (%" PRId64 " in host buffers of this context); free some, raise the limit of the "
                                               "control group, or keep more on the device",
         size_bytes, available_bytes, used_bytes);
}

} // namespace ftc
