// SPDX-License-Identifier: Apache-2.0
#include "agent/migrate_check.hpp"

#include "abi/limits.h"
#include "agent/six.hpp"

#include <algorithm>

namespace culvert::agent {
namespace {

using Kind = api::Object;

std::unexpected<Error> refuse(std::string why) {
    return fail(Code::kInvalidArgument, std::move(why));
}

Status check_end(const State& state, const End& end, net::Ipv4 address, std::uint32_t vnet) {
    const auto* nic = state.nic(end.nic);
    const bool same = nic != nullptr && nic->generation() == end.generation &&
                      nic->vnet() == vnet && nic->address() == address.value;
    return same ? Status() : refuse("an end that is not what it claims to be");
}

// IPv6 comes along by the addresses that stand for it (abi/six.h): of both ends, or of neither.
// What the two ends are called then; nothing when they do not go together.
struct Names {
    net::Ipv4 consumer;
    net::Ipv4 endpoint;
};
Names names_of(const State& state, const api::Link& link, const Connection& connection) {
    const auto* nic = state.nic(connection.consumer.nic);
    if (nic != nullptr && !nic->six().empty() &&
        connection.from.address == stand_in_of_nic(nic->index()) &&
        connection.to.address == stand_in_of_link(link.id())) {
        return {net::Ipv4{nic->address()}, net::Ipv4{link.endpoint()}};
    }
    return {connection.from.address, connection.to.address};
}

// Whether the backend is called so: by its address, or if the service reaches it by IPv6 by its
// stand-in.
bool is_called(const api::Nic& backend, const api::Service& service, net::Ipv4 name) {
    return service.six() ? !backend.six().empty() && name == stand_in_of_nic(backend.index())
                         : name.value == backend.address();
}

const api::Service* service_of(const State& state, const Connection& connection) {
    const auto* link = state.find({Kind::kLink, connection.link, 0});
    const auto* service =
        link == nullptr ? nullptr : state.find({Kind::kService, link->link().service(), 0});
    return service == nullptr ? nullptr : &service->service();
}

}  // namespace

const api::Rule* rule_of(const State& state, const Connection& connection) {
    const api::Service* service = service_of(state, connection);
    if (service == nullptr) {
        return nullptr;
    }
    const auto rule_at = [&](std::uint32_t port) {
        return std::ranges::find_if(service->rules(), [&](const api::Rule& one) {
            return (one.protocol() == 0 || one.protocol() == connection.protocol) &&
                   one.port() == port;
        });
    };
    auto rule = rule_at(connection.to.port);
    if (rule == service->rules().end()) {
        rule = rule_at(0);  // of every port
    }
    if (rule == service->rules().end()) {
        return nullptr;
    }
    const std::uint32_t backend_port =
        rule->backend_port() == 0 ? connection.to.port : rule->backend_port();
    const auto* pool = state.find({Kind::kPool, rule->pool(), 0});
    const bool member = pool != nullptr &&
                        std::ranges::binary_search(pool->pool().members(), connection.backend.nic);
    const auto* backend = state.nic(connection.backend.nic);
    const bool serving =
        !connection.translated() ||
        (backend_port == connection.serving.port &&
         (backend == nullptr || is_called(*backend, *service, connection.serving.address)));
    return member && serving ? &*rule : nullptr;
}

Status check_moved(const State& state, const Connection& connection, std::uint32_t moving) {
    const auto* object = state.find({Kind::kLink, connection.link, 0});
    if (object == nullptr) {
        return refuse("no such link");
    }
    if (connection.consumer.nic != moving && connection.backend.nic != moving) {
        return refuse("of another network interface");
    }
    const api::Link& link = object->link();
    const Names names = names_of(state, link, connection);
    if (link.state() != api::LINK_APPROVED || link.generation() != connection.link_generation ||
        link.endpoint() != names.endpoint.value) {
        return refuse("not of this approval of the link");
    }
    if (rule_of(state, connection) == nullptr) {
        return refuse("no rule leads there");
    }
    const auto& nat = service_of(state, connection)->nat();
    if (connection.translated() &&
        (std::ranges::find(nat, connection.nat.address.value) == nat.end() ||
         connection.nat.port < CV_NAT_PORT_MIN)) {
        return refuse("no NAT address of the service");
    }
    CULVERT_TRY_STATUS(check_end(state, connection.consumer, names.consumer, link.consumer_vnet()));
    const auto* backend = state.nic(connection.backend.nic);
    const net::Ipv4 own = backend == nullptr ? net::Ipv4{} : net::Ipv4{backend->address()};
    return check_end(state, connection.backend, own, link.provider_vnet());
}

}  // namespace culvert::agent
