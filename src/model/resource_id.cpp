// SPDX-License-Identifier: Apache-2.0
#include "model/resource_id.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace culvert::model {
namespace {

constexpr std::string_view kShape =
    "/subscriptions/{id}/resourceGroups/{group}/providers/{namespace}/{type}/{name}";

char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// What ARM forbids in names, and '|', which separates two ids inside a store key.
bool allowed(char c) {
    return c >= 0x20 && c < 0x7f && std::string_view("%?#|\\<>\"").find(c) == std::string::npos;
}

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const std::size_t slash = std::min(text.find('/'), text.size());
        if (slash > 0) {
            parts.push_back(text.substr(0, slash));
        }
        text.remove_prefix(std::min(slash + 1, text.size()));
    }
    return parts;
}

std::unexpected<Error> malformed(std::string_view text, std::string_view why) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not a resource id: {} (shape: {})", text, why, kShape));
}

}  // namespace

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), lower_char);
    return out;
}

bool same_name(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower_char, lower_char);
}

Result<ResourceId> ResourceId::parse(std::string_view text) {
    if (text.size() > limits::kResourceIdChars) {
        return fail(Code::kInvalidArgument,
                    fmt::format("resource id of {} characters is longer than {}", text.size(),
                                limits::kResourceIdChars));
    }
    if (!std::ranges::all_of(text, allowed)) {
        // not echoed: it may hold control characters
        return fail(Code::kInvalidArgument,
                    "resource id has a character that is not allowed in ids (control characters, "
                    "non-ASCII, or one of %?#|\\<>\")");
    }
    if (text.empty() || text.front() != '/') {
        return malformed(text, "it does not start with '/'");
    }
    const auto parts = split(text);
    auto at = parts.begin();
    const auto left = [&] { return parts.end() - at; };
    ResourceId id;
    if (at == parts.end()) {
        return id;
    }
    if (same_name(*at, "subscriptions")) {
        if (left() < 2) {
            return malformed(text, "the subscription's id is missing");
        }
        id.subscription = at[1];
        at += 2;
        if (left() > 0 && same_name(*at, "resourceGroups")) {
            if (left() < 2) {
                return malformed(text, "the resource group's name is missing");
            }
            id.resource_group = at[1];
            at += 2;
        }
    }
    if (left() == 0) {
        return id;
    }
    if (!same_name(*at, "providers")) {
        return malformed(text, fmt::format("'{}' stands where 'providers' is expected", *at));
    }
    if (left() < 4) {
        return malformed(text, "namespace, type or name is missing after 'providers'");
    }
    id.provider = at[1];
    for (at += 2; left() >= 2; at += 2) {
        id.segments.emplace_back(at[0], at[1]);
    }
    if (left() != 0) {
        return malformed(text, fmt::format("the name after '{}' is missing", *at));
    }
    return id;
}

std::string ResourceId::str() const {
    std::string out;
    const auto add = [&out](std::string_view type, std::string_view name) {
        out.append("/").append(type).append("/").append(name);
    };
    if (!subscription.empty()) {
        add("subscriptions", subscription);
    }
    if (!resource_group.empty()) {
        add("resourceGroups", resource_group);
    }
    if (!provider.empty()) {
        add("providers", provider);
    }
    for (const auto& [type, name] : segments) {
        add(type, name);
    }
    return out.empty() ? "/" : out;
}

std::string ResourceId::key() const { return lower(str()); }

std::string ResourceId::type() const {
    if (segments.empty()) {
        return !resource_group.empty() ? "Microsoft.Resources/resourceGroups"
               : !subscription.empty() ? "Microsoft.Resources/subscriptions"
                                       : "Microsoft.Resources/tenants";
    }
    std::string out = provider;
    for (const auto& [type, name] : segments) {
        if (same_name(type, "providers")) {
            out = name;  // an extension resource: its own namespace counts
        } else {
            out.append("/").append(type);
        }
    }
    return out;
}

const std::string& ResourceId::name() const {
    if (!segments.empty()) {
        return segments.back().second;
    }
    return resource_group.empty() ? subscription : resource_group;
}

ResourceId ResourceId::parent() const {
    ResourceId out = *this;
    if (!out.segments.empty()) {
        out.segments.pop_back();
        if (!out.segments.empty() && same_name(out.segments.back().first, "providers")) {
            out.segments.pop_back();  // the namespace of an extension resource
        }
        if (out.segments.empty()) {
            out.provider.clear();
        }
    } else if (!out.resource_group.empty()) {
        out.resource_group.clear();
    } else {
        out.subscription.clear();
    }
    return out;
}

ResourceId ResourceId::child(std::string_view type, std::string_view name) const {
    ResourceId out = *this;
    out.segments.emplace_back(type, name);
    return out;
}

ResourceId ResourceId::group() const {
    ResourceId out;
    out.subscription = subscription;
    out.resource_group = resource_group;
    return out;
}

bool ResourceId::is_type(std::string_view full_type) const { return same_name(type(), full_type); }

}  // namespace culvert::model
