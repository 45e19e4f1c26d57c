// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/world.hpp"

#include "bpf/datapath.skel.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <set>
#include <stdexcept>
#include <system_error>

namespace culvert::packet {
namespace {

int print_warnings(libbpf_print_level level, const char* format, va_list arguments) {
    return level == LIBBPF_WARN ? std::vfprintf(stderr, format, arguments) : 0;
}

void check(int result, const char* doing) {
    if (result < 0) {
        throw std::system_error(-result, std::generic_category(), doing);
    }
}

template <typename Key, typename Value>
void update(bpf_map* map, const Key& key, const Value& value) {
    check(bpf_map__update_elem(map, &key, sizeof(key), &value, sizeof(value), BPF_ANY),
          bpf_map__name(map));
}

// Sums over the CPUs of every entry, read in one call.
std::vector<std::uint64_t> sums(const bpf_map* map) {
    const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
    std::uint32_t entries = bpf_map__max_entries(map), batch = 0;
    std::vector<std::uint32_t> keys(entries);
    std::vector<std::uint64_t> values(entries * cpus), added(entries);
    const int result = bpf_map_lookup_batch(bpf_map__fd(map), nullptr, &batch, keys.data(),
                                            values.data(), &entries, nullptr);
    check(result == -ENOENT ? 0 : result, bpf_map__name(map));
    for (std::uint32_t i = 0; i < entries; i++) {
        for (std::size_t cpu = 0; cpu < cpus; cpu++) {
            added[keys[i]] += values[i * cpus + cpu];
        }
    }
    return added;
}

void remove_all(const bpf_map* map) {
    Bytes key(bpf_map__key_size(map));
    while (bpf_map__get_next_key(map, nullptr, key.data(), key.size()) == 0) {
        const int result = bpf_map__delete_elem(map, key.data(), key.size(), 0);
        check(result == -ENOENT ? 0 : result, bpf_map__name(map));  // the sweep's timer was first
    }
}

void zero_all(const bpf_map* map) {
    const Bytes zero(bpf_map__value_size(map));
    for (std::uint32_t key = 0; key < bpf_map__max_entries(map); key++) {
        check(bpf_map__update_elem(map, &key, sizeof(key), zero.data(), zero.size(), BPF_ANY),
              bpf_map__name(map));
    }
}

constexpr std::uint32_t kLongerEntry = sizeof(cv_flow) + 16;

void lend(bpf_map* to, bpf_map_type type, std::uint32_t key_bytes, std::uint32_t value_bytes,
          std::uint32_t entries) {
    const int map =
        bpf_map_create(type, bpf_map__name(to), key_bytes, value_bytes, entries, nullptr);
    check(map, "make the other layout's map");
    check(bpf_map__reuse_fd(to, map), "lend a map");
    close(map);
}

std::vector<std::pair<cv_flow_key, cv_flow>> entries_of(const bpf_map* map) {
    std::vector<std::pair<cv_flow_key, cv_flow>> found;
    Bytes value(bpf_map__value_size(map));
    cv_flow_key key{}, next{};
    bool first = true;
    while (bpf_map__get_next_key(map, first ? nullptr : &key, &next, sizeof(key)) == 0) {
        first = false;
        key = next;
        if (bpf_map__lookup_elem(map, &key, sizeof(key), value.data(), value.size(), 0) == 0) {
            cv_flow flow{};
            std::memcpy(&flow, value.data(), sizeof(flow));
            found.emplace_back(key, flow);
        }
    }
    return found;
}

}  // namespace

World::World(std::uint32_t flow_entries, std::chrono::nanoseconds opening, const Quotas& quotas)
    : World(flow_entries, opening, false, quotas) {}

World::World(std::uint32_t flow_entries, std::chrono::nanoseconds opening, bool other,
             const Quotas& quotas, std::uint32_t endpoints) {
    libbpf_set_print(print_warnings);
    skeleton_ = datapath__open();
    if (!skeleton_) {
        check(-errno, "open the data plane");
    }
    auto& maps = skeleton_->maps;
    for (auto* map : {maps.cv_nics, maps.cv_nodes, maps.cv_echoes, maps.cv_sixes,
                      maps.cv_six_addresses, maps.cv_prefixes, maps.cv_services, maps.cv_rules,
                      maps.cv_pools, maps.cv_members, maps.cv_ports, maps.cv_nic_held}) {
        check(bpf_map__set_max_entries(map, 64), "size a map");
    }
    for (auto* map : {maps.cv_links, maps.cv_addresses, maps.cv_link_held}) {
        check(bpf_map__set_max_entries(map, endpoints), "size a map");
    }
    for (auto* map :
         {maps.cv_flows, maps.cv_slots, maps.cv_free, maps.cv_charges, maps.cv_accounts}) {
        check(bpf_map__set_max_entries(map, flow_entries), "size the flow maps");
    }
    if (other) {
        skeleton_->rodata->with_other = true;
        lend(maps.cv_flows_other, BPF_MAP_TYPE_HASH, sizeof(cv_flow_key), kLongerEntry,
             flow_entries);
        lend(maps.cv_slots_other, BPF_MAP_TYPE_ARRAY, 4, sizeof(cv_slot), flow_entries);
        skeleton_->rodata->with_other_accounts = true;
        lend(maps.cv_accounts_other, BPF_MAP_TYPE_ARRAY, 4, sizeof(cv_account), flow_entries);
    }
    if (opening.count() > 0) {
        skeleton_->rodata->opening_ns = static_cast<std::uint64_t>(opening.count());
    }
    skeleton_->rodata->quota_table = quotas.table;
    skeleton_->rodata->quota_nic = quotas.nic;
    skeleton_->rodata->quota_link = quotas.link;
    skeleton_->rodata->quota_opening_nic = quotas.opening_nic;
    skeleton_->rodata->quota_opening_link = quotas.opening_link;
    skeleton_->rodata->quota_nat_256 = quotas.nat_256;
    int result = datapath__load(skeleton_);
    if (result < 0) {
        datapath__destroy(skeleton_);
        check(result, "load the data plane");
    }
    reset();
}

void World::reset() {
    bpf_map* map = nullptr;
    const auto& maps = skeleton_->maps;
    // the flows' bookkeeping stays: slots without a flow, and their charges, are given back by the
    // sweep
    const std::set<const bpf_map*> kept{maps.cv_slots,    maps.cv_sweep,     maps.cv_charges,
                                        maps.cv_nic_held, maps.cv_link_held, maps.cv_nat_held,
                                        maps.cv_accounts, maps.cv_pools};
    bpf_object__for_each_map(map, skeleton_->obj) {
        if (kept.contains(map) || bpf_map__is_internal(map)) {
            continue;
        }
        switch (bpf_map__type(map)) {
            case BPF_MAP_TYPE_HASH:
            case BPF_MAP_TYPE_LRU_HASH:
            case BPF_MAP_TYPE_LPM_TRIE:
            case BPF_MAP_TYPE_HASH_OF_MAPS: remove_all(map); break;
            case BPF_MAP_TYPE_ARRAY: zero_all(map); break;
            default: break;
        }
    }
    for (const auto& [id, table] : tables_) {
        fill(table, {});
    }
    cursor(1);
    last_ = counters();
    last_drops_ = sums(skeleton_->maps.cv_drops);
}

World::~World() {
    for (const auto& [id, table] : tables_) {
        close(table);
    }
    datapath__destroy(skeleton_);
}

void World::config(const cv_config& value) {
    update(skeleton_->maps.cv_config, std::uint32_t{0}, value);
}

void World::port(std::uint32_t ifindex, std::uint32_t index, std::uint32_t flags) {
    update(skeleton_->maps.cv_ports, ifindex, cv_port{.nic = index, .flags = flags});
}

void World::nic(std::uint32_t index, const cv_nic& value) {
    update(skeleton_->maps.cv_nics, index, value);
}

void World::node(std::uint32_t index, const cv_node& value) {
    update(skeleton_->maps.cv_nodes, index, value);
}

void World::address(std::uint32_t vnet, std::uint32_t address, std::uint32_t kind,
                    std::uint32_t id) {
    update(skeleton_->maps.cv_addresses, cv_address_key{.vnet = vnet, .address = address},
           cv_address{.kind = kind, .id = id});
}

void World::six(std::uint32_t vnet, const Ipv6& at, std::uint32_t name) {
    cv_six_key key{.vnet = vnet, .address = {}};
    std::memcpy(&key.address, at.data(), at.size());
    update(skeleton_->maps.cv_sixes, key, name);
    six_name(vnet, name, at);
}

void World::six_name(std::uint32_t vnet, std::uint32_t name, const Ipv6& at) {
    cv_six six{};
    std::memcpy(&six, at.data(), at.size());
    update(skeleton_->maps.cv_six_addresses, cv_address_key{.vnet = vnet, .address = name}, six);
}

void World::forget_six_name(std::uint32_t vnet, std::uint32_t name) {
    const cv_address_key key{.vnet = vnet, .address = name};
    check(bpf_map__delete_elem(skeleton_->maps.cv_six_addresses, &key, sizeof(key), 0),
          "forget a name");
}

void World::six_endpoint(std::uint32_t vnet, const Ipv6& at, std::uint32_t link) {
    const auto name = htonl(CV_SIX_ENDPOINT | link);
    six(vnet, at, name);
    address(vnet, name, CV_ADDRESS_ENDPOINT, link);
}

void World::prefix(std::uint32_t vnet, std::uint32_t base, std::uint32_t length) {
    update(skeleton_->maps.cv_prefixes,
           cv_prefix_key{.length = 32 + length, .vnet = htonl(vnet), .address = base},
           std::uint32_t{1});
}

void World::link(std::uint32_t id, const cv_link& value) {
    update(skeleton_->maps.cv_links, id, value);
}

void World::service(std::uint32_t id, std::uint32_t provider_vnet,
                    const std::vector<std::uint32_t>& nat) {
    cv_service value{};
    value.provider_vnet = provider_vnet;
    value.nat_count = static_cast<std::uint32_t>(nat.size());
    std::copy(nat.begin(), nat.end(), value.nat);
    update(skeleton_->maps.cv_services, id, value);
}

void World::rule(std::uint32_t service, std::uint16_t port, std::uint32_t pool,
                 std::uint16_t backend_port, std::uint32_t idle_s, std::uint8_t affinity,
                 std::uint8_t protocol, std::uint8_t flags) {
    cv_rule_key key{};
    key.service = service;
    key.port = htons(port);
    key.proto = protocol;
    cv_rule value{};
    value.pool = pool;
    value.backend_port = htons(backend_port);
    value.affinity = affinity;
    value.flags = flags;
    value.idle_s = idle_s;
    update(skeleton_->maps.cv_rules, key, value);
}

void World::remove_rule(std::uint32_t service, std::uint16_t port, std::uint8_t protocol) {
    cv_rule_key key{};
    key.service = service;
    key.port = htons(port);
    key.proto = protocol;
    bpf_map__delete_elem(skeleton_->maps.cv_rules, &key, sizeof(key), 0);
}

void World::fill(int table, const std::vector<std::uint32_t>& backends) {
    std::vector<std::uint32_t> slots(CV_MAGLEV_SIZE), values(CV_MAGLEV_SIZE);
    for (std::uint32_t slot = 0; slot < CV_MAGLEV_SIZE; slot++) {
        slots[slot] = slot;
        values[slot] = backends.empty() ? 0 : backends[slot % backends.size()];
    }
    std::uint32_t count = CV_MAGLEV_SIZE;
    check(bpf_map_update_batch(table, slots.data(), values.data(), &count, nullptr), "fill a pool");
}

void World::pool(std::uint32_t id, const std::vector<std::uint32_t>& backends) {
    auto found = tables_.find(id);
    if (found == tables_.end()) {
        const int table =
            bpf_map_create(BPF_MAP_TYPE_ARRAY, "cv_pool", 4, 4, CV_MAGLEV_SIZE, nullptr);
        check(table, "make a pool");
        update(skeleton_->maps.cv_pools, id, table);
        found = tables_.emplace(id, table).first;
    }
    fill(found->second, backends);
    for (auto backend : backends) {
        member(id, backend);
    }
}

void World::member(std::uint32_t id, std::uint32_t index) {
    update(skeleton_->maps.cv_members, cv_member_key{.pool = id, .nic = index}, std::uint32_t{1});
}

void World::remove_member(std::uint32_t id, std::uint32_t index) {
    cv_member_key key{.pool = id, .nic = index};
    bpf_map__delete_elem(skeleton_->maps.cv_members, &key, sizeof(key), 0);
}

void World::cursor(std::uint32_t value) {
    std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()), value);
    std::uint32_t zero = 0;
    check(bpf_map__update_elem(skeleton_->maps.cv_cursor, &zero, sizeof(zero), values.data(),
                               values.size() * sizeof(values[0]), BPF_ANY),
          "set the cursor");
}

