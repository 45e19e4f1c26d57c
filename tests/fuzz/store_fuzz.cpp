// SPDX-License-Identifier: Apache-2.0
// What a store may hold after a fault of the disk, of an older build or of ours: rows of any bytes,
// read by all who read it. Nobody crashes; what is accepted is read back as it was written and has
// its numbers within their arrays; the verifier always comes to a verdict.
#include "base/assert.hpp"
#include "control/allocate.hpp"
#include "control/hub_core.hpp"
#include "control/identity.hpp"
#include "control/identity_documents.hpp"
#include "control/keys.hpp"
#include "control/node_documents.hpp"
#include "control/restore_epoch.hpp"
#include "control/verifier.hpp"

#include <spdlog/spdlog.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace culvert::control {
namespace {

constexpr char kRow = '\x1e';  // begins a row: key, end of line, value
constexpr std::size_t kRows = 100;

std::map<std::string, std::string> rows_of(std::string_view input) {
    std::map<std::string, std::string> rows;
    while (!input.empty() && rows.size() < kRows) {
        const std::size_t end = std::min(input.find(kRow), input.size());
        const std::string_view row = input.substr(0, end);
        const std::size_t line = std::min(row.find('\n'), row.size());
        if (line > 0) {
            rows.insert_or_assign(std::string(row.substr(0, line)),
                                  std::string(row.substr(std::min(line + 1, row.size()))));
        }
        input.remove_prefix(std::min(end + 1, input.size()));
    }
    return rows;
}

template <typename Decode>
void check(std::string_view text, Decode&& decode) {
    if (const auto value = decode(text)) {
        const auto again = decode(encode(*value));
        CULVERT_ASSERT(again.has_value() && *again == *value);
    }
}

void check_row(const std::string& key, const std::string& value) {
    if (key.starts_with("/node/")) {
        check(value, decode_node);
        if (const auto node = decode_node(value)) {
            CULVERT_ASSERT(node->index > 0 && node->index < limits::kNodes);
        }
    } else if (key.starts_with("/attach/")) {
        check(value, decode_attachment);
    } else if (key.starts_with("/join/")) {
        check(value, decode_join_token);
    } else if (keys::is_revocation(key)) {
        check(value, decode_revocation);
    } else if (key.starts_with(keys::kTenants)) {
        check(value, decode_tenant);
    } else if (key.starts_with(keys::kSubscriptions)) {
        check(value, decode_subscription);
    } else if (key.starts_with(keys::kPrincipals)) {
        check(value, decode_principal);
    } else if (key.starts_with(keys::kAssignments)) {
        check(value, decode_role_assignment);
    } else if (key.starts_with("/idx/") || key.starts_with("/addr/")) {
        if (const auto held = Reservation::parse(value)) {
            CULVERT_ASSERT(Reservation::parse(held->str()) == held);
        }
    }
}

class Nowhere final : public Outlet {
  public:
    void send(StreamId, const std::string&) override {}
    void read(StreamId) override {}
    void close(StreamId, const Error&) override {}
};

void read_all(const std::map<std::string, std::string>& rows) {
    static SystemRandom random;
    const ManualClock clock{WallTime(std::chrono::seconds(1'800'000'000))};
    auto store = store::open_memory();
    std::vector<store::KeyValue> documents;
    for (const auto& [key, value] : rows) {
        check_row(key, value);
        store::Txn txn;
        txn.success.push_back(store::put(key, value));
        CULVERT_ASSERT(store->txn(txn).has_value());
        if (HubFeed::concerns(key) || keys::is_release(key) || keys::is_revocation(key) ||
            key.starts_with(keys::kHolds) || key == keys::kEpoch) {
            documents.push_back(*store->get(key).value());
        }
        if (keys::is_release(key)) {
            (void)free_released(*store, key);
        }
    }
    Nowhere outlet;
    HubCounters counters;
    HubCore hub({}, clock, outlet, counters, "e");
    hub.load(documents, store->revision());
    for (const NodeStatus& node : hub.status()) {
        CULVERT_ASSERT(node.index > 0 && node.index < limits::kNodes);
    }
    (void)Identity::open(*store, clock, random);
    (void)RestoreEpoch::read(*store);
    const auto verdict = verify(*store);
    CULVERT_ASSERT(verdict.has_value() && show(*verdict).contains("findings"));
}

}  // namespace
}  // namespace culvert::control

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    spdlog::set_level(spdlog::level::off);
    culvert::control::read_all(
        culvert::control::rows_of(std::string_view(reinterpret_cast<const char*>(data), size)));
    return 0;
}
