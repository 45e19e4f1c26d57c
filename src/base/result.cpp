// SPDX-License-Identifier: Apache-2.0
#include "base/result.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace culvert {

std::string_view to_string(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return "invalid_argument";
        case Code::kUnauthenticated: return "unauthenticated";
        case Code::kPermissionDenied: return "permission_denied";
        case Code::kNotFound: return "not_found";
        case Code::kConflict: return "conflict";
        case Code::kPreconditionFailed: return "precondition_failed";
        case Code::kTooLarge: return "too_large";
        case Code::kThrottled: return "throttled";
        case Code::kUnavailable: return "unavailable";
        case Code::kTimeout: return "timeout";
        case Code::kStorageFull: return "storage_full";
        case Code::kCorrupt: return "corrupt";
        case Code::kInternal: return "internal";
    }
    return "internal";
}

std::unexpected<Error> fail(Code code, std::string message, std::string target,
                            std::string arm_code) {
    return std::unexpected(
        Error{code, std::move(message), std::move(target), std::move(arm_code), {}});
}

Error prefixed(Error error, std::string_view doing) {
    error.message = fmt::format("{}: {}", doing, error.message);
    return error;
}

Error error_from_errno(int err, std::string_view doing) {
    Code code = Code::kInternal;
    switch (err) {
        case ENOENT:
        case ENODEV:
        case ESRCH: code = Code::kNotFound; break;
        case EACCES:
        case EPERM: code = Code::kPermissionDenied; break;
        case EEXIST:
        case EADDRINUSE:
        case EBUSY: code = Code::kConflict; break;
        case EINVAL:
        case EADDRNOTAVAIL:
        case ERANGE: code = Code::kInvalidArgument; break;
        case E2BIG:
        case ENOSPC: code = Code::kTooLarge; break;
        case EAGAIN:
        case ECONNREFUSED:
        case ENETUNREACH: code = Code::kUnavailable; break;
        case ETIMEDOUT: code = Code::kTimeout; break;
        default: break;
    }
    return Error{code, fmt::format("{}: {}", doing, std::strerror(err)), {}, {}, {}};
}

}  // namespace culvert
