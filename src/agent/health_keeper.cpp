// SPDX-License-Identifier: Apache-2.0
#include "agent/health_keeper.hpp"

#include "base/guarded.hpp"
#include "base/log.hpp"
#include "base/probe_limits.hpp"
#include "base/random.hpp"
#include "datapath/echoes.hpp"
#include "datapath/notes.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace culvert::agent {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// what epoll's data names; attempts are numbered from 1
constexpr std::uint64_t kWake = ~std::uint64_t{0};
constexpr std::uint64_t kStop = kWake - 1;
constexpr std::uint64_t kRing = kWake - 2;
constexpr auto kRetry = 1s;         // of what cannot be opened
constexpr auto kSceneApart = 5ms;   // a burst of deltas is one look
constexpr auto kKeepApart = 100ms;  // writing down
constexpr std::size_t kEventsAtOnce = 256;
// times as long as telling the node took, before the next time, but no longer than that
constexpr int kConcludeRest = 3;
constexpr SteadyTime::duration kConcludeApart = 100ms;

// A backend that is probed here.
struct Ward {
    std::uint64_t id = 0;
    HealthScene::Target target;
    ProbeSpec spec;
    Judge judge;
    SteadyTime next{};
    bool asked = false;
    Doubt doubt;
    std::chrono::nanoseconds absent{0};  // this thread's absence when it was asked
    Probed seen;
};

class EpollKeeper final : public HealthKeeper {
  public:
    EpollKeeper(Node& node, const HealthOptions& options, runtime::Fd epoll, runtime::Fd stop)
        : node_(node),
          options_(options),
          epoll_(std::move(epoll)),
          stop_(std::move(stop)),
          bulletin_(random_.u64() | 1, [this] { return random_.u64(); }) {
        status_.with([&](HealthStatus& status) { status.interval = options.interval; });
        wait_for(node_.health_event(), kWake);
        wait_for(stop_.get(), kStop);
        thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    }
    EpollKeeper(const EpollKeeper&) = delete;
    EpollKeeper& operator=(const EpollKeeper&) = delete;
    ~EpollKeeper() override {
        thread_.request_stop();
        const std::uint64_t one = 1;
        static_cast<void>(!::write(stop_.get(), &one, sizeof(one)));
    }

    HealthStatus status() const override {
        return status_.with([](const HealthStatus& status) { return status; });
    }

  private:
    void wait_for(int fd, std::uint64_t name) const {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = name;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
    }

