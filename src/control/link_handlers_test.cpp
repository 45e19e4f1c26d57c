// SPDX-License-Identifier: Apache-2.0
// Balancers, services, connections, endpoints and groups.
#include "control/handlers_test.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>
#include <thread>

namespace culvert::control::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Links : public Handlers {
  protected:
    Links() {
        make_network(kProvider);
        make_network(kConsumer);
    }
    std::string endpoint(const std::string& name) const {
        return consumer_network_ + "privateEndpoints/" + name;
    }
    static std::string state(const boost::json::value& endpoint_body, bool manual = false) {
        return text(endpoint_body, std::string("properties.") +
                                       (manual ? "manualPrivateLinkServiceConnections"
                                               : "privateLinkServiceConnections") +
                                       "[0].properties.privateLinkServiceConnectionState.status");
    }
    Reply decide(const boost::json::value& connection, const std::string& status,
                 const std::string& description = R"("because")") {
        return put(text(connection, "id"),
                   fmt::format(R"({{"properties":{{"privateLinkServiceConnectionState":
                                   {{"status":"{}","description":{}}}}}}})",
                               status, description));
    }
    std::uint32_t generation(const boost::json::value& connection) {
        auto stored = load<model::PrivateEndpointConnection>(
            *store_, *model::ResourceId::parse(text(connection, "id")));
        return stored && *stored ? (*stored)->value.link_generation : 0;
    }
};

TEST_F(Links, ABalancerShowsItsChildren) {
    make_service();
    const std::string lb = provider_network_ + "loadBalancers/lb";
    EXPECT_EQ(text(get(lb + "/frontendIPConfigurations/FE").body, "name"), "fe");
    EXPECT_EQ(text(get(lb + "/backendAddressPools/bp").body, "id"), lb + "/backendAddressPools/bp");
    EXPECT_EQ(text(get(lb + "/loadBalancingRules/r").body, "properties.backendPort"), "8080");
    EXPECT_EQ(get(lb + "/probes/none").status, 404);
    EXPECT_EQ(list(lb + "/frontendIPConfigurations").body.at("value").as_array().size(), 2U);
    EXPECT_EQ(list(lb + "/probes").body.at("value").as_array().size(), 0U);
    const auto before = get(lb);
    const auto revision = store_->revision();
    EXPECT_EQ(put(lb, boost::json::serialize(before.body)).body, before.body);
    EXPECT_EQ(store_->revision(), revision);
}

TEST_F(Links, PoolsAreMadeFilledAndProtected) {
    make_service();
    const std::string pool = provider_network_ + "loadBalancers/lb/backendAddressPools/second";
    made(pool, R"({"properties":{}})");
    made(pool, R"({"properties":{}})", 200);
    EXPECT_EQ(keys_below("/idx/pool/").size(), 2U);
    const std::string nic = provider_network_ + "networkInterfaces/web";
    made(nic, fmt::format(
                  R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":"ip",
                       "properties":{{"subnet":{{"id":"{}virtualNetworks/v/subnets/s"}},
                       "loadBalancerBackendAddressPools":[{{"id":"{}"}}]}}}}]}}}})",
                  provider_network_, pool));
    EXPECT_EQ(text(get(pool).body, "properties.backendIPConfigurations[0].id"),
              nic + "/ipConfigurations/ip");
    auto revision = store_->revision();
    expect_refused(remove(pool), 400, "InUseBackendAddressPoolCannotBeDeleted", revision);
    expect_refused(remove(provider_network_ + "loadBalancers/lb"), 400,
                   "CannotDeleteLoadBalancerWithPrivateLinkService", revision);
    EXPECT_EQ(remove(nic).status, 200);
    EXPECT_EQ(remove(pool).status, 200);
    EXPECT_EQ(remove(pool).status, 204);
    EXPECT_EQ(keys_below("/idx/pool/").size(), 1U);
}

