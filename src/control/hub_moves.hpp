// SPDX-License-Identifier: Apache-2.0
// Moves of NICs under way: relays flows from the node that a NIC leaves to the one that it goes to,
// and wishes for the store's next step when the nodes are ready for it. A relayed part is checked
// for who sends it: a node can hand out flows of a NIC only while the store says that this NIC
// leaves it. Not thread-safe: strand-bound to the hub's worker.
#pragma once

#include "base/clock.hpp"
#include "control/hub.hpp"
#include "control/migration.hpp"
#include "model/nodes.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::api {
class ControlMessage;
class MoveFlows;
class MoveReport;
}  // namespace culvert::api

namespace culvert::control {

struct MoveWish {
    model::ResourceId nic;
    std::string id;  // migration.hpp, move_id
    MoveStep step = MoveStep::kCallOff;
    std::string why;
};

class HubMoves {
  public:
    // False: the node has no stream now.
    using Send = std::function<bool(const std::string& node, const api::ControlMessage& message)>;
    using Wish = std::function<void(MoveWish wish)>;

    HubMoves(const Clock& clock, HubCounters& counters, Send send)
        : clock_(clock), counters_(counters), send_(std::move(send)) {}
    // Without one nothing moves on.
    void on_wish(Wish wish) { wish_ = std::move(wish); }

    void written(const model::Attachment& attachment);
    void erased(const std::string& nic_key);

    // The node has a new stream: what was on its way to it is lost.
    void connected(const std::string& node);
    // From a node's stream. False: the message is out of place, the node misbehaves.
    bool on_flows(const std::string& node, const api::MoveFlows& flows);
    bool on_report(const std::string& node, const api::MoveReport& report);

    // Deadlines: a move that does not come on is called off, one that has settled ends.
    void tick();

  private:
    struct Move {
        model::Attachment attachment;
        SteadyTime since;       // in this stage, or of the last sign of life while preparing
        std::uint32_t nic = 0;  // index; 0: the node that it goes to has not said that it is ready
        std::optional<MoveWish> wished{};  // the next step is on its way to the store
        SteadyTime wished_at{};
    };

    Move* find(const std::string& id);
    void order(const Move& move, bool restart);
    void want(Move& move, MoveStep step, const std::string& why = {});

    const Clock& clock_;
    HubCounters& counters_;
    Send send_;
    Wish wish_;
    std::map<std::string, Move> moves_;  // by NIC
};

}  // namespace culvert::control
