// SPDX-License-Identifier: Apache-2.0
// Keeps the recent history of an embedded engine and carries it to the watches on a thread of its
// own. Internally synchronized. INVARIANT: publish() is called once a revision, in order, after
// durability.
#pragma once

#include "base/guarded.hpp"
#include "store/store.hpp"

#include <deque>
#include <map>
#include <memory>
#include <thread>

namespace culvert::store {

class Notifier {
  public:
    // `revision` is the store's at start. What happened up to it is not in the history, unless
    // nothing ever happened
    // (`fresh`).
    Notifier(std::int64_t revision, bool fresh);
    ~Notifier();
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;

    void publish(WatchBatch batch);
    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn);

  private:
    struct Watcher {
        std::string key;
        std::string range_end;
        std::int64_t seen =
            0;  // everything up to this revision has been delivered or did not match
        WatchFn fn;
        bool running = false;
        bool over = false;
    };
    using Batch = std::shared_ptr<const WatchBatch>;
    struct State {
        std::deque<Batch> history;  // one a revision, without gaps
        std::size_t events = 0;
        std::size_t bytes = 0;  // of keys and values
        std::int64_t last = 0;
        std::int64_t compacted = 0;  // events up to this revision are gone
        std::map<std::uint64_t, std::shared_ptr<Watcher>> watchers;
        std::uint64_t next_id = 1;
        bool stopping = false;
    };
    class Handle;

    void run();
    bool deliver_one();
    void end_watch(std::uint64_t id, const std::shared_ptr<Watcher>& watcher);
    static std::shared_ptr<Watcher> most_behind(const State& state);

    Monitor<State> state_;
    std::thread thread_;
};

}  // namespace culvert::store
