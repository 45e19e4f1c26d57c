// SPDX-License-Identifier: Apache-2.0
// The hub without sockets and threads: store events and agent messages in, messages to streams out.
// Promises: every node gets each change that concerns it once, in order, at once unless its stream
// is backed up (then in one delta); a settle is answered as soon as every live node concerned has
// acknowledged.
//
// A node that culvertd finds in the store counts as live for one lease: it carries traffic, and an
// operation that concerns it is true only once it has come back.
//
// INVARIANT: what a node holds is always the deltas up to one version; `log` has every delta after
// the version that the node has acknowledged, so that a stream of the same epoch resumes by deltas.
// Not thread-safe: strand-bound to the hub's worker.
#pragma once

#include "base/clock.hpp"
#include "base/limits.hpp"
#include "control/hub.hpp"
#include "control/hub_feed.hpp"
#include "control/hub_moves.hpp"
#include "control/hub_node.hpp"
#include "control/hub_releases.hpp"
#include "control/metering.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::api {
class Ack;
class AgentMessage;
class Delta;
class Hello;
class Issued;
class Renew;
class Totals;
}  // namespace culvert::api

namespace culvert::control {

// Who is at the other end, as its certificate says.
struct StreamIdentity {
    std::string node;
    std::string serial;
    std::string authority{};  // the common name of who signed it
    WallTime from{};
    WallTime until{};
};

// A certificate that was made and is written down as the node's next one.
struct Renewed {
    std::string certificate_pem;
    std::string serial;
};

// Where the core's messages go. Calls for streams that are gone are nothing.
class Outlet {
  public:
    virtual ~Outlet() = default;
    // Sends one serialized api.ControlMessage; the core sends the next one after on_writable().
    virtual void send(StreamId stream, const std::string& bytes) = 0;
    // Lets the stream's next message come.
    virtual void read(StreamId stream) = 0;
    // Ends the stream; nothing of it comes any more but on_closed().
    virtual void close(StreamId stream, const Error& why) = 0;
};

// What the core must have written to the store; the answer comes as on_issued().
class Registrar {
  public:
    virtual ~Registrar() = default;
    virtual void renew(StreamId stream, const StreamIdentity& who, const std::string& csr) = 0;
    // The node has connected with one of its next certificates.
    virtual void confirm(const StreamIdentity& who) = 0;
    // The node has connected with one that a restored store has forgotten. When that cannot be
    // written down, on_not_adopted() comes.
    virtual void adopt(StreamId stream, const StreamIdentity& who) = 0;
    // The node is away and holds exactly this.
    virtual void note_holdings(const std::string& node, const std::string& digest) = 0;
    // It is back, and that will not be true any more; the answer comes as on_holdings_erased().
    virtual void erase_holdings(StreamId stream, const std::string& node) = 0;
};

class HubCore {
  public:
    // `released` is called with the key of each release (hub_releases.hpp) that is over.
    HubCore(const intent::Options& options, const Clock& clock, Outlet& outlet,
            HubCounters& counters, std::string epoch, HubReleases::OverFn released = {},
            Registrar* registrar = nullptr);
    ~HubCore();
    HubCore(const HubCore&) = delete;
    HubCore& operator=(const HubCore&) = delete;

    // The whole store as of `revision`: at start, and again when the watch had lost its place.
    // /meta/epoch among the documents is a release of everything that a restored store has
    // forgotten.
    void load(const std::vector<store::KeyValue>& documents, std::int64_t revision);
    void on_batch(const store::WatchBatch& batch);
    // What was told to be over could not be freed: it is told again at the next tick().
    void release_again(std::string key);

    // Steps of moves for the store.
    void on_wish(HubMoves::Wish wish) { moves_.on_wish(std::move(wish)); }

    // Where what nodes report of links goes. Without one they are asked for nothing.
    void meter(Metering* metering) { metering_ = metering; }

    void on_opened(StreamId stream, StreamIdentity identity);
    void on_message(StreamId stream, const api::AgentMessage& message);
    void on_garbage(StreamId stream);
    void on_writable(StreamId stream);
    void on_closed(StreamId stream);
    // The authorities that are trusted from now on, in one PEM, the one that signs first. Nodes are
    // told; streams with a certificate of none of them end.
    void set_trust(const std::string& ca_pem);
    void on_holdings_erased(StreamId stream, bool erased);
    void on_not_adopted(StreamId stream, Error why);
    // What became of the stream's request for a certificate: `serial` is the new one's.
    void on_issued(StreamId stream, const Result<Renewed>& renewed);

