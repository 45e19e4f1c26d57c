// SPDX-License-Identifier: Apache-2.0
// The namespace of the node's own services at 168.63.129.16 (bpf/alias.h): nothing but one
// interface, on which every network interface of this node has an alias. It is made anew with each
// life of the agent and goes with it; nothing in it forwards.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "net/address.hpp"
#include "runtime/fd.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace culvert::datapath {

struct ServicesOptions {
    std::string owner;  // alias of the interface's host end
    net::Ipv4 base{};   // of the aliases: a /10
    bool force_clsact = false;
};

class Services {
  public:
    // Replaces the interface that an earlier life left. Errors: of making namespaces, interfaces
    // and of attaching.
    static Result<std::unique_ptr<Services>> open(const Datapath& datapath,
                                                  const ServicesOptions& options);
    virtual ~Services() = default;

    // A socket in the namespace: SOCK_STREAM or SOCK_DGRAM, does not block.
    virtual Result<runtime::Fd> socket(int type) = 0;
    // What stands for the NIC there; indices from CV_ALIAS_MAX on have none: kTooLarge.
    virtual Result<net::Ipv4> alias(std::uint32_t nic) const = 0;
};

// The services' end of the pair and the host's.
inline constexpr const char* kServicesIfname = "svc0";
inline constexpr const char* kServicesHostIfname = "cvservices";

}  // namespace culvert::datapath