TEST_F(Links, AServiceGetsAnAliasThatStays) {
    make_service();
    const auto body = get(service_).body;
    const std::string alias = text(body, "properties.alias");
    EXPECT_TRUE(alias.starts_with("svc."));
    EXPECT_TRUE(alias.ends_with(".local.azure.privatelinkservice"));
    EXPECT_EQ(keys_below("/alias/"), std::vector<std::string>{"/alias/" + alias});
    const std::string nic = text(body, "properties.networkInterfaces[0].id");
    EXPECT_EQ(text(get(nic).body, "properties.privateLinkService.id"), service_);
    const auto revision = store_->revision();
    EXPECT_EQ(put(service_, boost::json::serialize(body)).body, body);
    EXPECT_EQ(store_->revision(), revision);
    made(service_, service_body(R"(["*"])", "[]"), 200);
    EXPECT_EQ(text(get(service_).body, "properties.alias"), alias);
    EXPECT_EQ(list(service_ + "/privateLinkResources").body.at("value").as_array().size(), 0U);
    expect_refused(remove(nic), 409, "OperationNotAllowed", store_->revision());
    EXPECT_EQ(remove(service_).status, 200);
    EXPECT_EQ(get(nic).status, 404);
    EXPECT_TRUE(keys_below("/alias/").empty());
    EXPECT_TRUE(keys_below("/idx/service/").empty());
}

TEST_F(Links, AServiceIsRefusedWhatItCannotStandOn) {
    make_service();
    const std::string other = provider_network_ + "privateLinkServices/other";
    expect_put_refused(other, service_body("[]", "[]", "fe"), 400,
                       "PrivateLinkServiceCannotReferenceFrontendIpConfigurationReferencedBy"
                       "DifferentPrivateLinkService");
    expect_put_refused(other, service_body("[]", "[]", "none"), 400, "InvalidResourceReference");
    std::string enabled = service_body("[]", "[]", "fe2");
    enabled.replace(enabled.find("subnets/nat"), 11, "subnets/s");
    expect_put_refused(other, enabled, 400,
                       "PrivateLinkServiceCannotBeCreatedInSubnetThatHasNetworkPoliciesEnabled");
    auto nine = boost::json::parse(service_body("[]", "[]", "fe2"));
    auto& addresses = nine.at("properties").at("ipConfigurations").as_array();
    for (int i = 1; i <= 8; ++i) {
        addresses.push_back(addresses[0]);
        addresses.back().at("name") = fmt::format("nat{}", i);
    }
    const auto revision = store_->revision();
    const Reply ninth = put(other, boost::json::serialize(nine));
    EXPECT_EQ(ninth.status, 400);
    EXPECT_EQ(store_->revision(), revision);
    addresses.pop_back();
    made(other, boost::json::serialize(nine));

    const std::string basic = provider_network_ + "loadBalancers/basic";
    auto body = get(provider_network_ + "loadBalancers/lb").body;
    const std::string copy = boost::json::serialize(boost::json::object{
        {"location", "local"},
        {"sku", {{"name", "Basic"}}},
        {"properties",
         {{"frontendIPConfigurations",
           {{{"name", "fe"},
             {"properties",
              {{"subnet", {{"id", provider_network_ + "virtualNetworks/v/subnets/s"}}}}}}}}}}});
    made(basic, copy);
    std::string on_basic = service_body("[]", "[]", "fe");
    on_basic.replace(on_basic.find("loadBalancers/lb/"), 17, "loadBalancers/basic/");
    expect_put_refused(provider_network_ + "privateLinkServices/third", on_basic, 400,
                       "PrivateLinkServiceCannotUseBasicLoadBalancer");
}

TEST_F(Links, AnAutomaticEndpointIsApprovedAndWhole) {
    make_service();
    const auto body = made(endpoint("e"), endpoint_body(service_));
    EXPECT_EQ(state(body), "Approved");
    const std::string nic = text(body, "properties.networkInterfaces[0].id");
    EXPECT_THAT(nic, HasSubstr("/networkInterfaces/e.nic."));
    const auto interface = get(nic).body;
    EXPECT_EQ(text(interface, "properties.privateEndpoint.id"), endpoint("e"));
    const std::string address =
        text(interface, "properties.ipConfigurations[0].properties.privateIPAddress");
    EXPECT_EQ(keys_below("/addr" + model::lower(consumer_network_) + "virtualnetworks/v|"),
              std::vector<std::string>{"/addr" + model::lower(consumer_network_) +
                                       "virtualnetworks/v|" + address});
    const auto connection = connection_of_service();
    EXPECT_TRUE(text(connection, "name").starts_with("e."));
    EXPECT_EQ(text(connection, "properties.privateEndpoint.id"), endpoint("e"));
    EXPECT_NE(text(connection, "properties.linkIdentifier"), "");
    EXPECT_EQ(generation(connection), 1U);
    const auto subnet = get(consumer_network_ + "virtualNetworks/v/subnets/s").body;
    EXPECT_EQ(text(subnet, "properties.privateEndpoints[0].id"), endpoint("e"));
    EXPECT_EQ(text(get(service_).body, "properties.privateEndpointConnections[0].id"),
              text(connection, "id"));

    const auto revision = store_->revision();
    EXPECT_EQ(put(endpoint("e"), boost::json::serialize(get(endpoint("e")).body)).status, 200);
    EXPECT_EQ(put(endpoint("e"), endpoint_body(service_)).status, 200);
    EXPECT_EQ(store_->revision(), revision) << "an identical PUT writes nothing";
    expect_refused(remove(nic), 409, "OperationNotAllowed", revision);
    expect_refused(remove(service_), 400,
                   "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted", revision);
}

