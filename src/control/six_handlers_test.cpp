// SPDX-License-Identifier: Apache-2.0
// A service of IPv6 by its documents: which order they come in, and what they are refused for.
#include "control/handlers_test.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace culvert::control::test {
namespace {

class SixServices : public Handlers {
  protected:
    SixServices() {
        EXPECT_EQ(put(provider_, R"({"location":"local"})").status, 201);
        made(provider_network_ + "virtualNetworks/v", R"({"location":"local","properties":{
            "addressSpace":{"addressPrefixes":["10.0.0.0/16","fd00:1::/48"]},"subnets":[{"name":"s",
            "properties":{"addressPrefixes":["10.0.0.0/24","fd00:1:0:7::/64"],
            "privateLinkServiceNetworkPolicies":"Disabled"}}]}})");
    }
    std::string config(const std::string& name, bool six, const std::string& more = "") const {
        return fmt::format(R"({{"name":"{}","properties":{{{}{}"subnet":{{"id":"{}"}}}}}})", name,
                           six ? R"("privateIPAddressVersion":"IPv6",)" : "", more,
                           provider_network_ + "virtualNetworks/v/subnets/s");
    }
    std::string balancer_body(bool six, bool rule) const {
        const std::string rules = fmt::format(
            R"({{"name":"r","properties":{{"protocol":"Tcp","frontendPort":80,"backendPort":8080,
                "frontendIPConfiguration":{{"id":"{0}/frontendIPConfigurations/fe"}},
                "backendAddressPool":{{"id":"{0}/backendAddressPools/bp"}}}}}})",
            balancer_);
        return fmt::format(
            R"({{"location":"local","sku":{{"name":"Standard"}},"properties":{{
                "frontendIPConfigurations":[{}],"backendAddressPools":[{{"name":"bp"}}],
                "loadBalancingRules":[{}]}}}})",
            config("fe", six), rule ? rules : "");
    }
    // In the pool by its configuration of one version.
    std::string nic_body(bool six) const {
        const std::string pool = fmt::format(
            R"("loadBalancerBackendAddressPools":[{{"id":"{}/backendAddressPools/bp"}}],)",
            balancer_);
        return fmt::format(R"({{"location":"local","properties":{{"ipConfigurations":[{},{}]}}}})",
                           config("four", false, six ? "" : pool),
                           config("six", true, six ? pool : ""));
    }
    std::string service_of(bool six) const {
        return fmt::format(
            R"({{"location":"local","properties":{{"ipConfigurations":[{}],
                "loadBalancerFrontendIpConfigurations":
                [{{"id":"{}/frontendIPConfigurations/fe"}}]}}}})",
            config("nat", six), balancer_);
    }

    std::string balancer_ = provider_network_ + "loadBalancers/lb";
    std::string nic_ = provider_network_ + "networkInterfaces/web";
};

TEST_F(SixServices, ARuleOfIpv6ComesAfterMembersOfIt) {
    made(balancer_, balancer_body(true, false));
    made(nic_, nic_body(false));
    expect_put_refused(balancer_, balancer_body(true, true), 400, "InvalidRequestContent");
    made(nic_, nic_body(true), 200);
    made(balancer_, balancer_body(true, true), 200);
    EXPECT_EQ(text(get(balancer_ + "/backendAddressPools/bp").body,
                   "properties.backendIPConfigurations[0].id"),
              nic_ + "/ipConfigurations/six");
    expect_put_refused(nic_, nic_body(false), 400, "InvalidRequestContent");
    expect_put_refused(balancer_, balancer_body(false, true), 400, "InvalidRequestContent");
    const auto revision = store_->revision();
    EXPECT_EQ(put(balancer_, balancer_body(true, true)).status, 200);
    EXPECT_EQ(put(nic_, nic_body(true)).status, 200);
    EXPECT_EQ(store_->revision(), revision) << "the same again writes nothing";
}

TEST_F(SixServices, ItHasAddressesThatFollowFromIpv4) {
    made(balancer_, balancer_body(true, true));
    expect_put_refused(service_, service_of(false), 400, "InvalidRequestContent");
    const auto service = made(service_, service_of(true));
    const auto is_six = [](const boost::json::value& shown, const std::string& base) {
        EXPECT_THAT(text(shown, base + ".privateIPAddress"),
                    ::testing::StartsWith("fd00:1:0:7::a00:"));
        EXPECT_EQ(text(shown, base + ".privateIPAddressVersion"), "IPv6");
    };
    is_six(get(balancer_).body, "properties.frontendIPConfigurations[0].properties");
    is_six(service, "properties.ipConfigurations[0].properties");
    const auto own = get(text(service, "properties.networkInterfaces[0].id"));
    is_six(own.body, "properties.ipConfigurations[0].properties");
    EXPECT_EQ(text(own.body, "properties.ipConfigurations[0].properties.privateIPAddress"),
              text(service, "properties.ipConfigurations[0].properties.privateIPAddress"));
    expect_put_refused(balancer_, balancer_body(false, true), 409, "PropertyChangeNotAllowed");
    const auto revision = store_->revision();
    EXPECT_EQ(put(service_, boost::json::serialize(service)).status, 200);
    EXPECT_EQ(store_->revision(), revision) << "the same again writes nothing";
    EXPECT_LT(remove(service_).status, 300);
    EXPECT_LT(remove(balancer_).status, 300);
    free_all();
    EXPECT_TRUE(keys_below("/addr/").empty()) << "and what it held is free";
}

}  // namespace
}  // namespace culvert::control::test
