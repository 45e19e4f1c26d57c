// SPDX-License-Identifier: Apache-2.0
#include "agent/meter.hpp"

#include "base/guarded.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "runtime/bell.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

namespace culvert::agent {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kEvery = 5s;
// A walk over all connections may take a hundredth of a processor, not more.
constexpr int kShare = 100;
constexpr auto kFirst = 2s;  // how long anybody waits for the first reading
// Totals that the intent names no more stay until the control plane has had the last of them, or
// has not been there for that many rounds.
constexpr std::uint64_t kKept = 120;

bool same(const cv_totals& left, const cv_totals& right) {
    return std::memcmp(&left, &right, sizeof(left)) == 0;
}

api::LinkTotals show(std::uint32_t link, const cv_totals& totals) {
    api::LinkTotals out;
    out.set_link(link);
    out.set_begun(totals.begun_ns);
    out.set_consumer_in_packets(totals.consumer_in.packets);
    out.set_consumer_in_bytes(totals.consumer_in.bytes);
    out.set_consumer_out_packets(totals.consumer_out.packets);
    out.set_consumer_out_bytes(totals.consumer_out.bytes);
    out.set_provider_in_packets(totals.provider_in.packets);
    out.set_provider_in_bytes(totals.provider_in.bytes);
    out.set_provider_out_packets(totals.provider_out.packets);
    out.set_provider_out_bytes(totals.provider_out.bytes);
    out.set_consumer_opened(totals.consumer_opened);
    out.set_provider_opened(totals.provider_opened);
    out.set_refused_consent(totals.refused[CV_REFUSED_CONSENT]);
    out.set_refused_backend(totals.refused[CV_REFUSED_BACKEND]);
    out.set_refused_capacity(totals.refused[CV_REFUSED_CAPACITY]);
    return out;
}

// Of each NAT address the backend and protocol that use most of it.
std::vector<NatUsage> nats_of(const CountedNames& names,
                              const std::vector<datapath::NatUse>& uses) {
    std::map<std::pair<std::uint32_t, net::Ipv4>, std::uint32_t> most;
    for (const auto& use : uses) {
        if (const auto nic = names.nics.find(use.backend); nic != names.nics.end()) {
            auto& used = most[{nic->second.vnet, use.address}];
            used = std::max(used, use.ports);
        }
    }
    std::vector<NatUsage> out;
    for (const auto& [where, service] : names.nats) {
        const auto used = most.find(where);
        out.push_back({service, where.second, used == most.end() ? 0 : used->second});
    }
    return out;
}

class KernelMeter final : public Meter {
  public:
    KernelMeter(Node& node, std::unique_ptr<datapath::Totals> totals)
        : node_(node), totals_(std::move(totals)) {
        thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    }
    KernelMeter(const KernelMeter&) = delete;
    KernelMeter& operator=(const KernelMeter&) = delete;
    ~KernelMeter() override {
        thread_.request_stop();
        stopped_.ring();
    }

    Reading read() override {
        return state_.wait_for(
            kFirst, [](const State& state) { return state.reading.round != 0; },
            [](const State& state) { return state.reading; });
    }

    std::vector<api::AgentMessage> report(Reported& reported) override {
        return state_.with([&](State& state) {
            std::vector<api::AgentMessage> out;
            const Reading& reading = state.reading;
            if (reading.round == reported.round) {
                return out;
            }
            reported.round = reading.round;
            state.told = reading.round;
            const auto message = [&]() -> api::Totals& {
                auto& totals = *out.emplace_back().mutable_totals();
                totals.set_epoch(reading.epoch);
                return totals;
            };
            api::Totals* links = nullptr;
            for (const auto& [id, totals] : reading.links) {
                const auto before = reported.links.find(id);
                if (before != reported.links.end() && same(before->second, totals)) {
                    continue;
                }
                if (links == nullptr ||
                    static_cast<std::size_t>(links->links_size()) == limits::kTotalsPerMessage) {
                    links = &message();
                }
                *links->add_links() = show(id, totals);
            }
            reported.links = reading.links;
            // the last one has no links: nothing more comes of this round
            api::Totals* nats = &message();
            for (const NatUsage& nat : reading.nats) {
                if (static_cast<std::size_t>(nats->nat_size()) == limits::kNatUsePerMessage) {
                    nats = &message();
                }
                auto& use = *nats->add_nat();
                use.set_service(nat.service.id);
                use.set_address(nat.address.value);
                use.set_used(nat.used);
                use.set_ports(kNatPorts);
            }
            return out;
        });
    }

  private:
    struct Unwanted {
        std::uint64_t since = 0;  // round
        datapath::TotalsEntry entry;
    };
    struct State {
        Reading reading{};
        std::uint64_t told = 0;  // the round that a stream has been told last
    };

    static void say(const Status& done) {
        if (!done) {
            spdlog::error("agent: meter: {}", done.error().message);
        }
    }

    void work(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const auto seen = stopped_.rings();
            const auto start = Clock::now();
            say(look());
            const auto pause = std::max<Clock::duration>(kEvery, kShare * (Clock::now() - start));
            if (!stop.stop_requested()) {
                stopped_.wait_until(seen, Clock::now() + pause);
            }
        }
    }

    // Nobody waits for a walk: what it found is shared when it is over.
    Status look() {
        // before the kernel's: what is named then is in it
        auto names = node_.counted_names();
        CULVERT_TRY_STATUS(totals_->fold());
        auto entries = totals_->read();
        auto uses = totals_->nat_use();
        if (!entries || !uses) {
            return std::unexpected(entries ? uses.error() : entries.error());
        }
        Reading next{.epoch = totals_->epoch(), .round = round_ + 1, .names = std::move(names)};
        next.nats = nats_of(next.names, *uses);
        std::set<std::pair<std::uint32_t, std::uint32_t>> unwanted;
        for (const auto& entry : *entries) {
            (entry.link != 0 ? next.links[entry.link] : next.nics[entry.nic]) = entry.totals;
            const bool wanted = entry.link != 0 ? next.names.links.contains(entry.link)
                                                : next.names.nics.contains(entry.nic);
            if (!wanted) {
                unwanted.emplace(entry.link, entry.nic);
                unwanted_.try_emplace({entry.link, entry.nic}, Unwanted{next.round, entry});
            }
        }
        std::erase_if(unwanted_, [&](const auto& each) { return !unwanted.contains(each.first); });
        round_ = next.round;
        const std::uint64_t told = state_.with([&](State& state) {
            state.reading = std::move(next);
            return state.told;
        });
        return forget(told);
    }

    // What the last round but one did not want either and a stream has been told since.
    Status forget(std::uint64_t told) {
        for (auto at = unwanted_.begin(); at != unwanted_.end();) {
            const auto& [since, entry] = at->second;
            if (told <= since && round_ < since + kKept) {
                ++at;
                continue;
            }
            CULVERT_TRY_STATUS(node_.unless_counted(entry.link, entry.nic,
                                                    [&] { return totals_->remove(entry); }));
            at = unwanted_.erase(at);
        }
        return {};
    }

    Node& node_;
    // of the thread
    const std::unique_ptr<datapath::Totals> totals_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, Unwanted> unwanted_;
    std::uint64_t round_ = 0;

    Monitor<State> state_;
    runtime::Bell stopped_;
    std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<Meter>> Meter::start(Node& node, Random& random) {
    auto totals = datapath::Totals::open(node.datapath(), random);
    if (!totals) {
        return std::unexpected(std::move(totals.error()));
    }
    return std::make_unique<KernelMeter>(node, std::move(*totals));
}

}  // namespace culvert::agent
