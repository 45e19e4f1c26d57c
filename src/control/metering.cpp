// SPDX-License-Identifier: Apache-2.0
#include "control/metering.hpp"

#include "api/intent.pb.h"
#include "control/metric_names.hpp"
#include "net/address.hpp"

#include <algorithm>

namespace culvert::control {
namespace {

constexpr double kPercent = 100;

// Places in Numbers.
enum Number : std::size_t {
    kConsumerInPackets,
    kConsumerInBytes,
    kConsumerOutPackets,
    kConsumerOutBytes,
    kProviderInPackets,
    kProviderInBytes,
    kProviderOutPackets,
    kProviderOutBytes,
    kConsumerOpened,
    kProviderOpened,
    kRefusedConsent,
    kRefusedBackend,
    kRefusedCapacity,
};

std::string last_name(const std::string& id) { return id.substr(id.rfind('/') + 1); }

}  // namespace

void Metering::age(State& state) const {
    if (const Minute now = minute(); now != state.aged) {
        state.aged = now;
        state.series.age(now);
    }
}

Minute Metering::minute() const {
    return std::chrono::duration_cast<std::chrono::minutes>(clock_.wall().time_since_epoch())
        .count();
}

bool Metering::charge(const std::string& node, std::size_t entries) {
    return state_.with([&](State& state) {
        const auto now = clock_.steady();
        Reporter& reporter =
            state.reporters.try_emplace(node, Reporter{.since = now}).first->second;
        if (now - reporter.since >= kGrace) {
            reporter.since = now;
            reporter.spent = 0;
        }
        reporter.spent += std::min(entries, kEntries + 1);
        return reporter.spent <= kEntries;
    });
}

std::vector<std::uint32_t> Metering::due(const std::string& node) {
    return state_.with([&](State& state) {
        std::vector<std::uint32_t> out;
        const auto now = clock_.steady();
        auto& looked = state.reporters[node].looked;
        if (looked && now - *looked < kLook) {
            return out;
        }
        looked = now;
        for (auto at = state.links.all().lower_bound({node, 0});
             at != state.links.all().end() && at->first.first == node; ++at) {
            out.push_back(at->first.second);
        }
        return out;
    });
}

void Metering::forget(State& state, const std::string& node) {
    std::vector<Name> gone;
    for (auto at = state.links.all().lower_bound({node, 0});
         at != state.links.all().end() && at->first.first == node; ++at) {
        gone.push_back(at->first);
    }
    for (const Name& name : gone) {
        state.links.erase(name);
    }
    state.reporters.erase(node);
    state.dirty = state.dirty || !gone.empty();
}

void Metering::forget(const std::string& node) {
    state_.with([&](State& state) { forget(state, node); });
}

void Metering::retain(const std::set<std::string>& nodes) {
    state_.with([&](State& state) {
        std::set<std::string> gone;
        for (const auto& [name, known] : state.links.all()) {
            if (!nodes.contains(name.first)) {
                gone.insert(name.first);
            }
        }
        for (const std::string& node : gone) {
            forget(state, node);
        }
    });
}

Metering::Numbers Metering::numbers_of(const api::LinkTotals& totals) {
    return {
        totals.consumer_in_packets(),  totals.consumer_in_bytes(),   totals.consumer_out_packets(),
        totals.consumer_out_bytes(),   totals.provider_in_packets(), totals.provider_in_bytes(),
        totals.provider_out_packets(), totals.provider_out_bytes(),  totals.consumer_opened(),
        totals.provider_opened(),      totals.refused_consent(),     totals.refused_backend(),
        totals.refused_capacity()};
}

void Metering::confirm(Known& known, const intent::CountedLink& who) const {
    known.who = who;
    if (who.consumer) {
        known.consumer_at = clock_.steady();
    }
    if (who.provider) {
        known.provider_at = clock_.steady();
    }
}

// INVARIANT: `last` is what is in the series: both change together.
bool Metering::take(State& state, const std::string& node, std::uint64_t epoch,
                    const api::LinkTotals& totals, const std::optional<intent::CountedLink>& who) {
    const Name name{node, totals.link()};
    const Known* known = state.links.find(name);
    const bool same = known != nullptr && known->begun == totals.begun();
    if (!who && !same) {
        return false;
    }
    Known next = same ? *known : Known{};
    next.begun = totals.begun();
    // an id that is somebody else's now: these are the former owner's last numbers
    if (who && (!same || who->connection == next.who.connection)) {
        confirm(next, *who);
    }
    if (next.epoch != epoch) {
        next.epoch = epoch;
        next.last = {};
    }
    const Numbers now = numbers_of(totals);
    Numbers more{};
    for (std::size_t i = 0; i < kNumbers; ++i) {
        if (now[i] < next.last[i] || now[i] - next.last[i] > kMost) {
            return false;
        }
        more[i] = now[i] - next.last[i];
    }
    next.last = now;
    add(state, next, more);
    state.links.change(name) = std::move(next);
    return true;
}

bool Metering::is_there(const std::optional<SteadyTime>& at) const {
    return at && clock_.steady() - *at < kGrace;
}

void Metering::add(State& state, const Known& known, const Numbers& more) const {
    const auto put = [&](const std::string& resource, std::string_view metric,
                         const std::string& dimension, std::uint64_t value) {
        if (!resource.empty() && value != 0) {
            state.series.add({resource, std::string(metric), dimension}, minute(),
                             static_cast<double>(value));
        }
    };
    if (is_there(known.consumer_at)) {
        put(known.who.endpoint, kEndpointIn, {}, more[kConsumerInBytes]);
        put(known.who.endpoint, kEndpointOut, {}, more[kConsumerOutBytes]);
    }
    if (is_there(known.provider_at)) {
        const std::string connection = last_name(known.who.connection);
        put(known.who.service, kServiceIn, connection, more[kProviderInBytes]);
        put(known.who.service, kServiceOut, connection, more[kProviderOutBytes]);
        put(known.who.balancer, kByteCount, "In", more[kProviderInBytes]);
        put(known.who.balancer, kByteCount, "Out", more[kProviderOutBytes]);
        put(known.who.balancer, kPacketCount, "In", more[kProviderInPackets]);
        put(known.who.balancer, kPacketCount, "Out", more[kProviderOutPackets]);
    }
}

std::size_t Metering::report(const std::string& node, const api::Totals& totals,
                             const Business& business) {
    ++reports_;
    return state_.with([&](State& state) {
        if (file_.empty()) {
            age(state);  // nobody else does
        }
        std::size_t refused = 0;
        for (int i = 0; i < totals.links_size(); ++i) {
            const bool taken = take(state, node, totals.epoch(), totals.links(i),
                                    business.links[static_cast<std::size_t>(i)]);
            refused += taken ? 0 : 1;
        }
        for (int i = 0; i < totals.nat_size(); ++i) {
            const auto& use = totals.nat(i);
            const auto& service = business.nat[static_cast<std::size_t>(i)];
            if (!service || use.ports() == 0 || use.used() > use.ports()) {
                ++refused;
                continue;
            }
            state.series.add({*service, std::string(kNatUsage), net::Ipv4{use.address()}.str()},
                             minute(), kPercent * use.used() / use.ports());
        }
        look_again(state, node, business);
        state.dirty = true;
        return refused;
    });
}

// Which ends of the links that a node has reported are still there. Others are forgotten after a
// while.
void Metering::look_again(State& state, const std::string& node, const Business& business) const {
    for (const auto& [link, who] : business.known) {
        const Name name{node, link};
        const Known* known = state.links.find(name);
        if (known == nullptr) {
            continue;
        }
        if (who && who->connection == known->who.connection) {
            confirm(state.links.change(name), *who);
            continue;
        }
        const auto seen = std::max(known->consumer_at.value_or(SteadyTime::min()),
                                   known->provider_at.value_or(SteadyTime::min()));
        if (seen < clock_.steady() - 2 * kGrace) {
            state.links.erase(name);
        }
    }
}

void Metering::gauge(const SeriesKey& key, double value) {
    state_.with([&](State& state) {
        state.series.add(key, minute(), value);
        state.dirty = true;
    });
}

}  // namespace culvert::control
