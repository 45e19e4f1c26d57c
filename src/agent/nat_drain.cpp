// SPDX-License-Identifier: Apache-2.0
#include "agent/nat_drain.hpp"

#include "agent/conclusions.hpp"
#include "agent/connection.hpp"
#include "agent/json_file.hpp"
#include "agent/six.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace culvert::agent {
namespace {

namespace json = boost::json;
using Kind = api::Object;
constexpr mode_t kPrivate = 0600;
// How long looks may take together: whoever asks the node something waits for that.
constexpr auto kLookFor = std::chrono::milliseconds(20);

bool is_nat(const std::optional<api::Object>& object) {
    return object && object->address().kind() == api::ADDRESS_NAT;
}

// What IPv6 the address has, by the name that the address is inside.
datapath::SixImage six_image(const NatAddress& which, const net::Ipv6& six) {
    return {.vnet = which.vnet, .name = which.address, .address = six, .reached = true};
}

std::optional<net::Ipv6> read_six(const json::object& from) {
    const auto* text = from.if_contains("six");
    if (text == nullptr) {
        return std::nullopt;
    }
    const auto six = net::Ipv6::parse(std::string_view(text->as_string()));
    return six ? std::optional(*six) : std::nullopt;
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

void NatDrain::recall(const State& state) {
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
                .since = SteadyTime(since),
                .six = read_six(each.as_object())};
        }
        return out;
    };
    auto known = load_json(file_, read);
    if (known) {
        uses_ = std::move(*known);
        return;
    }
    if (known.error().code != Code::kNotFound) {
        spdlog::warn("agent: {}", known.error().message);
    }
    if (const auto asked = ask_kernel(state); !asked) {
        spdlog::warn("agent: {}", asked.error().message);
    }
}

Status NatDrain::ask_kernel(const State& state) {
    const auto there = maps_.nat_addresses();
    if (!there) {
        return std::unexpected(there.error());
    }
    for (const auto& [vnet, address, kind, service] : *there) {
        if (state.find({Kind::kAddress, vnet, address.value}) == nullptr) {
            uses_[{.vnet = vnet, .address = address}] = {.service = service,
                                                         .since = std::chrono::steady_clock::now()};
        }
    }
    return keep();
}

Status NatDrain::keep() const {
    json::array addresses;
    for (const auto& [which, use] : uses_) {
        const std::chrono::nanoseconds since = use.since.time_since_epoch();
        json::object& out = addresses
                                .emplace_back(json::object{{"vnet", which.vnet},
                                                           {"address", which.address.value},
                                                           {"service", use.service},
                                                           {"sinceNs", since.count()}})
                                .as_object();
        if (use.six) {
            out["six"] = use.six->str();
        }
    }
    const json::object out{{"boot", this_moment().boot}, {"addresses", addresses}};
    return runtime::replace_file(file_, json::serialize(out) + "\n", kPrivate,
                                 runtime::Outlives::kProcess);
}

bool NatDrain::fresh() const {
    return std::ranges::any_of(uses_,
                               [](const auto& each) { return each.second.looked == SteadyTime(); });
}

Result<bool> NatDrain::takes(const Change& change, const State& state) {
    if (change.key.kind != Kind::kAddress) {
        return false;
    }
    const NatAddress which{change.key.id, net::Ipv4{change.key.address}};
    if (change.after) {
        const auto found = uses_.find(which);
        if (found == uses_.end()) {
            return false;
        }
        if (!is_nat(change.after) || change.after->address().id() != found->second.service) {
            CULVERT_TRY_STATUS(end(which, state));
            return false;
        }
        uses_.erase(found);
        CULVERT_TRY_STATUS(keep());
        return false;
    }
    if (!is_nat(change.before)) {
        return false;
    }
    const std::uint32_t service = change.before->address().id();
    CULVERT_TRY_STATUS(make_room(service, state));
    uses_[which] = {.service = service,
                    .since = std::chrono::steady_clock::now(),
                    .six = six_of(change.before->address())};
    CULVERT_TRY_STATUS(keep());
    return true;
}

