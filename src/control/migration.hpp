// SPDX-License-Identifier: Apache-2.0
// The steps of a NIC's move to another node, as changes of its attachment (docs/decisions/0010).
// The store decides: each step is one transaction that requires the step before.
#pragma once

#include "base/result.hpp"
#include "control/keys.hpp"
#include "control/node_documents.hpp"
#include "store/store.hpp"

#include <optional>
#include <string>

namespace culvert::control {

enum class MoveStep {
    kLetGo,    // preparing -> moving
    kSettle,   // moving -> settling: the NIC is attached on the other node
    kFinish,   // settling -> none
    kCallOff,  // preparing or moving -> none, as before
};

// The attachment after the step; nullopt: it is not in a stage that the step starts from.
std::optional<model::Attachment> after_step(const model::Attachment& before, MoveStep step);

// Takes the step for the move known by `other_id` (of the attachment on the node it goes to).
// nullopt: that move is over, or not in that stage. Else the revision.
Result<std::optional<std::int64_t>> take_step(store::Store& store, const model::ResourceId& nic,
                                              const std::string& move_id, MoveStep step);

// What names a move: the id of the attachment on the node that the NIC goes to.
const std::string& move_id(const model::Attachment& attachment);

}  // namespace culvert::control
