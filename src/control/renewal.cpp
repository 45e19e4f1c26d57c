// SPDX-License-Identifier: Apache-2.0
#include "control/renewal.hpp"

#include "base/log.hpp"
#include "control/certificates.hpp"
#include "control/hub_streams.hpp"
#include "control/keys.hpp"
#include "control/node_documents.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

constexpr int kAttempts = 8;

std::unexpected<Error> revoked() {
    return fail(Code::kPermissionDenied, "renew: the certificate was revoked");
}

// Reads the node, lets `change` alter it, writes it back unless it has changed meanwhile.
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
        CULVERT_TRY_STATUS(change(*node));
        store::Txn txn;
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

bool holds(const model::Node& node, const std::string& serial) {
    return node.certificate_serial == serial || node.next_serial == serial;
}

}  // namespace

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
    CULVERT_TRY_STATUS(update(store_, who.node, [&](model::Node& node) -> Status {
        if (!holds(node, who.serial)) {
            return revoked();
        }
        node.certificate_serial = who.serial;
        node.authority = who.authority;
        node.certificate_until = who.until;
        node.next_serial = next->serial;
        return {};
    }));
    spdlog::info("hub: renewed the certificate of node {} serial={}", who.node, next->serial);
    return Renewed{std::move(*certificate), next->serial};
}

Status Renewals::confirm(const StreamIdentity& who) {
    return update(store_, who.node, [&](model::Node& node) -> Status {
        if (!holds(node, who.serial)) {
            return revoked();
        }
        node.certificate_serial = who.serial;
        node.authority = who.authority;
        node.certificate_until = who.until;
        node.next_serial.clear();
        return {};
    });
}

}  // namespace culvert::control
