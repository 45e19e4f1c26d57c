// SPDX-License-Identifier: Apache-2.0
#include "control/hub.hpp"

#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/hub_core.hpp"
#include "control/hub_queue.hpp"
#include "control/hub_streams.hpp"

#include <algorithm>
#include <thread>
#include <variant>

namespace culvert::control {
namespace {

struct Batch {
    store::WatchBatch batch;
};
struct Opened {
    StreamId stream;
    StreamIdentity identity;
};
struct Message {
    StreamId stream;
    api::AgentMessage message;
};
struct Garbage {
    StreamId stream;
};
struct Writable {
    StreamId stream;
};
struct Closed {
    StreamId stream;
};
struct Settling {
    std::int64_t revision;
    SettleFn done;
};
struct Asking {
    std::function<void(std::vector<NodeStatus>)> done;
};
using Item = std::variant<Batch, Opened, Message, Garbage, Writable, Closed, Settling, Asking>;

constexpr std::size_t kQueuedItems = 65536;
constexpr auto kIdle = std::chrono::hours(1);

// The outlet exists before the server does.
class Relay final : public Outlet {
  public:
    void connect(Outlet* to) { to_ = to; }
    void send(StreamId stream, const std::string& bytes) override { to_->send(stream, bytes); }
    void read(StreamId stream) override { to_->read(stream); }
    void close(StreamId stream, const Error& why) override { to_->close(stream, why); }

  private:
    Outlet* to_ = nullptr;
};

class LiveHub final : public Hub, private StreamSink {
  public:
    LiveHub(const HubOptions& options, store::Store& store, const Clock& clock, std::string epoch)
        : store_(store),
          clock_(clock),
          epoch_(std::move(epoch)),
          core_(options.intent, clock, relay_, counters_, epoch_) {}

    ~LiveHub() override {
        queue_.close();
        if (worker_.joinable()) {
            worker_.join();
        }
        watch_.reset();
        core_.stop();
        answers_.close();
        if (answerer_.joinable()) {
            answerer_.join();
        }
        if (server_) {
            server_->stop();
        }
    }
    LiveHub(const LiveHub&) = delete;
    LiveHub& operator=(const LiveHub&) = delete;

    Status run(const HubOptions& options) {
        CULVERT_TRY_STATUS(load());
        auto server = StreamServer::start(options, *this);
        if (!server) {
            return std::unexpected(std::move(server.error()));
        }
        server_ = std::move(*server);
        relay_.connect(server_.get());
        worker_ = std::thread([this] { work(); });
        answerer_ = std::thread([this] { answer(); });
        spdlog::info("hub: listening port={} epoch={}", server_->port(), epoch_);
        return {};
    }

    int port() const override { return server_->port(); }
    const std::string& epoch() const override { return epoch_; }
    const HubCounters& counters() const override { return counters_; }

    void settle(std::int64_t revision, SettleFn done) override {
        if (!queue_.push(Settling{revision, done})) {
            done(false);
        }
    }
    void status(std::function<void(std::vector<NodeStatus>)> done) override {
        if (!queue_.push(Asking{done})) {
            done({});
        }
    }

  private:
    // StreamSink, on gRPC's threads
    void opened(StreamId stream, StreamIdentity identity) override {
        queue_.push(Opened{stream, std::move(identity)});
    }
    void message(StreamId stream, api::AgentMessage message) override {
        queue_.push(Message{stream, std::move(message)});
    }
    void garbage(StreamId stream) override { queue_.push(Garbage{stream}); }
    void writable(StreamId stream) override { queue_.push(Writable{stream}); }
    void closed(StreamId stream) override { queue_.push(Closed{stream}); }

