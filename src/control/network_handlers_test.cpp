// SPDX-License-Identifier: Apache-2.0
#include "control/handlers_test.hpp"

#include <fmt/format.h>

#include <thread>

namespace culvert::control::test {
namespace {

class Networks : public Handlers {
  protected:
    Networks() { make_network(kProvider); }
    const std::string network_ = provider_network_ + "virtualNetworks/v";
    std::string nic(const std::string& name) const {
        return provider_network_ + "networkInterfaces/" + name;
    }
    std::string nic_body(const std::string& extra = {}, const std::string& subnet = "s") const {
        return fmt::format(
            R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":"ip","properties":{{
                 "subnet":{{"id":"{}/subnets/{}"}}{}}}}}]}}}})",
            network_, subnet, extra);
    }
};

TEST_F(Networks, ANetworkIsReadBackAsWritten) {
    const Reply reply = get(network_);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(text(reply.body, "id"), network_);
    EXPECT_EQ(text(reply.body, "properties.provisioningState"), "Succeeded");
    EXPECT_EQ(
        text(reply.body, "properties.subnets[1].properties.privateLinkServiceNetworkPolicies"),
        "Disabled");
    EXPECT_EQ(header(reply, "ETag"), text(reply.body, "etag"));
    EXPECT_EQ(keys_below("/idx/vni/").size(), 1U);
}

TEST_F(Networks, AnIdenticalPutWritesNothing) {
    const Reply before = get(network_);
    const auto revision = store_->revision();
    const Reply again = put(network_, boost::json::serialize(before.body));
    EXPECT_EQ(again.status, 200);
    EXPECT_EQ(header(again, "ETag"), header(before, "ETag"));
    EXPECT_EQ(again.body, before.body);
    EXPECT_EQ(store_->revision(), revision);
}

TEST_F(Networks, APutWithoutSubnetsKeepsThem) {
    made(network_,
         R"({"location":"local","tags":{"a":"b"},
             "properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]}}})",
         200);
    EXPECT_EQ(at(get(network_).body, "properties.subnets").as_array().size(), 2U);
}

TEST_F(Networks, PreconditionsAreHonoured) {
    const std::string body = boost::json::serialize(get(network_).body);
    auto revision = store_->revision();
    expect_refused(call("PUT", network_, body, {{"If-Match", "W/\"1\""}}), 412,
                   "PreconditionFailed", revision);
    expect_refused(call("PUT", network_, body, {{"If-None-Match", "*"}}), 412, "PreconditionFailed",
                   revision);
    expect_refused(call("PUT", network_ + "2", body, {{"If-Match", "*"}}), 412,
                   "PreconditionFailed", revision);
    expect_refused(call("DELETE", network_, {}, {{"If-Match", "W/\"1\""}}), 412,
                   "PreconditionFailed", revision);
    const std::string etag = header(get(network_), "ETag");
    EXPECT_EQ(call("PUT", network_, body, {{"If-Match", etag}}).status, 200);
    EXPECT_EQ(call("DELETE", network_, {}, {{"If-Match", "*"}}).status, 200);
}

TEST_F(Networks, BadBodiesAreRefusedAndWriteNothing) {
    expect_put_refused(network_ + "2", R"({"location":"local","properties":{"addressSpace":7}})",
                       400, "InvalidRequestFormat");
    expect_put_refused(network_ + "2", R"({"properties":{"addressSpace":{"addressPrefixes":[]}}})",
                       400, "LocationRequired");
    expect_put_refused(network_ + "2", R"([1,2])", 400, "InvalidRequestFormat");
    const std::string overlapping =
        R"({"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},
            "subnets":[{"name":"a","properties":{"addressPrefix":"10.0.0.0/24"}},
                       {"name":"b","properties":{"addressPrefix":"10.0.0.128/25"}}]}})";
    expect_put_refused(network_ + "2", overlapping, 400, "NetcfgSubnetRangesOverlap");
    const std::string outside =
        R"({"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},
            "subnets":[{"name":"a","properties":{"addressPrefix":"10.1.0.0/24"}}]}})";
    expect_put_refused(network_ + "2", outside, 400, "NetcfgSubnetRangeOutsideVnet");
}

