// SPDX-License-Identifier: Apache-2.0
#include "control/hub_releases.hpp"

#include <iterator>
#include <utility>

namespace culvert::control {

void HubReleases::add(std::string key, std::int64_t revision) {
    waiting_.emplace(revision, std::move(key));
}

void HubReleases::clear() {
    waiting_.clear();
    holder_ = nullptr;
}

void HubReleases::fence(std::int64_t revision) {
    std::multimap<std::int64_t, std::string> later;
    for (auto& [at, key] : std::exchange(waiting_, {})) {
        later.emplace(std::max(at, revision), std::move(key));
    }
    waiting_ = std::move(later);
    holder_ = nullptr;
}

const HubNode* HubReleases::holder(std::int64_t revision, std::int64_t now) const {
    for (const auto& [name, node] : nodes_) {
        if (node->confirmed(now) < revision) {
            return node.get();
        }
    }
    return nullptr;
}

void HubReleases::advance(std::int64_t now) {
    while (!waiting_.empty()) {
        const std::int64_t revision = waiting_.begin()->first;
        if (holder_ == nullptr || holder_->confirmed(now) >= revision) {
            holder_ = holder(revision, now);
        }
        if (holder_ != nullptr) {
            return;
        }
        over_(waiting_.extract(waiting_.begin()).mapped());
    }
}

void HubReleases::forget(const HubNode& node) {
    if (holder_ == &node) {
        holder_ = nullptr;
    }
}

std::size_t HubReleases::held_by(const HubNode& node, std::int64_t now) const {
    return static_cast<std::size_t>(
        std::distance(waiting_.upper_bound(node.confirmed(now)), waiting_.end()));
}

}  // namespace culvert::control
