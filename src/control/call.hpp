// SPDX-License-Identifier: Apache-2.0
// What the front hands to a handler once a request is correlated, authenticated, versioned, routed
// and authorized.
#pragma once

#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "http/message.hpp"
#include "model/resource_id.hpp"
#include "store/store.hpp"

#include <boost/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace culvert::control {

struct Caller {
    std::string principal;  // object id
    std::string name;
    std::string tenant;
};

struct Call {
    const http::Request* request =
        nullptr;           // valid until the handler returns; copy what must live longer
    model::ResourceId id;  // the resource, or for a list its collection's parent
    std::string
        collection;      // lists: the type name that ends the path ("privateEndpoints"), else empty
    std::string action;  // POST actions: "attach"; else empty
    std::string api_version;
    Caller caller;
    boost::json::value body;  // parsed; null when there was none
    std::string base_url;  // https://host:port as the client wrote it, for nextLink and poll URLs
    std::string request_id;
};

struct Reply {
    int status = 200;
    boost::json::value body;  // null: no body
    http::Headers headers;
};
using ReplyFn = std::function<void(Reply)>;
using CallHandler = std::function<void(const Call& call, ReplyFn reply)>;

// The ARM error body of an error and its details (arm-contract 7).
Reply error_reply(const Error& error);
Reply errors_reply(
    const std::vector<Error>& errors);  // one: itself; several: first's code, all as details

// May `caller` do `permission` ("Microsoft.Network/privateLinkServices/read") at `scope`? For
// linked-access checks inside handlers; the front has already asked for the request's own action.
using Authorize = std::function<Result<bool>(const Caller& caller, std::string_view permission,
                                             const model::ResourceId& scope)>;

// Waits until every node with a live lease that the changes up to store revision `revision` concern
// has acknowledged them, at most limits::kAckWait; `done(true)`: true in the kernel of every node
// concerned. Never blocks the caller.
using Settle = std::function<void(std::int64_t revision, std::function<void(bool settled)> done)>;

// Where handlers are found. `type` is the full ARM type in any case
// ("Microsoft.Network/virtualNetworks/subnets", "Microsoft.Resources/resourceGroups"); `verb` is
// GET, PUT, DELETE, PATCH, HEAD, LIST (collection below a group, a subscription or a parent
// resource) or "POST:<action>". `permission` is checked at the resource's (for LIST: its parent's)
// scope before the handler runs; empty: any known caller; kAnonymous: no token is asked for.
//
// What ARM has no words for is below /culvert/{kind}[/{name}[/{action}]]: type "Culvert/{kind}",
// verbs LIST, POST (on the collection), GET, PUT, DELETE and POST:<action> (on a name); Call::id is
// then provider "Culvert" with one segment. These need no api-version; their permission is checked
// at the tenant root.
inline constexpr std::string_view kAnonymous = "anonymous";
// Only the owners of the first tenant, who run the deployment.
inline constexpr std::string_view kOperator = "operator";

// What a handler costs that looks through everything of one kind: 100 of them a second.
inline constexpr std::size_t kScanCost = 20;

class Registry {
  public:
    struct Entry {
        std::string permission;
        CallHandler handler;
        std::size_t cost = 1;  // of a request, in those that the caller's tenant may make
    };
    void add(std::string type, std::string verb, std::string permission, CallHandler handler,
             std::size_t cost = 1);
    // nullptr: no such type or verb. `known_type` is set when the type exists with other verbs.
    const Entry* find(std::string_view type, std::string_view verb, bool* known_type) const;
    std::vector<std::string> types() const;  // as they were added

  private:
    struct Row {
        std::string name;
        std::map<std::string, Entry> verbs;  // lower case ->
    };
    std::map<std::string, Row> entries_;  // lower-case type ->
};

// What handlers may use. Immutable after construction; each member says how it is shared.
struct Services {
    store::Store& store;
    const Clock& clock;
    Random& random;
    Authorize authorize;
    Settle settle;
    // Keeps what happened without a write, for the audit: a refused sign-in. `tenant` empty: the
    // first one. May be empty.
    std::function<void(const std::string& tenant, boost::json::object record)> note = {};
    std::string region = "local";
    std::uint32_t nic_limit = 262144;
    std::uint32_t link_limit = 262144;
    std::uint32_t restore_number = 0;  // see Hub
    // Does the store know every number and address that nodes hold? (Hub) Empty: it does.
    std::function<bool()> numbers_are_known{};
};

// Each adds the handlers of its resource types.
void add_group_handlers(Registry& registry, Services& services);  // resourceGroups
void add_network_handlers(Registry& registry,
                          Services& services);  // virtualNetworks, subnets, networkInterfaces
void add_balancer_handlers(Registry& registry, Services& services);  // loadBalancers and child GETs
void add_link_service_handlers(Registry& registry,
                               Services& services);  // privateLinkServices, connections
void add_endpoint_handlers(Registry& registry, Services& services);  // privateEndpoints
void add_attach_handlers(Registry& registry,
                         Services& services);  // POST networkInterfaces/attach, detach

}  // namespace culvert::control