    // See control::Settle. `done` runs inside this or a later call.
    void settle(std::int64_t revision, SettleFn done);
    // Leases, deadlines and retries; call it at next_tick() at the latest.
    void tick();
    SteadyTime next_tick() const;

    std::vector<NodeStatus> status() const;
    std::size_t releases() const { return releases_.size(); }
    // Answers every settle that still waits with false.
    void stop();

  private:
    struct Stream {
        StreamIdentity identity;
        SteadyTime opened;
        HubNode* node = nullptr;  // once it has said hello
        bool renewing = false;    // its request for a certificate is being answered
        std::string issued{};     // the answer, until it is sent; serialized
    };
    struct Waiter {
        std::int64_t revision = 0;
        SteadyTime deadline;
        SettleFn done;
        std::set<HubNode*> nodes;  // not acknowledged yet
        bool seen = false;         // the watch has come to `revision`
    };

    void node_written(const model::Node& value);
    void node_erased(const std::string& name);
    HubNode* find(const std::string& name);

    void on_hello(StreamId id, Stream& stream, const api::Hello& hello);
    void on_ack(StreamId id, HubNode& node, const api::Ack& ack);
    void on_renew(StreamId id, Stream& stream, const api::Renew& wish);
    void on_totals(const std::string& node, const api::Totals& totals);
    std::string authority_of(const HubNode& node) const;
    std::string trust_message(const HubNode& node) const;
    void settle_trust(HubNode& node, const Stream& stream);
    void answer_renewal(StreamId id, const api::Issued& issued);
    Status check_hello(const Stream& stream, const api::Hello& hello);
    bool may_adopt(const model::Node& node, const StreamIdentity& who) const;
    void settle_certificate(StreamId id, HubNode& node, const StreamIdentity& who);
    void resume(HubNode& node, const api::Hello& hello);
    void refuse(StreamId stream, Error why);
    void close(StreamId stream, const Error& why);
    void acknowledged(HubNode& node, std::uint64_t version);
    void heard(HubNode& node);

    bool relay(const std::string& name, const api::ControlMessage& message);
    void push(HubNode& node);
    void push_snapshot(HubNode& node);
    void record(HubNode& node, api::Delta delta);
    void write_next(HubNode& node);

    std::string holdings_of(const HubNode& node);
    void note_holdings();
    void recognize(const std::map<std::string, std::string>& holdings);

    AddressUses addresses_in(std::string_view released) const;
    bool take_in_use(StreamId id, HubNode& node, AddressUses uses);
    void presume_live();
    void apply(const store::Event& event, std::int64_t revision);
    void distribute(std::int64_t revision);
    void start_waiting(std::uint64_t id, Waiter& waiter);
    void recheck(HubNode& node);
    void lose(HubNode& node);
    void finish(std::uint64_t id, bool settled);

    const intent::Options options_;
    const Clock& clock_;
    Outlet& outlet_;
    Registrar* const registrar_;  // may be none: then nothing is renewed
    HubCounters& counters_;
    const std::string epoch_;
    std::unique_ptr<intent::World> world_;
    HubMoves moves_;
    Metering* metering_ = nullptr;
    HubFeed feed_;
    std::string trust_pem_;
    std::string trust_digest_;
    std::vector<std::string> authorities_;  // names, the one that signs first
    std::set<std::string> revoked_;         // serial numbers
    bool unsettled_ = false;                // the store was restored, nodes may know more than it
    std::int64_t processed_ = 0;
    std::map<std::string, std::unique_ptr<HubNode>> nodes_;
    HubReleases releases_;
    bool loaded_ = false;
    std::int64_t changing_ = 0;  // the revision that is being applied
    std::unordered_map<StreamId, Stream> streams_;
    std::set<HubNode*> busy_;                  // live nodes that have not acknowledged everything
    std::map<std::uint64_t, Waiter> waiters_;  // in order of deadline
    std::uint64_t next_waiter_ = 1;
    SteadyTime last_tick_;
};

}  // namespace culvert::control
