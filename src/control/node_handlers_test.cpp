// SPDX-License-Identifier: Apache-2.0
#include "control/node_handlers.hpp"
#include "base/guarded.hpp"
#include "control/allocate.hpp"
#include "control/hub_pki_test.hpp"
#include "control/hub_scene_test.hpp"
#include "control/hub_streams.hpp"
#include "control/identity_documents.hpp"

#include <gtest/gtest.h>

#include <atomic>

namespace culvert::control {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

// Handlers of nodes and attachments on a memory store and a real hub; nobody else is there.
class NodeHandlersTest : public testing::Test {
  protected:
    NodeHandlersTest()
        : services{
              .store = *store,
              .clock = clock,
              .random = random,
              .authorize = [this](const Caller&, std::string_view,
                                  const model::ResourceId&) -> Result<bool> { return allowed; },
              .settle =
                  [this](std::int64_t at, std::function<void(bool)> done) {
                      hub->settle(at, std::move(done));
                  }} {}

    void SetUp() override {
        auto started = Hub::start(scene::hub_options(authority), *store, real_clock, random);
        ASSERT_TRUE(started.has_value()) << started.error().message;
        hub = std::move(*started);
        add_node_handlers(registry, services, *hub,
                          {.issue = [this](const std::string& csr,
                                           const std::string& name) -> Result<std::string> {
                               if (!csr.starts_with("-----BEGIN CERTIFICATE REQUEST")) {
                                   return fail(Code::kInvalidArgument, "not a request", "csr");
                               }
                               return authority.sign(csr, name, ++serial);
                           },
                           .ca_pem = [this] { return authority.pem(); },
                           .intent_host = "",
                           .intent_port = 7443});
        add_attach_handlers(registry, services);
        scene::write(*store, {scene::vnet(), scene::nic("web", 1), scene::nic("app", 2)});
    }

    Reply call(const std::string& type, const std::string& verb, const model::ResourceId& id,
               json::value body = nullptr, const std::string& node = "",
               const std::vector<std::pair<std::string, std::string>>& query = {}) {
        const auto* entry = registry.find(type, verb, nullptr);
        if (entry == nullptr) {
            ADD_FAILURE() << "no handler for " << verb << " " << type;
            return {};
        }
        http::Request request;
        request.query = query;
        if (!node.empty()) {
            request.query.emplace_back("node", node);
        }
        Call asked;
        asked.request = &request;
        asked.id = id;
        asked.caller = {.principal = "someone", .name = "someone", .tenant = tenant};
        asked.body = std::move(body);
        asked.base_url = "https://control.example:8443";
        Monitor<std::optional<Reply>> answer;
        entry->handler(
            asked, [&](Reply reply) { answer.with([&](auto& slot) { slot = std::move(reply); }); });
        return answer.wait([](const auto& slot) { return slot.has_value(); },
                           [](auto& slot) { return std::move(*slot); });
    }
    Reply own(const std::string& kind, const std::string& verb, json::value body = nullptr,
              const std::string& name = "") {
        model::ResourceId id;
        id.provider = "Culvert";
        if (!name.empty()) {
            id.segments.emplace_back(kind, name);
        }
        return call("Culvert/" + kind, verb, id, std::move(body));
    }
    std::string token(json::object body = {}) {
        const Reply reply = own("join-tokens", "POST", std::move(body));
        EXPECT_EQ(reply.status, 200) << json::serialize(reply.body);
        return json::value_to<std::string>(reply.body.at("token"));
    }
    Reply join(const std::string& with, const std::string& name, const std::string& outer) {
        return own("join", "POST",
                   json::object{{"token", with}, {"name", name}, {"outer", outer}, {"csr", csr_}});
    }
    Reply nic(const std::string& name, const std::string& action, json::value body = nullptr) {
        return call("Microsoft.Network/networkInterfaces", "POST:" + action,
                    scene::id("networkInterfaces", name), std::move(body));
    }
    static std::string code(const Reply& reply) {
        return json::value_to<std::string>(reply.body.at("error").at("code"));
    }
    static std::string message(const Reply& reply) {
        return json::value_to<std::string>(reply.body.at("error").at("message"));
    }
    std::vector<std::string> keys(const std::string& prefix) {
        std::vector<std::string> found;
        for (const auto& row : store->list(prefix)->kvs) {
            found.push_back(row.key);
        }
        return found;
    }

    ManualClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
    SystemClock real_clock;
    SystemRandom random;
    std::atomic<bool> allowed = true;
    std::string tenant = "00000000-0000-0000-0000-0000000000a1";  // the caller's
    scene::Authority authority{"test ca"};
    std::atomic<std::uint64_t> serial = 100;
    const std::string csr_ = scene::request("anything").certificate_pem;
    std::unique_ptr<store::Store> store = store::open_memory();
    std::unique_ptr<Hub> hub;
    Services services;
    Registry registry;
};

TEST_F(NodeHandlersTest, a_token_lets_one_node_join) {
    const std::string given = token();
    for (const auto& row : store->list("/")->kvs) {
        EXPECT_EQ(row.key.find(given), std::string::npos);
        EXPECT_EQ(row.value.find(given), std::string::npos) << "the token itself is stored";
    }
    const Reply reply = join(given, "n1", "192.0.2.1");
    ASSERT_EQ(reply.status, 200) << json::serialize(reply.body);
    EXPECT_EQ(reply.body.at("intent").as_string(), "control.example:7443");
    EXPECT_EQ(reply.body.at("ca").as_string(), authority.pem());
    const auto identity = identity_of(json::value_to<std::string>(reply.body.at("certificate")));
    ASSERT_TRUE(identity.has_value());
    EXPECT_EQ(identity->node, "n1");
    const auto node = decode_node((*store->get(keys::node("n1")))->value);
    ASSERT_TRUE(node.has_value());
    EXPECT_EQ(node->certificate_serial, identity->serial);
    EXPECT_EQ(node->index, reply.body.at("node").to_number<std::uint32_t>());
    EXPECT_EQ(node->outer, "192.0.2.1");
    EXPECT_EQ(keys("/join/").size(), 0U);
    const Reply again = join(given, "n2", "192.0.2.2");
    EXPECT_EQ(again.status, 403);
    EXPECT_EQ(code(again), "InvalidJoinToken");
    EXPECT_EQ(keys("/node/").size(), 1U);
}

TEST_F(NodeHandlersTest, a_token_ends_and_may_be_for_one_name_alone) {
    const std::string named = token({{"name", "n1"}, {"ttl_s", 60}});
    EXPECT_EQ(join(named, "n2", "192.0.2.2").status, 403);
    EXPECT_EQ(join("cvj-unknown", "n1", "192.0.2.2").status, 403);
    clock.advance(61s);
    EXPECT_EQ(join(named, "n1", "192.0.2.1").status, 403);
    EXPECT_EQ(keys("/node/").size(), 0U);
    token();  // making one throws the expired ones away
    EXPECT_EQ(keys("/join/").size(), 1U);
}

TEST_F(NodeHandlersTest, names_addresses_and_requests_are_checked_and_the_token_survives) {
    const std::string given = token();
    for (const char* name : {"", "N1", "a/b", "-a", "a-", "a b"}) {
        EXPECT_EQ(join(given, name, "192.0.2.1").status, 400) << name;
    }
    EXPECT_EQ(join(given, std::string(64, 'a'), "192.0.2.1").status, 400);
    for (const char* outer : {"", "0.0.0.0", "224.0.0.1", "192.0.2.1/24", "host", "fd00::1"}) {
        EXPECT_EQ(join(given, "n1", outer).status, 400) << outer;
    }
    const auto bad =
        own("join", "POST",
            json::object{
                {"token", given}, {"name", "n1"}, {"outer", "192.0.2.1"}, {"csr", "nonsense"}});
    EXPECT_EQ(bad.status, 400);
    EXPECT_EQ(own("join", "POST", json::array{1}).status, 400);
    EXPECT_EQ(own("join", "POST", json::object{{"token", 5}}).status, 400);
    EXPECT_EQ(own("join-tokens", "POST", json::object{{"ttl_s", 1}}).status, 400);
    EXPECT_EQ(own("join-tokens", "POST", json::object{{"name", "Bad Name"}}).status, 400);
    EXPECT_EQ(join(given, "n1", "192.0.2.1").status, 200);
}

TEST_F(NodeHandlersTest, names_and_backbone_addresses_are_a_nodes_own) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    const Reply same_name = join(token(), "n1", "192.0.2.2");
    EXPECT_EQ(same_name.status, 409);
    EXPECT_EQ(code(same_name), "NodeExists");
    const Reply same_outer = join(token(), "n2", "192.0.2.1");
    EXPECT_EQ(same_outer.status, 409);
    EXPECT_NE(message(same_outer).find("n1"), std::string::npos);
    const std::string renewal = token({{"name", "n1"}});
    const Reply renewed = join(renewal, "n1", "192.0.2.9");
    ASSERT_EQ(renewed.status, 200) << json::serialize(renewed.body);
    const auto node = decode_node((*store->get(keys::node("n1")))->value);
    EXPECT_EQ(node->outer, "192.0.2.9");
    EXPECT_EQ(node->certificate_serial,
              identity_of(json::value_to<std::string>(renewed.body.at("certificate")))->serial);
    EXPECT_EQ(keys("/idx/node/").size(), 1U) << "the index stays";
}

