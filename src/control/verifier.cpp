// SPDX-License-Identifier: Apache-2.0
#include "control/verifier.hpp"

#include "control/verifier_walk.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {

Result<Verdict> verify(store::Store& store) {
    auto all = store.list("");
    if (!all) {
        return std::unexpected(prefixed(std::move(all.error()), "verify store"));
    }
    Verdict verdict;
    verdict.revision = all->revision;
    verdict.keys = all->kvs.size();
    StoreWalk walk(all->kvs);
    walk.read_documents();
    walk.read_platform();
    walk.check_claims();
    walk.check_leftovers();
    verdict.resources = walk.resources();
    verdict.findings = walk.take_findings();
    std::ranges::sort(verdict.findings, {}, [](const Finding& finding) {
        return std::pair(finding.key, finding.message);
    });
    return verdict;
}

boost::json::object show(const Verdict& verdict) {
    boost::json::array findings;
    for (const Finding& finding : verdict.findings) {
        findings.push_back(boost::json::object{{"key", finding.key}, {"message", finding.message}});
    }
    return {{"revision", verdict.revision},
            {"keys", verdict.keys},
            {"resources", verdict.resources},
            {"findings", std::move(findings)}};
}

// --- what is derived must be what the documents say ----------------------------------------------

namespace {

bool is_reservation(std::string_view key) {
    return key.starts_with("/idx/") || key.starts_with("/addr/");
}

bool is_derived(std::string_view key) {
    return is_reservation(key) || key.starts_with("/ref/") || key.starts_with("/alias/") ||
           key.starts_with("/app/") || key.starts_with("/user/");
}

}  // namespace

void StoreWalk::check_claims() {
    for (const auto& [key, claim] : claims_) {
        const auto row = rows_.find(key);
        if (row == rows_.end()) {
            find(key, fmt::format("missing: {} has it", claim.by));
        } else if (claim.kind == Claim::Kind::kReservation) {
            check_reservation(key, row->second, claim);
        } else if (model::lower(row->second) != model::lower(claim.value)) {
            find(key, fmt::format("is '{}', but {} says '{}'", row->second, claim.by, claim.value));
        }
    }
}

void StoreWalk::check_reservation(const std::string& key, std::string_view value,
                                  const Claim& claim) {
    const auto held = Reservation::parse(value);
    if (!held) {
        find(key, held.error().message);
    } else if (held->state != Reservation::State::kHeld) {
        find(key, fmt::format("is not held, but {} has it", claim.by));
    } else if (model::lower(held->owner) != model::lower(claim.value)) {
        find(key, fmt::format("is held by {}, but {} has it", held->owner, claim.by));
    } else if (claim.generation && *claim.generation != held->generation) {
        find(key, fmt::format("is of generation {}, but {} says {}", held->generation, claim.by,
                              *claim.generation));
    } else if (claim.least_generation && held->generation > *claim.least_generation + 1) {
        find(key, fmt::format("is of generation {}, but {} is only at {}", held->generation,
                              claim.by, *claim.least_generation));
    }
}

// What nobody claims, and the lists of what is to be freed.
void StoreWalk::check_leftovers() {
    std::map<std::string, std::string, std::less<>> listed;  // released key -> its list
    for (const auto& [list, keys] : releases_) {
        for (const std::string& key : keys) {
            if (!listed.emplace(key, list).second) {
                find(list, fmt::format("'{}' is to be freed twice", key));
            }
            const auto row = rows_.find(key);
            const auto held =
                row == rows_.end() ? fail(Code::kNotFound, "") : Reservation::parse(row->second);
            if (!held || held->state != Reservation::State::kReleased) {
                find(list, fmt::format("'{}' is to be freed, but is not released", key));
            }
        }
    }
    for (const auto& [key, value] : rows_) {
        if (!is_derived(key) || claims_.contains(key)) {
            continue;
        }
        if (!is_reservation(key)) {
            find(key, "orphan: no resource says so");
            continue;
        }
        const auto held = Reservation::parse(value);
        if (!held) {
            find(key, held.error().message);
        } else if (held->state == Reservation::State::kHeld) {
            find(key, fmt::format("orphan: held for {}, which does not have it", held->owner));
        } else if (held->state == Reservation::State::kReleased && !listed.contains(key)) {
            find(key, "is released, but in no list of what is to be freed");
        }
    }
}

}  // namespace culvert::control
