// SPDX-License-Identifier: Apache-2.0
#include "control/migration.hpp"

#include <utility>

namespace culvert::control {
namespace {

using model::MoveStage;

constexpr int kAttempts = 20;

void end_move(model::Attachment& attachment) {
    attachment.stage = MoveStage::kNone;
    attachment.other.clear();
    attachment.other_id.clear();
}

}  // namespace

const std::string& move_id(const model::Attachment& attachment) {
    return attachment.stage == MoveStage::kSettling ? attachment.id : attachment.other_id;
}

std::optional<model::Attachment> after_step(const model::Attachment& before, MoveStep step) {
    model::Attachment after = before;
    switch (step) {
        case MoveStep::kLetGo:
            after.stage = MoveStage::kMoving;
            return before.stage == MoveStage::kPreparing ? std::optional(after) : std::nullopt;
        case MoveStep::kSettle:
            after.stage = MoveStage::kSettling;
            std::swap(after.node, after.other);
            std::swap(after.id, after.other_id);
            return before.stage == MoveStage::kMoving ? std::optional(after) : std::nullopt;
        case MoveStep::kFinish:
            end_move(after);
            return before.stage == MoveStage::kSettling ? std::optional(after) : std::nullopt;
        case MoveStep::kCallOff:
            end_move(after);
            return before.moves() && before.stage != MoveStage::kSettling ? std::optional(after)
                                                                          : std::nullopt;
    }
    return std::nullopt;
}

Result<std::optional<std::int64_t>> take_step(store::Store& store, const model::ResourceId& nic,
                                              const std::string& id, MoveStep step) {
    const std::string key = keys::attachment(nic.key());
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const auto row = store.get(key);
        if (!row) {
            return std::unexpected(row.error());
        }
        if (!*row) {
            return std::optional<std::int64_t>();
        }
        const auto before = decode_attachment((*row)->value);
        if (!before) {
            return std::unexpected(before.error());
        }
        const auto after = move_id(*before) == id ? after_step(*before, step) : std::nullopt;
        if (!after) {
            return std::optional<std::int64_t>();
        }
        store::Txn txn;
        txn.compares.push_back(store::unchanged(key, (*row)->mod_revision));
        txn.success.push_back(store::put(key, encode(*after)));
        if (!after->moves()) {
            txn.success.push_back(store::erase(keys::ref(keys::node(before->other), nic.key())));
        }
        const auto done = store.txn(txn);
        if (!done) {
            return std::unexpected(done.error());
        }
        if (done->succeeded) {
            return std::optional(done->revision);
        }
    }
    return fail(Code::kConflict, "move: the attachment changes all the time", nic.str());
}

}  // namespace culvert::control
