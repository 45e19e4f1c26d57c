// SPDX-License-Identifier: Apache-2.0
#include "agent/prober.hpp"

#include "base/guarded.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "datapath/echoes.hpp"
#include "runtime/bell.hpp"

#include <algorithm>
#include <optional>
#include <thread>

namespace culvert::agent {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kShortestTurn = 2ms;
constexpr auto kSocketRetry = 1s;

struct Secret {
    std::uint64_t nonce = 0;
    std::uint64_t relay_nonce = 0;
};

double ms_of(std::chrono::nanoseconds value) { return static_cast<double>(value.count()) / 1e6; }

class ThreadedProber final : public Prober {
  public:
    ThreadedProber(Node& node, const LivenessTimes& times, std::unique_ptr<datapath::Echoes> echoes)
        : node_(node),
          echoes_(std::move(echoes)),
          misses_(times.misses),
          liveness_(times),
          hear_([this](std::uint32_t peer) { return echoes_->heard(peer); }),
          told_(node.verdicts()),
          logged_isolated_(told_.isolated) {
        liveness_.remember(told_, Clock::now());
        for (const Verdict& verdict : told_.peers) {
            logged_[verdict.node] = {verdict.lost, verdict.fenced};
        }
        status_.with([&](ReachStatus& status) {
            status.probing = true;
            status.times = times;
        });
        thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    }
    ThreadedProber(const ThreadedProber&) = delete;
    ThreadedProber& operator=(const ThreadedProber&) = delete;
    ~ThreadedProber() override {
        thread_.request_stop();
        stopped_.ring();
    }

    ReachStatus status() const override {
        return status_.with([](const ReachStatus& status) { return status; });
    }

  private:
    void work(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const auto seen = stopped_.rings();
            if (stop.stop_requested()) {
                return;
            }
            stopped_.wait_until(seen, std::max(turn(), Clock::now() + kShortestTurn));
        }
    }

    // One turn; when to take the next.
    SteadyTime turn() {
        const auto now = Clock::now();
        if (const auto version = node_.surroundings_version(); version != version_) {
            version_ = version;
            look_around(now);
        }
        open_socket(now);
        const auto turn =
            liveness_.turn(now, hear_, {.carrier = can_ask(now), .control = node_.is_leased(now)});
        send(turn.questions, now);
        if (turn.changed) {
            tell();
        }
        const auto fenced = node_.mind_fence(now, liveness_.isolated(), are_many_fenced());
        if (!fenced) {
            spdlog::error("agent: liveness: {}", fenced.error().message);
        }
        publish();
        return turn.next;
    }

    // The peers of the intent, each with secrets of its own; a former peer's answers end to count.
    void look_around(SteadyTime now) {
        auto next = node_.surroundings();
        if (next.outer != around_.outer || next.udp_port != around_.udp_port ||
            next.backbone_ifindex != around_.backbone_ifindex) {
            socket_.reset();
            socket_retry_ = {};
        }
        around_ = std::move(next);
        std::map<std::uint32_t, Secret> secrets;
        std::vector<std::uint32_t> indices;
        for (const auto& [index, peer] : around_.peers) {
            if (const auto held = secrets_.extract(index)) {
                secrets[index] = held.mapped();
            } else {
                const Secret fresh{.nonce = random_.u64() | 1, .relay_nonce = random_.u64() | 1};
                echoes_->expect(index, fresh.nonce, fresh.relay_nonce);
                secrets[index] = fresh;
            }
            indices.push_back(index);
        }
        for (const auto& [index, gone] : secrets_) {
            echoes_->expect(index, 0, 0);
        }
        secrets_ = std::move(secrets);
        liveness_.set_peers(indices, now, hear_);
        tell();
    }

    void open_socket(SteadyTime now) {
        if (socket_ || around_.udp_port == 0 || now < socket_retry_) {
            return;
        }
        socket_retry_ = now + kSocketRetry;
        auto opened = datapath::EchoSocket::open(around_.backbone, around_.outer, around_.udp_port);
        const std::string error = opened ? std::string() : opened.error().message;
        const auto before =
            status_.with([&](ReachStatus& status) { return std::exchange(status.error, error); });
        if (!opened) {
            if (error != before) {
                spdlog::warn("agent: liveness: {}", error);
            }
            return;
        }
        socket_ = std::move(*opened);
    }

    // Whether questions can leave this machine: not without a carrier, and not where none has for
    // as long as a peer may be silent.
    bool can_ask(SteadyTime now) const {
        const bool mute = mute_since_ && now - *mute_since_ >= patience();
        return !mute && (!socket_ || socket_->has_carrier());
    }
    std::chrono::nanoseconds patience() const { return liveness_.interval() * misses_; }

