// SPDX-License-Identifier: Apache-2.0
// Who needs what, by reference counts. Vertices are the objects of api/intent.proto and groups of
// them; an edge says "whoever needs this one needs that one too"; each node holds some vertices for
// reasons of its own (its roots). A change of one edge, root or object visits only what it
// concerns: the vertices that some node begins or stops to need.
//
// INVARIANT: edges form a DAG of at most a handful of levels (groups before objects), so that
// recursion is bounded. Not thread-safe: one thread at a time (it lives inside World).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace culvert::intent {

enum class Kind : std::uint8_t {
    // objects
    kConfig,           // by node name
    kPeer,             // by node name
    kNetwork,          // by VNet id
    kNic,              // by NIC id
    kNicAddress,       // by NIC id
    kEndpointAddress,  // by connection id
    kNatAddress,       // by service id, '#', position
    kFrontendAddress,  // by frontend id
    kService,          // by service id
    kPool,             // by pool id; by NIC id: its own
    kLink,             // by connection id
    kMove,             // by NIC id
    // groups
    kMember,    // of a VNet: what a node that hosts one of its NICs needs
    kNics,      // of a VNet: every attached NIC of it
    kProvider,  // of a service: what a node that hosts one of its backends needs
    kPoolHost,  // of a pool: the provider groups of the services that use it
};

// How an object is named on the wire (api.Key); 0: no object.
struct WireKey {
    std::uint32_t kind = 0;
    std::uint32_t id = 0;
    std::uint32_t address = 0;

    auto operator<=>(const WireKey&) const = default;
};

// An object as it is sent: serialized api.Object. Empty `bytes`: there is no such object (now). The
// node `owner` gets `owner_bytes` instead (its own attachment id; empty: nothing).
struct Content {
    WireKey key;
    std::string bytes;
    std::string owner;
    std::string owner_bytes;

    bool operator==(const Content&) const = default;
};

class Graph {
  public:
    struct NodeState;
    struct Vertex;
    using Render = std::function<Content(Kind kind, const std::string& name)>;

    struct Upsert {
        WireKey key;
        std::string bytes;
    };
    struct Change {
        std::vector<Upsert> upserts;   // ascending by key
        std::vector<WireKey> removes;  // ascending, none of them also in upserts
    };

    Graph();
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    // Found or made. The pointer is good until the next flush() unless an edge, a hold or a need
    // keeps the vertex.
    Vertex* vertex(Kind kind, std::string_view name);
    NodeState* node(std::string_view name);

    // Edges and holds are counted: two links need two unlinks.
    void link(Vertex* from, Vertex* to);
    void unlink(Vertex* from, Vertex* to);
    void hold(NodeState* node, Vertex* vertex);
    void release(NodeState* node, Vertex* vertex);

    // The object's content may have changed: rendered again by the next flush(). Nothing when
    // nobody refers to it.
    void touch(Kind kind, std::string_view name);
    // touch() for every object below.
    void touch_below(Kind kind, std::string_view name);

    // Renders what was touched and forgets what nobody refers to.
    void flush(const Render& render);

    // After flush(): the nodes that something changed for since the last call, each once.
    std::vector<std::string> changed();
    // What changed for the node since the last take() or take_all(). Unknown node: nothing.
    Change take(std::string_view node);
    // Everything that the node needs, as if it had been given nothing before.
    Change take_all(std::string_view node);
    // Forgets a node that holds nothing.
    void drop(std::string_view node);

    std::uint64_t work() const { return work_; }  // vertices and edges visited since construction
    std::size_t size() const { return vertices_.size(); }

  private:
    void begin(NodeState* node, Vertex* vertex);
    void end(NodeState* node, Vertex* vertex);
    void mark_dirty(NodeState* node, Vertex* vertex);
    void mark_stale(Vertex* vertex);
    void collect();
    NodeState* find_node(std::string_view name) const;
    Change emit(NodeState* node, const std::vector<Vertex*>& which);

    struct NameHash {
        std::size_t operator()(const std::pair<Kind, std::string>& key) const {
            return std::hash<std::string>{}(key.second) * 31 + static_cast<std::size_t>(key.first);
        }
    };
    std::unordered_map<std::pair<Kind, std::string>, std::unique_ptr<Vertex>, NameHash> vertices_;
    std::unordered_map<std::string, std::unique_ptr<NodeState>> nodes_;
    std::unordered_set<NodeState*> changed_;
    std::vector<Vertex*> stale_;
    std::vector<Vertex*> unused_;  // may have lost their last reference
    std::uint64_t stamp_ = 0;
    std::uint64_t work_ = 0;
};

}  // namespace culvert::intent
