// SPDX-License-Identifier: Apache-2.0
#include "agent/state.hpp"

#include "agent/validate.hpp"
#include "runtime/digest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>

namespace culvert::agent {
namespace {

using Kind = api::Object;

// Place of a kind in the order of making (INVARIANT of state.hpp).
int rank(std::uint32_t kind) {
    // a move says where a NIC is: it comes before the NIC
    static constexpr std::array<std::uint32_t, 9> kOrder{
        Kind::kConfig,  Kind::kPeer, Kind::kMove,    Kind::kNic,    Kind::kPool,
        Kind::kService, Kind::kLink, Kind::kNetwork, Kind::kAddress};
    const auto* const found = std::find(kOrder.begin(), kOrder.end(), kind);
    return static_cast<int>(found - kOrder.begin());
}

void in_order(std::vector<Change>& upserts, std::vector<Change>& removals, Plan& plan) {
    std::sort(upserts.begin(), upserts.end(), [](const Change& left, const Change& right) {
        return rank(left.key.kind) < rank(right.key.kind);
    });
    std::sort(removals.begin(), removals.end(), [](const Change& left, const Change& right) {
        return rank(left.key.kind) > rank(right.key.kind);
    });
    plan.changes = std::move(upserts);
    plan.changes.insert(plan.changes.end(), std::make_move_iterator(removals.begin()),
                        std::make_move_iterator(removals.end()));
}

bool same(const api::Object& left, const api::Object& right) {
    return left.SerializeAsString() == right.SerializeAsString();
}

std::optional<api::Object> copy(const api::Object* object) {
    return object == nullptr ? std::nullopt : std::optional<api::Object>(*object);
}

}  // namespace

std::size_t ObjectKeyHash::operator()(const ObjectKey& key) const {
    const std::uint64_t low = (std::uint64_t{key.id} << 32 | key.address) * 0x9e3779b97f4a7c15u;
    return static_cast<std::size_t>((low ^ (low >> 29)) + key.kind * 0xbf58476d1ce4e5b9u);
}

ObjectKey key_of(const api::Object& object) {
    const auto kind = static_cast<std::uint32_t>(object.kind_case());
    switch (object.kind_case()) {
        case Kind::kPeer: return {kind, object.peer().node(), 0};
        case Kind::kNetwork: return {kind, object.network().vnet(), 0};
        case Kind::kNic: return {kind, object.nic().index(), 0};
        case Kind::kAddress: return {kind, object.address().vnet(), object.address().address()};
        case Kind::kService: return {kind, object.service().id(), 0};
        case Kind::kPool: return {kind, object.pool().id(), 0};
        case Kind::kLink: return {kind, object.link().id(), 0};
        case Kind::kMove: return {kind, object.move().nic(), 0};
        case Kind::kConfig:
        case Kind::KIND_NOT_SET: break;
    }
    return {kind, 0, 0};
}

std::string to_string(const ObjectKey& key) {
    static constexpr std::array<std::string_view, 9> kNames{
        "object", "config", "peer", "network", "nic", "address", "service", "pool", "link"};
    const auto name = key.kind == Kind::kMove    ? "move"
                      : key.kind < kNames.size() ? kNames[key.kind]
                                                 : kNames[0];
    if (key.kind == Kind::kAddress) {
        return fmt::format("address {}/{}.{}.{}.{}", key.id, key.address >> 24,
                           key.address >> 16 & 255, key.address >> 8 & 255, key.address & 255);
    }
    return fmt::format("{} {}", name, key.id);
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](char letter) {
        return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    });
    return out;
}

Result<Plan> State::plan(const api::Delta& delta) const {
    if (delta.epoch().empty()) {
        return fail(Code::kInvalidArgument, "delta: no epoch");
    }
    const bool continues = delta.epoch() == epoch_;
    if (delta.resume() && epoch_.empty()) {
        return fail(Code::kPreconditionFailed, "delta: there is nothing to go on from");
    }
    if (!delta.snapshot() && !delta.resume() && !continues) {
        return fail(
            Code::kPreconditionFailed,
            fmt::format("delta: of epoch '{}', the intent here is of '{}'", delta.epoch(), epoch_));
    }
    const auto* held = config();
    if (auto valid = validate(delta, held); !valid) {
        return std::unexpected(std::move(valid.error()));
    }
    if (delta.resume()) {
        return plan_resume(delta);
    }
    if (!delta.snapshot() && delta.version() <= version_) {
        return Plan{.changes = {}, .epoch = epoch_, .version = version_, .snapshot = false};
    }
    return delta.snapshot() ? plan_snapshot(delta) : plan_update(delta);
}

