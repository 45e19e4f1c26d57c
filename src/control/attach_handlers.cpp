// SPDX-License-Identifier: Apache-2.0
// Attaching a NIC to a workload on a node. The caller's right to write the NIC is what authorises
// it: a node cannot claim a NIC by itself (DESIGN.md 6).
#include "base/log.hpp"
#include "control/allocate.hpp"
#include "control/identity_documents.hpp"
#include "control/migrate_handlers.hpp"
#include "control/node_documents.hpp"
#include "control/resources.hpp"
#include "control/serving.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {
namespace {

namespace json = boost::json;
namespace types = model::types;

constexpr std::size_t kNodeNameChars = 63;

struct Attached {
    model::NetworkInterface nic;
    model::Attachment attachment;
    std::int64_t revision = 0;
};

// The "node" of the body; empty when there is none and `required` is not set.
Result<std::string> node_in(const json::value& body, bool required) {
    const json::object* object = body.if_object();
    const json::value* member = object == nullptr ? nullptr : object->if_contains("node");
    if (member == nullptr && !required) {
        return std::string();
    }
    if (member == nullptr || !member->is_string() || member->as_string().empty() ||
        member->as_string().size() > kNodeNameChars) {
        return fail(Code::kInvalidArgument, "'node' has to be the name of a node", "node",
                    "InvalidParameter");
    }
    return std::string(member->as_string());
}

struct StoredAttachment {
    model::Attachment value;
    std::int64_t mod_revision = 0;
};

Result<std::optional<StoredAttachment>> find_attachment(store::Store& store,
                                                        const model::ResourceId& nic) {
    auto row = store.get(keys::attachment(nic.key()));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::optional<StoredAttachment>();
    }
    auto value = decode_attachment((*row)->value);
    if (!value) {
        return std::unexpected(std::move(value.error()));
    }
    return StoredAttachment{std::move(*value), (*row)->mod_revision};
}

// The configuration that carries the workload's address.
const model::NicIpConfiguration* primary(const model::NetworkInterface& nic) {
    const auto at =
        std::ranges::find_if(nic.ip_configurations, &model::NicIpConfiguration::primary);
    if (at != nic.ip_configurations.end()) {
        return &*at;
    }
    return nic.ip_configurations.empty() ? nullptr : &nic.ip_configurations.front();
}

// May this NIC be attached to a workload at all?
Status check_nic(const model::NetworkInterface& nic) {
    if (!nic.private_endpoint.empty() || !nic.private_link_service.empty()) {
        return fail(Code::kConflict,
                    fmt::format("the network interface is read-only, it belongs to {}",
                                nic.private_endpoint.empty() ? nic.private_link_service.str()
                                                             : nic.private_endpoint.str()),
                    nic.id.str(), "NetworkInterfaceReadOnly");
    }
    const model::NicIpConfiguration* at = primary(nic);
    if (at == nullptr || !at->address) {
        return fail(Code::kConflict, "the network interface has no private address", nic.id.str(),
                    "NetworkInterfaceHasNoAddress");
    }
    return {};
}

// nullopt: lost a race.
Result<std::optional<Attached>> attach_once(Services& services, const model::ResourceId& id,
                                            const std::string& node, const std::string& principal) {
    auto nic = fetch<model::NetworkInterface>(services.store, id);
    if (!nic) {
        return std::unexpected(std::move(nic.error()));
    }
    CULVERT_TRY_STATUS(check_nic(nic->value));
    auto before = find_attachment(services.store, id);
    if (!before) {
        return std::unexpected(std::move(before.error()));
    }
    if (*before) {
        const model::Attachment& there = (*before)->value;
        if (there.node == node) {
            return Attached{std::move(nic->value), there, services.store.revision()};
        }
        return fail(Code::kConflict,
                    fmt::format("the network interface is attached on node '{}': detach it there "
                                "first (POST {}/detach or `culvert detach`)",
                                there.node, nic->value.id.str()),
                    nic->value.id.str(), "NetworkInterfaceAttachedElsewhere");
    }
    auto host = node_for(services.store, node, id);
    if (!host) {
        return std::unexpected(std::move(host.error()));
    }
    const auto place = decode_node(host->value);
    if (!place) {
        return std::unexpected(place.error());
    }
    if (place->draining) {
        return fail(Code::kConflict,
                    fmt::format("node '{0}' is being drained: attach on another node, or end that "
                                "with `culvert node undrain {0}`",
                                node),
                    "node", "NodeDraining");
    }
    Attached made;
    made.attachment.nic = nic->value.id;
    made.attachment.node = node;
    made.attachment.id = services.random.uuid();
    made.attachment.attached_by = principal;
    Change change;
    change.require(store::unchanged(keys::resource(id.key()), nic->revision));
    change.require(store::absent(keys::attachment(id.key())));
    change.require(store::unchanged(keys::node(node), host->mod_revision));
    change.put(keys::attachment(id.key()), encode(made.attachment));
    change.put(keys::ref(keys::node(node), id.key()), nic->value.id.str());
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!*done) {
        return std::optional<Attached>();
    }
    made.nic = std::move(nic->value);
    made.revision = (*done)->revision;
    return made;
}