TEST_F(NodeHandlersTest, attaching_answers_with_what_the_interface_needs_and_is_idempotent) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    const Reply first = nic("web", "attach", json::object{{"node", "n1"}});
    ASSERT_EQ(first.status, 200) << json::serialize(first.body);
    EXPECT_EQ(first.body.at("nic_index").to_number<int>(), 1);
    EXPECT_EQ(first.body.at("generation").to_number<int>(), 1);
    EXPECT_EQ(first.body.at("mac").as_string(), "02:cf:00:00:00:01");
    EXPECT_EQ(first.body.at("address").as_string(), "10.0.1.4");
    EXPECT_EQ(first.body.at("prefix").as_string(), "10.0.1.0/24");
    EXPECT_EQ(first.body.at("gateway").as_string(), "10.0.1.1");
    EXPECT_EQ(first.body.at("node").as_string(), "n1");
    EXPECT_TRUE(first.body.at("settled").as_bool());
    const auto revision = store->revision();
    const Reply again = nic("web", "attach", json::object{{"node", "n1"}});
    EXPECT_EQ(again.body.at("attachment"), first.body.at("attachment"));
    EXPECT_EQ(store->revision(), revision);
}

TEST_F(NodeHandlersTest, attaching_what_cannot_be_is_refused_and_writes_nothing) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(join(token(), "n2", "192.0.2.2").status, 200);
    ASSERT_EQ(nic("web", "attach", json::object{{"node", "n1"}}).status, 200);
    model::NetworkInterface own_nic =
        *wire::decode<model::NetworkInterface>(scene::nic("pe-nic", 7).second);
    own_nic.private_endpoint = scene::id("privateEndpoints", "pe");
    scene::write(*store, {{keys::resource(own_nic.id.key()), wire::encode(own_nic)}});
    const auto revision = store->revision();
    const Reply elsewhere = nic("web", "attach", json::object{{"node", "n2"}});
    EXPECT_EQ(elsewhere.status, 409);
    EXPECT_EQ(code(elsewhere), "NetworkInterfaceAttachedElsewhere");
    EXPECT_NE(message(elsewhere).find("detach"), std::string::npos);
    EXPECT_EQ(nic("app", "attach", json::object{{"node", "n9"}}).status, 404);
    EXPECT_EQ(nic("gone", "attach", json::object{{"node", "n1"}}).status, 404);
    EXPECT_EQ(code(nic("pe-nic", "attach", json::object{{"node", "n1"}})),
              "NetworkInterfaceReadOnly");
    EXPECT_EQ(nic("app", "attach", json::object{{"node", 1}}).status, 400);
    EXPECT_EQ(nic("app", "attach").status, 400);
    EXPECT_EQ(nic("web", "detach", json::object{{"node", "n2"}}).status, 409);
    EXPECT_EQ(store->revision(), revision);
}

TEST_F(NodeHandlersTest, a_draining_node_is_attached_nothing_and_says_so) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(nic("web", "attach", json::object{{"node", "n1"}}).status, 200);
    const Reply drained = own("nodes", "POST:drain", json::object{}, "n1");
    ASSERT_EQ(drained.status, 200) << json::serialize(drained.body);
    EXPECT_TRUE(drained.body.at("draining").as_bool());
    EXPECT_TRUE(own("nodes", "GET", nullptr, "n1").body.at("draining").as_bool());
    const auto revision = store->revision();
    EXPECT_EQ(own("nodes", "POST:drain", json::object{}, "n1").status, 200);
    const Reply refused = nic("app", "attach", json::object{{"node", "n1"}});
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(code(refused), "NodeDraining");
    EXPECT_NE(message(refused).find("undrain n1"), std::string::npos);
    EXPECT_EQ(nic("web", "attach", json::object{{"node", "n1"}}).status, 200) << "is there already";
    EXPECT_EQ(store->revision(), revision) << "and none of these writes";
    // a new certificate changes nothing about it
    ASSERT_EQ(join(token({{"name", "n1"}}), "n1", "192.0.2.1").status, 200);
    EXPECT_TRUE(own("nodes", "GET", nullptr, "n1").body.at("draining").as_bool());
    EXPECT_EQ(own("nodes", "POST:undrain", json::object{}, "n1").status, 200);
    EXPECT_EQ(nic("app", "attach", json::object{{"node", "n1"}}).status, 200);
    EXPECT_EQ(own("nodes", "POST:drain", json::object{}, "n9").status, 404);
}

