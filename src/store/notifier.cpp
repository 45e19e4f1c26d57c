// SPDX-License-Identifier: Apache-2.0
#include "store/notifier.hpp"

#include "base/limits.hpp"
#include "store/apply.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::store {
namespace {

std::size_t bytes_of(const WatchBatch& batch) {
    std::size_t out = 0;
    for (const Event& event : batch.events) {
        out += event.now.key.size() + event.now.value.size();
        out += event.before ? event.before->key.size() + event.before->value.size() : 0;
    }
    return out;
}

// The events of `all` in a watch's range. Copies only what matches.
WatchBatch filtered(const WatchBatch& all, std::string_view key, std::string_view range_end) {
    WatchBatch some;
    some.revision = all.revision;
    for (const Event& event : all.events) {
        if (in_range(event.now.key, key, range_end)) {
            some.events.push_back(event);
        }
    }
    return some;
}

}  // namespace

class Notifier::Handle final : public Watch {
  public:
    Handle(Notifier& notifier, std::uint64_t id, std::shared_ptr<Watcher> watcher)
        : notifier_(notifier), id_(id), watcher_(std::move(watcher)) {}
    ~Handle() override { notifier_.end_watch(id_, watcher_); }

  private:
    Notifier& notifier_;
    std::uint64_t id_;
    std::shared_ptr<Watcher> watcher_;
};

Notifier::Notifier(std::int64_t revision, bool fresh) {
    state_.with([&](State& state) {
        state.last = revision;
        state.compacted = fresh ? 0 : revision;
    });
    thread_ = std::thread([this] { run(); });
}

Notifier::~Notifier() {
    state_.with([](State& state) { state.stopping = true; });
    thread_.join();
}

void Notifier::publish(WatchBatch batch) {
    state_.with([&](State& state) {
        state.last = batch.revision;
        state.events += batch.events.size();
        state.bytes += bytes_of(batch);
        state.history.push_back(std::make_shared<const WatchBatch>(std::move(batch)));
        while (state.history.size() > 1 &&
               (state.bytes > limits::kWatchBytes ||
                state.events - state.history.front()->events.size() >= limits::kWatchQueue)) {
            state.events -= state.history.front()->events.size();
            state.bytes -= bytes_of(*state.history.front());
            state.compacted = state.history.front()->revision;
            state.history.pop_front();
        }
    });
}

Result<std::unique_ptr<Watch>> Notifier::watch(std::string key, std::string range_end,
                                               std::int64_t after_revision, WatchFn fn) {
    if (key.empty()) {
        return fail(Code::kInvalidArgument, "store watch: key is empty");
    }
    auto watcher = std::make_shared<Watcher>();
    watcher->key = std::move(key);
    watcher->range_end = std::move(range_end);
    watcher->seen = after_revision;
    watcher->fn = std::move(fn);
    return state_.with([&](State& state) -> Result<std::unique_ptr<Watch>> {
        if (after_revision < state.compacted) {
            return fail(Code::kPreconditionFailed,
                        fmt::format("store watch: revision {} is compacted, history starts at {}",
                                    after_revision, state.compacted));
        }
        const std::uint64_t id = state.next_id++;
        state.watchers.emplace(id, watcher);
        return std::make_unique<Handle>(*this, id, watcher);
    });
}

void Notifier::end_watch(std::uint64_t id, const std::shared_ptr<Watcher>& watcher) {
    state_.with([&](State& state) {
        watcher->over = true;
        state.watchers.erase(id);
    });
    if (std::this_thread::get_id() == thread_.get_id()) {
        return;  // from inside a callback: the running one is the caller's own
    }
    state_.wait([&](const State&) { return !watcher->running; }, [](State&) {});
}

std::shared_ptr<Notifier::Watcher> Notifier::most_behind(const State& state) {
    std::shared_ptr<Watcher> found;
    for (const auto& [id, watcher] : state.watchers) {
        if (!watcher->over && watcher->seen < state.last &&
            (!found || watcher->seen < found->seen)) {
            found = watcher;
        }
    }
    return found;
}

void Notifier::run() {
    while (deliver_one()) {
    }
}

// Waits for work, hands one batch to one watch; false: stopping.
bool Notifier::deliver_one() {
    std::shared_ptr<Watcher> watcher;
    Batch batch;
    const bool stopping = state_.wait(
        [](const State& state) { return state.stopping || most_behind(state) != nullptr; },
        [&](State& state) {
            if (state.stopping) {
                return true;
            }
            watcher = most_behind(state);
            watcher->running = true;
            if (watcher->seen < state.compacted) {
                watcher->over = true;  // too slow: history has passed it by
                return false;
            }
            const std::int64_t first = state.last + 1 - std::ssize(state.history);
            const std::int64_t next = std::max(watcher->seen + 1, first);
            batch = state.history[static_cast<std::size_t>(next - first)];
            watcher->seen = next;
            return false;
        });
    if (stopping) {
        return false;
    }
    if (!batch) {
        WatchBatch lost;
        lost.compacted = true;
        watcher->fn(lost);
    } else if (const WatchBatch some = filtered(*batch, watcher->key, watcher->range_end);
               !some.events.empty()) {
        watcher->fn(some);
    }
    state_.with([&](State&) { watcher->running = false; });
    return true;
}

}  // namespace culvert::store