TEST_F(Links, DeletingAnEndpointLeavesNothing) {
    make_service();
    const auto before = keys_below("/");
    made(endpoint("e"), endpoint_body(service_));
    EXPECT_EQ(remove(endpoint("e")).status, 200);
    EXPECT_EQ(remove(endpoint("e")).status, 204);
    EXPECT_EQ(list(service_ + "/privateEndpointConnections").body.at("value").as_array().size(),
              0U);
    auto after = keys_below("/");
    std::erase_if(after, [](const std::string& key) { return key.starts_with("/idx/link/"); });
    EXPECT_EQ(after, before);
    EXPECT_EQ((*store_->get(keys_below("/idx/link/").at(0)))->value, "free 1");
}

TEST_F(Links, TheOwnerDecides) {
    make_service(R"(["*"])");
    const auto made_body = made(endpoint("e"), endpoint_body(service_, true));
    EXPECT_EQ(state(made_body, true), "Pending");
    auto connection = connection_of_service();
    EXPECT_EQ(generation(connection), 0U);
    EXPECT_EQ(decide(connection, "Approved", "null").status, 200);
    EXPECT_EQ(state(get(endpoint("e")).body, true), "Approved");
    EXPECT_EQ(generation(connection), 1U);
    EXPECT_EQ(decide(connection, "Rejected").status, 200);
    EXPECT_EQ(state(get(endpoint("e")).body, true), "Rejected");
    EXPECT_EQ(generation(connection), 1U);
    EXPECT_EQ(decide(connection, "Approved").status, 200);
    EXPECT_EQ(generation(connection), 2U) << "a new approval is a new generation";
    // az approves by echoing what it has read
    const auto revision = store_->revision();
    const Reply echo =
        put(text(connection, "id"), boost::json::serialize(get(text(connection, "id")).body));
    EXPECT_EQ(echo.status, 200);
    EXPECT_EQ(store_->revision(), revision);
    const Reply bad = decide(connection, "Disconnected");
    EXPECT_EQ(bad.status, 400);
    EXPECT_EQ(decide(connection, "Whatever").status, 400);
    EXPECT_EQ(store_->revision(), revision);
    EXPECT_EQ(put(service_ + "/privateEndpointConnections/none",
                  R"({"properties":{"privateLinkServiceConnectionState":{"status":"Approved"}}})")
                  .status,
              404);
}

TEST_F(Links, ARemovedConnectionDisconnectsItsEndpointForGood) {
    make_service();
    made(endpoint("e"), endpoint_body(service_));
    const std::string connection = text(connection_of_service(), "id");
    EXPECT_EQ(remove(connection).status, 200);
    EXPECT_EQ(remove(connection).status, 204);
    EXPECT_EQ(state(get(endpoint("e")).body), "Disconnected");
    EXPECT_EQ(put(endpoint("e"), endpoint_body(service_)).status, 200);
    EXPECT_EQ(state(get(endpoint("e")).body), "Disconnected");
    EXPECT_EQ(remove(service_).status, 200) << "nothing is connected any more";
    EXPECT_EQ(remove(endpoint("e")).status, 200);
}

TEST_F(Links, ALinkNumberComesBackWithAHigherGeneration) {
    make_service();
    services_.link_limit = 2;
    made(endpoint("e"), endpoint_body(service_));
    decide(connection_of_service(), "Rejected");
    decide(connection_of_service(), "Approved");
    EXPECT_EQ(generation(connection_of_service()), 2U);
    EXPECT_EQ(remove(endpoint("e")).status, 200);
    made(endpoint("f"), endpoint_body(service_));
    EXPECT_EQ(text(connection_of_service(), "properties.linkIdentifier"), "1");
    EXPECT_EQ(generation(connection_of_service()), 3U);
    EXPECT_EQ(remove(endpoint("f")).status, 200);
    made(endpoint("g"), endpoint_body(service_, true));
    EXPECT_EQ(generation(connection_of_service()), 3U) << "not approved yet";
    decide(connection_of_service(), "Approved");
    EXPECT_EQ(generation(connection_of_service()), 4U);
}