TEST_F(Networks, AnAbsentGroupIsNamed) {
    const std::string elsewhere =
        kProvider + "/resourceGroups/none/providers/Microsoft.Network/virtualNetworks/v";
    expect_put_refused(
        elsewhere,
        R"({"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]}}})",
        404, "ResourceGroupNotFound");
    EXPECT_EQ(get(elsewhere).status, 404);
    EXPECT_EQ(code_of(get(elsewhere)), "ResourceNotFound");
}

TEST_F(Networks, SubnetsArePutReadListedAndDeleted) {
    const std::string subnet = network_ + "/subnets/third";
    const auto body = made(subnet, R"({"properties":{"addressPrefix":"10.0.2.0/24"}})");
    EXPECT_EQ(text(body, "properties.addressPrefix"), "10.0.2.0/24");
    const auto revision = store_->revision();
    made(subnet, boost::json::serialize(body), 200);
    EXPECT_EQ(store_->revision(), revision);
    EXPECT_EQ(text(get(subnet).body, "name"), "third");
    EXPECT_EQ(list(network_ + "/subnets").body.at("value").as_array().size(), 3U);
    expect_put_refused(network_ + "/subnets/fourth",
                       R"({"properties":{"addressPrefix":"10.0.2.0/25"}})", 400,
                       "NetcfgSubnetRangesOverlap");
    EXPECT_EQ(remove(subnet).status, 200);
    EXPECT_EQ(get(subnet).status, 404);
    EXPECT_EQ(remove(subnet).status, 204);
    EXPECT_EQ(remove(network_ + "none/subnets/x").status, 204);
    expect_put_refused(network_ + "none/subnets/x",
                       R"({"properties":{"addressPrefix":"10.0.2.0/24"}})", 404,
                       "ResourceNotFound");
}

TEST_F(Networks, WhatIsInUseIsNotDeleted) {
    made(nic("n"), nic_body());
    auto revision = store_->revision();
    expect_refused(remove(network_ + "/subnets/s"), 400, "InUseSubnetCannotBeDeleted", revision);
    expect_refused(remove(network_), 400, "InUseSubnetCannotBeDeleted", revision);
    EXPECT_EQ(text(get(network_ + "/subnets/s").body, "properties.ipConfigurations[0].id"),
              nic("n") + "/ipConfigurations/ip");
    EXPECT_EQ(remove(nic("n")).status, 200);
    EXPECT_EQ(keys_below("/ref"), std::vector<std::string>{});
    EXPECT_EQ(remove(network_).status, 200);
    EXPECT_EQ(remove(network_).status, 204);
    EXPECT_TRUE(keys_below("/addr").empty());
    EXPECT_TRUE(keys_below("/ref").empty());
    EXPECT_TRUE(keys_below("/idx/vni/").empty());
    EXPECT_TRUE(keys_below("/released/").empty());
}

TEST_F(Networks, ListsAreByGroupAndBySubscription) {
    make_network(kProvider, "other");
    make_network(kConsumer);
    const auto count = [&](const std::string& scope) {
        return list(scope + "/providers/Microsoft.Network/virtualNetworks")
            .body.at("value")
            .as_array()
            .size();
    };
    EXPECT_EQ(count(provider_), 1U);
    EXPECT_EQ(count(kProvider), 2U);
    EXPECT_EQ(count(kConsumer), 1U);
}

