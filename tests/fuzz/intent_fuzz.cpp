// SPDX-License-Identifier: Apache-2.0
// What a control plane may send an agent: bytes as messages of the protocol, each delta planned and
// applied to maps that check instead of writing. Whatever comes is refused whole or leaves maps
// that hold exactly what the intent says, with every number within its array.
#include "agent/applier.hpp"
#include "agent/six.hpp"
#include "agent/state.hpp"
#include "base/assert.hpp"

#include "abi/six.h"
#include "abi/wire.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>

namespace culvert::agent {
namespace {

constexpr std::uint32_t kBoundIndex = 5;  // a NIC that has an interface here

// The kernel's maps as sets of keys. A kernel would refuse a key beyond its array.
class DryMaps final : public datapath::Maps {
  public:
    Status set_config(const datapath::ConfigImage& image) override {
        CULVERT_ASSERT(image.node != 0 && image.node < CV_NODES_MAX && image.udp_port != 0);
        return {};
    }
    Status set_port(const datapath::PortImage& image) override {
        CULVERT_ASSERT(image.nic < kNumbers);
        ports.insert(image.ifindex);
        return {};
    }
    Status clear_port(std::uint32_t ifindex) override {
        ports.erase(ifindex);
        return {};
    }
    Status set_nic(const datapath::NicImage& image) override {
        CULVERT_ASSERT(image.index != 0 && image.index < kNumbers);
        CULVERT_ASSERT(image.vnet != 0 && image.vnet <= CV_VNI_ID_MASK);
        CULVERT_ASSERT(image.node < CV_NODES_MAX);
        nics.insert(image.index);
        return {};
    }
    Status clear_nic(std::uint32_t index) override {
        nics.erase(index);
        return {};
    }
    Status set_lease(const datapath::LeaseImage& image) override {
        CULVERT_ASSERT(nics.contains(image.nic) && image.dns.size() <= CV_LEASE_DNS_MAX);
        leases.insert(image.nic);
        return {};
    }
    Status clear_lease(std::uint32_t nic) override {
        leases.erase(nic);
        return {};
    }
    Status set_node(const datapath::NodeImage& image) override {
        CULVERT_ASSERT(image.index < CV_NODES_MAX);
        nodes.insert(image.index);
        return {};
    }
    Status clear_node(std::uint32_t index) override {
        nodes.erase(index);
        return {};
    }
    Status set_address(const datapath::AddressImage& image) override {
        CULVERT_ASSERT(image.vnet != 0 && image.vnet <= CV_VNI_ID_MASK && image.kind != 0);
        addresses.insert({image.vnet, image.address.value});
        return {};
    }
    Status clear_address(std::uint32_t vnet, net::Ipv4 address) override {
        addresses.erase({vnet, address.value});
        return {};
    }
    Status set_six(const datapath::SixImage& image) override {
        const auto first = image.address.bytes[0];
        const bool nic = (image.name.value & ~CV_SIX_IDS) == CV_SIX_NIC;
        CULVERT_ASSERT(image.name.value != 0 && nic == !image.reached);
        CULVERT_ASSERT(image.vnet != 0 && image.vnet <= CV_VNI_ID_MASK);
        CULVERT_ASSERT(first != 0 && first < 0xfe);
        sixes.insert({image.vnet, image.name.value});
        return {};
    }
    Status clear_six(const datapath::SixImage& image) override {
        sixes.erase({image.vnet, image.name.value});
        return {};
    }
    Status set_prefixes(std::uint32_t vnet, std::span<const net::Ipv4Prefix>,
                        std::span<const net::Ipv4Prefix> after) override {
        CULVERT_ASSERT(vnet != 0 && vnet <= CV_VNI_ID_MASK);
        for (const auto& prefix : after) {
            CULVERT_ASSERT(prefix.length <= 32);
        }
        return {};
    }
    Status set_link(const datapath::LinkImage& image) override {
        CULVERT_ASSERT(image.id != 0 && image.id < kNumbers);
        CULVERT_ASSERT(image.state == CV_LINK_APPROVED || image.state == CV_LINK_REFUSED);
        links.insert(image.id);
        return {};
    }
    Status clear_link(std::uint32_t id) override {
        links.erase(id);
        return {};
    }
    Status set_service(const datapath::ServiceImage* before,
                       const datapath::ServiceImage& after) override {
        CULVERT_ASSERT(!after.nat.empty() && after.nat.size() <= CV_NAT_ADDRESSES_MAX);
        CULVERT_ASSERT((before != nullptr) == services.contains(after.id));
        services.insert(after.id);
        return {};
    }
    Status clear_service(const datapath::ServiceImage& before) override {
        CULVERT_ASSERT(services.erase(before.id) == 1);
        return {};
    }
    Status set_pool(std::uint32_t pool, std::span<const std::uint32_t>,
                    std::span<const std::uint32_t> after,
                    std::span<const std::uint32_t> serving) override {
        CULVERT_ASSERT(after.size() <= CV_MAGLEV_SIZE && std::ranges::is_sorted(after));
        CULVERT_ASSERT(std::ranges::includes(after, serving));
        pools.insert(pool);
        return {};
    }
    Status set_table(std::uint32_t pool, std::span<const std::uint32_t>) override {
        CULVERT_ASSERT(pools.contains(pool));
        return {};
    }
    Status clear_pool(std::uint32_t pool, std::span<const std::uint32_t>) override {
        CULVERT_ASSERT(pools.erase(pool) == 1);
        return {};
    }
    Status retain(const datapath::Retained&) override { return {}; }
    Result<std::vector<std::uint64_t>> drops() const override { return {}; }
    Result<std::vector<std::uint64_t>> counters() const override { return {}; }
    Result<std::uint64_t> flows() const override { return 0u; }
    Result<std::uint64_t> delivered_flows(const std::stop_token&) const override { return 0u; }
    Result<std::vector<datapath::AddressImage>> nat_addresses() const override { return {}; }
    Result<cv_held> held(std::uint32_t) const override { return cv_held{}; }

