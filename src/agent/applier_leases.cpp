// SPDX-License-Identifier: Apache-2.0
// What workloads are told that ask by DHCP: written where their interface is, and there alone.
#include "agent/applier.hpp"

namespace culvert::agent {

Status Applier::clear_lease(std::uint32_t nic) {
    return leased_.erase(nic) == 0 ? Status() : maps_.clear_lease(nic);
}

Status Applier::apply_lease(const api::Nic& nic) {
    datapath::LeaseImage image{.nic = nic.index(),
                               .gateway = net::Ipv4{nic.gateway()},
                               .length = static_cast<std::uint8_t>(nic.subnet().length()),
                               .mtu = backbone_.workload_mtu()};
    for (const std::uint32_t server : nic.dns()) {
        image.dns.push_back(net::Ipv4{server});
    }
    leased_.insert(nic.index());
    return maps_.set_lease(image);
}

}  // namespace culvert::agent