    void send(const std::vector<Liveness::Question>& questions, SteadyTime now) {
        std::vector<datapath::EchoWish> wishes;
        wishes.reserve(questions.size());
        for (const auto& question : questions) {
            const Secret& secret = secrets_.at(question.target);
            const auto by = question.relay == 0 ? question.target : question.relay;
            wishes.push_back({.origin = around_.node,
                              .target = question.target,
                              .relay = question.relay,
                              .sequence = question.sequence,
                              .nonce = question.relay == 0 ? secret.nonce : secret.relay_nonce,
                              .to = around_.peers.at(by).outer});
        }
        const auto sent = socket_ ? socket_->send(wishes) : std::vector<bool>(wishes.size(), false);
        if (std::ranges::find(sent, true) != sent.end()) {
            mute_since_.reset();
        } else if (!sent.empty() && !mute_since_) {
            mute_since_ = now;
        }
        for (std::size_t at = 0; at < questions.size(); ++at) {
            if (!sent[at]) {
                liveness_.unsent(questions[at]);
                ++unsent_;
            }
        }
        questions_ += questions.size();
    }

    bool are_many_fenced() const {
        const auto peers = liveness_.peers();
        const auto fenced = std::ranges::count_if(peers, &PeerView::fenced);
        const auto lost = std::ranges::count(peers, PeerState::kLost, &PeerView::state);
        return fenced > 0 && 2 * fenced >= static_cast<std::ptrdiff_t>(peers.size()) - lost;
    }

    // The node and the log.
    void tell() {
        for (const PeerView& view : liveness_.peers()) {
            log_change(view);
        }
        const bool isolated = liveness_.isolated();
        if (std::exchange(logged_isolated_, isolated) != isolated) {
            if (isolated) {
                spdlog::warn(
                    "agent: no peer answers and the fault may be here: backends of other "
                    "nodes stay, those of this node go first");
            } else {
                spdlog::info("agent: peers answer again");
            }
        }
        auto verdicts = liveness_.verdicts();
        if (verdicts == told_) {
            return;
        }
        if (const auto done = node_.set_verdicts(verdicts); !done) {
            spdlog::error("agent: liveness: {}", done.error().message);
        }
        told_ = std::move(verdicts);
    }

    void log_change(const PeerView& view) {
        const bool lost = view.state == PeerState::kLost;
        const auto [lost_before, fenced_before] =
            std::exchange(logged_[view.node], {lost, view.fenced});
        const bool was = lost_before;
        const auto peer = around_.peers.find(view.node);
        if (view.fenced != fenced_before && peer != around_.peers.end()) {
            spdlog::info("agent: peer {} node={}", view.fenced ? "fenced" : "no longer fenced",
                         peer->second.name);
        }
        if (lost == was || peer == around_.peers.end()) {
            return;
        }
        if (lost) {
            spdlog::warn("agent: peer lost node={} outer={} fault={} silent={:.0f}ms",
                         peer->second.name, peer->second.outer.str(), to_string(view.fault),
                         view.heard == SteadyTime{} ? 0.0 : ms_of(view.since - view.heard));
        } else {
            spdlog::info("agent: peer is back node={} outer={}", peer->second.name,
                         peer->second.outer.str());
        }
    }

    void publish() {
        status_.with([&](ReachStatus& status) {
            status.isolated = liveness_.isolated();
            status.questions = questions_ - unsent_;
            status.unsent = unsent_;
            status.peers.clear();
            for (const PeerView& view : liveness_.peers()) {
                const auto& peer = around_.peers.at(view.node);
                status.peers.push_back({peer.name, peer.outer.str(), view});
            }
        });
    }

    Node& node_;
    const std::unique_ptr<datapath::Echoes> echoes_;
    // of the thread
    SystemRandom random_;
    const std::uint32_t misses_;
    Liveness liveness_;
    const Liveness::Hear hear_;
    Surroundings around_;
    std::uint64_t version_ = 0;
    std::map<std::uint32_t, Secret> secrets_;
    std::unique_ptr<datapath::EchoSocket> socket_;
    SteadyTime socket_retry_{};
    std::optional<SteadyTime> mute_since_;  // since when no question has left
    Verdicts told_;
    std::map<std::uint32_t, std::pair<bool, bool>> logged_;  // lost and fenced, as the log says
    bool logged_isolated_;
    std::uint64_t questions_ = 0;
    std::uint64_t unsent_ = 0;

    mutable Guarded<ReachStatus> status_;
    runtime::Bell stopped_;
    std::jthread thread_;
};

// No backbone, or turned off.
class NoProber final : public Prober {
  public:
    explicit NoProber(const LivenessTimes& times) : times_(times) {}
    ReachStatus status() const override {
        ReachStatus out;
        out.times = times_;
        return out;
    }

  private:
    LivenessTimes times_;
};

}  // namespace

Result<std::unique_ptr<Prober>> Prober::start(Node& node, const LivenessTimes& times) {
    if (times.interval.count() == 0 || !node.has_backbone()) {
        if (const auto done = node.forget_verdicts(); !done) {
            spdlog::error("agent: liveness: {}", done.error().message);
        }
        return std::make_unique<NoProber>(times);
    }
    auto echoes = datapath::Echoes::open(node.datapath());
    if (!echoes) {
        return std::unexpected(std::move(echoes.error()));
    }
    return std::make_unique<ThreadedProber>(node, times, std::move(*echoes));
}

}  // namespace culvert::agent
