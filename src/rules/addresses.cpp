// SPDX-License-Identifier: Apache-2.0
// Addresses: which are usable, which a resource has or wants, which it refers to.
#include "base/assert.hpp"
#include "rules/common.hpp"

namespace culvert::rules {
namespace {

// Azure keeps the first four addresses of a subnet (network, gateway, two for DNS) and the last
// (broadcast).
constexpr std::uint32_t kReservedFirst = 4;
constexpr std::uint32_t kReservedLast = 1;

std::uint64_t usable_in(const net::Ipv4Prefix& prefix) {
    return prefix.size() > kReservedFirst + kReservedLast
               ? prefix.size() - kReservedFirst - kReservedLast
               : 0;
}

std::string config_field(std::string_view list, std::size_t index) {
    return fmt::format("properties.{}[{}].properties.privateIPAddress", list, index);
}
std::string subnet_field(std::string_view list, std::size_t index) {
    return fmt::format("properties.{}[{}].properties.subnet.id", list, index);
}

}  // namespace

bool usable(const model::Subnet& subnet, net::Ipv4 address) {
    for (const auto& prefix : subnet.prefixes) {
        if (prefix.contains(address)) {
            return address.value - prefix.base.value >= kReservedFirst &&
                   prefix.last().value - address.value >= kReservedLast;
        }
    }
    return false;
}

std::uint64_t usable_count(const model::Subnet& subnet) {
    std::uint64_t total = 0;
    for (const auto& prefix : subnet.prefixes) {
        total += usable_in(prefix);
    }
    return total;
}

Candidates::Candidates(const model::Subnet& subnet, std::uint64_t start)
    : prefixes_(subnet.prefixes),
      total_(usable_count(subnet)),
      at_(total_ == 0 ? 0 : total_ / 2 + start % (total_ - total_ / 2)) {}

std::optional<net::Ipv4> Candidates::next() {
    if (seen_ == total_) {
        return std::nullopt;
    }
    std::uint64_t offset = at_;
    at_ = at_ + 1 == total_ ? 0 : at_ + 1;
    ++seen_;
    for (const auto& prefix : prefixes_) {
        const std::uint64_t here = usable_in(prefix);
        if (offset < here) {
            return net::Ipv4{prefix.base.value + kReservedFirst +
                             static_cast<std::uint32_t>(offset)};
        }
        offset -= here;
    }
    return std::nullopt;
}

Error subnet_full(const model::ResourceId& subnet, std::string_view field) {
    return Error{Code::kInvalidArgument,
                 fmt::format("{}: subnet '{}' has no free address left; enlarge it or use another",
                             field, subnet.str()),
                 std::string(field),
                 "SubnetIsFull",
                 {}};
}

std::vector<Reference> references(const model::NetworkInterface& value) {
    std::vector<Reference> out;
    const auto add_pools = [&](std::size_t at, const std::vector<model::ResourceId>& pools) {
        for (std::size_t j = 0; j < pools.size(); ++j) {
            out.push_back({pools[j], fmt::format("properties.ipConfigurations[{}].properties."
                                                 "loadBalancerBackendAddressPools[{}].id",
                                                 at, j)});
        }
    };
    for (std::size_t i = 0; i < value.ip_configurations.size(); ++i) {
        const auto& config = value.ip_configurations[i];
        out.push_back({config.subnet, subnet_field("ipConfigurations", i)});
        add_pools(i, config.pools);
        for (std::size_t j = 0; j < config.nat_rules.size(); ++j) {
            out.push_back({config.nat_rules[j], nat_rule_field(i, j)});
        }
    }
    if (value.six) {
        add_pools(value.ip_configurations.size(), value.six->pools);
    }
    return out;
}

std::vector<Reference> references(const model::LoadBalancer& value) {
    std::vector<Reference> out;
    for (std::size_t i = 0; i < value.frontends.size(); ++i) {
        const auto& frontend = value.frontends[i];
        if (!frontend.subnet.empty()) {
            out.push_back({frontend.subnet, subnet_field("frontendIPConfigurations", i)});
        }
        if (!frontend.public_ip.empty()) {
            out.push_back({frontend.public_ip, fmt::format("properties.frontendIPConfigurations[{}]"
                                                           ".properties.publicIPAddress.id",
                                                           i)});
        }
    }
    return out;
}

std::vector<Reference> references(const model::PrivateLinkService& value) {
    std::vector<Reference> out;
    out.reserve(value.frontends.size() + value.nat.size());
    for (std::size_t i = 0; i < value.frontends.size(); ++i) {
        out.push_back({value.frontends[i],
                       fmt::format("properties.loadBalancerFrontendIpConfigurations[{}].id", i)});
    }
    for (std::size_t i = 0; i < value.nat.size(); ++i) {
        out.push_back({value.nat[i].subnet, subnet_field("ipConfigurations", i)});
    }
    return out;
}

std::vector<Reference> references(const model::PrivateEndpoint& value) {
    return {{value.subnet, "properties.subnet.id"}};
}

std::vector<AddressSlot> address_slots(const model::NetworkInterface& value) {
    std::vector<AddressSlot> out;
    for (std::size_t i = 0; i < value.ip_configurations.size(); ++i) {
        const auto& config = value.ip_configurations[i];
        out.push_back({i, config.subnet, config.address, config_field("ipConfigurations", i)});
    }
    return out;
}

std::vector<AddressSlot> address_slots(const model::LoadBalancer& value) {
    std::vector<AddressSlot> out;
    for (std::size_t i = 0; i < value.frontends.size(); ++i) {
        const auto& frontend = value.frontends[i];
        if (!frontend.subnet.empty()) {
            out.push_back({i, frontend.subnet, frontend.address,
                           config_field("frontendIPConfigurations", i)});
        }
    }
    return out;
}

std::vector<AddressSlot> address_slots(const model::PrivateLinkService& value) {
    std::vector<AddressSlot> out;
    out.reserve(value.nat.size());
    for (std::size_t i = 0; i < value.nat.size(); ++i) {
        out.push_back(
            {i, value.nat[i].subnet, value.nat[i].address, config_field("ipConfigurations", i)});
    }
    return out;
}

std::vector<AddressSlot> address_slots(const model::PrivateEndpoint& value) {
    AddressSlot slot{0, value.subnet, std::nullopt, "properties.subnet.id"};
    if (!value.ip_configurations.empty()) {
        slot.address = value.ip_configurations.front().address;
        slot.field = config_field("ipConfigurations", 0);
    } else if (value.address != net::Ipv4{}) {
        slot.address = value.address;
    }
    return {slot};
}

void set_address(model::NetworkInterface& value, std::size_t index, net::Ipv4 address) {
    CULVERT_ASSERT(index < value.ip_configurations.size());
    value.ip_configurations[index].address = address;
}
void set_address(model::LoadBalancer& value, std::size_t index, net::Ipv4 address) {
    CULVERT_ASSERT(index < value.frontends.size());
    value.frontends[index].address = address;
}
void set_address(model::PrivateLinkService& value, std::size_t index, net::Ipv4 address) {
    CULVERT_ASSERT(index < value.nat.size());
    value.nat[index].address = address;
}
void set_address(model::PrivateEndpoint& value, std::size_t index, net::Ipv4 address) {
    CULVERT_ASSERT(index == 0);
    value.address = address;
}

}  // namespace culvert::rules
