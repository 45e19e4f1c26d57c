// SPDX-License-Identifier: Apache-2.0
// The whole front on the memory store, without sockets: requests go in as values, answers come out
// as values.
#pragma once

#include "control/front.hpp"
#include "control/front_platform.hpp"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <map>
#include <semaphore>
#include <string>

namespace culvert::control::test {

struct Answer {
    int status = 0;
    http::Headers headers;
    std::string text;
    boost::json::value body;

    std::string header(std::string_view name) const {
        return std::string(http::find_header(headers, name));
    }
    // error.code of an ARM error, or "error" of an OAuth one
    std::string code() const;
};

class FrontFixture : public testing::Test {
  protected:
    FrontFixture();

    // `token`: kOwner's when left out; "" sends no Authorization header.
    Answer ask(const std::string& method, const std::string& target, const std::string& body = {},
               const http::Headers& headers = {});
    Answer ask_as(const std::string& token, const std::string& method, const std::string& target,
                  const std::string& body = {}, const http::Headers& headers = {});
    Answer post_form(const std::string& path, const std::map<std::string, std::string>& form,
                     const std::string& peer = "192.0.2.1");

    // A service principal with that role at that scope ("" for none), by the front door; its access
    // token.
    std::string make_caller(const std::string& name, const std::string& role,
                            const std::string& scope);
    std::string token_of(const std::string& object_id, std::chrono::seconds from_now = {});
    void make_group(const std::string& name);

    std::string sub() const { return "/subscriptions/" + made_.subscription; }

    ManualClock clock_{WallTime(std::chrono::seconds(1'800'000'000))};
    SystemRandom random_;
    std::unique_ptr<store::Store> store_ = store::open_memory();
    std::unique_ptr<Identity> identity_;
    Bootstrap made_;
    SlowLane lane_;
    std::unique_ptr<SignIn> sign_in_;
    std::unique_ptr<Services> services_;
    Registry registry_;
    std::unique_ptr<Front> front_;
    std::string unready_;
    std::string owner_;  // the bootstrap service principal's access token
    std::map<std::string, std::string> object_ids_;  // of make_caller()
    int handled_ = 0;                                // calls of the planted handlers
    Call last_;  // what the last one was given; its request is gone
};

}  // namespace culvert::control::test
