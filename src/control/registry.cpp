// SPDX-License-Identifier: Apache-2.0
#include "control/call.hpp"

namespace culvert::control {

namespace json = boost::json;

namespace {

// The ARM code of an error that has none of its own (arm-contract 12).
std::string_view default_arm_code(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return "InvalidParameter";
        case Code::kUnauthenticated: return "AuthenticationFailed";
        case Code::kPermissionDenied: return "AuthorizationFailed";
        case Code::kNotFound: return "ResourceNotFound";
        case Code::kConflict: return "Conflict";
        case Code::kPreconditionFailed: return "PreconditionFailed";
        case Code::kTooLarge: return "RequestEntityTooLarge";
        case Code::kThrottled: return "TooManyRequests";
        case Code::kUnavailable: return "ServiceUnavailable";
        case Code::kTimeout: return "GatewayTimeout";
        case Code::kStorageFull: return "InsufficientStorage";
        case Code::kCorrupt:
        case Code::kInternal: return "InternalServerError";
    }
    return "InternalServerError";
}

json::object error_object(const Error& error) {
    json::object out{{"code", error.arm_code.empty() ? default_arm_code(error.code)
                                                     : std::string_view(error.arm_code)},
                     {"message", error.message}};
    if (!error.target.empty()) {
        out["target"] = error.target;
    }
    json::array details;
    for (const auto& detail : error.details) {
        details.push_back(error_object(detail));
    }
    out["details"] = std::move(details);
    return out;
}

}  // namespace

Reply error_reply(const Error& error) {
    Reply reply;
    reply.status = http::status_of(error.code);
    reply.body = json::object{{"error", error_object(error)}};
    if (error.code == Code::kThrottled || error.code == Code::kUnavailable ||
        error.code == Code::kStorageFull) {
        reply.headers.emplace_back("Retry-After", error.code == Code::kStorageFull ? "10" : "1");
    }
    return reply;
}

Reply errors_reply(const std::vector<Error>& errors) {
    if (errors.empty()) {
        return error_reply(Error{Code::kInternal, "refused without a reason", {}, {}, {}});
    }
    Error all = errors.front();
    if (errors.size() > 1) {
        all.details = errors;
    }
    return error_reply(all);
}

void Registry::add(std::string type, std::string verb, std::string permission, CallHandler handler,
                   std::size_t cost) {
    auto& row = entries_[model::lower(type)];
    row.name = std::move(type);
    row.verbs.insert_or_assign(model::lower(verb),
                               Entry{std::move(permission), std::move(handler), cost});
}

const Registry::Entry* Registry::find(std::string_view type, std::string_view verb,
                                      bool* known_type) const {
    const auto row = entries_.find(model::lower(type));
    if (known_type != nullptr) {
        *known_type = row != entries_.end();
    }
    if (row == entries_.end()) {
        return nullptr;
    }
    const auto entry = row->second.verbs.find(model::lower(verb));
    return entry == row->second.verbs.end() ? nullptr : &entry->second;
}

std::vector<std::string> Registry::types() const {
    std::vector<std::string> out;
    out.reserve(entries_.size());
    for (const auto& [key, row] : entries_) {
        out.push_back(row.name);
    }
    return out;
}

}  // namespace culvert::control
