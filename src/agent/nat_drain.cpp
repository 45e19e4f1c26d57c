// SPDX-License-Identifier: Apache-2.0
#include "agent/nat_drain.hpp"

#include "agent/conclusions.hpp"
#include "agent/json_file.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace culvert::agent {
namespace {

namespace json = boost::json;
using Kind = api::Object;
constexpr mode_t kPrivate = 0600;

bool is_nat(const std::optional<api::Object>& object) {
    return object && object->address().kind() == api::ADDRESS_NAT;
}

// To whom the connection belongs, as the intent is now.
enum class Owner { kOther, kNobody, kNetwork };

// A connection of a link or backend that is gone, or of an earlier approval, carries nothing more.
Owner owner_of(const Connection& connection, const State& state, std::uint32_t vnet) {
    const auto* object = state.find({Kind::kLink, connection.link, 0});
    const auto* backend = state.nic(connection.backend.nic);
    if (object == nullptr || backend == nullptr) {
        return Owner::kNobody;
    }
    if (object->link().provider_vnet() != vnet) {
        return Owner::kOther;
    }
    const bool carries = object->link().state() == api::LINK_APPROVED &&
                         object->link().generation() == connection.link_generation &&
                         backend->generation() == connection.backend.generation;
    return carries ? Owner::kNetwork : Owner::kNobody;
}

}  // namespace

void NatDrain::recall() {
    const Moment moment = this_moment();
    const auto read = [&](const json::object& from) {
        std::map<NatAddress, Use> out;
        if (from.at("boot").as_string() != std::string_view(moment.boot)) {
            return out;
        }
        for (const auto& each : from.at("addresses").as_array()) {
            const auto since =
                std::chrono::nanoseconds(each.at("sinceNs").to_number<std::int64_t>());
            out[{.vnet = each.at("vnet").to_number<std::uint32_t>(),
                 .address = net::Ipv4{each.at("address").to_number<std::uint32_t>()}}] = {
                .service = each.at("service").to_number<std::uint32_t>(),
                .since = SteadyTime(since)};
        }
        return out;
    };
    auto known = load_json_or(std::map<NatAddress, Use>{}, file_, read);
    if (!known) {
        spdlog::warn("agent: {}", known.error().message);
        return;
    }
    uses_ = std::move(*known);
}

Status NatDrain::keep() const {
    json::array addresses;
    for (const auto& [which, use] : uses_) {
        const std::chrono::nanoseconds since = use.since.time_since_epoch();
        addresses.push_back(json::object{{"vnet", which.vnet},
                                         {"address", which.address.value},
                                         {"service", use.service},
                                         {"sinceNs", since.count()}});
    }
    const json::object out{{"boot", this_moment().boot}, {"addresses", addresses}};
    return runtime::replace_file(file_, json::serialize(out) + "\n", kPrivate,
                                 runtime::Outlives::kProcess);
}

Result<bool> NatDrain::takes(const Change& change) {
    if (change.key.kind != Kind::kAddress) {
        return false;
    }
    const NatAddress which{change.key.id, net::Ipv4{change.key.address}};
    if (change.after) {
        if (uses_.erase(which) != 0) {
            CULVERT_TRY_STATUS(keep());
        }
        return false;
    }
    if (!is_nat(change.before) || maps_.flows().value_or(1) == 0) {
        return false;
    }
    uses_[which] = {.service = change.before->address().id(),
                    .since = std::chrono::steady_clock::now()};
    fresh_ = true;
    CULVERT_TRY_STATUS(keep());
    return true;
}

Status NatDrain::stand() {
    for (const auto& [which, use] : uses_) {
        CULVERT_TRY_STATUS(maps_.set_address({.vnet = which.vnet,
                                              .address = which.address,
                                              .kind = CV_ADDRESS_NAT,
                                              .id = use.service}));
    }
    return {};
}

Status NatDrain::forget(const NatAddress& which) {
    CULVERT_TRY_STATUS(maps_.clear_address(which.vnet, which.address));
    uses_.erase(which);
    return keep();
}

// How many connections go on.
Result<std::size_t> NatDrain::look_at(const NatAddress& which, const State& state, bool over,
                                      std::vector<Connection>& ended) {
    const auto copies = transfer_.copy_nat(which.address);
    if (!copies) {
        return std::unexpected(copies.error());
    }
    const auto now = datapath::kernel_now();
    FlowWrites writes;
    std::size_t left = 0;
    for (const FlowCopy& copy : *copies) {
        const auto connection = read_connection(copy, now);
        const Owner owner = connection ? owner_of(*connection, state, which.vnet) : Owner::kNobody;
        if (owner == Owner::kOther) {
            continue;
        }
        if (owner == Owner::kNetwork && !over) {
            ++left;
            continue;
        }
        writes.remove.push_back(copy.key);
        if (connection) {
            writes.remove.push_back(copy.flow.other);
        }
        if (owner == Owner::kNetwork) {
            ended.push_back(*connection);
        }
    }
    CULVERT_TRY_STATUS(transfer_.write(writes));
    return left;
}

Result<std::vector<Connection>> NatDrain::look(const State& state, SteadyTime now) {
    fresh_ = false;
    std::vector<Connection> ended;
    // those that drain for longest end first when there are too many
    std::vector<std::pair<SteadyTime, NatAddress>> order;
    order.reserve(uses_.size());
    for (const auto& [which, use] : uses_) {
        order.emplace_back(use.since, which);
    }
    std::ranges::sort(order);
    std::size_t excess = order.size() - std::min(order.size(), limits::kNatDrains);
    for (const auto& [since, which] : order) {
        if (state.find({Kind::kAddress, which.vnet, which.address.value}) != nullptr) {
            uses_.erase(which);  // what took it away was never finished
            CULVERT_TRY_STATUS(keep());
            continue;
        }
        const bool over = excess > 0 || now - since >= longest_;
        excess -= excess > 0 ? 1 : 0;
        const std::size_t before = ended.size();
        const auto left = look_at(which, state, over, ended);
        if (!left) {
            return std::unexpected(left.error());
        }
        if (ended.size() != before) {
            spdlog::warn("agent: {} connections end: NAT address {} was removed {} s ago",
                         ended.size() - before, which.address.str(),
                         std::chrono::duration_cast<std::chrono::seconds>(now - since).count());
        }
        uses_[which].connections = *left;
        // what has ended now may still say something, and is told while the address is known
        if (*left == 0 && ended.size() == before) {
            CULVERT_TRY_STATUS(forget(which));
        }
    }
    return ended;
}

}  // namespace culvert::agent
