#include "core/status.h"
#include "ftc.h"

int32_t ftc_version(void) {
    return FTC_VERSION_MAJOR * 1000000 + FTC_VERSION_MINOR * 1000 + FTC_VERSION_PATCH;
}

const char* ftc_last_error_message(void) {
    return ftc::last_error_message();
}