TEST_F(Links, AnAliasNeedsOnlyTheList) {
    make_service(fmt::format(R"(["{}"])", kConsumer.substr(15)));
    const std::string alias = text(get(service_).body, "properties.alias");
    caller_ = "stranger";
    forbid("stranger", "Microsoft.Network/privateLinkServices/read", kProvider);
    forbid("stranger",
           "Microsoft.Network/privateLinkServices/privateEndpointConnectionsApproval/action",
           kProvider);
    const auto body = made(endpoint("e"), endpoint_body(alias, true));
    EXPECT_EQ(state(body, true), "Pending");
    EXPECT_THAT(boost::json::serialize(body), Not(HasSubstr(kProvider)))
        << "an alias hides the owner";
    const std::string visibility = kConsumer + "/providers/Microsoft.Network/locations/local";
    const Reply visible = call("POST:checkPrivateLinkServiceVisibility", visibility,
                               fmt::format(R"({{"privateLinkServiceAlias":"{}"}})", alias));
    EXPECT_EQ(at(visible.body, "visible"), boost::json::value(true));
    const Reply unknown = call("POST:checkPrivateLinkServiceVisibility", visibility,
                               R"({"privateLinkServiceAlias":"no.such.alias"})");
    EXPECT_EQ(at(unknown.body, "visible"), boost::json::value(false));
}

TEST_F(Links, TheAutoApprovalListApproves) {
    const std::string list_of_one = fmt::format(R"(["{}"])", kConsumer.substr(15));
    make_service(list_of_one, list_of_one);
    caller_ = "stranger";
    forbid("stranger",
           "Microsoft.Network/privateLinkServices/privateEndpointConnectionsApproval/action",
           kProvider);
    EXPECT_EQ(state(made(endpoint("m"), endpoint_body(service_, true)), true), "Approved");
    EXPECT_EQ(state(made(endpoint("a"), endpoint_body(service_))), "Approved");
    const Reply approved = list(
        kConsumer + "/providers/Microsoft.Network/locations/local/autoApprovedPrivateLinkServices");
    EXPECT_EQ(text(approved.body, "value[0].privateLinkService"), service_);
    EXPECT_EQ(list(kProvider + "/providers/Microsoft.Network/locations/local/"
                               "autoApprovedPrivateLinkServices")
                  .body.at("value")
                  .as_array()
                  .size(),
              0U);
}

TEST_F(Links, WhatApprovesASubscriptionIsToldAsItIsNow) {
    const auto told = [&](const std::string& subscription) {
        std::vector<std::string> ids;
        const Reply reply = list(subscription +
                                 "/providers/Microsoft.Network/locations/local/"
                                 "autoApprovedPrivateLinkServices");
        EXPECT_EQ(reply.status, 200);
        for (const auto& each : reply.body.at("value").as_array()) {
            ids.push_back(text(each, "privateLinkService"));
        }
        return ids;
    };
    const auto lists = [&](const std::string& visibility, const std::string& approval) {
        made(service_, service_body(visibility, approval), 200);
    };
    const std::string one = fmt::format(R"(["{}"])", kConsumer.substr(15));
    EXPECT_THAT(told(kConsumer), IsEmpty());
    make_service();
    EXPECT_THAT(told(kConsumer), IsEmpty());
    lists(R"(["*"])", one);
    EXPECT_THAT(told(kConsumer), ElementsAre(service_));
    EXPECT_THAT(told(kProvider), IsEmpty());
    lists(one, one);
    EXPECT_THAT(told(kConsumer), ElementsAre(service_));
    lists(R"(["*"])", R"(["*"])");
    EXPECT_THAT(told(kProvider), ElementsAre(service_));
    lists(one, "[]");
    EXPECT_THAT(told(kConsumer), IsEmpty());
    lists(R"(["*"])", R"(["*"])");
    EXPECT_EQ(remove(service_).status, 200);
    EXPECT_THAT(told(kConsumer), IsEmpty());
}

