// SPDX-License-Identifier: Apache-2.0
// What one node must do with a packet, said plainly: no hashes, no differences of checksums, no
// packed keys, no clock. Where the data plane is free to choose (a backend, a NAT port, an
// identification) the oracle takes over what it chose after asking whether it may.
#pragma once

#include "tests/oracle/frame.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace culvert::oracle {

enum class LinkState { kNone, kApproved, kRefused };
enum class NodeState { kOpen, kClosed, kGone };

struct Nic {
    std::uint32_t address = 0, vnet = 0, node = 0, generation = 1;
};
struct Link {
    LinkState state = LinkState::kNone;
    std::uint32_t generation = 1, service = 0, consumer_vnet = 0, provider_vnet = 0, endpoint = 0;
};
struct RuleKey {
    std::uint32_t service = 0;
    std::uint16_t port = 0;
    std::uint8_t protocol = kTcp;
    auto operator<=>(const RuleKey&) const = default;
};
struct Rule {
    std::uint32_t pool = 0;
    std::uint16_t backend_port = 0;
    std::uint8_t affinity = 5;
};
struct Pool {
    std::vector<std::uint32_t> table;  // backends that take connections
    std::set<std::uint32_t> members;   // who may answer at all
};

enum class AddressKind { kNic, kEndpoint, kNat, kFrontend };
struct Address {
    AddressKind kind = AddressKind::kNic;
    std::uint32_t id = 0;
};

// What a node knows.
struct Intent {
    std::map<std::uint32_t, Nic> nics;
    std::map<std::uint32_t, NodeState> nodes;
    std::map<std::pair<std::uint32_t, std::uint32_t>, Address> addresses;  // by VNet and address
    std::map<std::uint32_t, Link> links;
    std::map<std::uint32_t, std::vector<std::uint32_t>> nat;  // by service
    std::map<RuleKey, Rule> rules;
    std::map<std::uint32_t, Pool> pools;
    std::uint32_t mtu = 1500;
};

// A frame between two nodes.
struct Wire {
    std::uint32_t from = 0, to = 0;  // nodes
    bool link = false;               // `id` is a link's, not a VNet's
    std::uint32_t id = 0, source = 0, target = 0;
    Frame inner;
};

// What the data plane seems to have chosen, read from what it did.
struct Choice {
    std::uint32_t backend = 0;  // 0: none
    std::uint32_t nat = 0;
    std::uint16_t port = 0;
    std::uint16_t id = 0;
};

struct Fate {
    enum class Kind { kDropped, kDelivered, kSent, kAnswered };
    Kind kind = Kind::kDropped;
    std::string drop;          // as drop_reasons.def names it; empty: none was counted
    std::uint32_t target = 0;  // kDelivered, kAnswered: the NIC that gets `out`
    Bytes out;
    Frame frame;         // kDelivered: what `out` says
    Wire wire;           // kSent
    std::string breach;  // not empty: the data plane chose what it may not
};

class Node {
  public:
    Node(std::uint32_t index, Intent& intent) : index_(index), intent_(intent) {}

    Fate from_workload(std::uint32_t nic, const Frame& frame, const Choice& choice);
    Fate from_backbone(const Wire& wire, const Choice& choice);
    void forget();
    // Tuples under which backends here are spoken to, turned round: what they answer with.
    std::vector<std::pair<std::uint32_t, Tuple>> answers() const;
    std::size_t flows() const { return flows_.size(); }

  private:
    struct Key {
        bool link = false;  // scope is a link, else the sending NIC
        std::uint32_t scope = 0;
        Tuple at;
        auto operator<=>(const Key&) const = default;
    };
    struct Flow {
        bool primary = false, paired = false;
        bool remote = false;     // goes to another node
        bool rewritten = false;  // carried with the ends `out`
        Tuple out;
        std::uint32_t link = 0, link_generation = 0;
        std::uint32_t nic = 0, nic_generation = 0, source = 0, source_generation = 0;
        bool fin = false, fin_back = false, reset = false;
        Key other;
    };
    struct Fragment {
        Key key;
        std::uint16_t id = 0, sent_id = 0;
    };
    // What a packet is to flows.
    struct Segment {
        Key key;
        std::string unfit;  // why none can carry it
        bool error = false, first = false, later = false;
        std::uint16_t id = 0, sent_as = 0;  // identification as it goes on, and as it came
        bool opening = false, datagram = false;
        bool may_open() const { return opening || datagram; }
    };
    using Reason = std::optional<std::string>;
    static constexpr const char* kFresh = "fresh";

    Segment read(const Frame& frame, bool link, std::uint32_t scope, std::uint32_t sender) const;
    Reason admits(const Segment& segment, const Nic& source);
    Reason doubt(const Segment& segment, const Reason& fate, bool opening, const Nic& target);
    Reason link_admits(std::uint32_t id) const;
    bool is_closing(const Flow& flow) const;
    bool is_closed(std::uint32_t node) const;
    void remove(const Key& key);
    static void touch(Flow& flow, const Segment& segment, const Frame& frame, bool reply);
    Fate miss(std::uint32_t index, const Frame& frame, Segment& segment, const Choice& choice);
    Reason resolve(const Nic& nic, const Frame& frame, const Segment& segment,
                   const Address& what) const;
    Reason choose(std::uint32_t link, const Rule& rule, const Tuple& at, const Choice& choice,
                  Fate& fate);
    Reason open(const Key& key, std::uint32_t link, std::uint32_t consumer, const Choice& choice,
                Fate& fate);
    Reason open_pair(const Key& key, std::uint32_t link, const Rule& rule, std::uint32_t consumer,
                     std::uint32_t backend, const Choice& choice, Fate& fate);
    bool is_alive(const Tuple& at, std::uint32_t link, bool answered);
    void note(Segment& segment, const Flow& flow, std::uint32_t sender, const Choice& choice,
              Fate& fate);
    void learn_id(Segment& segment, std::uint32_t sender, const Choice& choice);
    Fate carry(const Frame& frame, const Segment& segment, const Flow& flow, Fate fate) const;
    Fate to_nic(std::uint32_t source, const Frame& frame, std::uint32_t target) const;
    Fate arrive_vnet(const Wire& wire) const;
    Fate arrive_forward(const Wire& wire, Segment& segment, const Choice& choice);
    Fate arrive_reply(const Wire& wire, Segment& segment);
    bool fits(const Frame& frame) const;

    std::uint32_t index_;
    Intent& intent_;
    std::map<Key, Flow> flows_;
    std::map<std::array<std::uint32_t, 3>, Fragment> fragments_;
    // Which backend a pool's table gave for the hashed part of a tuple.
    std::map<std::tuple<std::uint32_t, Tuple, std::vector<std::uint32_t>>, std::uint32_t> affine_;
};

}  // namespace culvert::oracle
