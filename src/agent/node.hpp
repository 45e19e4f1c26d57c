// SPDX-License-Identifier: Apache-2.0
// The node itself: intent, disk, kernel and interfaces held together. The stream brings deltas, the
// local socket asks for interfaces, a timer does what may come late.
// Thread safety: internally synchronized. INVARIANT: the plumber is locked before the core, never
// the other way; nothing slow (making interfaces, fsync) happens with the core locked, but for a
// snapshot, which is written to disk whole.
#pragma once

#include "agent/applier.hpp"
#include "agent/conclusions.hpp"
#include "agent/counted.hpp"
#include "agent/disk.hpp"
#include "agent/flow_ender.hpp"
#include "agent/health_scene.hpp"
#include "agent/identity.hpp"
#include "agent/migrate.hpp"
#include "agent/move_progress.hpp"
#include "agent/nat_drain.hpp"
#include "agent/node_facts.hpp"
#include "agent/plumber.hpp"
#include "agent/state.hpp"
#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "datapath/datapath.hpp"
#include "metrics/metrics.hpp"
#include "runtime/bell.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

namespace culvert::agent {

class Node {
  public:
    // Brings the kernel to the last intent on disk and only then lets packets take the new
    // programs.
    static Result<std::unique_ptr<Node>> open(const NodeOptions& options, const Identity& identity);
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    Held held();
    // Digests of the intent held (Hello.part); empty when it is not one intent whole.
    std::vector<std::string> parts();
    // What to tell the control plane every now and then.
    api::Heartbeat heartbeat();
    // The version to acknowledge: everything up to it is in the kernel and in the log. On an error
    // nothing is acknowledged; a delta that breaks a rule has changed nothing, after one that the
    // kernel did not take held() asks for a snapshot.
    Result<std::uint64_t> receive(const api::Delta& delta);

    // Errors: kNotFound (not attached here), kConflict (plumbed in another namespace, name taken),
    // kInvalidArgument.
    Result<Plumbed> plumb(const PlumbWish& wish);
    Result<bool> unplumb(const std::string& nic_id);

    // Has the ends that live here of connections that are no more reset, if they are there.
    void reset_ends(std::span<const Connection> connections);

    // Moves of NICs (migrate.hpp), as the control plane asks for them.
    Status order(const api::MoveOrder& order);
    Status take(const api::MoveFlows& part);
    MoveProgress progress(const std::string& nic_id);
    // Where messages of this node's own go; empty: nowhere. Tells what the control plane must know.
    void set_sender(Sender sender);

    // What may come late: interfaces of detached NICs go at once; every second the log is synced
    // and the backbone looked at. Called by one thread, once a second and whenever bell() rings.
    void tend();
    // Rings with every delta.
    runtime::Bell& bell() { return bell_; }

    bool has_backbone() const;
    const datapath::Datapath& datapath() const { return *datapath_; }
    // Changes whenever surroundings() may have; never 0.
    std::uint64_t surroundings_version() const { return surroundings_version_; }
    Surroundings surroundings();
    // The control plane is there, and says what the newest intent for this node is.
    void leased(const api::Lease& lease);
    bool is_leased(SteadyTime now);
    // A node that hears no peer and has no lease is fenced: others may have gone on without it.
    // Peers that ask are told to begin no connections until this node has the whole newest intent;
    // when the control plane stays away, for limits::kFence after it hears peers again, or for one
    // lease when `many` of them are fenced, too: then nobody has gone on.
    Status mind_fence(SteadyTime now, bool isolated, bool many);
    // While this node drains: the connections to backends here, as counted last since it does.
    std::optional<std::uint64_t> remaining_flows();
    // Counts them, which takes a second a million entries: called by one thread that does nothing
    // else, whenever bell() rings and at the time that it returns.
    SteadyTime count_remaining(const std::stop_token& stop);
    // Closed peers get no connections from here on, nor in the agent's next life.
    Status set_verdicts(const Verdicts& verdicts);
    // As the last life left them.
    Verdicts verdicts();
    // Nothing tells whom this node reaches: all are there, and it is not fenced.
    Status forget_verdicts();

    // Readable when health_scene() may have changed since it was last taken.
    int health_event() const { return health_event_.get(); }
    HealthScene health_scene();
    // Whether the last life knew verdicts; they are held true from the start.
    bool remembers_health() const { return remembers_health_; }
    // What has changed, and which peers have begun to tell verdicts.
    Status set_health(const HealthRows& changes, const std::set<std::uint32_t>& speaking);
    // Writes them down for the next life, where they have changed.
    Status keep_health();
    std::vector<BackendView> backends();

    NodeStatus status();
    // What the intent says of what the kernel counts.
    CountedNames counted_names();
    // Does it unless the intent names the link (0: the NIC) again, which cannot come meanwhile.
    Status unless_counted(std::uint32_t link, std::uint32_t nic,
                          const std::function<Status()>& what);
    // Any thread; reads the kernel's counters.
    const datapath::Maps& maps() const { return *maps_; }