TEST_F(Links, AForeignServiceIsAbsentWithoutRights) {
    make_service();
    caller_ = "stranger";
    forbid("stranger", "Microsoft.Network/privateLinkServices/read", kProvider);
    forbid("stranger",
           "Microsoft.Network/privateLinkServices/privateEndpointConnectionsApproval/action",
           kProvider);
    for (const bool manual : {false, true}) {
        const auto revision = store_->revision();
        const Reply invisible = put(endpoint("e"), endpoint_body(service_, manual));
        expect_refused(invisible, 400, "InvalidResourceReference", revision);
        // the very same words for a service that does not exist
        const std::string none = provider_network_ + "privateLinkServices/xxx";
        const Reply absent = put(endpoint("e"), endpoint_body(none, manual));
        expect_refused(absent, 400, "InvalidResourceReference", revision);
        std::string words = text(invisible.body, "error.message");
        words.replace(words.find(service_), service_.size(), none);
        EXPECT_EQ(words, text(absent.body, "error.message"));
    }
    // by alias too
    const auto revision = store_->revision();
    expect_refused(put(endpoint("e"), endpoint_body("svc.x.local.azure.privatelinkservice", true)),
                   400, "InvalidResourceReference", revision);
}

TEST_F(Links, AnAutomaticRequestNeedsTheRightToApprove) {
    make_service();
    caller_ = "reader";
    forbid("reader",
           "Microsoft.Network/privateLinkServices/privateEndpointConnectionsApproval/action",
           kProvider);
    expect_put_refused(endpoint("e"), endpoint_body(service_), 403, "LinkedAuthorizationFailed");
    EXPECT_EQ(state(made(endpoint("e"), endpoint_body(service_, true)), true), "Pending");
}

TEST_F(Links, BadEndpointsAreRefusedAndWriteNothing) {
    make_service();
    caller_ = "guest";
    forbid("guest", "Microsoft.Network/virtualNetworks/subnets/join/action", kConsumer);
    expect_put_refused(endpoint("e"), endpoint_body(service_), 403, "LinkedAuthorizationFailed");
    caller_ = "owner";
    auto two = boost::json::parse(endpoint_body(service_));
    auto& requests = two.at("properties").at("privateLinkServiceConnections").as_array();
    requests.push_back(requests[0]);
    requests.back().at("name") = "second";
    auto revision = store_->revision();
    EXPECT_EQ(put(endpoint("e"), boost::json::serialize(two)).status, 400);
    std::string elsewhere = endpoint_body(service_);
    elsewhere.replace(elsewhere.find("subnets/s"), 9, "subnets/zz");
    expect_put_refused(endpoint("e"), elsewhere, 400, "InvalidResourceReference");
    expect_put_refused(endpoint("e"), endpoint_body(consumer_network_ + "virtualNetworks/v"), 400,
                       "InvalidRequestContent");
    EXPECT_EQ(put(endpoint("e"), R"({"location":"local","properties":{}})").status, 400);
    EXPECT_EQ(
        put(endpoint("e"), R"({"location":"local","properties":{"subnet":{"id":"x"}}})").status,
        400);
    EXPECT_EQ(store_->revision(), revision);
    auto named = boost::json::parse(endpoint_body(service_));
    named.at("properties").as_object()["customNetworkInterfaceName"] = "mine";
    made(endpoint("e"), boost::json::serialize(named));
    EXPECT_EQ(get(consumer_network_ + "networkInterfaces/mine").status, 200);
    expect_put_refused(endpoint("f"), boost::json::serialize(named), 409, "ResourceNameInUse");
}

TEST_F(Links, AnEndpointCannotPinWhatItsCallerHasNoRightTo) {
    make_service();
    const std::string victim = provider_network_ + "virtualNetworks/v/subnets/nat";
    const auto before = keys_below("/ref" + model::lower(kProvider));
    auto body = boost::json::parse(endpoint_body(service_));
    auto& groups = body.at("properties").as_object()["applicationSecurityGroups"];
    for (const std::string& id : {victim, service_,
                                  kProvider + "/resourceGroups/g/providers/Microsoft.Network/"
                                              "applicationSecurityGroups/theirs"}) {
        groups = boost::json::array{boost::json::object{{"id", id}}};
        expect_put_refused(endpoint("e"), boost::json::serialize(body), 400,
                           "InvalidResourceReference");
    }
    groups = boost::json::array{
        boost::json::object{{"id", consumer_network_ + "applicationSecurityGroups/mine"}}};
    made(endpoint("e"), boost::json::serialize(body));
    EXPECT_EQ(keys_below("/ref" + model::lower(kProvider)), before);
}