Plan State::plan_snapshot(const api::Delta& delta) const {
    Plan plan{.changes = {}, .epoch = delta.epoch(), .version = delta.version(), .snapshot = true};
    std::vector<Change> upserts;
    std::vector<Change> removals;
    std::unordered_set<ObjectKey, ObjectKeyHash> named;
    for (const auto& object : delta.upsert()) {
        const ObjectKey key = key_of(object);
        named.insert(key);
        const auto* before = find(key);
        if (before == nullptr || !same(*before, object)) {
            upserts.push_back({key, copy(before), object});
        }
    }
    for (const auto& [key, object] : objects_) {
        if (!named.contains(key)) {
            removals.push_back({key, object, std::nullopt});
        }
    }
    in_order(upserts, removals, plan);
    return plan;
}

Plan State::plan_resume(const api::Delta& delta) const {
    Plan plan{.changes = {}, .epoch = delta.epoch(), .version = delta.version(), .snapshot = false};
    const std::unordered_set<std::size_t> parts(delta.part().begin(), delta.part().end());
    std::vector<Change> upserts;
    std::vector<Change> removals;
    std::unordered_set<ObjectKey, ObjectKeyHash> named;
    for (const auto& object : delta.upsert()) {
        const ObjectKey key = key_of(object);
        named.insert(key);
        const auto* before = find(key);
        if (before == nullptr || !same(*before, object)) {
            upserts.push_back({key, copy(before), object});
        }
    }
    if (!parts.empty()) {
        for (const auto& [key, object] : objects_) {
            if (!named.contains(key) &&
                parts.contains(runtime::part_of(object.SerializeAsString()))) {
                removals.push_back({key, object, std::nullopt});
            }
        }
    }
    in_order(upserts, removals, plan);
    return plan;
}

std::vector<std::string> State::parts() const {
    runtime::SetDigest digest;
    for (const auto& [key, object] : objects_) {
        digest.add(object.SerializeAsString());
    }
    return digest.parts();
}

Plan State::plan_update(const api::Delta& delta) const {
    Plan plan{.changes = {}, .epoch = delta.epoch(), .version = delta.version(), .snapshot = false};
    std::vector<Change> upserts;
    std::vector<Change> removals;
    for (const auto& object : delta.upsert()) {
        const ObjectKey key = key_of(object);
        upserts.push_back({key, copy(find(key)), object});
    }
    for (const auto& key : delta.remove()) {
        const ObjectKey named{key.kind(), key.id(), key.address()};
        if (const auto* before = find(named); before != nullptr) {
            removals.push_back({named, *before, std::nullopt});
        }
    }
    in_order(upserts, removals, plan);
    return plan;
}

void State::index_nic(const Change& change) {
    if (change.key.kind != Kind::kNic) {
        return;
    }
    if (change.before) {
        const auto found = nics_by_id_.find(lower(change.before->nic().id()));
        if (found != nics_by_id_.end() && found->second == change.key.id) {
            nics_by_id_.erase(found);
        }
    }
    if (change.after) {
        nics_by_id_[lower(change.after->nic().id())] = change.key.id;
    }
}

void State::commit(const Change& change) {
    index_nic(change);
    if (change.after) {
        objects_[change.key] = *change.after;
    } else {
        objects_.erase(change.key);
    }
}

void State::conclude(const Plan& plan) {
    epoch_ = plan.epoch;
    version_ = plan.version;
}

void State::forget_version() {
    epoch_.clear();
    version_ = 0;
}

std::vector<Change> State::everything() const {
    std::vector<Change> upserts;
    upserts.reserve(objects_.size());
    for (const auto& [key, object] : objects_) {
        upserts.push_back({key, std::nullopt, object});
    }
    Plan plan;
    std::vector<Change> none;
    in_order(upserts, none, plan);
    return std::move(plan.changes);
}

const api::Object* State::find(const ObjectKey& key) const {
    const auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : &found->second;
}

const api::NodeConfig* State::config() const {
    const auto* object = find({Kind::kConfig, 0, 0});
    return object == nullptr ? nullptr : &object->config();
}

const api::Nic* State::nic(std::uint32_t index) const {
    const auto* object = find({Kind::kNic, index, 0});
    return object == nullptr ? nullptr : &object->nic();
}

const api::Move* State::move(std::uint32_t index) const {
    const auto* object = find({Kind::kMove, index, 0});
    return object == nullptr ? nullptr : &object->move();
}

const api::Nic* State::nic(std::string_view id) const {
    const auto found = nics_by_id_.find(lower(id));
    return found == nics_by_id_.end() ? nullptr : nic(found->second);
}

}  // namespace culvert::agent