TEST_F(Networks, AListHasPages) {
    for (int i = 0; i < 1000; ++i) {
        made(network_ + fmt::format("-{:04}", i),
             R"({"location":"local",
                "properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]}}})");
    }
    const std::string path = provider_ + "/providers/Microsoft.Network/virtualNetworks";
    const Reply first = list(path);
    EXPECT_EQ(first.body.at("value").as_array().size(), 1000U);
    const std::string next = text(first.body, "nextLink");
    ASSERT_NE(next.find("$skiptoken="), std::string::npos);
    const Reply second = call("LIST", path, {}, {}, next.substr(next.find("$skiptoken=") + 11));
    EXPECT_EQ(second.body.at("value").as_array().size(), 1U);
    EXPECT_EQ(text(second.body, "nextLink"), "");
    EXPECT_EQ(call("LIST", path, {}, {}, "zz").status, 400);
    EXPECT_EQ(call("LIST", path, {}, {}, "2f72").status, 400);
}

TEST_F(Networks, TagsArePatched) {
    const Reply reply = call("PATCH", network_, R"({"tags":{"team":"net"}})");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(text(get(network_).body, "tags.team"), "net");
    EXPECT_EQ(at(get(network_).body, "properties.subnets").as_array().size(), 2U);
    EXPECT_EQ(call("PATCH", network_ + "none", R"({"tags":{}})").status, 404);
    EXPECT_EQ(call("PATCH", network_, R"({"tags":5})").status, 400);
}

TEST_F(Networks, SubnetsPutAtOnceAreAllThere) {
    constexpr int kThreads = 8;
    constexpr int kEach = 8;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                const int n = 16 + t * kEach + i;
                made(network_ + fmt::format("/subnets/c{}", n),
                     fmt::format(R"({{"properties":{{"addressPrefix":"10.0.{}.0/24"}}}})", n));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(at(get(network_).body, "properties.subnets").as_array().size(),
              2U + kThreads * kEach);
}

TEST_F(Networks, AnInterfaceGetsAnAddressAndKeepsIt) {
    const auto body = made(nic("n"), nic_body());
    const std::string path = "properties.ipConfigurations[0].properties.privateIPAddress";
    const std::string address = text(body, path);
    EXPECT_TRUE(address.starts_with("10.0.0.")) << address;
    EXPECT_EQ(text(body, "properties.macAddress").size(), 17U);
    const auto revision = store_->revision();
    const auto again = made(nic("n"), boost::json::serialize(body), 200);
    EXPECT_EQ(text(again, path), address);
    EXPECT_EQ(store_->revision(), revision);
    made(nic("n"), nic_body({}, "nat"), 200);
    EXPECT_TRUE(text(get(nic("n")).body, path).starts_with("10.0.1."));
    EXPECT_EQ(keys_below("/addr").size(), 1U);
    EXPECT_EQ(keys_below("/ref").size(), 1U);
}

TEST_F(Networks, StaticAddressesAreChecked) {
    const std::string fixed =
        R"(,"privateIPAllocationMethod":"Static","privateIPAddress":"10.0.0.50")";
    made(nic("a"), nic_body(fixed));
    expect_put_refused(nic("b"), nic_body(fixed), 400, "PrivateIPAddressInUse");
    expect_put_refused(
        nic("b"),
        nic_body(R"(,"privateIPAllocationMethod":"Static","privateIPAddress":"10.9.0.1")"), 400,
        "PrivateIPAddressNotInSubnet");
    expect_put_refused(nic("b"), nic_body({}, "none"), 400, "InvalidResourceReference");
    EXPECT_EQ(get(nic("b")).status, 404);
}

TEST_F(Networks, AFullSubnetSaysSo) {
    made(network_ + "/subnets/tiny", R"({"properties":{"addressPrefix":"10.0.9.0/29"}})");
    for (int i = 0; i < 3; ++i) {
        made(nic(fmt::format("t{}", i)), nic_body({}, "tiny"));
    }
    expect_put_refused(nic("t4"), nic_body({}, "tiny"), 400, "SubnetIsFull");
    EXPECT_EQ(remove(nic("t1")).status, 200);
    made(nic("t4"), nic_body({}, "tiny"));
}