    struct Counts {
        std::atomic<std::uint64_t> applied{0};  // deltas
        std::atomic<std::uint64_t> refused{0};  // deltas that break a rule
        std::atomic<std::uint64_t> failed{0};   // deltas that the kernel did not take
        metrics::Histogram took;                // of all of them
        metrics::Histogram move_gap;            // NICs that moved here: how long none carried
        std::atomic<std::uint64_t> moved{0};    // connections that came with them
        std::atomic<std::uint64_t> reset{0};    // ends that were asked where they are
        std::atomic<std::uint64_t> unmoved{0};  // connections that the intent does not allow
    };
    const Counts& counts() const { return counts_; }

  private:
    struct Core {
        State state;
        Bindings bindings;
        std::unique_ptr<Disk> disk;
        std::unique_ptr<Applier> applier;
        Backbone backbone;
        std::uint64_t remaining_drain = 0;  // of which Applier::drains()
        std::uint64_t remaining = 0;
        SteadyTime leased_at{};
        std::string newest_epoch;  // as the control plane says
        std::uint64_t newest_version = 0;
        SteadyTime isolated_at{};  // last known to be
        Verdicts verdicts;
        bool pruned = false;  // taken-over maps hold nothing beyond the intent
        // of that epoch and version; a stream that cannot come up asks again and again
        std::vector<std::string> parts;
        std::string parts_epoch;
        std::uint64_t parts_version = 0;
        std::unique_ptr<Mover> mover;
        std::unique_ptr<NatDrain> nat;
        std::unique_ptr<FlowEnder> ender;
        bool health_changed = false;              // since it was written down
        std::map<std::uint32_t, PastMove> pasts;  // by NIC: its newest move to here
    };

    Node(NodeOptions options, const Identity& identity);
    Status start();
    Status restore(Plumber& plumber, Core& core);
    Status find_interfaces(Plumber& plumber, Core& core);
    static Status attach_stubs(Plumber& plumber, const Core& core);
    Status watch_backbone(Plumber& plumber);
    Status refresh_pools(Core& core);
    Status set_fenced(Core& core, bool fenced);
    void recall(Core& core);
    Status keep_conclusions(const Core& core, bool fenced) const;
    Status apply(Core& core, const Change& change);
    Result<std::vector<Change>> apply(Core& core, std::span<const Change> changes, Status& why);
    Status apply(Core& core, const Plan& plan);
    void recall_health(Core& core);
    void disturb_health() const;
    // Tells the threads that look at what the delta is about.
    void spread(const api::Delta& delta);
    // Goes on ending connections that have nobody to serve them any more; false: some are left.
    bool end_flows(Core& core);
    Result<api::Nic> attached(const PlumbWish& wish);
    Result<Plumbed> plumb_locked(Plumber& plumber, const PlumbWish& wish, const api::Nic& nic);
    Result<Plumbed> plumb_tap(Plumber& plumber, const PlumbWish& wish, const api::Nic& nic);
    Plumbed facts_of(const api::Nic& nic);
    Result<bool> settled(Plumber& plumber, const api::Nic& nic,
                         const std::function<bool(const Binding&)>& as_wished);
    Status bind(Plumber& plumber, const Binding& binding);
    // Forgets the binding and removes its interface.
    Status unbind(Plumber& plumber, std::uint32_t index);
    std::vector<std::uint32_t> stale();
    Status keep_bindings();
    void send(const Outbox& messages);
    void announce();
    Outbox moves_changed(Core& core, const Plan& plan);
    void take_over_due();
    // Ends what has used a NAT address that was given up for too long.
    Status mind_nat(Core& core);
    void reset_ends(Core& core, std::span<const Connection> connections);
    void challenge(Core& core, const End& end, const Endpoint& from, const Endpoint& to);
    void send(const Binding& binding, std::span<const std::uint8_t> frame);
    void advertise_router(SteadyTime now);
    Result<Binding> carry(Core& core, std::uint32_t nic);
    Status stand_in(const Binding& binding, const api::Nic& nic, const std::string& waiting);
    void stand_back(const Binding& binding);
    Status settle_bindings();

    const NodeOptions options_;
    const Identity identity_;
    std::unique_ptr<datapath::Datapath> datapath_;
    std::unique_ptr<datapath::Maps> maps_;
    std::unique_ptr<datapath::Netlink> routes_;  // with the core
    Guarded<std::unique_ptr<Plumber>> plumber_;
    Guarded<Core> core_;
    Guarded<Sender> sender_;
    std::unique_ptr<datapath::Transfer> transfer_;  // with the core
    runtime::Fd health_event_;
    bool remembers_health_ = false;
    runtime::Bell bell_;
    Counts counts_;
    std::atomic<std::uint64_t> surroundings_version_{1};
    SteadyTime count_at_{};    // of count_remaining()'s thread
    std::uint32_t turns_ = 0;  // of tend()'s thread
    std::chrono::steady_clock::time_point tended_{};
    std::chrono::steady_clock::time_point drain_at_{};
    std::chrono::steady_clock::time_point advertise_at_{};
    std::chrono::steady_clock::time_point nat_at_{};
};

}  // namespace culvert::agent