// The subnet's prefix that holds the address.
Result<net::Ipv4Prefix> prefix_of(store::Store& store, const model::NicIpConfiguration& at) {
    auto vnet = fetch<model::VirtualNetwork>(store, at.subnet.parent());
    if (!vnet) {
        return std::unexpected(std::move(vnet.error()));
    }
    for (const model::Subnet& subnet : vnet->value.subnets) {
        for (const net::Ipv4Prefix& prefix : subnet.prefixes) {
            if (model::same_name(subnet.name, at.subnet.name()) && prefix.contains(*at.address)) {
                return prefix;
            }
        }
    }
    return std::unexpected(not_found(at.subnet));
}

void answer_attached(Services& services, Attached made, const ReplyFn& reply) {
    const model::NicIpConfiguration& at = *primary(made.nic);
    const auto prefix = prefix_of(services.store, at);
    if (!prefix) {
        reply(error_reply(prefix.error()));
        return;
    }
    json::object body{{"nic_index", made.nic.nic_index},
                      {"generation", made.nic.nic_generation},
                      {"mac", net::Mac::of_nic(made.nic.nic_index).str()},
                      {"address", at.address->str()},
                      {"prefix", prefix->str()},
                      {"gateway", net::Ipv4{prefix->base.value + 1}.str()},
                      {"node", made.attachment.node},
                      {"attachment", made.attachment.id}};
    services.settle(made.revision, [reply, body = std::move(body)](bool settled) mutable {
        body["settled"] = settled;
        reply({.status = 200, .body = std::move(body), .headers = {}});
    });
}

void attach(Services& services, const Call& call, const ReplyFn& reply) {
    const auto node = node_in(call.body, true);
    if (!node) {
        reply(error_reply(node.error()));
        return;
    }
    auto made = retrying<Attached>(call.id, [&]() -> Outcome<std::optional<Attached>> {
        auto once = attach_once(services, call.id, *node, call.caller.principal);
        if (!once) {
            return refuse(std::move(once.error()));
        }
        return std::move(*once);
    });
    if (!made) {
        reply(errors_reply(made.error()));
        return;
    }
    answer_attached(services, std::move(*made), reply);
}

struct Detached {
    bool existed = false;
    std::int64_t revision = 0;
};

// nullopt: lost a race.
Result<std::optional<Detached>> detach_once(Services& services, const model::ResourceId& id,
                                            const std::string& node) {
    auto nic = fetch<model::NetworkInterface>(services.store, id);
    if (!nic) {
        return std::unexpected(std::move(nic.error()));
    }
    auto before = find_attachment(services.store, id);
    if (!before) {
        return std::unexpected(std::move(before.error()));
    }
    if (!*before) {
        return Detached{false, services.store.revision()};
    }
    const std::string& there = (*before)->value.node;
    if (!node.empty() && node != there) {
        return fail(
            Code::kConflict,
            fmt::format("the network interface is attached on node '{}', not on '{}'", there, node),
            nic->value.id.str(), "NetworkInterfaceAttachedElsewhere");
    }
    Change change;
    change.require(store::unchanged(keys::attachment(id.key()), (*before)->mod_revision));
    change.erase(keys::attachment(id.key()));
    change.erase(keys::ref(keys::node(there), id.key()));
    if ((*before)->value.moves()) {
        change.erase(keys::ref(keys::node((*before)->value.other), id.key()));
    }
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!*done) {
        return std::optional<Detached>();
    }
    return Detached{true, (*done)->revision};
}