cv_nic World::nic(std::uint32_t index) const {
    cv_nic value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_nics, &index, 4, &value, sizeof(value), 0),
          "nic");
    return value;
}

cv_link World::link(std::uint32_t id) const {
    cv_link value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_links, &id, 4, &value, sizeof(value), 0), "link");
    return value;
}

void World::echo(std::uint32_t index, const cv_echo& value) {
    update(skeleton_->maps.cv_echoes, index, value);
}

void World::lease(std::uint32_t nic, const cv_lease& value) {
    update(skeleton_->maps.cv_leases, nic, value);
}

void World::alias(const cv_alias& value) {
    update(skeleton_->maps.cv_alias, std::uint32_t{0}, value);
}

cv_config World::config() const {
    cv_config value{};
    const std::uint32_t zero = 0;
    check(bpf_map__lookup_elem(skeleton_->maps.cv_config, &zero, 4, &value, sizeof(value), 0),
          "config");
    return value;
}

cv_echo World::echo(std::uint32_t index) const {
    cv_echo value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_echoes, &index, 4, &value, sizeof(value), 0),
          "echo");
    return value;
}

cv_node World::node(std::uint32_t index) const {
    cv_node value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_nodes, &index, 4, &value, sizeof(value), 0),
          "node");
    return value;
}