    // As the intent's own bounds: never beyond what 23 bits name.
    static constexpr std::uint32_t kNumbers = CV_VNI_ID_MASK;
    std::set<std::uint32_t> ports, nics, leases, nodes, links, services, pools;
    std::set<std::pair<std::uint32_t, std::uint32_t>> addresses;
    std::set<std::pair<std::uint32_t, std::uint32_t>> sixes;  // by VNet and name
};

// The maps hold what the intent names, and nothing else.
void compare(const State& state, const DryMaps& maps) {
    std::size_t nics = 0, links = 0, services = 0, pools = 0, addresses = 0;
    std::set<std::pair<std::uint32_t, std::uint32_t>> named;  // what may have IPv6
    const auto name = [&](const std::optional<datapath::SixImage>& image) {
        if (image) {
            named.insert({image->vnet, image->name.value});
        }
    };
    for (const auto& [key, object] : state.objects()) {
        CULVERT_ASSERT(key == key_of(object));
        switch (key.kind) {
            case api::Object::kNic:
                nics += maps.nics.contains(key.id) ? 1 : 100000;
                name(key.id == kBoundIndex ? six_image(object.nic()) : std::nullopt);
                break;
            case api::Object::kLink: links += maps.links.contains(key.id) ? 1 : 100000; break;
            case api::Object::kService:
                services += maps.services.contains(key.id) ? 1 : 1000;
                break;
            case api::Object::kPool:  // a table for each probe, and one for rules without
                for (int probe = object.pool().probes().empty() || object.pool().unprobed() ? 0 : 1;
                     probe <= object.pool().probes_size(); ++probe) {
                    const auto number = table_number(key.id, static_cast<std::uint32_t>(probe));
                    pools += maps.pools.contains(number) ? 1 : 100000;
                }
                break;
            case api::Object::kAddress:
                addresses += object.address().six_only() ? 0 : 1;
                name(six_image(object.address()));
                break;
            default: break;
        }
    }
    CULVERT_ASSERT(nics == maps.nics.size() && links == maps.links.size());
    CULVERT_ASSERT(services == maps.services.size() && pools == maps.pools.size());
    CULVERT_ASSERT(std::ranges::includes(named, maps.sixes));
    for (const auto& [vnet, address] : maps.addresses) {
        const bool stand_in = (address & CV_SIX_PREFIX) == CV_SIX_PREFIX;
        CULVERT_ASSERT(!stand_in || named.contains({vnet, address}));
        addresses += stand_in ? 1 : 0;
    }
    CULVERT_ASSERT(addresses == maps.addresses.size());
    CULVERT_ASSERT(maps.leases.size() == maps.ports.size());
}

void receive(State& state, Applier& applier, const DryMaps& maps, const api::Delta& delta) {
    const auto before = state.version();
    const auto plan = state.plan(delta);
    if (!plan) {
        CULVERT_ASSERT(state.version() == before);
        return;
    }
    for (const auto& change : plan->changes) {
        CULVERT_ASSERT(change.before || change.after);
        CULVERT_ASSERT(applier.apply(change).has_value());
        state.commit(change);
    }
    state.conclude(*plan);
    CULVERT_ASSERT(applier.refresh_pools(state).has_value());
    compare(state, maps);
}

}  // namespace
}  // namespace culvert::agent

// Messages one after the other: two bytes of length, then the message.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    agent::DryMaps maps;
    agent::Bindings bindings;
    bindings[agent::kBoundIndex] = {.nic_id = "/n",
                                    .attachment = "a",
                                    .index = agent::kBoundIndex,
                                    .netns = {},
                                    .ifname = "eth0",
                                    .host_ifname = "cv5",
                                    .ifindex = 77};
    agent::State state;
    agent::Applier applier(maps, bindings, [](const auto& outer) { return outer; });
    applier.set_local({.ifindex = 3, .mtu = 1500, .outer = {}}, 0);
    while (size > 2) {
        const auto wanted = static_cast<std::size_t>(data[0] << 8 | data[1]);
        const auto length = std::min(wanted, size - 2);
        api::ControlMessage message;
        if (message.ParseFromArray(data + 2, static_cast<int>(length)) && message.has_delta()) {
            agent::receive(state, applier, maps, message.delta());
        }
        data += 2 + length;
        size -= 2 + length;
    }
    return 0;
}
