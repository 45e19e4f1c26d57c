// SPDX-License-Identifier: Apache-2.0
// Which private link services would approve a subscription's endpoints by their lists: followed
// from the store, so that asking costs what is found and not what there is. Made on first use.
// Internally synchronized.
#pragma once

#include "base/guarded.hpp"
#include "base/result.hpp"
#include "model/resources.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

class ApprovalIndex {
  public:
    // The store outlives it.
    explicit ApprovalIndex(store::Store& store) : store_(store) {}
    ApprovalIndex(const ApprovalIndex&) = delete;
    ApprovalIndex& operator=(const ApprovalIndex&) = delete;

    // Their ids, in order, as of now: every write that was answered before is seen. Errors: the
    // store's; kUnavailable while it cannot be followed.
    Result<std::vector<std::string>> services_for(std::string_view subscription);

  private:
    using Ids = std::map<std::string, std::string>;  // key -> id as given
    struct State {
        std::map<std::string, Ids, std::less<>> by_subscription;          // "*": of any
        std::map<std::string, std::set<std::string>> subscriptions_of{};  // by service key
        std::int64_t revision = 0;  // up to which the store was followed
        bool following = false;
    };
    static void put(State& state, const model::PrivateLinkService& service);
    static void erase(State& state, const std::string& key);

    Status load();
    void follow(const store::WatchBatch& batch);

    store::Store& store_;
    Monitor<State> state_;
    Guarded<std::unique_ptr<store::Watch>> watch_;  // last made, first gone: it calls follow()
};

}  // namespace culvert::control
