// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/address.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace culvert::agent {

// Links, services and backends that the kernel counts for, by number.
struct CountedNames {
    struct Link {
        std::string endpoint;  // ARM ids
        std::string service;
    };
    struct Nic {
        std::string id;
        std::uint32_t vnet = 0;
    };
    struct Service {
        std::uint32_t id = 0;
        std::string resource;
        bool operator==(const Service&) const = default;
    };
    std::map<std::uint32_t, Link> links;
    std::map<std::uint32_t, Nic> nics;  // those with an interface here
    // NAT addresses of services that have a backend here, by VNet and address.
    std::map<std::pair<std::uint32_t, net::Ipv4>, Service> nats;
};

}  // namespace culvert::agent