std::vector<std::pair<cv_flow_key, cv_flow>> World::flows() const {
    return entries_of(skeleton_->maps.cv_flows);
}

std::vector<std::pair<cv_flow_key, cv_flow>> World::other_flows() const {
    return entries_of(skeleton_->maps.cv_flows_other);
}

std::vector<cv_slot> World::other_slots() const {
    std::vector<cv_slot> found;
    const auto* map = skeleton_->maps.cv_slots_other;
    for (std::uint32_t place = 0; place < bpf_map__max_entries(map); place++) {
        cv_slot slot{};
        check(bpf_map__lookup_elem(map, &place, sizeof(place), &slot, sizeof(slot), 0), "slot");
        if (slot.check_ns != 0) {
            found.push_back(slot);
        }
    }
    return found;
}

void World::hand_over() {
    auto& maps = skeleton_->maps;
    for (const auto& [key, flow] : flows()) {
        Bytes longer(kLongerEntry);
        std::memcpy(longer.data(), &flow, sizeof(flow));
        check(bpf_map__update_elem(maps.cv_flows_other, &key, sizeof(key), longer.data(),
                                   longer.size(), BPF_ANY),
              "hand a flow over");
        if (flow.slot != 0) {
            const std::uint32_t place = flow.slot - 1;
            cv_slot slot{};
            check(bpf_map__lookup_elem(maps.cv_slots, &place, 4, &slot, sizeof(slot), 0), "slot");
            update(maps.cv_slots_other, place, slot);
            cv_account account{};
            check(bpf_map__lookup_elem(maps.cv_accounts, &place, 4, &account, sizeof(account), 0),
                  "account");
            update(maps.cv_accounts_other, place, account);
        }
        check(bpf_map__delete_elem(maps.cv_flows, &key, sizeof(key), 0), "hand a flow over");
    }
}

