// SPDX-License-Identifier: Apache-2.0
#include "control/front.hpp"
#include "control/paths.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace culvert::control {

namespace {

using Segments = std::vector<std::string>;

std::string join(const Segments& segments, std::size_t first, std::size_t last) {
    std::string out;
    for (std::size_t i = first; i < last; ++i) {
        out += "/" + segments[i];
    }
    return out.empty() ? "/" : out;
}

std::unexpected<Error> no_such_path(const http::Request& request) {
    return fail(Code::kNotFound, fmt::format("'{}' is not a path of this API", request.path), {},
                "NotFound");
}

// A collection is listed; what else is asked of it is a verb that no handler has. POST stands for
// an action, but below /culvert, where it creates.
std::string collection_verb(const std::string& method) {
    return method == "GET" || method == "HEAD" ? "LIST" : method + ":";
}

// Reads the path up to `last` as an id, for a collection or action that follows it.
Result<model::ResourceId> parse_id(const Segments& segments, std::size_t last) {
    auto id = model::ResourceId::parse(join(segments, 0, last));
    if (!id) {
        id.error().arm_code = "InvalidResourceId";
    }
    return id;
}

// Index of the last keyword "providers"; keywords stand at even places only, names at odd ones.
std::size_t last_providers(const Segments& segments) {
    std::size_t found = std::string::npos;
    for (std::size_t i = 0; i < segments.size(); i += 2) {
        if (model::same_name(segments[i], "providers")) {
            found = i;
        }
    }
    return found;
}

// /culvert/{kind}[/{name}[/{action}]]
Result<Route> own_route(const http::Request& request, const Segments& segments) {
    if (segments.size() < 2 || segments.size() > 4) {
        return no_such_path(request);
    }
    Route out;
    out.arm = false;
    out.type = "Culvert/" + segments[1];
    out.id.provider = "Culvert";
    if (segments.size() == 2) {
        out.collection = segments[1];
        out.verb = request.method == "POST" ? "POST" : collection_verb(request.method);
        return out;
    }
    out.id.segments.emplace_back(segments[1], segments[2]);
    out.verb = request.method;
    if (segments.size() == 4) {
        out.action = segments[3];
        out.verb += ":" + segments[3];
    }
    return out;
}

// The Graph requests that `az role assignment` makes: /graph/v1.0/{kind}[/{action}]
Result<Route> graph_route(const http::Request& request, const Segments& segments) {
    if (segments.size() < 3 || segments.size() > 4) {
        return no_such_path(request);
    }
    Route out;
    out.arm = false;
    out.type = "Graph/" + segments[2];
    out.verb = segments.size() == 4      ? request.method + ":" + segments[3]
               : request.method == "GET" ? "LIST"
                                         : request.method;
    return out;
}

// Paths above resource providers: tenants, subscriptions, groups and what hangs on them.
Result<Route> scope_route(const http::Request& request, const Segments& segments) {
    static constexpr std::pair<std::string_view, std::string_view> kLists[] = {
        {"resourceGroups", "Microsoft.Resources/resourceGroups"},
        {"resources", "Microsoft.Resources/resources"},
        {"providers", "Microsoft.Resources/providers"},
        {"locations", "Microsoft.Resources/subscriptions/locations"}};
    Route out;
    out.verb = request.method;
    const bool list = segments.size() % 2 == 1;
    if (segments.size() == 1) {
        const bool tenants = model::same_name(segments[0], "tenants");
        if (!tenants && !model::same_name(segments[0], "subscriptions")) {
            return no_such_path(request);
        }
        out.type = tenants ? "Microsoft.Resources/tenants" : "Microsoft.Resources/subscriptions";
        out.collection = segments[0];
    } else if (list) {
        auto id = parse_id(segments, segments.size() - 1);
        if (!id) {
            return std::unexpected(id.error());
        }
        out.id = std::move(*id);
        for (const auto& [name, type] : kLists) {
            if (model::same_name(name, segments.back()) &&
                (out.id.resource_group.empty() || name == "resources")) {
                out.type = type;
                out.collection = name;
            }
        }
        if (out.type.empty()) {
            return no_such_path(request);
        }
    } else {
        auto id = parse_id(segments, segments.size());
        if (!id) {
            return std::unexpected(id.error());
        }
        out.id = std::move(*id);
        out.type = out.id.type();
        return out;
    }
    out.verb = collection_verb(request.method);
    return out;
}

// .../providers/{namespace}[/register]
Result<Route> namespace_route(const http::Request& request, const Segments& segments,
                              std::size_t providers) {
    auto scope = parse_id(segments, providers);
    if (!scope) {
        return std::unexpected(scope.error());
    }
    Route out;
    out.type = "Microsoft.Resources/providers";
    out.id = std::move(*scope);
    out.id.provider = segments[providers + 1];
    out.verb = request.method;
    if (segments.size() == providers + 3) {
        out.action = segments.back();
        out.verb += ":" + segments.back();
    }
    return out;
}

// .../providers/{namespace}/{type}[/{name}[/{type}[/{name}]...]]
Result<Route> resource_route(const http::Request& request, const Segments& segments,
                             std::size_t providers) {
    Route out;
    out.verb = request.method;
    if (segments.size() % 2 == 0) {
        auto id = parse_id(segments, segments.size());
        if (!id) {
            return std::unexpected(id.error());
        }
        out.id = std::move(*id);
        out.type = out.id.type();
        return out;
    }
    const std::string& last = segments.back();
    const bool top = segments.size() == providers + 3;
    auto parent = parse_id(segments, top ? providers : segments.size() - 1);
    if (!parent) {
        return std::unexpected(parent.error());
    }
    out.id = std::move(*parent);
    if (request.method == "POST") {
        out.action = last;
        out.verb = "POST:" + last;
        out.type = top ? segments[providers + 1] : out.id.type();
        return out;
    }
    out.type = (top ? segments[providers + 1] : out.id.type()) + "/" + last;
    out.collection = last;
    out.verb = collection_verb(request.method);
    return out;
}

// Types that have paths of their own, where their rights are asked at the right scope. Written as a
// resource of some provider they would be asked for at that path instead, so that whoever owns one
// group could ask for /subscriptions/{id}/resourceGroups/{group}/providers/Culvert/nodes/{name}.
bool has_own_path(std::string_view type) {
    static constexpr std::string_view kScopes[] = {
        "Microsoft.Resources/tenants",        "Microsoft.Resources/subscriptions",
        "Microsoft.Resources/resourceGroups", "Microsoft.Resources/resources",
        "Microsoft.Resources/providers",      "Microsoft.Resources/subscriptions/locations"};
    const auto provider = type.substr(0, type.find('/'));
    return model::same_name(provider, "Culvert") || model::same_name(provider, "Graph") ||
           std::ranges::any_of(kScopes, [&](auto scope) { return model::same_name(scope, type); });
}

int number(std::string_view text) {
    int out = -1;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    return ec == std::errc() && end == text.data() + text.size() ? out : -1;
}

}  // namespace

