// SPDX-License-Identifier: Apache-2.0
#include "control/write.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>

namespace culvert::control {

Outcome<std::optional<Removed>> commit_removed(Services& services, Change& change) {
    auto committed = change.commit(services);
    if (!committed) {
        return refuse(std::move(committed.error()));
    }
    if (!*committed) {
        return std::optional<Removed>();
    }
    return Removed{true, (*committed)->revision};
}

namespace detail {
namespace {

// Of a deletion's operations: the document, its number, an interface or connection of its own with
// its references, the record of what is released, and those of two tenants' audits.
constexpr std::size_t kOthers = 12;

}  // namespace

Status check_removable(const model::ResourceId& id, std::size_t keys, std::size_t before) {
    constexpr std::size_t kMost = limits::kTxnOperations - kOthers;
    if (keys <= kMost || keys <= before) {
        return {};
    }
    return fail(Code::kTooLarge,
                fmt::format("'{}' would have {} addresses, pools and references to others; one "
                            "resource can have {}: spread them over several",
                            id.str(), keys, kMost),
                id.str());
}

Status require_group(Services& services, Change& change, const model::ResourceId& id) {
    // INVARIANT: a document stands directly below its group. As an extension of another resource
    // ("<service>/providers/<type>/<name>") it would lie among that one's children.
    for (const auto& [type, name] : id.segments) {
        if (model::same_name(type, "providers")) {
            return fail(Code::kInvalidArgument,
                        fmt::format("'{}' is not below its resource group: '{}' is no extension "
                                    "of other resources",
                                    id.str(), id.type()),
                        id.str(), "InvalidResourceId");
        }
    }
    const model::ResourceId group = id.group();
    const std::string key = keys::resource(group.key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::unexpected(group_not_found(group));
    }
    change.require(store::present(key));
    return {};
}

}  // namespace detail
}  // namespace culvert::control