std::optional<cv_flow> World::flow(const cv_flow_key& key) const {
    cv_flow value{};
    if (bpf_map__lookup_elem(skeleton_->maps.cv_flows, &key, sizeof(key), &value, sizeof(value),
                             0) != 0) {
        return {};
    }
    return value;
}

void World::flow(const cv_flow_key& key, const cv_flow& value) {
    update(skeleton_->maps.cv_flows, key, value);
}

void World::forget_flows() { remove_all(skeleton_->maps.cv_flows); }

cv_held World::nic_held(std::uint32_t index) const {
    cv_held value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_nic_held, &index, 4, &value, sizeof(value), 0),
          "what a NIC holds");
    return value;
}

cv_held World::link_held(std::uint32_t id) const {
    cv_held value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_link_held, &id, 4, &value, sizeof(value), 0),
          "what a link holds");
    return value;
}

std::uint32_t World::nat_held(std::uint32_t link, std::uint32_t backend) const {
    const cv_nat_key key{.link = link, .backend = backend};
    std::uint32_t value = 0;
    bpf_map__lookup_elem(skeleton_->maps.cv_nat_held, &key, sizeof(key), &value, sizeof(value), 0);
    return value;  // no entry: none
}

cv_totals World::totals(std::uint32_t link, std::uint32_t nic) const {
    const cv_totals_key key{.link = link, .nic = nic};
    cv_totals value{};
    check(bpf_map__lookup_elem(skeleton_->maps.cv_totals, &key, sizeof(key), &value, sizeof(value),
                               0),
          "totals");
    return value;
}

void World::begin_totals(std::uint32_t link, std::uint32_t nic, std::uint32_t generation) {
    cv_totals value{};
    value.generation = generation;
    update(skeleton_->maps.cv_totals, cv_totals_key{.link = link, .nic = nic}, value);
}

void World::run_alone(int program) {
    Bytes frame(64);
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    check(bpf_prog_test_run_opts(program, &options), "run a program");
}