Result<Route> route(const http::Request& request) {
    const auto segments = path_segments(request.path);
    if (segments.empty()) {
        return no_such_path(request);
    }
    if (model::same_name(segments[0], "culvert")) {
        return own_route(request, segments);
    }
    if (model::same_name(segments[0], "graph")) {
        return graph_route(request, segments);
    }
    const auto providers = last_providers(segments);
    if (providers == std::string::npos || providers + 1 == segments.size()) {
        return scope_route(request, segments);
    }
    const bool registers = segments.size() == providers + 3 && request.method == "POST" &&
                           (model::same_name(segments.back(), "register") ||
                            model::same_name(segments.back(), "unregister"));
    if (segments.size() == providers + 2 || registers) {
        return namespace_route(request, segments, providers);
    }
    auto out = resource_route(request, segments, providers);
    if (out && has_own_path(out->type)) {
        return no_such_path(request);
    }
    return out;
}

Status check_api_version(std::string_view version) {
    if (version.empty()) {
        return fail(Code::kInvalidArgument,
                    "The api-version query parameter (?api-version=) is required for all requests.",
                    "api-version", "MissingApiVersionParameter");
    }
    const auto date = version.substr(0, 10);
    const auto suffix = version.substr(date.size());
    const bool shape = date.size() == 10 && date[4] == '-' && date[7] == '-' &&
                       (suffix.empty() || model::same_name(suffix, "-preview"));
    const int year = shape ? number(date.substr(0, 4)) : -1;
    const int month = shape ? number(date.substr(5, 2)) : -1;
    const int day = shape ? number(date.substr(8, 2)) : -1;
    if (year < 2015 || year > 2027 || month < 1 || month > 12 || day < 1 || day > 31) {
        return fail(Code::kInvalidArgument,
                    fmt::format("The api-version '{}' is invalid. Supported are dates from "
                                "2015-01-01 to 2027-12-31, with or without '-preview'.",
                                version.substr(0, 40)),
                    "api-version", "InvalidApiVersionParameter");
    }
    return {};
}

}  // namespace culvert::control
