// SPDX-License-Identifier: Apache-2.0
// Nodes: join tokens, joining, the list, removal. Promise: a token works once, for at most its
// time, and only its hash is kept; a node's name, index and backbone address are its alone; a node
// goes only when nothing is attached to it, and its index and address are taken again only once
// every other node has forgotten them.
#pragma once

#include "control/call.hpp"
#include "control/hub.hpp"

#include <functional>
#include <string>

namespace culvert::control {

// What a joining node is given.
struct Enrolment {
    // Issues the certificate of a PKCS#10 request for a node name (CertificateAuthority).
    std::function<Result<std::string>(const std::string& csr_pem, const std::string& name)> issue;
    std::function<std::string()> ca_pem;  // every authority that is trusted now
    std::string intent_host;  // where the hub is reached; empty: where the node reached the API
    int intent_port = 0;
};

// POST Culvert/join-tokens {"name"?, "ttl_s"?, "tenants"?} -> {"token", "name", "expires"};
//   `tenants`: the only ones that the node will serve
// POST Culvert/join {"token", "name", "outer", "csr"} -> {"certificate", "ca", "intent", "node"};
// no bearer.
//   A token made for the name of a node that exists gives that node a new certificate (and backbone
//   address): its old one is revoked.
// LIST Culvert/nodes, GET and DELETE Culvert/nodes/{name}; DELETE ?force=true detaches what is
//   attached there
// POST Culvert/nodes/{name}/allow and /deny {"tenant": id, or "all"} -> {"name", "tenants"}
void add_node_handlers(Registry& registry, Services& services, Hub& hub, Enrolment enrolment);

// Registered by add_node_handlers().
void add_node_removal(Registry& registry, Services& services);
void add_serving_handlers(Registry& registry, Services& services);
// POST Culvert/nodes/{name}/drain and /undrain -> {"name", "draining", "settled"}: backends there
//   get no new connections, established ones go on, and nothing is attached there. While it drains
//   the node shows "remainingFlows", the connections to backends there.
// Part of add_node_handlers().
void add_drain_handlers(Registry& registry, Services& services);

}  // namespace culvert::control
