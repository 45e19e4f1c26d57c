// SPDX-License-Identifier: Apache-2.0
// Rotation of the certificate authority, one step a request, each only when no node would be cut
// off by it (or when asked by force):
//   none -> trusting: the next authority is made and trusted beside the one that signs;
//   trusting -> issuing, once every node trusts both: the next one signs, and nodes renew;
//   issuing -> none, once every node has renewed: the old one is forgotten.
#pragma once

#include "control/call.hpp"
#include "control/certificates.hpp"
#include "control/hub.hpp"

#include <functional>

namespace culvert::control {

struct AuthorityControl {
    CertificateAuthority& authority;
    Hub& hub;
    const Clock& clock;
    std::function<Status()> apply;  // serve and tell what the authority is now
};

// LIST Culvert/ca -> {"rotation", "authorities", "nodes", "waitingFor"}
// POST Culvert/ca {"action": "rotate" | "abort", "force"?: true} -> the same, afterwards
void add_authority_handlers(Registry& registry, AuthorityControl control);

}  // namespace culvert::control