TEST_F(Links, NothingIsMadeAsAnExtensionOfAnotherResource) {
    make_service();
    for (const std::string& below :
         {service_, service_ + "/privateEndpointConnections/c", provider_network_ + "x/y"}) {
        expect_put_refused(below + "/providers/Microsoft.Network/virtualNetworks/n",
                           R"({"location":"local","properties":{"addressSpace":
                               {"addressPrefixes":["10.9.0.0/16"]}}})",
                           400, "InvalidResourceId");
    }
    EXPECT_EQ(get(service_).status, 200);
}

TEST_F(Links, TwoHundredEndpointsAtOnceInOneSubnet) {
    make_service();
    constexpr int kThreads = 8;
    constexpr int kEach = 25;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                const Reply reply =
                    put(endpoint(fmt::format("e{}-{}", t, i)), endpoint_body(service_));
                EXPECT_EQ(reply.status, 201) << boost::json::serialize(reply.body);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    constexpr std::size_t kAll = kThreads * kEach;
    EXPECT_EQ(keys_below("/addr" + model::lower(consumer_network_)).size(), kAll);
    EXPECT_EQ(keys_below("/idx/link/").size(), kAll);
    std::set<std::string> links;
    const Reply connections = list(service_ + "/privateEndpointConnections");
    for (const auto& connection : connections.body.at("value").as_array()) {
        links.insert(text(connection, "properties.linkIdentifier"));
    }
    EXPECT_EQ(links.size(), kAll);
    EXPECT_EQ(list(consumer_ + "/providers/Microsoft.Network/privateEndpoints")
                  .body.at("value")
                  .as_array()
                  .size(),
              kAll);
}

TEST_F(Links, DeletingASubnetOrAServiceNeverRacesAnEndpointIn) {
    make_service();
    for (int round = 0; round < 20; ++round) {
        const std::string subnet =
            consumer_network_ + fmt::format("virtualNetworks/v/subnets/r{}", round);
        made(subnet,
             fmt::format(R"({{"properties":{{"addressPrefix":"10.0.{}.0/24"}}}})", 100 + round));
        std::string body = endpoint_body(service_);
        body.replace(body.find("subnets/s"), 9, fmt::format("subnets/r{}", round));
        int created = 0;
        int deleted = 0;
        std::thread consumer(
            [&] { created = put(endpoint(fmt::format("r{}", round)), body).status; });
        std::thread owner([&] { deleted = remove(subnet).status; });
        consumer.join();
        owner.join();
        EXPECT_NE(created == 201, deleted == 200) << created << " " << deleted;
    }
}

TEST_F(Links, AGroupIsFoundListedAndDeletedWithItsMembers) {
    make_service();
    made(endpoint("e"), endpoint_body(service_));
    EXPECT_EQ(call("HEAD", consumer_).status, 204);
    EXPECT_EQ(call("HEAD", consumer_ + "none").status, 404);
    make_network(kConsumer, "g-2");
    const Reply groups = list(kConsumer + "/resourceGroups");
    EXPECT_EQ(groups.body.at("value").as_array().size(), 2U);

    const Reply refused = remove(provider_);
    EXPECT_EQ(refused.status, 409);
    EXPECT_THAT(boost::json::serialize(refused.body),
                HasSubstr("PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted"));
    EXPECT_EQ(get(service_).status, 200);
    EXPECT_EQ(remove(consumer_).status, 200);
    EXPECT_EQ(remove(consumer_).status, 204);
    EXPECT_EQ(get(endpoint("e")).status, 404);
    EXPECT_EQ(remove(provider_).status, 200);
    auto left = keys_below("/");
    std::erase_if(left, [](const std::string& key) {
        return key.starts_with("/idx/link/") || key.starts_with("/idx/nic/") ||
               key.find("/resourcegroups/g-2") != std::string::npos;
    });
    EXPECT_EQ(left.size(), 1U) << "the VNet number of g-2";
}

TEST_F(Links, LocationsAnswerWhatClientsAsk) {
    const std::string location = kConsumer + "/providers/Microsoft.Network/locations/local/";
    EXPECT_EQ(text(list(location + "availablePrivateEndpointTypes").body, "value[0].resourceName"),
              "Microsoft.Network/privateLinkServices");
    const auto usages = list(location + "usages").body;
    EXPECT_EQ(text(usages, "value[0].name.value"), "VirtualNetworks");
    EXPECT_EQ(text(usages, "value[0].currentValue"), "1");
    EXPECT_EQ(call("POST:checkPrivateLinkServiceVisibility", location, "{}").status, 400);
}

}  // namespace
}  // namespace culvert::control::test