// Of too many of one service, or in all, the oldest of the service that has most goes.
Status NatDrain::make_room(std::uint32_t service, const State& state) {
    std::map<std::uint32_t, std::size_t> of;
    for (const auto& [which, use] : uses_) {
        ++of[use.service];
    }
    while (uses_.size() >= limits::kNatDrains || of[service] >= limits::kNatDrainsOfService) {
        const auto most =
            std::ranges::max_element(of, {}, [](const auto& each) { return each.second; })->first;
        const std::uint32_t from = of[service] >= limits::kNatDrainsOfService ? service : most;
        std::optional<std::pair<SteadyTime, NatAddress>> oldest;
        for (const auto& [which, use] : uses_) {
            if (use.service == from && (!oldest || std::pair(use.since, which) < *oldest)) {
                oldest = {use.since, which};
            }
        }
        --of[from];
        CULVERT_TRY_STATUS(end(oldest->second, state));
    }
    return {};
}

void NatDrain::tell(const NatAddress& which, const Look& seen) {
    spdlog::warn("agent: {} connections end with removed NAT address {}", seen.ended.size(),
                 which.address.str());
}

Status NatDrain::end(NatAddress which, const State& state) {
    const auto seen = look_at(which, state, true);
    if (!seen) {
        return std::unexpected(seen.error());
    }
    if (!seen->ended.empty()) {
        tell(which, *seen);
    }
    return forget(which);
}

Status NatDrain::end_all(const State& state) {
    while (!uses_.empty()) {
        CULVERT_TRY_STATUS(end(uses_.begin()->first, state));
    }
    return {};
}

Status NatDrain::stand() {
    for (const auto& [which, use] : uses_) {
        CULVERT_TRY_STATUS(maps_.set_address({.vnet = which.vnet,
                                              .address = which.address,
                                              .kind = CV_ADDRESS_NAT,
                                              .id = use.service}));
        if (use.six) {
            CULVERT_TRY_STATUS(maps_.set_six(six_image(which, *use.six)));
        }
    }
    return {};
}

Status NatDrain::forget(NatAddress which) {
    CULVERT_TRY_STATUS(maps_.clear_address(which.vnet, which.address));
    if (const auto use = uses_.find(which); use != uses_.end() && use->second.six) {
        CULVERT_TRY_STATUS(maps_.clear_six(six_image(which, *use->second.six)));
    }
    uses_.erase(which);
    return keep();
}

Result<NatDrain::Look> NatDrain::look_at(const NatAddress& which, const State& state, bool over) {
    const auto copies = transfer_.copy_nat(which.address);
    if (!copies) {
        return std::unexpected(copies.error());
    }
    const auto now = datapath::kernel_now();
    FlowWrites writes;
    Look seen;
    for (const FlowCopy& copy : *copies) {
        const auto connection = read_connection(copy, now);
        const Owner owner = connection ? owner_of(*connection, state, which.vnet) : Owner::kNobody;
        if (owner == Owner::kOther) {
            continue;
        }
        if (owner == Owner::kNetwork && !over) {
            ++seen.left;
            continue;
        }
        writes.remove.push_back(copy.key);
        if (connection) {
            writes.remove.push_back(copy.flow.other);
        }
        if (owner == Owner::kNetwork) {
            seen.ended.push_back(*connection);
        }
    }
    CULVERT_TRY_STATUS(transfer_.write(writes));
    return seen;
}

Result<std::vector<Connection>> NatDrain::look(const State& state, SteadyTime now) {
    std::vector<Connection> ended;
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::pair<SteadyTime, NatAddress>> order;
    order.reserve(uses_.size());
    for (const auto& [which, use] : uses_) {
        order.emplace_back(use.looked, which);
    }
    std::ranges::sort(order);
    for (const auto& [looked, which] : order) {
        if (state.find({Kind::kAddress, which.vnet, which.address.value}) != nullptr) {
            uses_.erase(which);  // what took it away was never finished
            CULVERT_TRY_STATUS(keep());
            continue;
        }
        Use& use = uses_.at(which);
        use.looked = now;
        const bool over = now - use.since >= longest_;
        auto seen = look_at(which, state, over);
        if (!seen) {
            return std::unexpected(seen.error());
        }
        use.connections = seen->left;
        if (!seen->ended.empty()) {
            // the address stands for one look more: what the ends say to it is what resets them
            tell(which, *seen);
            ended.insert(ended.end(), seen->ended.begin(), seen->ended.end());
        } else if (seen->left == 0) {
            CULVERT_TRY_STATUS(forget(which));
        }
        if (std::chrono::steady_clock::now() - start >= kLookFor) {
            break;
        }
    }
    return ended;
}

}  // namespace culvert::agent
