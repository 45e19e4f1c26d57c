// SPDX-License-Identifier: Apache-2.0
// A good store has no findings; each kind of damage has one, where it is.
#include "control/verifier.hpp"

#include "control/handlers_test.hpp"
#include "control/identity_documents.hpp"
#include "control/node_documents.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace culvert::control::test {
namespace {

using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class Verifies : public Handlers {
  protected:
    Verifies() {
        make_network(kProvider);
        make_network(kConsumer);
        make_service(R"(["*"])", R"(["*"])");
        made(consumer_network_ + "privateEndpoints/e", endpoint_body(service_));
        const std::string nic = provider_network_ + "networkInterfaces/n";
        made(nic, fmt::format(R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":
                  "ip","properties":{{"subnet":{{"id":"{0}virtualNetworks/v/subnets/s"}},
                  "loadBalancerBackendAddressPools":[{{"id":"{1}"}}]}}}}]}}}})",
                              provider_network_,
                              provider_network_ + "loadBalancers/lb/backendAddressPools/bp"));
        const model::Node node{
            .name = "n1", .index = 7, .outer = "192.0.2.1", .certificate_serial = "1"};
        write(keys::node("n1"), encode(node));
        write(keys::index("node", 7), "held 0 n1");
        write(keys::index("outer", 0xc0000201), "held 0 n1");
        EXPECT_EQ(call("POST:attach", nic, R"({"node":"n1"})").status, 200);
        write("/tenant/t", encode(Tenant{"t", "home"}));
        write("/sub/s", encode(Subscription{"s", "t", "default"}));
        write("/principal/p", encode(Principal{"p", "t", PrincipalKind::kUser, "Ann", "", "hash"}));
        write("/user/t|ann", "p");
        write("/assign/|a",
              encode(RoleAssignment{{"a", "p", "role", "/"}, "t", "User", "/", "", ""}));
    }
    void write(const std::string& key, const std::string& value) {
        ASSERT_TRUE(
            store_->txn({.compares = {}, .success = {store::put(key, value)}, .failure = {}}));
    }
    void erase(const std::string& key) {
        ASSERT_TRUE(store_->get(key)->has_value()) << key;
        ASSERT_TRUE(store_->txn({.compares = {}, .success = {store::erase(key)}, .failure = {}}));
    }
    // The only key below a prefix, or the first.
    std::string first(const std::string& prefix) {
        const auto keys = keys_below(prefix);
        EXPECT_FALSE(keys.empty()) << prefix;
        return keys.empty() ? prefix : keys.front();
    }
    std::string document(const std::string& type, const std::string& subscription) {
        for (const std::string& key : keys_below("/r" + subscription)) {
            const auto id = model::ResourceId::parse(key.substr(2));
            if (id && id->is_type("Microsoft.Network/" + type)) {
                return key;
            }
        }
        ADD_FAILURE() << "there is no " << type;
        return {};
    }
    std::string value(const std::string& key) { return (*store_->get(key))->value; }
    std::vector<Finding> findings() { return verify(*store_)->findings; }
    void expect_found(const std::string& key, const std::string& words) {
        EXPECT_THAT(findings(),
                    Contains(testing::AllOf(Field(&Finding::key, key),
                                            Field(&Finding::message, HasSubstr(words)))));
    }
};

