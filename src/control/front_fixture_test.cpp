// SPDX-License-Identifier: Apache-2.0
#include "control/front_fixture_test.hpp"

#include "control/keys.hpp"

namespace culvert::control::test {

namespace json = boost::json;

std::string Answer::code() const {
    const auto* object = body.if_object();
    const auto* error = object != nullptr ? object->if_contains("error") : nullptr;
    if (error == nullptr) {
        return {};
    }
    return std::string(error->is_string() ? error->as_string() : error->at("code").as_string());
}

FrontFixture::FrontFixture() {
    identity_ = std::move(*Identity::open(*store_, clock_, random_));
    made_ = **identity_->bootstrap();
    sign_in_ = std::make_unique<SignIn>(*identity_, lane_);
    services_ = std::make_unique<Services>(Services{
        .store = *store_,
        .clock = clock_,
        .random = random_,
        .authorize = [this](const Caller& caller, std::string_view permission,
                            const model::ResourceId& scope) -> Result<bool> {
            return identity_->authorize(caller, permission, scope);
        },
        .settle = [](std::int64_t, const std::function<void(bool)>& done) { done(true); }});
    add_platform_handlers(registry_, *services_, *identity_);
    add_identity_handlers(registry_, *identity_, lane_);
    add_role_handlers(registry_, *identity_);
    for (const char* verb : {"GET", "PUT", "DELETE", "LIST", "POST:poke"}) {
        const std::string right =
            verb == std::string_view("GET") || verb == std::string_view("LIST") ? "/read"
                                                                                : "/write";
        for (const char* type : {"Microsoft.Network/widgets", "Microsoft.Network/widgets/parts",
                                 "Microsoft.Resources/resourceGroups"}) {
            registry_.add(type, verb, type + right, [this](const Call& call, const ReplyFn& reply) {
                ++handled_;
                last_ = call;
                last_.request = nullptr;
                reply({200, json::object{{"id", call.id.str()}, {"etag", "W/\"7\""}}, {}});
            });
        }
    }
    front_ = std::make_unique<Front>(registry_, *services_, *identity_, *sign_in_,
                                     [this] { return unready_; });
    owner_ = token_of(made_.client_object_id);
    make_group("rg1");
}

std::string FrontFixture::token_of(const std::string& object_id, std::chrono::seconds from_now) {
    const auto now = token::to_seconds(clock_.wall() + from_now);
    const auto tenant = identity_->read([&](const Directory& d) {
        return d.principals.contains(object_id) ? d.principals.find(object_id)->second.tenant
                                                : std::string("none");
    });
    return identity_
        ->sign({.iss = std::string(kIssuer),
                .aud = std::string(kArmAudience),
                .sub = object_id,
                .oid = object_id,
                .tid = tenant,
                .appid = "app",
                .upn = {},
                .name = {},
                .jti = random_.uuid(),
                .iat = now,
                .nbf = now,
                .exp = now + 3600})
        .value();
}

void FrontFixture::make_group(const std::string& name) {
    const std::string id = sub() + "/resourceGroups/" + name;
    store::Txn txn;
    txn.success.push_back(
        store::put(keys::resource(model::lower(id)),
                   json::serialize(
                       json::object{{"id", id}, {"location", "local"}, {"tags", json::object{}}})));
    ASSERT_TRUE(store_->txn(txn)->succeeded);
}

Answer FrontFixture::ask_as(const std::string& token, const std::string& method,
                            const std::string& target, const std::string& body,
                            const http::Headers& headers) {
    http::Request request;
    request.method = method;
    auto parsed = http::parse_target(target);
    EXPECT_TRUE(parsed.has_value()) << target;
    request.path = parsed->path;
    request.query = parsed->query;
    request.target = target;
    request.headers = headers;
    request.body = body;
    request.peer = "192.0.2.1";
    request.host = "127.0.0.1:8443";
    if (!token.empty()) {
        request.headers.emplace_back("Authorization", "Bearer " + token);
    }
    Answer out;
    std::binary_semaphore done{0};
    front_->handle(request, [&](http::Response response) {
        out = {response.status, std::move(response.headers), std::move(response.body), nullptr};
        done.release();
    });
    EXPECT_TRUE(done.try_acquire_for(std::chrono::minutes(1))) << method << " " << target;
    json::error_code ec;
    out.body = json::parse(out.text, ec);
    return out;
}

Answer FrontFixture::ask(const std::string& method, const std::string& target,
                         const std::string& body, const http::Headers& headers) {
    return ask_as(owner_, method, target, body, headers);
}

Answer FrontFixture::post_form(const std::string& path,
                               const std::map<std::string, std::string>& form,
                               const std::string& peer) {
    std::string body;
    for (const auto& [name, value] : form) {
        body += (body.empty() ? "" : "&") + name + "=" + http::percent_encode(value);
    }
    http::Request request;
    request.method = "POST";
    request.path = path;
    request.body = body;
    request.peer = peer;
    request.host = "127.0.0.1:8443";
    Answer out;
    std::binary_semaphore done{0};
    front_->handle(request, [&](http::Response response) {
        out = {response.status, std::move(response.headers), std::move(response.body), nullptr};
        done.release();
    });
    EXPECT_TRUE(done.try_acquire_for(std::chrono::minutes(1)));
    json::error_code ec;
    out.body = json::parse(out.text, ec);
    return out;
}

std::string FrontFixture::make_caller(const std::string& name, const std::string& role,
                                      const std::string& scope) {
    json::object body{{"name", name}};
    if (!role.empty()) {
        body["role"] = role;
        body["scope"] = scope;
    }
    const auto answer = ask("POST", "/culvert/principals", json::serialize(body));
    EXPECT_EQ(answer.status, 201) << answer.text;
    object_ids_[name] = std::string(answer.body.at("id").as_string());
    return token_of(object_ids_[name]);
}

}  // namespace culvert::control::test
