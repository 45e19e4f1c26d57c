// SPDX-License-Identifier: Apache-2.0
// The move of a NIC between two nodes, as one of them sees it (docs/decisions/0010). The node that
// the NIC leaves hands out its connections, part by part; the node that it goes to checks each
// against its own intent, and writes them when the last part is there and the control plane says
// so.
//
// INVARIANT: only a NIC whose move the intent names is handed out or taken in, and a connection is
// taken in only when the intent allows it: what another node says is never believed by itself.
// Thread safety: strand-bound to the node's core.
#pragma once

#include "agent/applier.hpp"
#include "agent/connection.hpp"
#include "agent/move_records.hpp"
#include "agent/state.hpp"
#include "api/intent.pb.h"
#include "base/result.hpp"
#include "datapath/transfer.hpp"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace culvert::agent {

// Messages for the control plane, in order.
using Outbox = std::vector<api::AgentMessage>;

// What a move came to on the node that the NIC came to.
struct MoveOutcome {
    std::uint32_t flows = 0;    // connections that came along
    std::uint32_t refused = 0;  // that the intent here does not allow
};

class Mover {
  public:
    // `folder`: where it keeps what an agent that starts anew needs.
    Mover(const State& state, Applier& applier, Bindings& bindings, datapath::Transfer& transfer,
          std::filesystem::path folder)
        : state_(state),
          applier_(applier),
          bindings_(bindings),
          transfer_(transfer),
          records_(std::move(folder)) {}

    // After a start: what the last intent says and the earlier life may not have done.
    Status resume();
    // After the plan's changes are in the maps and in the state.
    Status applied(const Plan& plan, Outbox& out);
    // The control plane asks for connections.
    Status order(const api::MoveOrder& order, Outbox& out);
    // Connections from the node that the NIC leaves. Errors: what the other node did wrong.
    Status take(const api::MoveFlows& part, Outbox& out);

    // NICs that may be taken over now: all their connections are here, `from` has let go.
    std::vector<std::uint32_t> due() const;
    // Writes the connections. The NIC carries once its interface stands in and the map says so.
    Result<MoveOutcome> take_over(std::uint32_t nic);

    // What the control plane must know after a new stream or a new interface.
    Outbox announcements() const;
    static api::AgentMessage report(const api::Move& move, api::MoveReport::What what,
                                    const std::string& error = {});

  private:
    using Name = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t,
                            std::uint8_t, std::uint32_t>;
    struct Export {
        std::string attachment;
        std::map<Name, std::uint32_t> sent{};  // connection -> its flags then
        std::deque<api::MoveFlows> parts{};
        std::map<Name, Connection> turned{};  // whose other end stays here, as they were
        bool begun = false;                   // parts have been made in this life
        bool frozen = false;
    };
    struct Import {
        std::string attachment;
        std::map<Name, Connection> connections{};
        bool complete = false;  // the last part of the final pass is here
    };

    static Name name_of(const Connection& connection);
    bool is_here(std::uint32_t nic) const;
    Ends ends_without(const Connection& connection, std::uint32_t nic) const;
    static Ends ends_with(Ends others, const Connection& connection, std::uint32_t nic);
    Result<std::vector<Connection>> connections(std::uint32_t nic);
    Export& export_of(std::uint32_t nic, const std::string& attachment);
    const Binding* binding_of(const api::Move& move) const;

    Status changed(const Change& change, Outbox& out);
    Status hand_out(const api::Move& move, bool restart, bool final, Outbox& out);
    Status let_go(const api::Move& move, Outbox& out);
    Status freeze(const api::Move& move);
    static void complete(Connection& connection, const std::map<Name, Connection>& turned);
    Status reshape(std::uint32_t nic, bool here, const std::map<Name, Connection>& turned);
    Status clear_left(std::uint32_t nic);
    Status take_back(const api::Move& move);
    void forget(std::uint32_t nic);
    std::optional<Connection> completed(const Connection& connection, Ends before, Ends after);

    const State& state_;
    Applier& applier_;
    Bindings& bindings_;
    datapath::Transfer& transfer_;
    MoveRecords records_;
    std::map<std::uint32_t, Export> exports_;  // by NIC
    std::map<std::uint32_t, Import> imports_;  // by NIC
};

// A connection as it is sent, and back. Errors: kInvalidArgument.
api::MovedFlow to_wire(const Connection& connection);
Result<Connection> from_wire(const api::MovedFlow& flow);

}  // namespace culvert::agent
