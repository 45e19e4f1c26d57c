// SPDX-License-Identifier: Apache-2.0
// What nodes report of links, as series of the resources that they are about. Promises: what a node
// reports is added once, whatever restarts meanwhile: a node's numbers only grow within an epoch,
// and how far they have been taken is kept in one file with the series; a node is believed only for
// ends that live on it, or did a moment ago.
//
// The file is apart from the store: it is written as a whole, at most once a minute, and nobody
// waits for that; killed meanwhile, what nodes report next is added to the minute in which they do.
// Thread safety: internally synchronized; a thread of its own writes the file.
#pragma once

#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/result.hpp"
#include "control/pictured.hpp"
#include "control/series.hpp"
#include "intent/intent.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace culvert::api {
class LinkTotals;
class MeteredLink;
class Totals;
}  // namespace culvert::api

namespace culvert::control {

// What the store says of a report: whom its links and NAT addresses are of, in the order of the
// report; nullopt: the node has no business with it. `links` goes on with the known ones asked for.
struct Business {
    std::vector<std::optional<intent::CountedLink>> links;
    std::vector<std::optional<std::string>> nat;
    std::vector<std::pair<std::uint32_t, std::optional<intent::CountedLink>>> known;
};

class Metering {
  public:
    // How long a node may still speak of an end that has left it.
    static constexpr auto kGrace = std::chrono::seconds(60);
    // Links and addresses that a node may speak of in that time.
    static constexpr std::size_t kEntries = 600'000;
    static constexpr std::size_t kMessage = 50;  // of these a message alone costs
    // How often it is looked up which of them are still there.
    static constexpr auto kLook = std::chrono::seconds(15);
    // More than any link can carry between two reports.
    static constexpr std::uint64_t kMost = std::uint64_t{1} << 50;

    // `file` empty: nothing is kept. A file that cannot be read is set aside.
    Metering(const Clock& clock, std::filesystem::path file);
    ~Metering();
    Metering(const Metering&) = delete;
    Metering& operator=(const Metering&) = delete;

    // Whether the node may report that many links and addresses more: asked before anything is
    // looked up for it.
    bool charge(const std::string& node, std::size_t entries);
    // The links that a node has reported, when it is time to look which are still there.
    std::vector<std::uint32_t> due(const std::string& node);
    // The node was removed; all but these were.
    void forget(const std::string& node);
    void retain(const std::set<std::string>& nodes);
    // How many links and addresses of it were refused: not the node's, or absurd.
    std::size_t report(const std::string& node, const api::Totals& totals,
                       const Business& business);
    // A number that stands for itself, such as a share.
    void gauge(const SeriesKey& key, double value);

    template <typename F>
    auto read(F&& use) const {
        return state_.with([&](const State& state) { return use(state.series); });
    }
    std::uint64_t reports() const { return reports_; }
    // Now; for tests and at the end.
    Status save();

  private:
    static constexpr std::size_t kNumbers = 13;
    using Numbers = std::array<std::uint64_t, kNumbers>;
    struct Known {
        std::uint64_t begun = 0;
        std::uint64_t epoch = 0;
        Numbers last{};
        intent::CountedLink who;
        std::optional<SteadyTime> consumer_at;  // last known to live there
        std::optional<SteadyTime> provider_at;
    };
    using Name = std::pair<std::string, std::uint32_t>;  // node, link
    struct Reporter {
        SteadyTime since{};
        std::size_t spent = 0;  // since then
        std::optional<SteadyTime> looked{};
    };
    struct State {
        SeriesTable series;
        Pictured<Name, Known> links;
        std::map<std::string, Reporter> reporters;  // by node
        Minute aged = 0;
        bool dirty = false;
    };
    class Keeper;

    static Numbers numbers_of(const api::LinkTotals& totals);
    bool take(State& state, const std::string& node, std::uint64_t epoch,
              const api::LinkTotals& totals, const std::optional<intent::CountedLink>& who);
    bool is_there(const std::optional<SteadyTime>& at) const;
    void write(const Name& name, const Known& known, api::MeteredLink& into) const;
    void confirm(Known& known, const intent::CountedLink& who) const;
    void add(State& state, const Known& known, const Numbers& more) const;
    void look_again(State& state, const std::string& node, const Business& business) const;
    static void forget(State& state, const std::string& node);
    void age(State& state) const;
    Minute minute() const;
    std::string written();
    Status load();

    const Clock& clock_;
    const std::filesystem::path file_;
    Guarded<State> state_;
    Monitor<bool> saving_{false};
    std::atomic<std::uint64_t> reports_{0};
    std::unique_ptr<Keeper> keeper_;
};

}  // namespace culvert::control
