// SPDX-License-Identifier: Apache-2.0
// The node's names for what the kernel counts.
#include "agent/node.hpp"

#include <algorithm>
#include <set>

namespace culvert::agent {

CountedNames Node::counted_names() {
    return core_.with([](Core& core) {
        CountedNames out;
        std::set<std::uint32_t> backends_of;  // pools
        for (const auto& [index, binding] : core.bindings) {
            if (const auto* nic = core.state.nic(index); nic != nullptr) {
                out.nics[index] = {nic->id(), nic->vnet()};
            }
        }
        for (const auto& [key, object] : core.state.objects()) {
            const auto here = [&](std::uint32_t nic) { return out.nics.contains(nic); };
            if (object.has_pool() && std::ranges::any_of(object.pool().members(), here)) {
                backends_of.insert(object.pool().id());
            }
        }
        for (const auto& [key, object] : core.state.objects()) {
            if (object.has_link()) {
                const auto& link = object.link();
                const auto* service = core.state.find({api::Object::kService, link.service(), 0});
                out.links[link.id()] = {link.endpoint_id(), service == nullptr
                                                                ? std::string()
                                                                : service->service().resource_id()};
            }
            const auto& service = object.service();
            if (std::ranges::any_of(service.rules(), [&](const api::Rule& rule) {
                    return backends_of.contains(rule.pool());
                })) {
                for (const std::uint32_t address : service.nat()) {
                    out.nats[{service.provider_vnet(), net::Ipv4{address}}] = {
                        service.id(), service.resource_id()};
                }
            }
        }
        return out;
    });
}

Status Node::unless_counted(std::uint32_t link, std::uint32_t nic,
                            const std::function<Status()>& what) {
    return core_.with([&](Core& core) {
        const bool counted = link != 0 ? core.state.find({api::Object::kLink, link, 0}) != nullptr
                                       : core.bindings.contains(nic);
        return counted ? Status() : what();
    });
}

}  // namespace culvert::agent
