// SPDX-License-Identifier: Apache-2.0
// HubCore: what nodes that are away hold, written down so that another life of the control plane
// knows it too (decision 0004).
//
// INVARIANT: a node whose holdings are written down is told nothing before that is erased, so that
// what is found in the store is what the node holds.
#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/hub_core.hpp"
#include "runtime/digest.hpp"
#include "token/token.hpp"

namespace culvert::control {
namespace {

// Digests are made of a node's whole intent: when all are lost at once the others must not wait.
constexpr int kAtOnce = 4;
constexpr auto kRetry = std::chrono::milliseconds(500);

}  // namespace

// Of everything that it must know, which it has when it is not behind.
std::string HubCore::holdings_of(const HubNode& node) {
    runtime::SetDigest digest;
    const api::Delta all = world_->snapshot(node.document.name);
    for (const api::Object& object : all.upsert()) {
        digest.add(object.SerializeAsString());
    }
    std::string joined = node.document.certificate_serial;  // another one may be another machine
    for (const std::string& part : digest.parts()) {
        joined += part;
    }
    return token::sha256_hex(joined);
}

// Of those that have gone, some.
void HubCore::note_holdings() {
    if (registrar_ == nullptr || unsettled_) {
        return;
    }
    int left = kAtOnce;
    for (const auto& [name, node] : nodes_) {
        if (left == 0) {
            return;
        }
        if (!node->live && !node->stream && !node->recorded && node->known && !node->behind() &&
            node->in_use.empty()) {
            --left;
            node->recorded = true;
            registrar_->note_holdings(name, holdings_of(*node));
        }
    }
}

// A node that holds what it must, as an earlier life has written down, is up to date although it is
// not back yet. Of a restored store nothing of that is true any more.
void HubCore::recognize(const std::map<std::string, std::string>& holdings) {
    for (const auto& [name, digest] : holdings) {
        HubNode* node = find(name);
        if (node == nullptr) {
            continue;
        }
        node->recorded = registrar_ != nullptr;
        if (!unsettled_ && holdings_of(*node) == digest) {
            spdlog::info("hub: node {} is away and up to date", name);
            node->known = true;
            node->pending = {};
            recheck(*node);
        }
    }
}

void HubCore::on_holdings_erased(StreamId id, bool erased) {
    const auto at = streams_.find(id);
    HubNode* node = at == streams_.end() ? nullptr : at->second.node;
    if (node == nullptr || !node->hello) {
        return;
    }
    if (!erased) {
        node->erase_at = clock_.steady() + kRetry;
        return;
    }
    node->recorded = false;
    api::Hello hello;
    const bool whole = hello.ParseFromString(*std::exchange(node->hello, std::nullopt));
    resume(*node, whole ? hello : api::Hello());
}

}  // namespace culvert::control
