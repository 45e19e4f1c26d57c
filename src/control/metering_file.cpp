// SPDX-License-Identifier: Apache-2.0
// The file in which what nodes have reported is kept, and the thread that writes it.
#include "api/metering.pb.h"
#include "base/log.hpp"
#include "control/metering.hpp"
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
constexpr int kShare = 20;            // writing takes at most a twentieth of the time
constexpr std::size_t kPiece = 4096;  // points and links in one go: reports wait for that

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
            of.state_.with([&](State& state) { of.age(state); });
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

// Under the ends that the node may still speak of: another life does not know where they were.
void Metering::write(const Name& name, const Known& known, api::MeteredLink& into) const {
    into.set_node(name.first);
    into.set_link(name.second);
    into.set_begun(known.begun);
    into.set_epoch(known.epoch);
    into.mutable_last()->Add(known.last.begin(), known.last.end());
    into.set_connection(known.who.connection);
    into.set_endpoint(known.who.endpoint);
    into.set_service(known.who.service);
    into.set_balancer(known.who.balancer);
    into.set_consumer(is_there(known.consumer_at));
    into.set_provider(is_there(known.provider_at));
}

// A picture of one moment, taken in pieces; of messages one after the other their reader makes one.
std::string Metering::written() {
    std::string out;
    bool links = true;
    bool more = true;
    while (more) {
        api::MeteringFile file;
        file.set_format(kFormat);
        std::size_t weight = 0;
        state_.with([&](State& state) {
            links = links && state.links.picture([&](const Name& name, const Known& known) {
                write(name, known, *file.add_links());
                return ++weight >= kPiece;
            });
            more = links || state.series.picture([&](const SeriesKey& key, const auto& series) {
                auto& entry = *file.add_series();
                entry.set_resource(key.resource);
                entry.set_metric(key.metric);
                entry.set_dimension(key.dimension);
                control::write(series.minutes, *entry.mutable_minutes());
                control::write(series.hours, *entry.mutable_hours());
                weight += 1 + series.points();
                return weight >= kPiece;
            });
        });
        out += file.SerializeAsString();
    }
    return out;
}

Status Metering::save() {
    if (file_.empty()) {
        return {};
    }
    saving_.wait([](bool busy) { return !busy; }, [](bool& busy) { busy = true; });
    const bool dirty = state_.with([](State& state) {
        if (!std::exchange(state.dirty, false)) {
            return false;
        }
        state.links.begin_picture();
        state.series.begin_picture();
        return true;
    });
    Status saved;
    if (dirty) {
        saved = runtime::replace_file(file_, written(), kPrivate);
        if (!saved) {
            state_.with([](State& state) { state.dirty = true; });
        }
    }
    saving_.with([](bool& busy) { busy = false; });
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
            // until the store says so again, the ends are where they were, and nowhere else
            const auto then = [&](bool there) { return there ? std::optional(now) : std::nullopt; };
            Known known{.begun = link.begun(),
                        .epoch = link.epoch(),
                        .who = {.connection = link.connection(),
                                .endpoint = link.endpoint(),
                                .service = link.service(),
                                .balancer = link.balancer()},
                        .consumer_at = then(link.consumer()),
                        .provider_at = then(link.provider())};
            std::copy(link.last().begin(), link.last().end(), known.last.begin());
            state.links.change({link.node(), link.link()}) = std::move(known);
        }
        for (const auto& series : file.series()) {
            state.series.restore({series.resource(), series.metric(), series.dimension()},
                                 {read_points(series.minutes()), read_points(series.hours())});
        }
        return {};
    });
}

}  // namespace culvert::control
