// SPDX-License-Identifier: Apache-2.0
// The hub carries intent to the nodes: it follows the store, compiles (intent/) and keeps one
// stream a node (api/intent.proto, mTLS). Promises: a committed change is on the wire of every node
// concerned at once; settle() tells when it is true in their kernels; garbage closes a stream and
// touches nothing else; a node is who its certificate says, and only while the store has it with
// that certificate.
//
// Leases: a node is live while its last message is younger than limits::kLease. Nodes that are not
// live are never waited for: they get everything they missed before their next acknowledgement.
// Thread safety: internally synchronized; callbacks run on a thread of the hub.
#pragma once

#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "intent/intent.hpp"
#include "store/store.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace culvert::control {

class Metering;

using SettleFn = std::function<void(bool settled)>;

struct HubOptions {
    std::string listen;           // "0.0.0.0:7443"; port 0: any free one
    std::string certificate_pem;  // the server's, with its chain
    std::string key_pem;
    std::string ca_pem;  // that signed the nodes' certificates
    // Signs a node's request; empty: requests are refused.
    std::function<Result<std::string>(const std::string& csr_pem, const std::string& name)> issue =
        {};
    intent::Options intent;
    Metering* metering = nullptr;  // takes what nodes report of links; outlives the hub
};

struct NodeStatus {
    std::string name;
    std::uint32_t index = 0;
    std::string outer;
    bool connected = false;
    bool live = false;
    std::optional<WallTime> last_seen;  // in this life of the control plane
    std::uint64_t version = 0;          // of the newest delta made for it
    std::uint64_t acked = 0;
    bool waiting = false;   // changes wait for its stream
    std::size_t holds = 0;  // releases that wait for its acknowledgement
    std::string error;      // why it refused the newest delta
    std::string build;
    std::optional<std::vector<std::string>> tenants;  // that it serves; nullopt: all
    bool draining = false;
    std::optional<std::uint64_t> remaining;  // connections to backends there, while it drains
    WallTime certificate_until;              // the epoch: not known
    std::string authority;                   // that signed its certificate; empty: not known
    bool trusts = false;                     // what is trusted now, as its last stream said
};

// What waits inside.
struct HubLoad {
    std::size_t work = 0;
    std::size_t answers = 0;
    std::uint64_t settling = 0;
};

// Only grow.
struct HubCounters {
    std::atomic<std::uint64_t> deltas{0};
    std::atomic<std::uint64_t> snapshots{0};    // everything, to nodes that hold something else
    std::atomic<std::uint64_t> resumed{0};      // differences from what nodes said they hold
    std::atomic<std::uint64_t> garbage{0};      // streams closed for what they sent
    std::atomic<std::uint64_t> refused{0};      // streams of unknown, revoked or misnamed nodes
    std::atomic<std::uint64_t> replaced{0};     // streams closed for a newer one of the same node
    std::atomic<std::uint64_t> ack_errors{0};   // deltas that a node could not apply
    std::atomic<std::uint64_t> timeouts{0};     // settles answered false
    std::atomic<std::uint64_t> undecodable{0};  // documents of the store
    std::atomic<std::uint64_t> renewals{0};     // node certificates renewed
    std::atomic<std::uint64_t> renewals_refused{0};  // another's name, too early, revoked, failed
    std::atomic<std::uint64_t> moves{0};             // of NICs, that came to their end
    std::atomic<std::uint64_t> moves_called_off{0};
    std::atomic<std::uint64_t> totals_refused{0};  // links, addresses: not the node's, or absurd
};

class Hub {
  public:
    // Reads the store, follows it, listens. Errors: the store's; kUnavailable (address in use);
    // kInvalidArgument (certificate or key).
    static Result<std::unique_ptr<Hub>> start(HubOptions options, store::Store& store,
                                              const Clock& clock, Random& random);
    virtual ~Hub() = default;

    virtual int port() const = 0;
    // Of the intent: <last restore>/<this life>.
    virtual const std::string& epoch() const = 0;
    // The number of the store's last restore from a backup, 0: none. Later ones have higher ones.
    virtual std::uint32_t restore_number() const = 0;
    // False after a restore, until every node has acknowledged the restored state: until then nodes
    // may hold numbers and addresses that the store has forgotten. Any thread.
    virtual bool numbers_are_known() const = 0;
    // See control::Settle (call.hpp). After the hub has stopped: done(false).
    virtual void settle(std::int64_t revision, SettleFn done) = 0;
    // Every node of the store, ascending by name. After the hub has stopped: nobody.
    virtual void status(std::function<void(std::vector<NodeStatus>)> done) = 0;
    virtual const HubCounters& counters() const = 0;
    virtual HubLoad load() const = 0;
    // For connections from a second from now on at the latest; streams go on. `ca_pem` has every
    // authority that is trusted, the one that signs first: nodes are told, and asked to renew.
    // Errors: kInvalidArgument (certificate, key, or the two do not match).
    virtual Status replace_certificate(const std::string& certificate_pem,
                                       const std::string& key_pem, const std::string& ca_pem) = 0;
};

}  // namespace culvert::control
