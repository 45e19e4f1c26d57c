// SPDX-License-Identifier: Apache-2.0
// The deletion of each type, as DELETE of the resource and DELETE of its group both do it.
// `request` gives the preconditions, may be null.
#pragma once

#include "control/resources.hpp"

namespace culvert::control {

Outcome<Removed> remove_network(Services& services, const http::Request* request,
                                const model::ResourceId& id);
Outcome<Removed> remove_interface(Services& services, const http::Request* request,
                                  const model::ResourceId& id);
Outcome<Removed> remove_balancer(Services& services, const http::Request* request,
                                 const model::ResourceId& id);
Outcome<Removed> remove_service(Services& services, const http::Request* request,
                                const model::ResourceId& id);
Outcome<Removed> remove_endpoint(Services& services, const http::Request* request,
                                 const model::ResourceId& id);

using RemoveFn = Outcome<Removed> (*)(Services&, const http::Request*, const model::ResourceId&);

// Registered by add_network_handlers().
void add_interface_handlers(Registry& registry, Services& services);
// Registered by add_link_service_handlers().
void add_connection_handlers(Registry& registry, Services& services);
void add_location_handlers(Registry& registry, Services& services);

}  // namespace culvert::control