void detach(Services& services, const Call& call, const ReplyFn& reply) {
    const auto node = node_in(call.body, false);
    if (!node) {
        reply(error_reply(node.error()));
        return;
    }
    const auto done = retrying<Detached>(call.id, [&]() -> Outcome<std::optional<Detached>> {
        auto once = detach_once(services, call.id, *node);
        if (!once) {
            return refuse(std::move(once.error()));
        }
        return *once;
    });
    if (!done) {
        reply(errors_reply(done.error()));
        return;
    }
    services.settle(done->revision, [reply, existed = done->existed](bool settled) {
        reply({.status = 200,
               .body = json::object{{"detached", existed}, {"settled", settled}},
               .headers = {}});
    });
}

// The keys of the subscriptions' attachments: a caller may read nothing of another tenant.
Result<std::vector<std::string>> prefixes_of(store::Store& store, const std::string& tenant) {
    auto rows = store.list(keys::kSubscriptions);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::vector<std::string> prefixes;
    for (const store::KeyValue& row : rows->kvs) {
        const auto subscription = decode_subscription(row.value);
        if (subscription && subscription->tenant == tenant) {
            prefixes.push_back(keys::attachment("/subscriptions/" + subscription->id + "/"));
        }
    }
    return prefixes;
}

Result<std::vector<store::KeyValue>> attachments_of(store::Store& store,
                                                    const std::string& tenant) {
    auto prefixes = prefixes_of(store, tenant);
    if (!prefixes) {
        return std::unexpected(std::move(prefixes.error()));
    }
    std::vector<store::KeyValue> all;
    for (const std::string& prefix : *prefixes) {
        auto rows = store.list(prefix);
        if (!rows) {
            return std::unexpected(std::move(rows.error()));
        }
        std::ranges::move(rows->kvs, std::back_inserter(all));
    }
    return all;
}

// Those of NICs that the caller may read; ?node= narrows it down.
void list_attachments(Services& services, const Call& call, const ReplyFn& reply) {
    auto rows = attachments_of(services.store, call.caller.tenant);
    if (!rows) {
        reply(error_reply(rows.error()));
        return;
    }
    const std::string node(call.request == nullptr ? "" : call.request->parameter("node"));
    json::array value;
    for (const store::KeyValue& row : *rows) {
        const auto attachment = decode_attachment(row.value);
        if (!attachment) {
            spdlog::error("attachments: {}: {}", row.key, attachment.error().message);
            continue;
        }
        if (!node.empty() && attachment->node != node) {
            continue;
        }
        const auto allowed = services.authorize(
            call.caller, std::string(types::kNetworkInterface) + "/read", attachment->nic);
        if (allowed && *allowed) {
            json::object& shown = value
                                      .emplace_back(json::object{{"nic", attachment->nic.str()},
                                                                 {"node", attachment->node},
                                                                 {"attachment", attachment->id}})
                                      .as_object();
            if (attachment->moves()) {
                shown["move"] = std::string(stage_name(attachment->stage));
                shown["other"] = attachment->other;
            }
        }
    }
    reply({.status = 200, .body = json::object{{"value", std::move(value)}}, .headers = {}});
}

}  // namespace

void add_attach_handlers(Registry& registry, Services& services) {
    const std::string type(types::kNetworkInterface);
    registry.add(
        type, "POST:attach", type + "/write",
        [&services](const Call& call, const ReplyFn& reply) { attach(services, call, reply); });
    registry.add(
        type, "POST:detach", type + "/write",
        [&services](const Call& call, const ReplyFn& reply) { detach(services, call, reply); });
    add_migrate_handlers(registry, services);
    // any known caller; each item is asked about
    registry.add(
        "Culvert/attachments", "LIST", "",
        [&services](const Call& call, const ReplyFn& reply) {
            list_attachments(services, call, reply);
        },
        kScanCost);
}

}  // namespace culvert::control