TEST_F(Networks, JoiningAForeignSubnetNeedsARight) {
    caller_ = "guest";
    forbid("guest", "Microsoft.Network/virtualNetworks/subnets/join/action", kProvider);
    expect_put_refused(nic("n"), nic_body(), 403, "LinkedAuthorizationFailed");
    // whether the subnet exists makes no difference to somebody without the right
    expect_put_refused(nic("n"), nic_body({}, "none"), 403, "LinkedAuthorizationFailed");
}

TEST_F(Networks, AnAttachedInterfaceIsNotDeleted) {
    made(nic("n"), nic_body());
    const std::string key = keys::attachment(model::lower(nic("n")));
    const std::string value =
        R"({"v":1,"nic":")" + nic("n") + R"(","node":"n1","id":"x","attachedBy":"y"})";
    ASSERT_TRUE(store_->txn({.compares = {}, .success = {store::put(key, value)}, .failure = {}}));
    const auto revision = store_->revision();
    const Reply refused = remove(nic("n"));
    EXPECT_NE(refused.status, 200);
    EXPECT_EQ(store_->revision(), revision);
    ASSERT_TRUE(store_->txn({.compares = {}, .success = {store::erase(key)}, .failure = {}}));
    EXPECT_EQ(remove(nic("n")).status, 200);
}

TEST_F(Networks, ANumberIsUsedAgainWithAHigherGenerationOnceNodesHaveAcknowledged) {
    services_.nic_limit = 2;  // one number: 1
    made(nic("n"), nic_body());
    expect_put_refused(nic("m"), nic_body(), 503, "ServiceUnavailable");
    settled_ = false;
    EXPECT_EQ(remove(nic("n")).status, 202);
    EXPECT_EQ(keys_below("/addr").size(), 1U) << "the address stays taken";
    expect_put_refused(nic("m"), nic_body(), 503, "ServiceUnavailable");
    settled_ = true;
    free_all();
    EXPECT_TRUE(keys_below("/addr").empty());
    settled_ = true;
    made(nic("m"), nic_body());
    EXPECT_EQ((*store_->get("/idx/nic/1"))->value, "held 2 " + model::lower(nic("m")));
}

TEST_F(Networks, WhatNodesDoNotAcknowledgeInTimeIsAnOperation) {
    settled_ = false;
    const Reply created = put(nic("n"), nic_body());
    EXPECT_EQ(created.status, 201);
    EXPECT_EQ(text(created.body, "properties.provisioningState"), "Updating");
    EXPECT_EQ(header(created, "Retry-After"), "1");
    const std::string url = header(created, "Azure-AsyncOperation");
    ASSERT_TRUE(url.starts_with("https://localhost:8443" + kProvider)) << url;
    const std::string path = url.substr(22, url.find('?') - 22);
    Reply poll = get(path);
    EXPECT_EQ(poll.status, 200);
    EXPECT_EQ(text(poll.body, "status"), "InProgress");
    EXPECT_EQ(header(poll, "Retry-After"), "1");
    settled_ = true;
    poll = get(path);
    EXPECT_EQ(text(poll.body, "status"), "Succeeded");
    EXPECT_EQ(header(poll, "Retry-After"), "");
    settled_ = false;
    const Reply deleted = remove(nic("n"));
    EXPECT_EQ(deleted.status, 202);
    const std::string location = header(deleted, "Location");
    const std::string result = location.substr(22, location.find('?') - 22);
    EXPECT_EQ(get(result).status, 202);
    EXPECT_EQ(header(get(result), "Location"), location);
    settled_ = true;
    EXPECT_EQ(get(result).status, 204);
    const std::string locations = kProvider + "/providers/Microsoft.Network/locations/local/";
    EXPECT_EQ(get(locations + "operations/nonsense").status, 404);
    EXPECT_EQ(get(locations + "operations/00000000-0000-4000-8000-00ffffffffff").status, 404);
}

}  // namespace
}  // namespace culvert::control::test
