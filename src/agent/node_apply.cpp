// SPDX-License-Identifier: Apache-2.0
// A delta's changes into the kernel, in the plan's order.
#include "agent/node.hpp"
#include "datapath/layout.hpp"

#include <utility>

namespace culvert::agent {

Status Node::apply(Core& core, const Change& change) {
    const auto kept = core.nat->takes(change, core.state);
    if (!kept) {
        return std::unexpected(kept.error());
    }
    return *kept ? Status() : core.applier->apply(change);
}

// Those that do not fit the kernel's maps are taken back and come back as what is left.
Result<std::vector<Change>> Node::apply(Core& core, std::span<const Change> changes, Status& why) {
    std::vector<Change> left;
    for (const Change& change : changes) {
        auto applied = apply(core, change);
        if (applied) {
            core.state.commit(change);
            continue;
        }
        core.state.forget_version();
        const bool full = applied.error().code == Code::kTooLarge;
        why = std::unexpected(
            prefixed(std::move(applied.error()),
                     (full ? "no room: apply " : "apply ") + to_string(change.key)));
        if (!full) {
            return std::unexpected(why.error());
        }
        CULVERT_TRY_STATUS(core.applier->apply({change.key, change.after, change.before}));
        left.push_back(change);
    }
    return left;
}

// What does not fit is left out and the rest goes on: one owner's abundance holds up nobody else.
// Nothing is acknowledged then; what is missing is sent again.
Status Node::apply(Core& core, const Plan& plan) {
    Status why;
    auto left = apply(core, plan.changes, why);
    if (left && !left->empty()) {  // removals, which come last, have made room
        left = apply(core, std::vector(std::move(*left)), why);
    }
    if (!left) {
        return std::unexpected(left.error());
    }
    if (!left->empty()) {
        CULVERT_TRY_STATUS(refresh_pools(core));
        return why;
    }
    core.state.conclude(plan);
    CULVERT_TRY_STATUS(refresh_pools(core));
    if (!core.pruned) {
        CULVERT_TRY_STATUS(core.applier->retain(core.state));
        CULVERT_TRY_STATUS(core.nat->stand());
        core.pruned = true;
    }
    if (plan.snapshot ? core.nat->empty() : !core.nat->fresh()) {
        return {};
    }
    datapath::wait_for_programs();  // who has not seen the service without an address
    // a whole intent may be that of a restored store, which knows nothing of addresses in use
    return plan.snapshot ? core.nat->end_all(core.state) : mind_nat(core);
}

}  // namespace culvert::agent
