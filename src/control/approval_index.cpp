// SPDX-License-Identifier: Apache-2.0
#include "control/approval_index.hpp"

#include "base/log.hpp"
#include "control/keys.hpp"
#include "control/resources.hpp"
#include "model/types.hpp"

#include <utility>

namespace culvert::control {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);  // until the watch has come to what is asked
constexpr std::string_view kResources = "/r";

// Lower case; "*" for all. An endpoint is approved by itself when it is on both lists.
std::set<std::string> approved(const model::PrivateLinkService& service) {
    std::set<std::string> out;
    for (const auto* list : {&service.auto_approval, &service.visibility}) {
        for (const std::string& entry : *list) {
            if (rules::auto_approved(service, entry) &&
                rules::visible(service, entry, true, false)) {
                out.insert(model::lower(entry));
            }
        }
    }
    return out;
}

}  // namespace

void ApprovalIndex::erase(State& state, const std::string& key) {
    for (const std::string& subscription : state.subscriptions_of[key]) {
        const auto at = state.by_subscription.find(subscription);
        at->second.erase(key);
        if (at->second.empty()) {
            state.by_subscription.erase(at);
        }
    }
    state.subscriptions_of.erase(key);
}

void ApprovalIndex::put(State& state, const model::PrivateLinkService& service) {
    const std::string key = service.id.key();
    erase(state, key);
    auto subscriptions = approved(service);
    for (const std::string& subscription : subscriptions) {
        state.by_subscription[subscription].emplace(key, service.id.str());
    }
    if (!subscriptions.empty()) {
        state.subscriptions_of[key] = std::move(subscriptions);
    }
}

// Follows first: what changes while it reads comes again by the watch, in order.
Status ApprovalIndex::load() {
    return watch_.with([&](std::unique_ptr<store::Watch>& watch) -> Status {
        if (state_.with([](State& state) { return state.following; })) {
            return {};  // somebody else was faster
        }
        watch.reset();
        const std::int64_t from = store_.revision();
        State fresh;
        auto aliases = store_.list(keys::alias(""));
        if (!aliases) {
            return std::unexpected(std::move(aliases.error()));
        }
        for (const store::KeyValue& row : aliases->kvs) {
            const auto id = model::ResourceId::parse(row.value);
            auto service = id ? control::load<model::PrivateLinkService>(store_, *id)
                              : Result<std::optional<Stored<model::PrivateLinkService>>>(
                                    std::unexpected(id.error()));
            if (!service) {
                return std::unexpected(std::move(service.error()));
            }
            if (*service) {
                put(fresh, (*service)->value);
            }
        }
        fresh.revision = from;
        fresh.following = true;
        state_.with([&](State& state) { state = std::move(fresh); });
        auto made = store_.watch("/", store::prefix_end("/"), from,
                                 [this](const store::WatchBatch& batch) { follow(batch); });
        if (!made) {
            state_.with([](State& state) { state.following = false; });
            return std::unexpected(std::move(made.error()));
        }
        watch = std::move(*made);
        return {};
    });
}

void ApprovalIndex::follow(const store::WatchBatch& batch) {
    state_.with([&](State& state) {
        if (batch.compacted) {
            state.following = false;  // the next one who asks reads all anew
            return;
        }
        for (const store::Event& event : batch.events) {
            if (!event.now.key.starts_with(kResources)) {
                continue;
            }
            const auto id = model::ResourceId::parse(event.now.key.substr(kResources.size()));
            if (!id || !id->is_type(model::types::kPrivateLinkService)) {
                continue;
            }
            if (event.kind == store::Event::Kind::kDelete) {
                erase(state, id->key());
            } else if (auto service = wire::decode<model::PrivateLinkService>(event.now.value)) {
                put(state, *service);
            } else {
                spdlog::error("approvals: {}: {}", event.now.key, service.error().message);
                erase(state, id->key());
            }
        }
        state.revision = batch.revision;
    });
}

Result<std::vector<std::string>> ApprovalIndex::services_for(std::string_view subscription) {
    const std::int64_t now = store_.revision();
    CULVERT_TRY_STATUS(load());
    return state_.wait_for(
        kPatience, [&](const State& state) { return state.revision >= now || !state.following; },
        [&](const State& state) -> Result<std::vector<std::string>> {
            if (state.revision < now || !state.following) {
                return fail(Code::kUnavailable, "approvals: the store is not followed, try again");
            }
            Ids all;
            for (const std::string& who : {std::string("*"), model::lower(subscription)}) {
                if (const auto at = state.by_subscription.find(who);
                    at != state.by_subscription.end()) {
                    all.insert(at->second.begin(), at->second.end());
                }
            }
            std::vector<std::string> ids;
            ids.reserve(all.size());
            for (auto& [key, id] : all) {
                ids.push_back(std::move(id));
            }
            return ids;
        });
}

}  // namespace culvert::control
