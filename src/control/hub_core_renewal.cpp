// SPDX-License-Identifier: Apache-2.0
// HubCore: a node's next certificate, and the authorities that it trusts.
#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/certificate_records.hpp"
#include "control/hub_core.hpp"
#include "control/hub_streams.hpp"
#include "token/token.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {
namespace {

constexpr std::size_t kTextChars = 256;  // of a refusal
constexpr auto kApart = std::chrono::seconds(1);

}  // namespace

// A renewal costs a signature and a write: in the second half of a certificate's life only, one at
// a time, and not at any pace: a node need not use what it is given.
void HubCore::on_renew(StreamId id, Stream& stream, const api::Renew& wish) {
    heard(*stream.node);
    const StreamIdentity& who = stream.identity;
    const bool current = authorities_.empty() || who.authority == authorities_.front();
    const bool early = current && clock_.wall() < who.from + (who.until - who.from) / 2;
    const auto& last = stream.node->renewed_at;
    const bool again = stream.renewing || (last && clock_.steady() < *last + kApart);
    if (early || again || registrar_ == nullptr) {
        ++counters_.renewals_refused;
        api::Issued refused;
        refused.set_error(early ? "too early: the certificate is in the first half of its life"
                                : "too soon after another request");
        answer_renewal(id, refused);
        return;
    }
    stream.renewing = true;
    registrar_->renew(id, who, wish.csr());
}

void HubCore::set_trust(const std::string& ca_pem) {
    trust_pem_ = ca_pem;
    trust_digest_ = token::sha256_hex(ca_pem);
    authorities_ = authorities_of(ca_pem);
    std::vector<StreamId> untrusted;
    for (auto& [id, stream] : streams_) {
        if (std::ranges::find(authorities_, stream.identity.authority) == authorities_.end()) {
            untrusted.push_back(id);
        } else if (stream.node != nullptr) {
            settle_trust(*stream.node, stream);
            write_next(*stream.node);
        }
    }
    for (const StreamId id : untrusted) {
        refuse(id, Error{Code::kPermissionDenied,
                         "the authority of the certificate is not trusted any more",
                         {},
                         {},
                         {}});
    }
}

void HubCore::settle_trust(HubNode& node, const Stream& stream) {
    const bool behind = node.trust != trust_digest_ ||
                        stream.identity.authority != (authorities_.empty() ? "" : authorities_[0]);
    node.owes_trust = !authorities_.empty() && !node.trust.empty() && behind;
}

std::string HubCore::trust_message(const HubNode& node) const {
    api::ControlMessage message;
    if (node.trust != trust_digest_) {
        message.mutable_trust()->set_ca(trust_pem_);
    }
    message.mutable_trust()->set_renew(authority_of(node) != authorities_.front());
    return message.SerializeAsString();
}

std::string HubCore::authority_of(const HubNode& node) const {
    return node.stream ? streams_.at(*node.stream).identity.authority : node.document.authority;
}

// A restored store does not know what its nodes were given since the backup: one that an authority
// of ours has signed after the certificate that the store knows. What was revoked is asked before.
bool HubCore::may_adopt(const model::Node& node, const StreamIdentity& who) const {
    const bool trusted = authorities_.empty() ||
                         std::ranges::find(authorities_, who.authority) != authorities_.end();
    return unsettled_ && registrar_ != nullptr && trusted && is_later(node, who.from, who.until);
}

// The node has shown what it has: from now on it is the only one that is good.
void HubCore::settle_certificate(StreamId id, HubNode& node, const StreamIdentity& who) {
    if (registrar_ == nullptr || node.document.certificate_serial == who.serial) {
        return;
    }
    if (may_use(node.document, who.serial)) {
        registrar_->confirm(who);
        return;
    }
    spdlog::warn("hub: node {} has a certificate that the restored store did not know serial={}",
                 node.document.name, who.serial);
    // an older one may have been accepted before, of a machine that this one has replaced
    node.document.next.push_back({.serial = who.serial});
    node.known = false;
    node.needs_snapshot = true;
    releases_.fence(processed_);
    registrar_->adopt(id, who);
}

// It comes back, and is asked again.
void HubCore::on_not_adopted(StreamId id, Error why) {
    const auto at = streams_.find(id);
    if (at == streams_.end() || at->second.node == nullptr) {
        return;
    }
    HubNode& node = *at->second.node;
    std::erase_if(node.document.next,
                  [&](const auto& next) { return next.serial == at->second.identity.serial; });
    node.known = false;
    node.needs_snapshot = true;
    refuse(id, std::move(why));
}

void HubCore::on_issued(StreamId id, const Result<Renewed>& renewed) {
    ++(renewed ? counters_.renewals : counters_.renewals_refused);
    const auto at = streams_.find(id);
    if (!renewed) {
        spdlog::warn("hub: no new certificate for node {}: {}",
                     at == streams_.end() ? "" : at->second.identity.node, renewed.error().message);
    }
    if (at == streams_.end() || at->second.node == nullptr) {
        return;
    }
    at->second.renewing = false;
    api::Issued issued;
    if (renewed) {
        // the node may be back with it before the store's watch has told
        at->second.node->document.next.push_back({.serial = renewed->serial});
        at->second.node->renewed_at = clock_.steady();
        issued.set_certificate(renewed->certificate_pem);
    } else {
        issued.set_error(renewed.error().message.substr(0, kTextChars));
    }
    answer_renewal(id, issued);
}

// The newest answer is the one that counts: a flood of requests costs one message.
void HubCore::answer_renewal(StreamId id, const api::Issued& issued) {
    Stream& stream = streams_.at(id);
    api::ControlMessage message;
    *message.mutable_issued() = issued;
    stream.issued = message.SerializeAsString();
    write_next(*stream.node);
}

}  // namespace culvert::control
