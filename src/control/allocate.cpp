// SPDX-License-Identifier: Apache-2.0
#include "control/allocate.hpp"

#include "model/balancer.hpp"

#include <fmt/format.h>

#include <charconv>

namespace culvert::control {
namespace {

constexpr int kProbes = 24;
// VNet ids are VNIs without the top bit of 24 (DESIGN.md 5)
constexpr std::uint32_t kVniLimit = 1U << 23;
// of kinds that are hashed by number in the nodes' maps: any range that is much larger than the
// maps
constexpr std::uint32_t kHashedLimit = 1U << 20;
static_assert(kHashedLimit <= model::kNicPools);

std::uint32_t limit_of(const Services& services, Kind kind) {
    switch (kind) {
        case Kind::kNic: return services.nic_limit;
        case Kind::kLink: return services.link_limit;
        case Kind::kVni: return kVniLimit;
        case Kind::kService:
        case Kind::kPool: return kHashedLimit;
    }
    return kHashedLimit;
}

std::string prefix_of(Kind kind) { return fmt::format("/idx/{}/", name_of(kind)); }

// Only these are indices of the nodes' arrays, where a stale entry must be told from the new one.
bool has_generation(std::string_view key) {
    return key.starts_with(prefix_of(Kind::kNic)) || key.starts_with(prefix_of(Kind::kLink));
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

// A number is free: takes it for `owner`. nullopt: it is taken.
Result<std::optional<Number>> try_number(Services& services, Change& change, Kind kind,
                                         std::uint32_t number, std::string_view owner) {
    std::string key = keys::index(name_of(kind), number);
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    std::uint32_t generation = next_generation(services, 0);
    if (*row) {
        auto was = Reservation::parse((*row)->value);
        if (!was) {
            return std::unexpected(prefixed(std::move(was.error()), key));
        }
        if (was->state != Reservation::State::kFree) {
            return std::optional<Number>();
        }
        generation = next_generation(services, was->generation);
        change.require(store::unchanged(key, (*row)->mod_revision));
    } else {
        change.require(store::absent(key));
    }
    change.put(key, Reservation{.generation = generation, .owner = std::string(owner)}.str());
    return Number{number, generation};
}

// Almost all are taken: looks at all of them once.
Result<std::optional<std::uint32_t>> search(Services& services, Kind kind,
                                            const std::set<std::uint32_t>& avoid) {
    const std::string prefix = prefix_of(kind);
    auto rows = services.store.list(prefix);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::set<std::uint32_t> taken = avoid;
    for (const store::KeyValue& row : rows->kvs) {
        std::uint32_t number = 0;
        std::from_chars(row.key.data() + prefix.size(), row.key.data() + row.key.size(), number);
        const auto held = Reservation::parse(row.value);
        if (!held || held->state != Reservation::State::kFree) {
            taken.insert(number);
        }
    }
    const std::uint32_t limit = limit_of(services, kind);
    const auto start = static_cast<std::uint32_t>(services.random.below(limit));
    for (std::uint32_t i = 0; i < limit; ++i) {
        const std::uint32_t number = (start + i) % limit;
        if (number != 0 && !taken.contains(number)) {
            return number;
        }
    }
    return std::optional<std::uint32_t>();
}

}  // namespace

std::string Reservation::str() const {
    switch (state) {
        case State::kHeld: return fmt::format("held {} {}", generation, owner);
        case State::kReleased: return fmt::format("released {} {}", generation, owner);
        case State::kFree: return fmt::format("free {}", generation);
    }
    return {};
}

Result<Reservation> Reservation::parse(std::string_view value) {
    Reservation out;
    const auto word_end = std::min(value.find(' '), value.size());
    const std::string_view word = value.substr(0, word_end);
    const char* const end = value.data() + value.size();
    const auto number =
        std::from_chars(value.data() + std::min(word_end + 1, value.size()), end, out.generation);
    const std::string_view rest(number.ptr, static_cast<std::size_t>(end - number.ptr));
    const bool owned = word == "held" || word == "released";
    if (number.ec != std::errc() || (!owned && word != "free") ||
        (owned && !rest.starts_with(' ')) || (!owned && !rest.empty())) {
        return fail(Code::kCorrupt, fmt::format("'{}' is not a reservation", value));
    }
    out.state = word == "held"       ? State::kHeld
                : word == "released" ? State::kReleased
                                     : State::kFree;
    out.owner = owned ? std::string(rest.substr(1)) : std::string();
    return out;
}

void Change::release(std::string key, Reservation held) {
    held.state = Reservation::State::kReleased;
    released_.push_back(key);
    put(std::move(key), held.str());
}

Result<std::optional<Change::Committed>> Change::commit(Services& services) {
    Committed committed;
    if (!released_.empty()) {
        committed.released = std::string(keys::kReleased) + services.random.uuid();
        put(committed.released, fmt::format("{}", fmt::join(released_, "\n")));
    }
    store::Txn txn;
    txn.compares = compares_;
    for (auto& [key, value] : writes_) {
        txn.success.push_back(value ? store::put(key, *value) : store::erase(key));
    }
    auto done = services.store.txn(txn);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!done->succeeded) {
        return std::optional<Committed>();
    }
    committed.revision = done->revision;
    return committed;
}

Status free_released(store::Store& store, const std::string& released) {
    auto list = store.get(released);
    if (!list) {
        return std::unexpected(std::move(list.error()));
    }
    if (!*list) {
        return {};
    }
    store::Txn txn;
    txn.compares.push_back(store::unchanged(released, (*list)->mod_revision));
    txn.success.push_back(store::erase(released));
    for (const std::string& key : lines_of((*list)->value)) {
        auto row = store.get(key);
        if (!row) {
            return std::unexpected(std::move(row.error()));
        }
        auto reservation =
            *row ? Reservation::parse((*row)->value) : Result<Reservation>(Reservation{});
        if (!reservation || reservation->state != Reservation::State::kReleased) {
            continue;  // not ours to free any more
        }
        txn.compares.push_back(store::unchanged(key, (*row)->mod_revision));
        if (has_generation(key)) {
            reservation->state = Reservation::State::kFree;
            txn.success.push_back(store::put(key, reservation->str()));
        } else {
            txn.success.push_back(store::erase(key));
        }
    }
    auto done = store.txn(txn);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    return {};  // a failed compare: somebody else frees it at this moment
}

std::uint32_t next_generation(const Services& services, std::uint32_t generation) {
    return std::max(generation + 1, services.restore_number);
}

Status may_allocate(const Services& services) {
    if (!services.numbers_are_known || services.numbers_are_known()) {
        return {};
    }
    return fail(Code::kUnavailable,
                "the control plane was restored from a backup and takes no new numbers and "
                "addresses until every node has acknowledged the restored state: try again (an "
                "operator sees with `culvert node list` which node is missing, and removes one "
                "that will not come back)",
                {}, "RestoreNotSettled");
}

std::string_view name_of(Kind kind) {
    switch (kind) {
        case Kind::kNic: return "nic";
        case Kind::kVni: return "vni";
        case Kind::kLink: return "link";
        case Kind::kService: return "service";
        case Kind::kPool: return "pool";
    }
    return "";
}

Result<Number> take_number(Services& services, Change& change, Kind kind, std::string_view owner,
                           const std::set<std::uint32_t>& avoid) {
    CULVERT_TRY_STATUS(may_allocate(services));
    const std::uint32_t limit = limit_of(services, kind);
    for (int probe = 0; probe <= kProbes; ++probe) {
        auto number = static_cast<std::uint32_t>(1 + services.random.below(limit - 1));
        if (probe == kProbes) {
            auto found = search(services, kind, avoid);
            if (!found) {
                return std::unexpected(std::move(found.error()));
            }
            if (!*found) {
                break;
            }
            number = **found;
        }
        if (avoid.contains(number)) {
            continue;
        }
        auto taken = try_number(services, change, kind, number, owner);
        if (!taken) {
            return std::unexpected(std::move(taken.error()));
        }
        if (*taken) {
            return **taken;
        }
    }
    return fail(Code::kUnavailable,
                fmt::format("all {} numbers of kind {} are taken, delete what is not needed",
                            limit - 1, name_of(kind)));
}

void release_number(Change& change, Kind kind, std::uint32_t number, std::uint32_t generation,
                    std::string_view owner) {
    change.release(keys::index(name_of(kind), number),
                   Reservation{.generation = generation, .owner = std::string(owner)});
}

}  // namespace culvert::control