TEST_F(Verifies, AGoodStoreHasNoFindings) {
    EXPECT_THAT(findings(), IsEmpty());
    EXPECT_GT(verify(*store_)->resources, 8U);
    settled_ = false;  // what is released waits in its list
    EXPECT_EQ(remove(consumer_network_ + "privateEndpoints/e").status, 202);
    EXPECT_FALSE(keys_below("/released/").empty());
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(Verifies, AMissingDerivedKeyIsFound) {
    for (const std::string& prefix :
         {std::string("/ref/subscriptions"), std::string("/addr/"), std::string("/idx/nic/"),
          std::string("/idx/vni/"), std::string("/idx/link/"), std::string("/idx/service/"),
          std::string("/idx/pool/"), std::string("/idx/node/"), std::string("/idx/outer/"),
          std::string("/alias/"), std::string("/user/"), std::string("/ref/node/")}) {
        const std::string key = first(prefix);
        const std::string before = value(key);
        erase(key);
        expect_found(key, "missing");
        write(key, before);
    }
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(Verifies, AnOrphanedDerivedKeyIsFound) {
    for (const std::string& prefix : {std::string("/addr/"), std::string("/idx/nic/"),
                                      std::string("/idx/link/"), std::string("/idx/pool/")}) {
        const std::string key = prefix.starts_with("/addr") ? first(prefix) + "9" : prefix + "999";
        write(key, "held 1 /subscriptions/x/resourcegroups/g");
        expect_found(key, "orphan");
        write(key, "released 1 /subscriptions/x/resourcegroups/g");
        expect_found(key, "in no list");
        write(key, "nonsense");
        expect_found(key, "not a reservation");
        erase(key);
    }
    write("/alias/other", "/x");
    expect_found("/alias/other", "orphan");
    erase("/alias/other");
    const std::string ref = first("/ref/subscriptions") + "x";
    write(ref, "/x");
    expect_found(ref, "orphan");
}

TEST_F(Verifies, AWrongOwnerOrGenerationIsFound) {
    const std::string key = first("/idx/nic/");
    const std::string before = value(key);
    write(key, "held 1 /subscriptions/x");
    expect_found(key, "is held by /subscriptions/x");
    write(key, "held 77 " + before.substr(before.find('/')));
    expect_found(key, "is of generation 77");
    write(key, "free 1");
    expect_found(key, "not held");
}

TEST_F(Verifies, ADoubleAllocationIsFound) {
    const std::string other = provider_network_ + "networkInterfaces/other";
    made(other, fmt::format(R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":
                "ip","properties":{{"subnet":{{"id":"{}virtualNetworks/v/subnets/s"}}}}}}]}}}})",
                            provider_network_));
    const std::string key = "/r" + model::lower(other);
    auto document_of_other = boost::json::parse(value(key));
    auto nic =
        boost::json::parse(value("/r" + model::lower(provider_network_) + "networkinterfaces/n"));
    document_of_other.as_object()["index"] = nic.at("index");
    write(key, boost::json::serialize(document_of_other));
    expect_found(fmt::format("/idx/nic/{}", nic.at("index").to_number<int>()), "allocated twice");
}

TEST_F(Verifies, DocumentsThatDoNotFitAreFound) {
    const std::string connection =
        document("privateLinkServices/privateEndpointConnections", kProvider);
    const std::string endpoint = document("privateEndpoints", kConsumer);
    std::string before = value(endpoint);
    erase(endpoint);
    expect_found(connection, "its endpoint");
    write(endpoint, before);

    before = value(connection);
    auto changed = boost::json::parse(before);
    changed.as_object()["endpoint"] = consumer_network_ + "privateEndpoints/nobody";
    write(connection, boost::json::serialize(changed));
    expect_found(connection, "nobody does not exist");
    expect_found(endpoint, "is that of");
    write(connection, "{}");
    expect_found(connection, "");
    write(connection, before);

    write(connection + "x", before);
    expect_found(connection + "x", "holds the document of");
    erase(connection + "x");

    const std::string group = "/r" + model::lower(consumer_);
    before = value(group);
    erase(group);
    expect_found(endpoint, "resource group 'g' does not exist");
    write(group, before);

    const std::string network = document("virtualNetworks", kProvider);
    before = value(network);
    erase(network);
    EXPECT_THAT(findings(), Contains(Field(&Finding::message, HasSubstr("does not exist"))));
    write(network, before);
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(Verifies, PlatformDocumentsThatDoNotFitAreFound) {
    const std::string attachment = first("/attach/");
    std::string before = value("/node/n1");
    erase("/node/n1");
    expect_found(attachment, "node 'n1' does not exist");
    write("/node/n1", before);
    write("/node/n1", "garbage");
    expect_found("/node/n1", "node document");
    write("/node/n1", before);
    before = value("/principal/p");
    erase("/principal/p");
    expect_found("/assign/|a", "principal p does not exist");
    expect_found("/user/t|ann", "orphan");
    write("/principal/p", before);
    erase("/tenant/t");
    expect_found("/principal/p", "tenant t does not exist");
    expect_found("/sub/s", "tenant t does not exist");
    write("/join/x", "garbage");
    expect_found("/join/x", "join token");
    write("/released/x", "/idx/nic/12345");
    expect_found("/released/x", "is to be freed, but is not released");
}

}  // namespace
}  // namespace culvert::control::test
