// SPDX-License-Identifier: Apache-2.0
#include "control/hub_releases.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace culvert::control {
namespace {

bool uses_any(const HubNode& node, const AddressUses& addresses) {
    return std::ranges::any_of(node.in_use,
                               [&](const auto& each) { return addresses.contains(each); });
}

}  // namespace

void HubReleases::add(std::string key, std::int64_t revision, AddressUses addresses) {
    waiting_.emplace(revision, Release{std::move(key), std::move(addresses)});
}

void HubReleases::clear() {
    waiting_.clear();
    used_.clear();
    holder_ = nullptr;
}

void HubReleases::fence(std::int64_t revision) {
    std::multimap<std::int64_t, Release> later;
    for (auto& [at, release] : std::exchange(waiting_, {})) {
        later.emplace(std::max(at, revision), std::move(release));
    }
    for (Release& release : std::exchange(used_, {})) {
        later.emplace(revision, std::move(release));
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

bool HubReleases::is_used(const Release& release) const {
    return !release.addresses.empty() && std::ranges::any_of(nodes_, [&](const auto& each) {
        return uses_any(*each.second, release.addresses);
    });
}

void HubReleases::advance(std::int64_t now) {
    std::vector<std::string> over;
    const auto kept =
        std::ranges::partition(used_, [this](const Release& release) { return is_used(release); });
    for (Release& release : kept) {
        over.push_back(std::move(release.key));
    }
    used_.erase(kept.begin(), kept.end());
    while (!waiting_.empty()) {
        const std::int64_t revision = waiting_.begin()->first;
        if (holder_ == nullptr || holder_->confirmed(now) >= revision) {
            holder_ = holder(revision, now);
        }
        if (holder_ != nullptr) {
            break;
        }
        Release release = std::move(waiting_.extract(waiting_.begin()).mapped());
        if (is_used(release)) {
            used_.push_back(std::move(release));
        } else {
            over.push_back(std::move(release.key));
        }
    }
    for (const std::string& key : over) {
        over_(key);
    }
}

void HubReleases::forget(const HubNode& node) {
    if (holder_ == &node) {
        holder_ = nullptr;
    }
}

std::size_t HubReleases::held_by(const HubNode& node, std::int64_t now) const {
    const auto used = std::ranges::count_if(
        used_, [&](const Release& release) { return uses_any(node, release.addresses); });
    return static_cast<std::size_t>(
        used + std::distance(waiting_.upper_bound(node.confirmed(now)), waiting_.end()));
}

}  // namespace culvert::control