    // Reads everything at one revision and follows the store from there.
    Status load() {
        store::Txn all;
        for (const char* prefix : {"/node/", "/attach/", "/r/"}) {
            all.success.push_back({.kind = store::Op::Kind::kRange,
                                   .key = prefix,
                                   .range_end = store::prefix_end(prefix),
                                   .value = {}});
        }
        auto read = store_.txn(all);
        if (!read) {
            return std::unexpected(prefixed(std::move(read.error()), "hub: read the store"));
        }
        std::vector<store::KeyValue> documents;
        std::int64_t revision = read->revision;
        for (store::RangeResult& range : read->ranges) {
            std::ranges::move(range.kvs, std::back_inserter(documents));
        }
        core_.load(documents, revision);
        auto watch = store_.watch("/", store::prefix_end("/"), revision,
                                  [this](const store::WatchBatch& batch) { on_batch(batch); });
        if (!watch) {
            return std::unexpected(prefixed(std::move(watch.error()), "hub: follow the store"));
        }
        watch_ = std::move(*watch);
        return {};
    }

    // On the store's notifier thread. Batches without anything for the nodes go on too: they move
    // the revision.
    void on_batch(const store::WatchBatch& batch) {
        store::WatchBatch wanted{
            .revision = batch.revision, .events = {}, .compacted = batch.compacted};
        for (const store::Event& event : batch.events) {
            if (HubFeed::concerns(event.now.key)) {
                wanted.events.push_back({.kind = event.kind, .now = event.now, .before = {}});
            }
        }
        queue_.push_when_room(Batch{std::move(wanted)});
    }

    void work() {
        while (true) {
            const auto now = clock_.steady();
            const auto patience = std::max(core_.next_tick() - now, SteadyTime::duration::zero());
            auto items = queue_.pop_all(patience);
            if (!items) {
                return;
            }
            for (Item& item : *items) {
                std::visit([this](auto& value) { handle(value); }, item);
            }
            core_.tick();
        }
    }

    void handle(Batch& item) {
        if (!item.batch.compacted) {
            core_.on_batch(item.batch);
            return;
        }
        spdlog::warn("hub: the store has dropped history, reading all anew");
        watch_.reset();
        if (auto loaded = load(); !loaded) {
            spdlog::error("hub: {}", loaded.error().message);
        }
    }
    void handle(Opened& item) { core_.on_opened(item.stream, std::move(item.identity)); }
    void handle(Message& item) { core_.on_message(item.stream, item.message); }
    void handle(Garbage& item) { core_.on_garbage(item.stream); }
    void handle(Writable& item) { core_.on_writable(item.stream); }
    void handle(Closed& item) {
        core_.on_closed(item.stream);
        relay_.close(item.stream, Error{Code::kUnavailable, "closed", {}, {}, {}});
    }
    void handle(Settling& item) {
        core_.settle(item.revision, [this, done = std::move(item.done)](bool settled) {
            answers_.push([done, settled] { done(settled); });
        });
    }
    void handle(Asking& item) {
        answers_.push([done = std::move(item.done), all = core_.status()] { done(all); });
    }

    // Callbacks have a thread of their own: they may write to the store, and deltas must not wait
    // for that.
    void answer() {
        while (auto answers = answers_.pop_all(kIdle)) {
            for (const auto& done : *answers) {
                done();
            }
        }
    }

    store::Store& store_;
    const Clock& clock_;
    const std::string epoch_;
    HubCounters counters_;
    Relay relay_;
    HubCore core_;
    HubQueue<Item> queue_{kQueuedItems};
    HubQueue<std::function<void()>> answers_{kQueuedItems};
    std::unique_ptr<StreamServer> server_;
    std::unique_ptr<store::Watch> watch_;
    std::thread worker_;
    std::thread answerer_;
};

}  // namespace

Result<std::unique_ptr<Hub>> Hub::start(HubOptions options, store::Store& store, const Clock& clock,
                                        Random& random) {
    auto hub = std::make_unique<LiveHub>(options, store, clock, random.uuid());
    CULVERT_TRY_STATUS(hub->run(options));
    return hub;
}

}  // namespace culvert::control