void World::walk() {
    walks_++;
    for (std::uint32_t other = 0; other < 2; other++) {
        cv_walk walk{.hand = 0, .high = 0, .other = other, .round = walks_};
        do {
            const std::uint32_t zero = 0;
            update(skeleton_->maps.cv_walk, zero, walk);
            run_alone(bpf_program__fd(skeleton_->progs.fold_flows));
            check(bpf_map__lookup_elem(skeleton_->maps.cv_walk, &zero, 4, &walk, sizeof(walk), 0),
                  "walk");
        } while (walk.hand < walk.high);
    }
}

std::uint32_t World::nat_used(std::uint32_t backend, std::uint32_t address,
                              std::uint32_t proto) const {
    const cv_nat_used_key key{.backend = backend, .nat = address, .proto = proto};
    cv_nat_used value{};
    bpf_map__lookup_elem(skeleton_->maps.cv_nat_used, &key, sizeof(key), &value, sizeof(value), 0);
    return value.round == walks_ ? value.ports : 0;
}

std::uint32_t World::write_flows(const std::vector<cv_transfer>& entries) {
    for (std::uint32_t at = 0; at < entries.size(); at++) {
        update(skeleton_->maps.cv_transfer, at, entries[at]);
    }
    const std::uint32_t zero = 0;
    cv_transfer_state state{};
    state.high = static_cast<std::uint32_t>(entries.size());
    update(skeleton_->maps.cv_transfer_state, zero, state);
    run_alone(bpf_program__fd(skeleton_->progs.write_flows));
    check(
        bpf_map__lookup_elem(skeleton_->maps.cv_transfer_state, &zero, 4, &state, sizeof(state), 0),
        "state");
    return state.count;
}

std::vector<cv_ended> World::ended() {
    std::vector<cv_ended> found;
    const auto note = [](void* context, void* data, std::size_t bytes) {
        cv_ended& to = static_cast<std::vector<cv_ended>*>(context)->emplace_back();
        std::memcpy(&to, data, std::min(bytes, sizeof(to)));
        return 0;
    };
    ring_buffer* ring =
        ring_buffer__new(bpf_map__fd(skeleton_->maps.cv_ended), note, &found, nullptr);
    if (ring == nullptr) {
        check(-errno, "read cv_ended");
    }
    ring_buffer__consume(ring);
    ring_buffer__free(ring);
    return found;
}

int World::program(Hook hook) const {
    switch (hook) {
        case Hook::Workload: return bpf_program__fd(skeleton_->progs.from_workload);
        case Hook::Backbone: return bpf_program__fd(skeleton_->progs.from_backbone);
        case Hook::Services: break;
    }
    return bpf_program__fd(skeleton_->progs.from_services);
}

Outcome World::send(Hook hook, std::uint32_t ifindex, const Bytes& frame, std::uint32_t gso_size) {
    Bytes out(frame.size() + 256);
    __sk_buff context{};
    context.ifindex = ifindex;
    context.gso_size = gso_size;
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.data_out = out.data();
    options.data_size_out = static_cast<std::uint32_t>(out.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    check(bpf_prog_test_run_opts(program(hook), &options), "run a program");
    out.resize(options.data_size_out);
    return {static_cast<Verdict>(static_cast<int>(options.retval)), out, options.duration};
}

Moved World::counters() const {
    Moved found;
    const auto counters = sums(skeleton_->maps.cv_counters);
    const auto drops = sums(skeleton_->maps.cv_drops);
#define CV_COUNTER(symbol, number, sentence) found[#symbol] = counters[number];
#include "abi/counters.def"
#undef CV_COUNTER
#define CV_DROP(symbol, number, severity, sentence) found["drop." #symbol] = drops[number];
#include "abi/drop_reasons.def"
#undef CV_DROP
    return found;
}

Moved World::moved() {
    auto now = counters();
    Moved difference;
    for (const auto& [name, value] : now) {
        if (value != last_[name]) {
            difference[name] = value - last_[name];
        }
    }
    last_ = std::move(now);
    return difference;
}

std::string World::dropped() {
    auto now = sums(skeleton_->maps.cv_drops);
    last_drops_.resize(now.size());
    std::string found;
    const auto look = [&](std::size_t number, const char* symbol) {
        for (auto times = now[number] - last_drops_[number]; times > 0; times--) {
            found += found.empty() ? symbol : std::string("+") + symbol;
        }
    };
#define CV_DROP(symbol, number, severity, sentence) look(number, #symbol);
#include "abi/drop_reasons.def"
#undef CV_DROP
    last_drops_ = std::move(now);
    return found;
}

}  // namespace culvert::packet
