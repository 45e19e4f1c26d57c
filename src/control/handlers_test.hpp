// SPDX-License-Identifier: Apache-2.0
// A control plane without its rim: handlers on the memory store, with a caller table, a settle that
// answers as told and a repeatable source of numbers.
#pragma once

#include "base/guarded.hpp"
#include "control/allocate.hpp"
#include "control/call.hpp"
#include "control/resources.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace culvert::control::test {

class SeededRandom final : public Random {
  public:
    explicit SeededRandom(std::uint64_t seed = 20261122) : engine_(seed) {}
    void fill(std::span<std::uint8_t> out) override {
        engine_.with([&](std::mt19937_64& engine) {
            for (std::uint8_t& byte : out) {
                byte = static_cast<std::uint8_t>(engine());
            }
        });
    }

  private:
    Guarded<std::mt19937_64> engine_;
};

inline const std::string kProvider = "/subscriptions/00000000-0000-0000-0000-00000000000a";
inline const std::string kConsumer = "/subscriptions/00000000-0000-0000-0000-00000000000b";

class Handlers : public testing::Test {
  protected:
    explicit Handlers(std::unique_ptr<store::Store> store = store::open_memory(),
                      std::uint64_t seed = 20261122);

    // One request as the front would hand it over. `path` ends in a collection for LIST.
    Reply call(const std::string& verb, const std::string& path, const std::string& body = {},
               const http::Headers& headers = {}, const std::string& query = {});
    Reply get(const std::string& path) { return call("GET", path); }
    Reply put(const std::string& path, const std::string& body) { return call("PUT", path, body); }
    Reply remove(const std::string& path) { return call("DELETE", path); }
    Reply list(const std::string& path) { return call("LIST", path); }
    // A PUT that must succeed with `status`.
    boost::json::value made(const std::string& path, const std::string& body, int status = 201);
    // The reply is this error, and nothing was written since `revision`.
    void expect_refused(const Reply& reply, int status, const std::string& code,
                        std::int64_t revision);
    void expect_put_refused(const std::string& path, const std::string& body, int status,
                            const std::string& code);

    // What the caller may do besides everything: rights taken away.
    void forbid(const std::string& caller, const std::string& permission, const std::string& scope);
    // What the hub does when every node has acknowledged.
    void free_all();
    void let_the_store_fail() { store_may_fail_ = true; }
    // Everything that stands in the store below a prefix.
    std::vector<std::string> keys_below(const std::string& prefix);

    // A group with a network 10.0.0.0/16: subnet `s`, and `nat` without service policies.
    void make_network(const std::string& subscription, const std::string& group = "g");
    // A Standard balancer `lb` with frontend `fe`, pool `bp` and a rule, and the service `svc`.
    void make_service(const std::string& visibility = "[]", const std::string& approval = "[]");
    std::string service_body(const std::string& visibility, const std::string& approval,
                             const std::string& frontend = "fe") const;
    std::string endpoint_body(const std::string& target, bool manual = false) const;
    const std::string& service_id() const { return service_; }
    boost::json::value connection_of_service(std::size_t at = 0);

    std::string provider_ = kProvider + "/resourceGroups/g";
    std::string consumer_ = kConsumer + "/resourceGroups/g";
    std::string provider_network_ = provider_ + "/providers/Microsoft.Network/";
    std::string consumer_network_ = consumer_ + "/providers/Microsoft.Network/";
    std::string service_ = provider_network_ + "privateLinkServices/svc";

    std::string caller_ = "owner";
    std::atomic<bool> settled_{true};
    bool store_may_fail_ = false;
    std::vector<std::pair<std::string, std::pair<std::string, std::string>>> forbidden_;
    ManualClock clock_{WallTime{}};
    SeededRandom random_;
    std::unique_ptr<store::Store> store_;
    Services services_;
    Registry registry_;
};

// "properties.subnets[0].name" out of a value; a null value when there is none.
boost::json::value at(const boost::json::value& value, std::string_view path);
std::string text(const boost::json::value& value, std::string_view path);
std::string code_of(const Reply& reply);
std::string header(const Reply& reply, std::string_view name);

}  // namespace culvert::control::test
