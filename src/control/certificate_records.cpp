// SPDX-License-Identifier: Apache-2.0
#include "control/certificate_records.hpp"

#include "control/keys.hpp"
#include "control/node_documents.hpp"

#include <algorithm>

namespace culvert::control {
namespace {

// of one whose end nobody has written down: as long as its authority's
constexpr auto kLongest = std::chrono::days(3650);
// after its end, for clocks that are behind
constexpr auto kMargin = std::chrono::days(1);
constexpr std::size_t kAtOnce = 32;

}  // namespace

bool may_use(const model::Node& node, std::string_view serial) {
    return node.certificate_serial == serial ||
           std::ranges::any_of(node.next, [&](const auto& next) { return next.serial == serial; });
}

bool is_later(const model::Node& node, WallTime from, WallTime until) {
    return node.certificate_from != WallTime()
               ? from > node.certificate_from
               : node.certificate_until != WallTime() && until > node.certificate_until;
}

std::vector<store::Op> revocations(const model::Node& node, std::string_view kept, WallTime now) {
    std::vector<store::Op> out;
    const auto revoke = [&](const std::string& serial, WallTime until) {
        if (!serial.empty() && serial != kept) {
            const Revocation record{node.name, until == WallTime() ? now + kLongest : until};
            out.push_back(store::put(keys::revocation(serial), encode(record)));
        }
    };
    revoke(node.certificate_serial, node.certificate_until);
    for (const model::IssuedCertificate& next : node.next) {
        revoke(next.serial, next.until);
    }
    return out;
}

Result<std::vector<store::Op>> ended_revocations(store::Store& store, WallTime now) {
    auto rows = store.list(keys::kRevoked);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::vector<store::Op> out;
    for (const store::KeyValue& row : rows->kvs) {
        const auto record = decode_revocation(row.value);
        if (record && record->until + kMargin < now && out.size() < kAtOnce) {
            out.push_back(store::erase(row.key));
        }
    }
    return out;
}

}  // namespace culvert::control
