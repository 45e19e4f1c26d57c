// SPDX-License-Identifier: Apache-2.0
#include "control/metering.hpp"

#include "api/intent.pb.h"
#include "api/metering.pb.h"
#include "base/log.hpp"
#include "control/metric_names.hpp"
#include "net/address.hpp"
#include "runtime/bell.hpp"
#include "runtime/files.hpp"

#include <algorithm>
#include <thread>

namespace culvert::control {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr mode_t kPrivate = 0600;
constexpr std::size_t kFileBytes = std::size_t{512} << 20;
constexpr auto kSaveEvery = std::chrono::seconds(60);
constexpr int kShare = 20;  // writing takes at most a twentieth of the time
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

void write(const std::deque<SeriesTable::Point>& from,
           google::protobuf::RepeatedPtrField<api::MeteredPoint>& into) {
    for (const auto& point : from) {
        auto& out = *into.Add();
        out.set_minute(point.minute);
        out.set_sum(point.samples.sum);
        out.set_count(point.samples.count);
        out.set_least(point.samples.least);
        out.set_most(point.samples.most);
    }
}

std::deque<SeriesTable::Point> read_points(
    const google::protobuf::RepeatedPtrField<api::MeteredPoint>& from) {
    std::deque<SeriesTable::Point> out;
    for (const auto& point : from) {
        if (out.empty() || out.back().minute < point.minute()) {
            out.push_back(
                {point.minute(), {point.sum(), point.count(), point.least(), point.most()}});
        }
    }
    return out;
}

}  // namespace

// Writes the file now and then.
class Metering::Keeper {
  public:
    explicit Keeper(Metering& of)
        : thread_([this, &of](const std::stop_token& stop) { work(of, stop); }) {}
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper() {
        thread_.request_stop();
        stopped_.ring();
    }

  private:
    void work(Metering& of, const std::stop_token& stop) {
        auto pause = std::chrono::steady_clock::duration(kSaveEvery);
        while (!stop.stop_requested()) {
            const auto seen = stopped_.rings();
            if (!stop.stop_requested()) {
                stopped_.wait_until(seen, std::chrono::steady_clock::now() + pause);
            }
            const auto start = std::chrono::steady_clock::now();
            of.state_.with([&](State& state) { state.series.age(of.minute()); });
            if (auto saved = of.save(); !saved) {
                spdlog::error("metering: {}", saved.error().message);
            }
            pause = std::max<std::chrono::steady_clock::duration>(
                kSaveEvery, kShare * (std::chrono::steady_clock::now() - start));
        }
    }

    runtime::Bell stopped_;
    std::jthread thread_;
};

Metering::Metering(const Clock& clock, std::filesystem::path file)
    : clock_(clock), file_(std::move(file)) {
    if (file_.empty()) {
        return;
    }
    if (auto loaded = load(); !loaded) {
        spdlog::error("metering: {}: it is set aside, metrics begin anew", loaded.error().message);
        std::error_code error;
        std::filesystem::rename(file_, file_.string() + ".damaged", error);
    }
    keeper_ = std::make_unique<Keeper>(*this);
}

Metering::~Metering() = default;

Minute Metering::minute() const {
    return std::chrono::duration_cast<std::chrono::minutes>(clock_.wall().time_since_epoch())
        .count();
}

