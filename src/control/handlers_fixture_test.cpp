// SPDX-License-Identifier: Apache-2.0
#include "control/handlers_test.hpp"

#include <fmt/format.h>

namespace culvert::control::test {

Handlers::Handlers(std::unique_ptr<store::Store> store, std::uint64_t seed)
    : random_(seed),
      store_(std::move(store)),
      services_{.store = *store_,
                .clock = clock_,
                .random = random_,
                .authorize = [this](const Caller& caller, std::string_view permission,
                                    const model::ResourceId& scope) -> Result<bool> {
                    for (const auto& [who, what] : forbidden_) {
                        if (who == caller.principal && what.first == permission &&
                            scope.key().starts_with(model::lower(what.second))) {
                            return false;
                        }
                    }
                    return true;
                },
                .settle =
                    [this](std::int64_t, std::function<void(bool)> done) {
                        if (settled_) {
                            free_all();
                        }
                        done(settled_.load());
                    }} {
    add_group_handlers(registry_, services_);
    add_network_handlers(registry_, services_);
    add_balancer_handlers(registry_, services_);
    add_link_service_handlers(registry_, services_);
    add_endpoint_handlers(registry_, services_);
    add_attach_handlers(registry_, services_);
}

Reply Handlers::call(const std::string& verb, const std::string& path, const std::string& body,
                     const http::Headers& headers, const std::string& query) {
    http::Request request;
    request.method = verb == "LIST" ? "GET" : verb.substr(0, verb.find(':'));
    request.path = path;
    request.target = path + "?api-version=2024-05-01";
    request.headers = headers;
    request.query.emplace_back("api-version", "2024-05-01");
    if (!query.empty()) {
        request.query.emplace_back("$skiptoken", query);
    }
    Call about;
    about.request = &request;
    about.api_version = "2024-05-01";
    about.caller = Caller{.principal = caller_, .name = caller_, .tenant = "t"};
    about.body = body.empty() ? boost::json::value() : boost::json::parse(body);
    about.base_url = "https://localhost:8443";
    std::string id_path = path;
    std::string type;
    if (verb == "LIST") {
        const std::size_t slash = path.rfind('/');
        about.collection = path.substr(slash + 1);
        id_path = path.substr(0, slash);
        if (const auto cut = id_path.rfind("/providers/");
            cut != std::string::npos && id_path.find('/', cut + 11) == std::string::npos) {
            type = id_path.substr(cut + 11) + "/" + about.collection;
            id_path.resize(cut);
        }
    }
    auto id = model::ResourceId::parse(id_path);
    EXPECT_TRUE(id.has_value()) << id_path;
    about.id = *id;
    if (type.empty()) {
        type = about.id.type();
        if (verb == "LIST") {
            type = about.collection == "resourceGroups" ? "Microsoft.Resources/resourceGroups"
                                                        : type + "/" + about.collection;
        }
    }
    if (verb.starts_with("POST:") && !about.id.is_type("Microsoft.Network/networkInterfaces") &&
        !about.id.is_type("Microsoft.Network/loadBalancers/backendAddressPools")) {
        type = "Microsoft.Network/locations";
    }
    const auto* entry = registry_.find(type, verb, nullptr);
    EXPECT_NE(entry, nullptr) << verb << " " << type;
    Monitor<std::optional<Reply>> answer;
    if (entry != nullptr) {
        entry->handler(about, [&](Reply reply) {
            answer.with([&](std::optional<Reply>& slot) { slot = std::move(reply); });
        });
    }
    return answer.wait_for(
        std::chrono::seconds(30), [](const auto& slot) { return slot.has_value(); },
        [](std::optional<Reply>& slot) {
            return slot ? *slot : Reply{.status = 0, .body = nullptr, .headers = {}};
        });
}

boost::json::value Handlers::made(const std::string& path, const std::string& body, int status) {
    const Reply reply = put(path, body);
    EXPECT_EQ(reply.status, status) << path << " " << boost::json::serialize(reply.body);
    return reply.body;
}

void Handlers::expect_refused(const Reply& reply, int status, const std::string& code,
                              std::int64_t revision) {
    EXPECT_EQ(reply.status, status) << boost::json::serialize(reply.body);
    EXPECT_EQ(code_of(reply), code) << boost::json::serialize(reply.body);
    EXPECT_FALSE(text(reply.body, "error.message").empty());
    EXPECT_EQ(store_->revision(), revision) << "a refused request wrote to the store";
}

void Handlers::expect_put_refused(const std::string& path, const std::string& body, int status,
                                  const std::string& code) {
    const auto before = store_->revision();
    expect_refused(put(path, body), status, code, before);
}

void Handlers::forbid(const std::string& caller, const std::string& permission,
                      const std::string& scope) {
    forbidden_.push_back({caller, {permission, scope}});
}

void Handlers::free_all() {
    for (const std::string& released : keys_below(std::string(keys::kReleased))) {
        EXPECT_TRUE(free_released(*store_, released) || store_may_fail_);
    }
}

std::vector<std::string> Handlers::keys_below(const std::string& prefix) {
    std::vector<std::string> keys;
    auto rows = store_->list(prefix);
    EXPECT_TRUE(rows.has_value() || store_may_fail_);
    if (!rows) {
        return keys;
    }
    for (const store::KeyValue& row : rows->kvs) {
        keys.push_back(row.key);
    }
    return keys;
}

void Handlers::make_network(const std::string& subscription, const std::string& group) {
    const std::string id = subscription + "/resourceGroups/" + group;
    made(id, R"({"location":"local"})");
    made(id + "/providers/Microsoft.Network/virtualNetworks/v",
         R"({"location":"local","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},
             "subnets":[{"name":"s","properties":{"addressPrefix":"10.0.0.0/24"}},
                        {"name":"nat","properties":{"addressPrefix":"10.0.1.0/24",
                         "privateLinkServiceNetworkPolicies":"Disabled"}}]}})");
}

