// SPDX-License-Identifier: Apache-2.0
#include "control/renewal.hpp"

#include "base/log.hpp"
#include "control/audit.hpp"
#include "control/certificate_records.hpp"
#include "control/certificates.hpp"
#include "control/hub_streams.hpp"
#include "control/keys.hpp"
#include "control/node_documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace culvert::control {
namespace {

constexpr int kAttempts = 8;
// Certificates that a node was given and has not used: a node that stored one and was stopped
// before it used it comes back with it, however often it asked again.
constexpr std::size_t kUnused = 4;

std::unexpected<Error> revoked() {
    return fail(Code::kPermissionDenied, "renew: the certificate was revoked");
}

// Reads the node, lets `change` alter it and add to the transaction, writes it back unless it has
// changed meanwhile.
template <typename F>
Status update(store::Store& store, const std::string& name, F&& change) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const auto row = store.get(keys::node(name));
        if (!row) {
            return std::unexpected(row.error());
        }
        if (!*row) {
            return revoked();
        }
        auto node = decode_node((*row)->value);
        if (!node) {
            return std::unexpected(std::move(node.error()));
        }
        store::Txn txn;
        CULVERT_TRY_STATUS(change(*node, txn));
        txn.compares.push_back(store::unchanged(keys::node(name), (*row)->mod_revision));
        txn.success.push_back(store::put(keys::node(name), encode(*node)));
        const auto done = store.txn(txn);
        if (!done) {
            return std::unexpected(done.error());
        }
        if (done->succeeded) {
            return {};
        }
    }
    return fail(Code::kConflict, "renew: the node changes all the time");
}

}  // namespace

// From now on the certificate is the node's only one.
Status Renewals::settle(const StreamIdentity& who, model::Node& node, store::Txn& txn) {
    auto ended = ended_revocations(store_, clock_.wall());
    if (!ended) {
        return std::unexpected(std::move(ended.error()));
    }
    std::ranges::move(*ended, std::back_inserter(txn.success));
    std::ranges::move(revocations(node, who.serial, clock_.wall()),
                      std::back_inserter(txn.success));
    node.certificate_serial = who.serial;
    node.authority = who.authority;
    node.certificate_from = who.from;
    node.certificate_until = who.until;
    node.next.clear();
    return {};
}

Result<Renewed> Renewals::renew(const StreamIdentity& who, const std::string& csr_pem) {
    const auto asked = request_name(csr_pem);
    if (!asked) {
        return std::unexpected(asked.error());
    }
    if (*asked != who.node) {
        return fail(Code::kPermissionDenied,
                    fmt::format("renew: the request is for '{}', the stream is '{}'",
                                asked->substr(0, 64), who.node),
                    "csr");
    }
    if (!issue_) {
        return fail(Code::kUnavailable, "renew: this hub signs nothing");
    }
    auto certificate = issue_(csr_pem, who.node);
    if (!certificate) {
        return std::unexpected(std::move(certificate.error()));
    }
    const auto next = identity_of(*certificate);
    if (!next) {
        return std::unexpected(next.error());
    }
    CULVERT_TRY_STATUS(update(store_, who.node, [&](model::Node& node, store::Txn& txn) -> Status {
        if (!may_use(node, who.serial)) {
            return revoked();
        }
        if (node.certificate_serial != who.serial) {
            CULVERT_TRY_STATUS(settle(who, node, txn));
        }
        if (node.next.size() >= kUnused) {
            model::Node oldest;
            oldest.name = node.name;
            oldest.next = {node.next.front()};
            std::ranges::move(revocations(oldest, {}, clock_.wall()),
                              std::back_inserter(txn.success));
            node.next.erase(node.next.begin());
        }
        node.authority = who.authority;
        node.certificate_from = who.from;
        node.certificate_until = who.until;
        node.next.push_back({next->serial, next->until});
        return {};
    }));
    spdlog::info("hub: renewed the certificate of node {} serial={}", who.node, next->serial);
    return Renewed{std::move(*certificate), next->serial};
}

Status Renewals::confirm(const StreamIdentity& who) {
    return update(store_, who.node, [&](model::Node& node, store::Txn& txn) -> Status {
        return may_use(node, who.serial) ? settle(who, node, txn) : Status(revoked());
    });
}

Status Renewals::adopt(const StreamIdentity& who) {
    // nobody asked for it, but it is a change of what the store says about who is who
    const AuditScope scope(
        Actor{.caller = {.principal = "", .name = "node " + who.node, .tenant = ""},
              .from = "",
              .request_id = "",
              .correlation = "",
              .operation = "Culvert/nodes/certificates/accept",
              .resource = "/culvert/nodes/" + who.node});
    return update(store_, who.node, [&](model::Node& node, store::Txn& txn) -> Status {
        const std::string record = keys::revocation(who.serial);
        const auto row = store_.get(record);
        if (!row) {
            return std::unexpected(row.error());
        }
        if (*row || (!may_use(node, who.serial) && !is_later(node, who.from, who.until))) {
            return revoked();
        }
        txn.compares.push_back(store::absent(record));
        return settle(who, node, txn);
    });
}

}  // namespace culvert::control
