// SPDX-License-Identifier: Apache-2.0
#include "control/hub.hpp"

#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/allocate.hpp"
#include "control/hub_core.hpp"
#include "control/hub_queue.hpp"
#include "control/hub_streams.hpp"
#include "control/keys.hpp"
#include "control/renewal.hpp"
#include "control/restore_epoch.hpp"

#include <fmt/format.h>

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
struct Issued {
    StreamId stream;
    Result<Renewed> renewed;
};
struct Erased {
    StreamId stream;
    bool done;
};
struct NotAdopted {
    StreamId stream;
    Error why;
};
struct Trusting {
    std::string ca_pem;
};
struct Settling {
    std::int64_t revision;
    SettleFn done;
};
struct Again {
    std::string key;
};
struct Asking {
    std::function<void(std::vector<NodeStatus>)> done;
};
using Item = std::variant<Batch, Opened, Message, Garbage, Writable, Closed, Issued, Erased,
                          NotAdopted, Trusting, Settling, Again, Asking>;

constexpr std::size_t kQueuedItems = 65536;
constexpr auto kIdle = std::chrono::hours(1);
constexpr auto kReloadPause = std::chrono::milliseconds(500);

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

class LiveHub final : public Hub, private StreamSink, private Registrar {
  public:
    LiveHub(const HubOptions& options, store::Store& store, const Clock& clock,
            RestoreEpoch restored, const std::string& life)
        : store_(store),
          clock_(clock),
          restored_(std::move(restored)),
          epoch_(fmt::format("{}/{}", restored_.text, life)),
          renewals_(store, clock, options.issue),
          core_(
              options.intent, clock, relay_, counters_, epoch_,
              [this](const std::string& key) { answers_.push([this, key] { release(key); }); },
              this) {}

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
        core_.set_trust(options.ca_pem);
        core_.meter(options.metering);
        CULVERT_TRY_STATUS(load());
        auto server = StreamServer::start(options, *this);
        if (!server) {
            return std::unexpected(std::move(server.error()));
        }
        server_ = std::move(*server);
        relay_.connect(server_.get());
        core_.on_wish([this](MoveWish wish) {
            answers_.push([this, wish = std::move(wish)] { step(wish); });
        });
        worker_ = std::thread([this] { work(); });
        answerer_ = std::thread([this] { answer(); });
        spdlog::info("hub: listening port={} epoch={}", server_->port(), epoch_);
        return {};
    }

    int port() const override { return server_->port(); }
    const std::string& epoch() const override { return epoch_; }
    std::uint32_t restore_number() const override { return restored_.number; }
    bool numbers_are_known() const override { return numbers_are_known_; }
    const HubCounters& counters() const override { return counters_; }

    void settle(std::int64_t revision, SettleFn done) override {
        ++settling_;
        const SettleFn counted = [this, done = std::move(done)](bool settled) {
            --settling_;
            done(settled);
        };
        if (!queue_.push(Settling{revision, counted})) {
            counted(false);
        }
    }
    void status(std::function<void(std::vector<NodeStatus>)> done) override {
        if (!queue_.push(Asking{done})) {
            done({});
        }
    }

    HubLoad load() const override { return {queue_.size(), answers_.size(), settling_}; }
    Status replace_certificate(const std::string& certificate_pem, const std::string& key_pem,
                               const std::string& ca_pem) override {
        CULVERT_TRY_STATUS(server_->replace_certificate(certificate_pem, key_pem, ca_pem));
        queue_.push(Trusting{ca_pem});
        return {};
    }

  private:
    // Registrar, on the worker: it writes, so it is the answerer's
    void renew(StreamId stream, const StreamIdentity& who, const std::string& csr) override {
        answers_.push(
            [this, stream, who, csr] { queue_.push(Issued{stream, renewals_.renew(who, csr)}); });
    }
    void confirm(const StreamIdentity& who) override {
        answers_.push([this, who] {
            if (auto done = renewals_.confirm(who); !done) {
                spdlog::error("hub: node {}: {}", who.node, done.error().message);
            }
        });
    }

    void adopt(StreamId stream, const StreamIdentity& who) override {
        answers_.push([this, stream, who] {
            if (auto done = renewals_.adopt(who); !done) {
                queue_.push(NotAdopted{stream, std::move(done.error())});
            }
        });
    }

    void note_holdings(const std::string& node, const std::string& digest) override {
        answers_.push([this, node, digest] {
            store::Txn txn;
            txn.compares.push_back(store::present(keys::node(node)));
            txn.success.push_back(store::put(keys::holds(node), digest));
            if (auto done = store_.txn(txn); !done) {
                spdlog::warn("hub: node {}: {}", node, done.error().message);
            }
        });
    }
    void erase_holdings(StreamId stream, const std::string& node) override {
        answers_.push([this, stream, node] {
            store::Txn txn;
            txn.success.push_back(store::erase(keys::holds(node)));
            const auto done = store_.txn(txn);
            if (!done) {
                spdlog::warn("hub: node {} has to wait: {}", node, done.error().message);
            }
            queue_.push(Erased{stream, done.has_value()});
        });
    }

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
        for (const std::string_view prefix :
             {std::string_view("/node/"), std::string_view("/attach/"), std::string_view("/r/"),
              keys::kReleased, keys::kRevoked, keys::kHolds, keys::kEpoch}) {
            all.success.push_back({.kind = store::Op::Kind::kRange,
                                   .key = std::string(prefix),
                                   .range_end = store::prefix_end(prefix),
                                   .value = {}});
        }
        auto read = store_.txn(all);
        if (!read) {
            return std::unexpected(prefixed(std::move(read.error()), "hub: read the store"));
        }
        std::vector<store::KeyValue> documents;
        std::int64_t revision = read->revision;
        auto epochs = std::move(read->ranges.back().kvs);  // the epoch, and the one that is settled
        read->ranges.pop_back();
        for (store::RangeResult& range : read->ranges) {
            std::ranges::move(range.kvs, std::back_inserter(documents));
        }
        const std::string settled = epochs.size() > 1 ? epochs.back().value : "0";
        if (!epochs.empty() && epochs.front().value != settled) {
            numbers_are_known_ = false;
        }
        if (!numbers_are_known_) {
            documents.push_back(std::move(epochs.front()));
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
            if (HubFeed::concerns(event.now.key) || keys::is_release(event.now.key) ||
                keys::is_revocation(event.now.key)) {
                wanted.events.push_back({.kind = event.kind, .now = event.now, .before = {}});
            }
        }
        queue_.push_when_room(Batch{std::move(wanted)});
    }

    void work() {
        while (true) {
            const auto now = clock_.steady();
            const auto next =
                reload_at_ ? std::min(*reload_at_, core_.next_tick()) : core_.next_tick();
            const auto patience = std::max(next - now, SteadyTime::duration::zero());
            auto items = queue_.pop_all(patience);
            if (!items) {
                return;
            }
            for (Item& item : *items) {
                std::visit([this](auto& value) { handle(value); }, item);
            }
            core_.tick();
            if (reload_at_ && *reload_at_ <= clock_.steady()) {
                reload();
            }
        }
    }

    void handle(Batch& item) {
        if (!item.batch.compacted) {
            core_.on_batch(item.batch);
            return;
        }
        spdlog::warn("hub: the store has dropped history, reading all anew");
        reload();
    }
    // Nodes keep what they have until it succeeds.
    void reload() {
        watch_.reset();
        reload_at_.reset();
        if (auto loaded = load(); !loaded) {
            spdlog::error("hub: {}, trying again", loaded.error().message);
            reload_at_ = clock_.steady() + kReloadPause;
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
    void handle(Issued& item) { core_.on_issued(item.stream, item.renewed); }
    void handle(Erased& item) { core_.on_holdings_erased(item.stream, item.done); }
    void handle(NotAdopted& item) { core_.on_not_adopted(item.stream, std::move(item.why)); }
    void handle(Trusting& item) { core_.set_trust(item.ca_pem); }
    void handle(Settling& item) {
        core_.settle(item.revision, [this, done = std::move(item.done)](bool settled) {
            answers_.push([done, settled] { done(settled); });
        });
    }
    void handle(Again& item) { core_.release_again(std::move(item.key)); }
    void handle(Asking& item) {
        answers_.push([done = std::move(item.done), all = core_.status()] { done(all); });
    }

    // A release is over: what it gave up is free. Before the answers of settles that were decided
    // later, so that whoever was told of a removal finds the address free.
    void release(const std::string& key) {
        auto freed = key == keys::kEpoch ? settle_epoch() : free_released(store_, key);
        if (!freed) {
            spdlog::warn("hub: free what was released: {}", freed.error().message);
            queue_.push(Again{key});
        }
    }

    // After a restore every node has acknowledged: nobody holds what the store has forgotten.
    Status settle_epoch() {
        store::Txn txn;
        txn.success.push_back(store::put(std::string(keys::kEpochSettled), restored_.text));
        if (auto done = store_.txn(txn); !done) {
            return std::unexpected(std::move(done.error()));
        }
        numbers_are_known_ = true;
        spdlog::info("hub: every node has acknowledged the restored state");
        return {};
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

    void step(const MoveWish& wish) {
        const auto done = take_step(store_, wish.nic, wish.id, wish.step);
        if (!done) {
            spdlog::error("hub: move nic={}: {}", wish.nic.str(), done.error().message);
        } else if (*done && wish.step == MoveStep::kCallOff) {
            spdlog::warn("hub: move nic={} called off: {}", wish.nic.str(), wish.why);
        }
    }

    store::Store& store_;
    const Clock& clock_;
    const RestoreEpoch restored_;
    const std::string epoch_;
    std::atomic<bool> numbers_are_known_{true};
    std::optional<SteadyTime> reload_at_;  // the store could not be read anew
    HubCounters counters_;
    std::atomic<std::uint64_t> settling_{0};
    Relay relay_;
    Renewals renewals_;  // the answerer's
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
    auto restored = RestoreEpoch::read(store);
    if (!restored) {
        return std::unexpected(prefixed(std::move(restored.error()), "hub: read the store"));
    }
    auto hub =
        std::make_unique<LiveHub>(options, store, clock, std::move(*restored), random.uuid());
    CULVERT_TRY_STATUS(hub->run(options));
    return hub;
}

}  // namespace culvert::control