std::vector<std::uint32_t> Metering::known(const std::string& node) const {
    return state_.with([&](const State& state) {
        std::vector<std::uint32_t> out;
        for (auto at = state.links.lower_bound({node, 0});
             at != state.links.end() && at->first.first == node; ++at) {
            out.push_back(at->first.second);
        }
        return out;
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
    const auto at = state.links.find({node, totals.link()});
    const bool same = at != state.links.end() && at->second.begun == totals.begun();
    if (!who && !same) {
        return false;
    }
    Known next = same ? at->second : Known{};
    next.begun = totals.begun();
    if (who) {
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
    state.links.insert_or_assign({node, totals.link()}, std::move(next));
    return true;
}

void Metering::add(State& state, const Known& known, const Numbers& more) const {
    const auto now = clock_.steady();
    const auto is_there = [&](const std::optional<SteadyTime>& at) {
        return at && now - *at < kGrace;
    };
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

bool Metering::may_spend(State& state, const std::string& node, std::size_t entries) const {
    const auto now = clock_.steady();
    auto& [since, spent] = state.spent.try_emplace(node, now, 0).first->second;
    if (now - since >= kGrace) {
        since = now;
        spent = 0;
    }
    spent += entries;
    return spent <= kEntries;
}

std::size_t Metering::report(const std::string& node, const api::Totals& totals,
                             const Business& business) {
    ++reports_;
    return state_.with([&](State& state) {
        const std::size_t entries = business.links.size() + business.nat.size();
        if (!may_spend(state, node, entries + 1)) {
            return entries;
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
        const auto at = state.links.find({node, link});
        if (at == state.links.end()) {
            continue;
        }
        Known& known = at->second;
        if (who && who->connection == known.who.connection) {
            confirm(known, *who);
            continue;
        }
        const auto seen = std::max(known.consumer_at.value_or(SteadyTime{}),
                                   known.provider_at.value_or(SteadyTime{}));
        if (clock_.steady() - seen > 2 * kGrace) {
            state.links.erase(at);
        }
    }
}

void Metering::gauge(const SeriesKey& key, double value) {
    state_.with([&](State& state) {
        state.series.add(key, minute(), value);
        state.dirty = true;
    });
}

Status Metering::save() {
    if (file_.empty()) {
        return {};
    }
    const auto bytes = state_.with([&](State& state) -> std::optional<std::string> {
        if (!std::exchange(state.dirty, false)) {
            return std::nullopt;
        }
        api::MeteringFile file;
        file.set_format(kFormat);
        for (const auto& [name, known] : state.links) {
            auto& link = *file.add_links();
            link.set_node(name.first);
            link.set_link(name.second);
            link.set_begun(known.begun);
            link.set_epoch(known.epoch);
            link.mutable_last()->Add(known.last.begin(), known.last.end());
            link.set_connection(known.who.connection);
            link.set_endpoint(known.who.endpoint);
            link.set_service(known.who.service);
            link.set_balancer(known.who.balancer);
        }
        for (const auto& [key, series] : state.series.all()) {
            auto& out = *file.add_series();
            out.set_resource(key.resource);
            out.set_metric(key.metric);
            out.set_dimension(key.dimension);
            write(series.minutes, *out.mutable_minutes());
            write(series.hours, *out.mutable_hours());
        }
        return file.SerializeAsString();
    });
    if (!bytes) {
        return {};
    }
    auto saved = runtime::replace_file(file_, *bytes, kPrivate);
    if (!saved) {
        state_.with([](State& state) { state.dirty = true; });
    }
    return saved;
}

Status Metering::load() {
    std::error_code error;
    if (!std::filesystem::exists(file_, error)) {
        return {};
    }
    const auto bytes = runtime::read_file(file_, kFileBytes);
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    api::MeteringFile file;
    if (!file.ParseFromString(*bytes) || file.format() != kFormat) {
        return fail(Code::kCorrupt, file_.string() + " is damaged");
    }
    return state_.with([&](State& state) -> Status {
        const auto now = clock_.steady();
        for (const auto& link : file.links()) {
            if (link.last_size() != static_cast<int>(kNumbers)) {
                return fail(Code::kCorrupt, file_.string() + " is damaged");
            }
            // until the store says so again, the ends are where they were
            Known known{.begun = link.begun(),
                        .epoch = link.epoch(),
                        .who = {.connection = link.connection(),
                                .endpoint = link.endpoint(),
                                .service = link.service(),
                                .balancer = link.balancer()},
                        .consumer_at = now,
                        .provider_at = now};
            std::copy(link.last().begin(), link.last().end(), known.last.begin());
            state.links[{link.node(), link.link()}] = std::move(known);
        }
        for (const auto& series : file.series()) {
            state.series.restore({series.resource(), series.metric(), series.dimension()},
                                 {read_points(series.minutes()), read_points(series.hours())});
        }
        return {};
    });
}

}  // namespace culvert::control