std::string Handlers::service_body(const std::string& visibility, const std::string& approval,
                                   const std::string& frontend) const {
    return fmt::format(
        R"({{"location":"local","properties":{{
             "visibility":{{"subscriptions":{}}},"autoApproval":{{"subscriptions":{}}},
             "loadBalancerFrontendIpConfigurations":
               [{{"id":"{}loadBalancers/lb/frontendIpConfigurations/{}"}}],
             "ipConfigurations":[{{"name":"nat0","properties":{{
               "subnet":{{"id":"{}virtualNetworks/v/subnets/nat"}}}}}}]}}}})",
        visibility, approval, provider_network_, frontend, provider_network_);
}

void Handlers::make_service(const std::string& visibility, const std::string& approval) {
    const std::string lb = provider_network_ + "loadBalancers/lb";
    made(lb, fmt::format(
                 R"({{"location":"local","sku":{{"name":"Standard"}},"properties":{{
                      "frontendIPConfigurations":[
                        {{"name":"fe","properties":{{
                          "subnet":{{"id":"{0}virtualNetworks/v/subnets/s"}}}}}},
                        {{"name":"fe2","properties":{{
                          "subnet":{{"id":"{0}virtualNetworks/v/subnets/s"}}}}}}],
                      "backendAddressPools":[{{"name":"bp"}}],
                      "loadBalancingRules":[{{"name":"r","properties":{{"protocol":"Tcp",
                        "frontendPort":80,"backendPort":8080,
                        "frontendIPConfiguration":{{"id":"{1}/frontendIPConfigurations/fe"}},
                        "backendAddressPool":{{"id":"{1}/backendAddressPools/bp"}}}}}}]}}}})",
                 provider_network_, lb));
    made(service_, service_body(visibility, approval));
}

std::string Handlers::endpoint_body(const std::string& target, bool manual) const {
    return fmt::format(
        R"({{"location":"local","properties":{{
             "subnet":{{"id":"{}virtualNetworks/v/subnets/s"}},
             "{}":[{{"name":"c","properties":{{"privateLinkServiceId":"{}",
                     "requestMessage":"please"}}}}]}}}})",
        consumer_network_,
        manual ? "manualPrivateLinkServiceConnections" : "privateLinkServiceConnections", target);
}

boost::json::value Handlers::connection_of_service(std::size_t at_index) {
    const Reply reply = list(service_ + "/privateEndpointConnections");
    const auto& items = reply.body.at("value").as_array();
    EXPECT_GT(items.size(), at_index);
    return items.size() > at_index ? items[at_index] : boost::json::value();
}

boost::json::value at(const boost::json::value& value, std::string_view path) {
    const boost::json::value* here = &value;
    while (!path.empty()) {
        const std::size_t end = std::min(path.find_first_of(".["), path.size());
        if (const std::string_view name = path.substr(0, end); !name.empty()) {
            here = here->is_object() ? here->get_object().if_contains(name) : nullptr;
        }
        path.remove_prefix(end);
        if (here != nullptr && path.starts_with('[')) {
            const std::size_t close = path.find(']');
            const auto index = std::stoul(std::string(path.substr(1, close - 1)));
            here = here->is_array() && index < here->get_array().size() ? &here->get_array()[index]
                                                                        : nullptr;
            path.remove_prefix(close + 1);
        }
        if (path.starts_with('.')) {
            path.remove_prefix(1);
        }
        if (here == nullptr) {
            return nullptr;
        }
    }
    return *here;
}

std::string text(const boost::json::value& value, std::string_view path) {
    const boost::json::value found = at(value, path);
    if (found.is_string()) {
        return std::string(found.get_string());
    }
    return found.is_null() ? std::string() : boost::json::serialize(found);
}

std::string code_of(const Reply& reply) { return text(reply.body, "error.code"); }

std::string header(const Reply& reply, std::string_view name) {
    return std::string(http::find_header(reply.headers, name));
}

}  // namespace culvert::control::test
