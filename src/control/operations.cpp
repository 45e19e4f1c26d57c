// SPDX-License-Identifier: Apache-2.0
#include "control/operations.hpp"

#include "control/resources.hpp"

#include <fmt/format.h>

#include <charconv>

namespace culvert::control {
namespace {

constexpr std::string_view kIdPrefix = "00000000-0000-4000-8000-";
// None: whoever may write one resource may have no role on its subscription, and an operation tells
// only that a revision has arrived.
constexpr std::string_view kPermission;

std::string operation_url(const Services& services, const Call& call, std::string_view collection,
                          std::int64_t revision) {
    return fmt::format(
        "{}/subscriptions/{}/providers/Microsoft.Network/locations/{}/{}/{}?api-version={}",
        call.base_url, call.id.subscription, services.region, collection, operation_id(revision),
        call.api_version);
}

void poll(Services& services, const Call& call, ReplyFn reply, bool result) {
    const auto revision = operation_revision(call.id.name());
    if (!revision || *revision > services.store.revision()) {
        reply(error_reply(not_found(call.id)));
        return;
    }
    auto again = operation_headers(services, call, *revision, result);
    services.settle(*revision, [id = call.id, again = std::move(again), reply = std::move(reply),
                                result](bool settled) {
        Reply answer;
        if (!settled) {
            answer.headers = again;
        }
        if (result) {
            answer.status = settled ? 204 : 202;
        } else {
            answer.body = boost::json::object{{"id", id.str()},
                                              {"name", id.name()},
                                              {"status", settled ? "Succeeded" : "InProgress"}};
        }
        reply(std::move(answer));
    });
}

}  // namespace

std::string operation_id(std::int64_t revision) {
    return fmt::format("{}{:012x}", kIdPrefix, revision);
}

std::optional<std::int64_t> operation_revision(std::string_view id) {
    if (id.size() != kIdPrefix.size() + 12 || !id.starts_with(kIdPrefix)) {
        return std::nullopt;
    }
    std::int64_t revision = 0;
    const char* const end = id.data() + id.size();
    const auto read = std::from_chars(id.data() + kIdPrefix.size(), end, revision, 16);
    return read.ec == std::errc() && read.ptr == end && revision > 0 ? std::optional(revision)
                                                                     : std::nullopt;
}

http::Headers operation_headers(const Services& services, const Call& call, std::int64_t revision,
                                bool with_location) {
    http::Headers headers{
        {"Azure-AsyncOperation", operation_url(services, call, "operations", revision)},
        {"Retry-After", "1"}};
    if (with_location) {
        headers.emplace_back("Location",
                             operation_url(services, call, "operationResults", revision));
    }
    return headers;
}

void add_operation_handlers(Registry& registry, Services& services) {
    registry.add("Microsoft.Network/locations/operations", "GET", std::string(kPermission),
                 [&services](const Call& call, ReplyFn reply) {
                     poll(services, call, std::move(reply), false);
                 });
    registry.add("Microsoft.Network/locations/operationResults", "GET", std::string(kPermission),
                 [&services](const Call& call, ReplyFn reply) {
                     poll(services, call, std::move(reply), true);
                 });
}

}  // namespace culvert::control
