// SPDX-License-Identifier: Apache-2.0
// Errors are values with a closed code (STYLE.md 7). One function maps codes to HTTP
// (http/status.hpp), one maps errno to a code (error_from_errno). Messages: lower case, no full
// stop, prefixed by the doing ("open store: ...").
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

enum class Code {
    kInvalidArgument,     // the input alone is wrong: 400
    kUnauthenticated,     // no or bad credentials: 401
    kPermissionDenied,    // known caller, no right: 403
    kNotFound,            // 404
    kConflict,            // state of the world forbids it: 409
    kPreconditionFailed,  // If-Match / compare failed: 412
    kTooLarge,            // a limit of base/limits.hpp: 413
    kThrottled,           // 429
    kUnavailable,         // try again later: 503
    kTimeout,             // 504
    kStorageFull,         // the disk is full, reads go on: 507
    kCorrupt,             // data on disk is damaged or of a newer version
    kInternal,            // a bug or the machine: 500
};

std::string_view to_string(Code code);

// `arm_code` is the ARM error code where one is fixed by the contract ("PrivateIPAddressInUse");
// empty elsewhere. `target` is the field path or resource id the error is about.
struct Error {
    Code code = Code::kInternal;
    std::string message;
    std::string target;
    std::string arm_code;
    std::vector<Error> details;

    bool operator==(const Error&) const = default;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// Builds the failure of a Result: `return fail(Code::kNotFound, "open store: no such file");`
std::unexpected<Error> fail(Code code, std::string message, std::string target = {},
                            std::string arm_code = {});

// Same error, message prefixed by "doing: ".
Error prefixed(Error error, std::string_view doing);

// errno values to codes; the message is "doing: strerror".
Error error_from_errno(int err, std::string_view doing);

}  // namespace culvert

// Evaluates an expression giving Result<T>; on failure returns its error from the enclosing
// function.
#define CULVERT_TRY_STATUS(expr)                                        \
    do {                                                                \
        auto culvert_status_ = (expr);                                  \
        if (!culvert_status_) {                                         \
            return std::unexpected(std::move(culvert_status_.error())); \
        }                                                               \
    } while (false)
