// SPDX-License-Identifier: Apache-2.0
// The verifier's state on its way through a store: what the documents claim, and what was found.
// Not synchronized.
#pragma once

#include "control/allocate.hpp"
#include "control/bindings.hpp"
#include "control/verifier.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>

namespace culvert::control {

class StoreWalk {
  public:
    explicit StoreWalk(const std::vector<store::KeyValue>& rows);

    // In this order.
    void read_documents();  // /r/: what they claim, and what they say of each other
    void read_platform();   // nodes, attachments, principals, roles, lists of releases
    void check_claims();
    void check_leftovers();

    std::size_t resources() const { return resources_; }
    std::vector<Finding> take_findings() { return std::move(findings_); }

  private:
    // A derived key that a document says must be there.
    struct Claim {
        enum class Kind { kReservation, kValue } kind = Kind::kValue;
        std::string by;                                 // who says so, for messages
        std::string value;                              // a reservation's owner, or the whole value
        std::optional<std::uint32_t> generation;        // exactly
        std::optional<std::uint32_t> least_generation;  // grows apart from the reservation's
    };
    template <typename T>
    using Documents = std::map<std::string, T>;  // by id key

    void find(const std::string& key, std::string message);
    void claim(std::string key, Claim claim);
    void claim_number(Kind kind, std::uint32_t number, const model::ResourceId& owner,
                      std::optional<std::uint32_t> generation = {});
    void claim_bindings(const Bindings& bindings, const model::ResourceId& by);
    template <typename T>
    void claim_addresses(const T& value);

    void read_document(const std::string& key, std::string_view text);
    template <typename T>
    const T* decode(const std::string& key, std::string_view text, Documents<T>& into);
    void check_group(const std::string& key, const model::ResourceId& id);

    void check(const model::VirtualNetwork& value);
    void check(const model::NetworkInterface& value);
    void check(const model::LoadBalancer& value);
    void check(const model::PrivateLinkService& value);
    void check(const model::PrivateEndpoint& value);
    void check(const model::PrivateEndpointConnection& value);
    void check_nat_rules(const model::LoadBalancer& value);
    void check_nat_rules(const model::NetworkInterface& value);
    void check_targets();

    void read_node(const std::string& key, std::string_view text);
    void read_attachment(const std::string& key, std::string_view text);
    void read_join_token(const std::string& key, std::string_view text);
    void read_principal(const std::string& key, std::string_view text);
    void read_subscription(const std::string& key, std::string_view text);
    void read_assignment(const std::string& key, std::string_view text);
    void read_release(const std::string& key, std::string_view text);

    void check_reservation(const std::string& key, std::string_view value, const Claim& claim);

    bool has(const std::string& key) const { return rows_.contains(key); }

    std::map<std::string, std::string, std::less<>> rows_;
    std::map<std::string, Claim, std::less<>> claims_;
    std::map<std::string, std::vector<std::string>> releases_;
    std::set<std::string> targets_;  // ids and children's ids that a reference may name
    Documents<model::ResourceGroup> groups_;
    Documents<model::VirtualNetwork> networks_;
    Documents<model::NetworkInterface> interfaces_;
    Documents<model::LoadBalancer> balancers_;
    Documents<model::PrivateLinkService> services_;
    Documents<model::PrivateEndpointConnection> connections_;
    Documents<model::PrivateEndpoint> endpoints_;
    std::size_t resources_ = 0;
    std::vector<Finding> findings_;
};

}  // namespace culvert::control
