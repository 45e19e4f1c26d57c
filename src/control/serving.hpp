// SPDX-License-Identifier: Apache-2.0
// Which tenants a node serves: all, or those that an operator has named. A tenant cannot tell a
// node that does not serve it from one that does not exist.
#pragma once

#include "control/call.hpp"
#include "model/nodes.hpp"

#include <boost/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace culvert::control {

// The tenants of a node; nullopt: all.
using Tenants = std::optional<std::vector<std::string>>;

// "tenants" of a request's body: an array of ids of tenants that exist; absent: all.
Result<Tenants> read_tenants(store::Store& store, const boost::json::value& body);
boost::json::value show_tenants(const Tenants& tenants);  // "all" or an array

// The node, when it exists and serves the tenant that the resource's subscription belongs to; the
// transaction that attaches must find it unchanged. Error: NodeNotFound, the same in both cases.
Result<store::KeyValue> node_for(store::Store& store, const std::string& name,
                                 const model::ResourceId& resource);

}  // namespace culvert::control