    void work(const std::stop_token& stop) {
        std::array<epoll_event, kEventsAtOnce> events{};
        SteadyTime next{};
        while (!stop.stop_requested()) {
            const SteadyTime from = Clock::now();
            const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
                std::clamp<std::chrono::nanoseconds>(next - from, 0ns, 1s));
            int count = ::epoll_wait(epoll_.get(), events.data(), events.size(),
                                     static_cast<int>(wait.count()));
            absence_.waited(from, from + wait, Clock::now());
            // whoever has answered is heard before anybody's time is over
            for (std::size_t heard = 0; count > 0 && heard < limits::kProbesAtOnce;) {
                for (int at = 0; at < count; ++at) {
                    attend(events[static_cast<std::size_t>(at)].data.u64);
                }
                heard += static_cast<std::size_t>(count);
                count = static_cast<std::size_t>(count) < events.size()
                            ? 0
                            : ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
            }
            next = turn();
        }
        keep();
    }

    void attend(std::uint64_t name) {
        if (name == kWake) {
            std::uint64_t times = 0;
            static_cast<void>(!::read(node_.health_event(), &times, sizeof(times)));
            stale_ = true;
        } else if (name == kRing) {
            notes_->read([this](std::uint32_t from, std::span<const std::uint8_t> note) {
                bulletin_.take(from, note, Clock::now());
            });
        } else if (name != kStop && probing_) {
            probing_->ready(name, Clock::now());
        }
    }

    // One turn; when to take the next.
    SteadyTime turn() {
        const auto now = Clock::now();
        open(now);
        SteadyTime next = now + kRetry;
        if (stale_ && now - looked_ >= kSceneApart) {
            stale_ = false;
            unkept_ = true;
            looked_ = now;
            look_around(now);
        }
        if (stale_) {
            next = std::min(next, looked_ + kSceneApart);
        }
        if (probing_) {
            next = std::min(next, probing_->expire(now));
        }
        next = std::min(next, probe(now));
        next = std::min(next, conclude(now));
        next = std::min(next, tell(now));
        if (unkept_ && now - kept_ >= kKeepApart) {
            kept_ = now;
            unkept_ = false;
            keep();
            publish();
        }
        if (unkept_) {
            next = std::min(next, kept_ + kKeepApart);
        } else if (now - kept_ >= kRetry) {
            unkept_ = true;  // a look now and then, whatever has happened
        }
        return next;
    }

    // What could not be opened is tried again.
    void open(SteadyTime now) {
        if ((probing_ && notes_) || now < retry_) {
            return;
        }
        retry_ = now + kRetry;
        std::string error;
        if (!probing_) {
            error = open_services();
        }
        if (!notes_) {
            auto opened = datapath::Notes::open(node_.datapath());
            if (opened) {
                notes_ = std::move(*opened);
                wait_for(notes_->fd(), kRing);
            } else {
                error = opened.error().message;
            }
        }
        const auto before =
            status_.with([&](HealthStatus& status) { return std::exchange(status.error, error); });
        if (!error.empty() && error != before) {
            spdlog::error("agent: probes: {}", error);
        }
    }

    std::string open_services() {
        services_.reset();
        auto services =
            datapath::Services::open(node_.datapath(), {.owner = options_.owner,
                                                        .base = options_.alias_base,
                                                        .force_clsact = options_.force_clsact});
        if (!services) {
            return services.error().message;
        }
        services_ = std::move(*services);
        auto probing = Probing::open(*services_, epoll_.get());
        if (!probing) {
            return probing.error().message;
        }
        probing_ = std::move(*probing);
        probing_->set_done(
            [this](std::uint64_t id, const ProbeResult& result) { take(id, result); });
        return {};
    }

    // Peers and wards of the intent.
    void look_around(SteadyTime now) {
        if (const auto version = node_.surroundings_version(); version != version_) {
            version_ = version;
            auto around = node_.surroundings();
            if (around.outer != around_.outer || around.udp_port != around_.udp_port ||
                around.backbone_ifindex != around_.backbone_ifindex) {
                socket_.reset();
                socket_retry_ = {};
            }
            around_ = std::move(around);
            std::vector<std::uint32_t> peers;
            peers.reserve(around_.peers.size());
            for (const auto& [index, peer] : around_.peers) {
                peers.push_back(index);
            }
            bulletin_.set_self(around_.node);
            bulletin_.set_peers(peers, now);
        }
        scene_ = node_.health_scene();
        held_ = scene_.held;
        bulletin_.set_wanted(wanted(), [this](std::uint32_t node, const HealthKey& key) {
            const auto home = scene_.homes.find(key.nic);
            return home != scene_.homes.end() && home->second.generation == key.generation &&
                   home->second.node != node && home->second.other != node;
        });
        std::map<HealthKey, Ward> wards;
        for (auto& target : scene_.targets) {
            auto ward = wards_.extract(target.key);
            Ward& kept = wards[target.key];
            if (ward) {
                kept = std::move(ward.mapped());
            } else {
                take_up(kept, target, now);
            }
            const ProbeSpec spec = spec_of(target.probe, options_.interval);
            if (spec != kept.spec || (target.plumbed && !kept.target.plumbed)) {
                kept.next = now;
            }
            const bool moves = scene_.homes.at(target.key.nic).other != 0;
            const bool other = kept.target.ifindex != 0 && kept.target.ifindex != target.ifindex;
            if (!moves && (!target.plumbed || other)) {
                renew(kept, now);
            }
            kept.spec = spec;
            kept.target = std::move(target);
        }
        for (const auto& [key, ward] : wards_) {
            forget(ward);
        }
        wards_ = std::move(wards);
        by_id_.clear();
        for (auto& [key, ward] : wards_) {
            by_id_[ward.id] = &ward;
        }
        changed_own_ = true;
        first_look_ = false;
    }

    // What a peer says counts where the intent places the NIC there, also while it moves.
    Bulletin::Wanted wanted() const {
        Bulletin::Wanted out;
        for (const HealthKey& key : scene_.known) {
            const auto& home = scene_.homes.at(key.nic);
            for (const std::uint32_t node : {home.node, home.other}) {
                if (node != 0 && node != scene_.node) {
                    out[node].insert(key);
                }
            }
        }
        return out;
    }

    // Another interface: it has to show itself first, and what was asked of the one before it says
    // nothing about it.
    void renew(Ward& ward, SteadyTime now) {
        forget(ward);
        ward.id = ++last_id_;
        ward.judge = Judge();
        ward.asked = false;
        ward.next = now;
    }

    // As the last life or the node that it came from left it. Where no life knew verdicts, what is
    // there when the first one begins counts as up, as it did without probes.
    void take_up(Ward& ward, const HealthScene::Target& target, SteadyTime now) {
        ward.id = ++last_id_;
        ward.next = now;
        ward.seen.since = now;
        const auto known = held_.find(target.key);
        if (known != held_.end()) {
            ward.judge = Judge(known->second);
        } else if (!node_.remembers_health() && first_look_ && target.plumbed) {
            ward.judge = Judge(true);
        }
        ward.seen.known = ward.judge.known();
    }

    void forget(const Ward& ward) {
        if (probing_) {
            probing_->cancel(ward.id);
        }
    }

    // Begins the probes that are due, those after the last one begun first, so that one network
    // interface whose probes hang keeps nobody else's waiting; when the next one is.
    SteadyTime probe(SteadyTime now) {
        SteadyTime next = SteadyTime::max();
        std::map<std::uint32_t, std::size_t> open;  // by NIC
        for (const auto& [key, ward] : wards_) {
            open[key.nic] += ward.asked ? 1 : 0;
        }
        auto at = wards_.upper_bound(last_begun_);
        for (std::size_t seen = 0; probing_ && seen < wards_.size(); ++seen, ++at) {
            at = at == wards_.end() ? wards_.begin() : at;
            auto& [key, ward] = *at;
            if (ward.asked || !ward.target.plumbed) {
                continue;
            }
            if (ward.next > now) {
                next = std::min(next, ward.next);
                continue;
            }
            const auto patience =
                std::min<std::chrono::milliseconds>(ward.spec.interval, limits::kLongestProbe);
            const bool many = open[key.nic] >= limits::kProbesOfNic;
            ward.absent = absence_.total(Clock::now());
            ward.asked = true;  // the result may come at once
            if (many || !probing_->start(ward.id, key.nic, ward.target.address.str(), ward.spec,
                                         now + patience)) {
                ward.asked = false;
                ++late_;
                next = std::min(next, now + limits::kShortestProbeInterval);
                if (many) {
                    continue;
                }
                break;
            }
            open[key.nic] += ward.asked ? 1 : 0;
            last_begun_ = key;
            // a rhythm of its own, whatever was late
            ward.next = std::max(ward.next + ward.spec.interval, now);
            next = std::min({next, ward.next, now + patience});
        }
        return next;
    }

    void take(std::uint64_t id, const ProbeResult& result) {
        const auto found = by_id_.find(id);
        if (found == by_id_.end()) {
            return;
        }
        Ward& ward = *found->second;
        ward.asked = false;
        const auto now = Clock::now();
        if (!ward.doubt.counts(!result.ours, result.silent, absence_.total(now) - ward.absent,
                               ward.spec.interval)) {
            ++late_;
            ward.next = result.silent ? now : ward.next;
            return;
        }
        unkept_ = true;
        ++probes_;
        failed_ += result.outcome == Outcome::kUp ? 0 : 1;
        took_.observe(result.took);
        ward.seen.reason = result.reason;
        ward.seen.took = result.took;
        const bool before = ward.judge.up();
        const bool changed = ward.judge.take(result.outcome, ward.spec.threshold);
        ward.seen.known = true;
        if (!changed) {
            return;
        }
        changed_own_ = true;
        if (ward.judge.up() != before) {
            ward.seen.since = now;
            log_change(ward);
        }
    }

    void log_change(const Ward& ward) const {
        const auto level = ward.judge.up() ? spdlog::level::info : spdlog::level::warn;
        spdlog::log(level, "agent: backend {} nic={} pool={} probe={} {}: {}",
                    ward.judge.up() ? "up" : "down", ward.target.key.nic, ward.target.key.pool,
                    ward.target.probe.name(), to_string(ward.spec), ward.seen.reason);
    }

    void weigh(const HealthKey& key, bool up) {
        const auto held = held_.find(key);
        if (held == held_.end() || held->second != up) {
            fresh_[key] = up;
        }
    }

    // Verdicts of here and of others to the kernel's tables, for no more than a share of the node's
    // time, whoever changes what how often; when to go on.
    SteadyTime conclude(SteadyTime now) {
        if (std::exchange(changed_own_, false)) {
            own_ = scene_.plumbed;
            for (const auto& [key, ward] : wards_) {
                own_[key] = ward.judge.up();
            }
            bulletin_.post(own_);
            own_stale_ = true;
        }
        if (now < conclude_at_) {
            return conclude_at_;
        }
        for (const auto& word : bulletin_.take_words()) {
            weigh(word.key, word.up);
        }
        if (std::exchange(own_stale_, false)) {
            for (const auto& [key, up] : own_) {
                weigh(key, up);
            }
        }
        std::set<std::uint32_t> speaking;
        for (const auto& [peer, about] : around_.peers) {
            if (bulletin_.speaks(peer) && speaking_.insert(peer).second) {
                speaking.insert(peer);
            }
        }
        if (fresh_.empty() && speaking.empty()) {
            return SteadyTime::max();
        }
        unkept_ = true;
        explain();
        const auto start = Clock::now();
        if (const auto done = node_.set_health(fresh_, speaking); !done) {
            spdlog::error("agent: health: {}", done.error().message);
        }
        const auto end = Clock::now();
        conclude_at_ = end + std::min(kConcludeRest * (end - start), kConcludeApart);
        for (const auto& [key, up] : fresh_) {
            held_[key] = up;
        }
        fresh_.clear();
        return SteadyTime::max();
    }

    // Sends what is to be told; when to look again.
    SteadyTime tell(SteadyTime now) {
        if (!socket_ && around_.udp_port != 0 && node_.has_backbone() && now >= socket_retry_) {
            socket_retry_ = now + kRetry;
            auto opened =
                datapath::EchoSocket::open(around_.backbone, around_.outer, around_.udp_port);
            note_error_ = opened ? std::string() : opened.error().message;
            socket_ = opened ? std::move(*opened) : nullptr;
        }
        for (const auto& letter : bulletin_.turn(now)) {
            const auto peer = around_.peers.find(letter.node);
            if (socket_ && peer != around_.peers.end()) {
                socket_->send(peer->second.outer, datapath::note_frame(letter.note));
            }
        }
        return bulletin_.next();
    }

    void keep() {
        if (const auto kept = node_.keep_health(); !kept) {
            spdlog::warn("agent: {}", kept.error().message);
        }
    }

    // Why, before the verdict itself can be seen.
    void explain() {
        status_.with([&](HealthStatus& status) {
            for (const auto& [key, up] : fresh_) {
                if (const auto ward = wards_.find(key); ward != wards_.end()) {
                    status.probed[key] = ward->second.seen;
                }
            }
        });
    }

    void publish() {
        status_.with([&](HealthStatus& status) {
            status.note_error = note_error_;
            status.probes = probes_;
            status.failed = failed_;
            status.late = late_;
            status.notes = bulletin_.counts();
            status.took = took_.read();
            std::erase_if(status.probed,
                          [&](const auto& each) { return !wards_.contains(each.first); });
            for (const auto& [key, ward] : wards_) {
                status.probed[key] = ward.seen;
            }
        });
    }

    Node& node_;
    const HealthOptions options_;
    const runtime::Fd epoll_;
    const runtime::Fd stop_;
    // of the thread
    SystemRandom random_;
    std::unique_ptr<datapath::Services> services_;
    std::unique_ptr<Probing> probing_;
    std::unique_ptr<datapath::Notes> notes_;
    std::unique_ptr<datapath::EchoSocket> socket_;
    Bulletin bulletin_;
    Surroundings around_;
    HealthScene scene_;
    std::map<HealthKey, Ward> wards_;
    HealthKey last_begun_{};
    std::map<std::uint64_t, Ward*> by_id_;
    HealthRows own_;    // verdicts of here
    HealthRows held_;   // as the node holds it
    HealthRows fresh_;  // what it is to be told
    std::set<std::uint32_t> speaking_;
    std::uint64_t version_ = 0;
    std::uint64_t last_id_ = 0;
    std::uint64_t probes_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t late_ = 0;
    metrics::Histogram took_;
    std::string note_error_;
    SteadyTime retry_{};
    SteadyTime socket_retry_{};
    SteadyTime looked_{};
    SteadyTime kept_{};
    bool stale_ = true;
    bool first_look_ = true;
    bool changed_own_ = false;
    bool own_stale_ = false;  // own_ has changed since the node was told
    SteadyTime conclude_at_{};
    Absence absence_;
    bool unkept_ = true;  // something has happened since it was written down and shown

    mutable Guarded<HealthStatus> status_;
    std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<HealthKeeper>> HealthKeeper::start(Node& node,
                                                          const HealthOptions& options) {
    runtime::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    runtime::Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll || !stop || node.health_event() < 0) {
        return std::unexpected(error_from_errno(errno, "probes"));
    }
    return std::make_unique<EpollKeeper>(node, options, std::move(epoll), std::move(stop));
}

}  // namespace culvert::agent
