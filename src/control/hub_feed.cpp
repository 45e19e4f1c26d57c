// SPDX-License-Identifier: Apache-2.0
#include "control/hub_feed.hpp"

#include "control/keys.hpp"
#include "control/node_documents.hpp"
#include "model/types.hpp"
#include "wire/wire.hpp"

namespace culvert::control {
namespace {

constexpr std::string_view kResources = "/r/";
constexpr std::string_view kNodes = "/node/";
constexpr std::string_view kAttachments = "/attach/";

// The id inside a key whose prefix ends with the id's own first slash.
Result<model::ResourceId> id_in(std::string_view key, std::string_view prefix) {
    return model::ResourceId::parse(key.substr(prefix.size() - 1));
}

template <typename T>
Status put_resource(intent::World& world, const store::KeyValue& document) {
    auto value = wire::decode<T>(document.value);
    if (!value) {
        return std::unexpected(prefixed(std::move(value.error()), document.key));
    }
    world.put(*value);
    return {};
}

}  // namespace

bool HubFeed::concerns(std::string_view key) {
    return key.starts_with(kResources) || key.starts_with(kNodes) || key.starts_with(kAttachments);
}

Status HubFeed::put(intent::World& world, const store::KeyValue& document) const {
    const std::string_view key = document.key;
    if (key.starts_with(kNodes)) {
        auto node = decode_node(document.value);
        if (!node) {
            return std::unexpected(prefixed(std::move(node.error()), document.key));
        }
        world.put(*node);
        nodes_.written(*node);
        return {};
    }
    if (key.starts_with(kAttachments)) {
        auto attachment = decode_attachment(document.value);
        if (!attachment) {
            return std::unexpected(prefixed(std::move(attachment.error()), document.key));
        }
        world.put(*attachment);
        if (nodes_.attached) {
            nodes_.attached(*attachment);
        }
        return {};
    }
    const auto id = id_in(key, kResources);
    if (!id) {
        return std::unexpected(prefixed(id.error(), document.key));
    }
    namespace types = model::types;
    if (id->is_type(types::kVirtualNetwork)) {
        return put_resource<model::VirtualNetwork>(world, document);
    }
    if (id->is_type(types::kNetworkInterface)) {
        return put_resource<model::NetworkInterface>(world, document);
    }
    if (id->is_type(types::kLoadBalancer)) {
        return put_resource<model::LoadBalancer>(world, document);
    }
    if (id->is_type(types::kPrivateLinkService)) {
        return put_resource<model::PrivateLinkService>(world, document);
    }
    if (id->is_type(types::kConnection)) {
        return put_resource<model::PrivateEndpointConnection>(world, document);
    }
    if (id->is_type(types::kPrivateEndpoint)) {
        return put_resource<model::PrivateEndpoint>(world, document);
    }
    return {};
}

void HubFeed::erase(intent::World& world, std::string_view key) const {
    if (key.starts_with(kNodes)) {
        const std::string name(key.substr(kNodes.size()));
        world.erase_node(name);
        nodes_.erased(name);
    } else if (key.starts_with(kAttachments)) {
        if (const auto nic = id_in(key, kAttachments)) {
            world.erase_attachment(*nic);
            if (nodes_.detached) {
                nodes_.detached(nic->key());
            }
        }
    } else if (const auto id = id_in(key, kResources)) {
        world.erase(*id);
    }
}

}  // namespace culvert::control