TEST_F(NodeHandlersTest, a_node_goes_only_when_nothing_is_attached_to_it) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(nic("web", "attach", json::object{{"node", "n1"}}).status, 200);
    const Reply refused = own("nodes", "DELETE", nullptr, "n1");
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(code(refused), "NodeInUse");
    EXPECT_NE(message(refused).find("/networkInterfaces/web"), std::string::npos);
    const Reply detached = nic("web", "detach");
    EXPECT_EQ(detached.status, 200);
    EXPECT_TRUE(detached.body.at("detached").as_bool());
    EXPECT_FALSE(nic("web", "detach").body.at("detached").as_bool());
    EXPECT_EQ(own("nodes", "DELETE", nullptr, "n1").status, 204);
    EXPECT_EQ(own("nodes", "DELETE", nullptr, "n1").status, 404);
    EXPECT_EQ(keys("/node/").size(), 0U);
    EXPECT_EQ(keys("/attach/").size(), 0U);
    EXPECT_EQ(keys("/ref/").size(), 0U);
    hub.reset();  // its callbacks have run
    EXPECT_EQ(keys("/idx/").size(), 0U) << "index and address are free again";
}

TEST_F(NodeHandlersTest, a_node_that_will_not_come_back_is_removed_with_what_is_attached) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(join(token(), "n2", "192.0.2.2").status, 200);
    std::vector<std::pair<std::string, std::string>> more;
    for (std::uint32_t i = 10; i < 100; ++i) {
        const std::string name = "nic" + std::to_string(i);
        more.push_back(scene::attachment(name, "n1"));
        const std::string id = scene::id("networkInterfaces", name).str();
        more.emplace_back(keys::ref(keys::node("n1"), model::lower(id)), id);
        if (more.size() > 100) {
            scene::write(*store, std::exchange(more, {}));
        }
    }
    scene::write(*store, more);
    ASSERT_EQ(nic("web", "attach", json::object{{"node", "n2"}}).status, 200);
    EXPECT_EQ(own("nodes", "DELETE", nullptr, "n1").status, 409);
    model::ResourceId id;
    id.provider = "Culvert";
    id.segments.emplace_back("nodes", "n1");
    EXPECT_EQ(call("Culvert/nodes", "DELETE", id, nullptr, "", {{"force", "true"}}).status, 204);
    EXPECT_EQ(keys("/node/").size(), 1U);
    EXPECT_EQ(keys("/attach/").size(), 1U) << "what is elsewhere stays";
    EXPECT_EQ(keys("/ref/node/n1").size(), 0U);
}

// Two tenants with a subscription each; web and app are the first one's.
class NodeTenantsTest : public NodeHandlersTest {
  protected:
    void SetUp() override {
        NodeHandlersTest::SetUp();
        scene::write(
            *store,
            {{keys::tenant(one), encode(Tenant{one, "one"})},
             {keys::tenant(two), encode(Tenant{two, "two"})},
             {keys::subscription("00000000-0000-0000-0000-000000000001"),
              encode(Subscription{"00000000-0000-0000-0000-000000000001", one, "of one"})}});
    }
    Reply edit(const std::string& action, const std::string& tenant) {
        return own("nodes", "POST:" + action, json::object{{"tenant", tenant}}, "n1");
    }
    Reply attach(const std::string& name) {
        return nic(name, "attach", json::object{{"node", "n1"}});
    }
    const std::string one = "00000000-0000-0000-0000-0000000000a1";
    const std::string two = "00000000-0000-0000-0000-0000000000a2";
};

