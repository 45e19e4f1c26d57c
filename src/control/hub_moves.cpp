// SPDX-License-Identifier: Apache-2.0
#include "control/hub_moves.hpp"

#include "api/intent.pb.h"
#include "base/limits.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {
namespace {

using model::MoveStage;

constexpr std::size_t kTextChars = 256;
// before a step that the store has not taken is wished for again
constexpr auto kAgain = std::chrono::seconds(1);

}  // namespace

void HubMoves::written(const model::Attachment& attachment) {
    const std::string key = attachment.nic.key();
    if (!attachment.moves()) {
        if (const auto over = moves_.find(key); over != moves_.end()) {
            ++(over->second.attachment.stage == MoveStage::kSettling ? counters_.moves
                                                                     : counters_.moves_called_off);
            moves_.erase(over);
        }
        return;
    }
    Move& move = moves_[key];
    if (move.attachment != attachment) {
        spdlog::info("hub: move nic={} {} node={} other={}", attachment.nic.str(),
                     stage_name(attachment.stage), attachment.node, attachment.other);
        const bool same =
            !move.attachment.id.empty() && move_id(move.attachment) == move_id(attachment);
        move = {.attachment = attachment, .since = clock_.steady(), .nic = same ? move.nic : 0};
    }
}

void HubMoves::erased(const std::string& nic_key) { moves_.erase(nic_key); }

HubMoves::Move* HubMoves::find(const std::string& id) {
    const auto at = std::ranges::find_if(
        moves_, [&](const auto& each) { return move_id(each.second.attachment) == id; });
    return at == moves_.end() ? nullptr : &at->second;
}

void HubMoves::connected(const std::string& node) {
    for (const auto& [key, move] : moves_) {
        // the one that it goes to says by itself that it is ready
        if (move.nic != 0 && move.attachment.node == node &&
            move.attachment.stage != MoveStage::kSettling) {
            order(move, true);
        }
    }
}

void HubMoves::order(const Move& move, bool restart) {
    api::ControlMessage message;
    message.mutable_order()->set_nic(move.nic);
    message.mutable_order()->set_attachment(move.attachment.other_id);
    message.mutable_order()->set_restart(restart);
    send_(move.attachment.node, message);
}

void HubMoves::want(Move& move, MoveStep step, const std::string& why) {
    if (!move.wished && wish_) {
        move.wished = MoveWish{
            .nic = move.attachment.nic, .id = move_id(move.attachment), .step = step, .why = why};
        move.wished_at = clock_.steady();
        wish_(*move.wished);
    }
}

bool HubMoves::on_flows(const std::string& node, const api::MoveFlows& flows) {
    Move* move = find(flows.attachment());
    if (move == nullptr || move->attachment.stage == MoveStage::kSettling) {
        return true;  // of a move that is over
    }
    if (move->attachment.node != node) {
        return false;
    }
    if (flows.final() && move->attachment.stage != MoveStage::kMoving) {
        return true;
    }
    if (move->attachment.stage == MoveStage::kPreparing) {
        move->since = clock_.steady();
    }
    api::ControlMessage message;
    *message.mutable_flows() = flows;
    send_(move->attachment.other, message);
    return true;
}

bool HubMoves::on_report(const std::string& node, const api::MoveReport& report) {
    Move* move = find(report.attachment());
    if (move == nullptr || move->attachment.stage == MoveStage::kSettling) {
        return true;
    }
    if (move->attachment.other != node) {
        return false;
    }
    const bool preparing = move->attachment.stage == MoveStage::kPreparing;
    if (preparing) {
        move->since = clock_.steady();
    }
    switch (report.what()) {
        case api::MoveReport::READY:
            move->nic = report.nic();
            order(*move, true);
            break;
        case api::MoveReport::TAKEN: order(*move, false); break;
        case api::MoveReport::COPIED:
            if (preparing) {
                want(*move, MoveStep::kLetGo);
            }
            break;
        case api::MoveReport::CARRYING:
            if (!preparing) {
                spdlog::info("hub: nic={} carries on node {} with {} connections, {} refused",
                             move->attachment.nic.str(), node, report.flows(), report.refused());
                want(*move, MoveStep::kSettle);
            }
            break;
        case api::MoveReport::FAILED:
            want(*move, MoveStep::kCallOff, report.error().substr(0, kTextChars));
            break;
        default: return false;
    }
    return true;
}

void HubMoves::tick() {
    const SteadyTime now = clock_.steady();
    for (auto& [key, move] : moves_) {
        const auto passed = now - move.since;
        switch (move.attachment.stage) {
            case MoveStage::kPreparing:
                if (passed >= limits::kMovePreparation) {
                    want(move, MoveStep::kCallOff, "the node it goes to did not get ready");
                }
                break;
            case MoveStage::kMoving:
                if (passed >= limits::kMoveTakeover) {
                    want(move, MoveStep::kCallOff, "the node it goes to did not take over");
                }
                break;
            case MoveStage::kSettling:
                if (passed >= limits::kMoveStragglers) {
                    want(move, MoveStep::kFinish);
                }
                break;
            case MoveStage::kNone: break;
        }
        if (move.wished && now - move.wished_at >= kAgain) {
            move.wished_at = now;
            wish_(*move.wished);
        }
    }
}

}  // namespace culvert::control