TEST_F(NodeTenantsTest, a_node_serves_everybody_until_an_operator_names_tenants) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    EXPECT_EQ(code(edit("deny", one)), "NodeServesAllTenants");
    ASSERT_EQ(attach("web").status, 200);
    EXPECT_EQ(own("nodes", "GET", nullptr, "n1").body.at("tenants").as_string(), "all");
    const Reply allowed_two = edit("allow", two);
    ASSERT_EQ(allowed_two.status, 200) << json::serialize(allowed_two.body);
    EXPECT_EQ(allowed_two.body.at("tenants"), json::value({two}));
    EXPECT_EQ(allowed_two.body.at("stillAttached").to_number<int>(), 1);
    EXPECT_EQ(attach("web").status, 200) << "what is attached stays";
    const auto revision = store->revision();
    EXPECT_EQ(attach("app").status, 404);
    EXPECT_EQ(store->revision(), revision);
    ASSERT_EQ(edit("allow", one).status, 200);
    EXPECT_EQ(attach("app").status, 200);
    EXPECT_EQ(edit("deny", one).body.at("stillAttached").to_number<int>(), 2);
    EXPECT_EQ(edit("allow", "all").body.at("tenants").as_string(), "all");
    EXPECT_EQ(edit("deny", "all").body.at("tenants"), json::value(json::array()));
    ASSERT_EQ(nic("app", "detach").status, 200);
    EXPECT_EQ(attach("app").status, 404);
}

TEST_F(NodeTenantsTest, a_tenant_cannot_tell_a_node_it_may_not_use_from_none) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(edit("allow", two).status, 200);
    const Reply foreign = attach("web");
    ASSERT_EQ(own("nodes", "DELETE", nullptr, "n1").status, 204);
    const Reply none = attach("web");
    EXPECT_EQ(foreign.status, none.status);
    EXPECT_EQ(json::serialize(foreign.body), json::serialize(none.body));
}

TEST_F(NodeTenantsTest, a_token_can_say_whom_the_node_will_serve) {
    const std::string given = token({{"tenants", json::array{two}}});
    ASSERT_EQ(join(given, "n1", "192.0.2.1").status, 200);
    EXPECT_EQ(attach("web").status, 404);
    ASSERT_EQ(join(token({{"name", "n1"}}), "n1", "192.0.2.1").status, 200);
    EXPECT_EQ(attach("web").status, 404) << "joining again does not open it";
    EXPECT_EQ(own("join-tokens", "POST", json::object{{"tenants", "all"}}).status, 400);
    EXPECT_EQ(own("join-tokens", "POST", json::object{{"tenants", json::array{"x"}}}).status, 400);
    EXPECT_EQ(own("join-tokens", "POST", json::object{{"tenants", json::array{1}}}).status, 400);
    EXPECT_EQ(edit("allow", "x").status, 400);
    EXPECT_EQ(own("nodes", "POST:allow", json::object{}, "n1").status, 400);
    EXPECT_EQ(own("nodes", "POST:allow", json::object{{"tenant", two}}, "n9").status, 404);
}

TEST_F(NodeHandlersTest, lists_show_nodes_and_the_attachments_that_the_caller_may_read) {
    ASSERT_EQ(join(token(), "n1", "192.0.2.1").status, 200);
    ASSERT_EQ(join(token(), "n2", "192.0.2.2").status, 200);
    ASSERT_EQ(nic("web", "attach", json::object{{"node", "n1"}}).status, 200);
    const Reply nodes = own("nodes", "LIST");
    ASSERT_EQ(nodes.body.at("value").as_array().size(), 2U);
    const json::value& first = nodes.body.at("value").at(0);
    EXPECT_EQ(first.at("name").as_string(), "n1");
    EXPECT_EQ(first.at("attached").to_number<int>(), 1);
    EXPECT_FALSE(first.at("connected").as_bool());
    EXPECT_EQ(nodes.body.at("counters").at("garbage").to_number<int>(), 0);
    EXPECT_EQ(own("nodes", "GET", nullptr, "n2").body.at("outer").as_string(), "192.0.2.2");
    EXPECT_EQ(own("nodes", "GET", nullptr, "n9").status, 404);
    const std::string subscription = "00000000-0000-0000-0000-000000000001";
    scene::write(*store, {{keys::subscription(subscription),
                           encode(Subscription{subscription, tenant, "of the caller"})}});
    const auto attachments = [&](const std::string& node) {
        return call("Culvert/attachments", "LIST", {}, nullptr, node).body.at("value").as_array();
    };
    ASSERT_EQ(attachments("").size(), 1U);
    EXPECT_EQ(attachments("")[0].at("node").as_string(), "n1");
    EXPECT_EQ(attachments("n2").size(), 0U);
    allowed = false;
    EXPECT_EQ(attachments("").size(), 0U);
    allowed = true;
    tenant = "00000000-0000-0000-0000-0000000000a2";
    EXPECT_EQ(attachments("").size(), 0U) << "nothing of another tenant is even looked at";
}

}  // namespace
}  // namespace culvert::control
