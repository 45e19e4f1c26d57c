// SPDX-License-Identifier: Apache-2.0
#include "intent/graph.hpp"

#include "base/assert.hpp"

#include <algorithm>
#include <utility>

namespace culvert::intent {

// What one node has to do with one vertex.
struct Need {
    std::uint32_t count = 0;  // roots and needed parents
    std::uint64_t sent = 0;   // stamp of the content that the node was given; 0: none
    WireKey sent_key;
    bool dirty = false;
};

struct Graph::NodeState {
    std::string name;
    std::unordered_set<Vertex*> known;  // vertices with a Need of this node
    std::vector<Vertex*> dirty;
};

struct Graph::Vertex {
    Kind kind = Kind::kConfig;
    std::string name;
    std::unordered_map<Vertex*, std::uint32_t> below;
    std::uint32_t above = 0;  // edges that end here
    std::unordered_map<NodeState*, Need> needs;
    Content content;
    std::uint64_t stamp = 0;        // of content.bytes; stamps are never used twice
    std::uint64_t owner_stamp = 0;  // of content.owner_bytes
    bool stale = false;
    bool maybe_unused = false;

    bool is_object() const { return kind < Kind::kMember; }
    bool used() const { return above != 0 || !below.empty() || !needs.empty(); }
};

Graph::Graph() = default;
Graph::~Graph() = default;

Graph::Vertex* Graph::vertex(Kind kind, std::string_view name) {
    ++work_;
    auto& slot = vertices_[{kind, std::string(name)}];
    if (!slot) {
        slot = std::make_unique<Vertex>();
        slot->kind = kind;
        slot->name = name;
        slot->maybe_unused = true;
        unused_.push_back(slot.get());
        mark_stale(slot.get());
    }
    return slot.get();
}

Graph::NodeState* Graph::node(std::string_view name) {
    auto& slot = nodes_[std::string(name)];
    if (!slot) {
        slot = std::make_unique<NodeState>();
        slot->name = name;
    }
    return slot.get();
}

Graph::NodeState* Graph::find_node(std::string_view name) const {
    const auto found = nodes_.find(std::string(name));
    return found == nodes_.end() ? nullptr : found->second.get();
}

void Graph::link(Vertex* from, Vertex* to) {
    ++work_;
    ++to->above;
    if (++from->below[to] > 1) {
        return;
    }
    for (const auto& [node, need] : from->needs) {
        if (need.count > 0) {
            begin(node, to);
        }
    }
}

void Graph::unlink(Vertex* from, Vertex* to) {
    ++work_;
    const auto edge = from->below.find(to);
    CULVERT_ASSERT(edge != from->below.end() && to->above > 0);
    --to->above;
    if (--edge->second == 0) {
        from->below.erase(edge);
        for (const auto& [node, need] : from->needs) {
            if (need.count > 0) {
                end(node, to);
            }
        }
    }
    for (Vertex* vertex : {from, to}) {
        if (!vertex->maybe_unused && !vertex->used()) {
            vertex->maybe_unused = true;
            unused_.push_back(vertex);
        }
    }
}

void Graph::hold(NodeState* node, Vertex* vertex) { begin(node, vertex); }
void Graph::release(NodeState* node, Vertex* vertex) { end(node, vertex); }

void Graph::begin(NodeState* node, Vertex* vertex) {
    ++work_;
    const auto [entry, fresh] = vertex->needs.try_emplace(node);
    if (fresh) {
        node->known.insert(vertex);
    }
    if (++entry->second.count > 1) {
        return;
    }
    mark_dirty(node, vertex);
    for (const auto& [child, edges] : vertex->below) {
        begin(node, child);
    }
}

void Graph::end(NodeState* node, Vertex* vertex) {
    ++work_;
    const auto entry = vertex->needs.find(node);
    CULVERT_ASSERT(entry != vertex->needs.end() && entry->second.count > 0);
    if (--entry->second.count > 0) {
        return;
    }
    // The need itself stays until the node has been told (emit erases it).
    mark_dirty(node, vertex);
    for (const auto& [child, edges] : vertex->below) {
        end(node, child);
    }
}

void Graph::mark_dirty(NodeState* node, Vertex* vertex) {
    if (vertex->is_object()) {
        changed_.insert(node);
    }
    Need& need = vertex->needs.at(node);
    if (!need.dirty) {
        need.dirty = true;
        node->dirty.push_back(vertex);
    }
}

void Graph::mark_stale(Vertex* vertex) {
    if (!vertex->stale && vertex->is_object()) {
        vertex->stale = true;
        stale_.push_back(vertex);
    }
}

void Graph::touch(Kind kind, std::string_view name) {
    ++work_;
    const auto found = vertices_.find({kind, std::string(name)});
    if (found != vertices_.end()) {
        mark_stale(found->second.get());
    }
}

void Graph::touch_below(Kind kind, std::string_view name) {
    const auto found = vertices_.find({kind, std::string(name)});
    if (found == vertices_.end()) {
        return;
    }
    for (const auto& [child, edges] : found->second->below) {
        ++work_;
        mark_stale(child);
    }
}

void Graph::flush(const Render& render) {
    for (Vertex* vertex : std::exchange(stale_, {})) {
        ++work_;
        vertex->stale = false;
        Content content = render(vertex->kind, vertex->name);
        if (content == vertex->content) {
            continue;
        }
        const bool others_see =
            content.key != vertex->content.key || content.bytes != vertex->content.bytes;
        if (others_see) {
            vertex->stamp = ++stamp_;
        }
        vertex->owner_stamp = ++stamp_;
        vertex->content = std::move(content);
        for (const auto& [node, need] : vertex->needs) {
            ++work_;
            mark_dirty(node, vertex);
        }
    }
    collect();
}

void Graph::collect() {
    for (Vertex* vertex : std::exchange(unused_, {})) {
        vertex->maybe_unused = false;
        if (!vertex->used() && !vertex->stale) {
            ++work_;
            vertices_.erase({vertex->kind, vertex->name});
        }
    }
}

std::vector<std::string> Graph::changed() {
    std::vector<std::string> names;
    names.reserve(changed_.size());
    for (const NodeState* node : std::exchange(changed_, {})) {
        names.push_back(node->name);
    }
    std::ranges::sort(names);
    return names;
}

Graph::Change Graph::emit(NodeState* node, const std::vector<Vertex*>& which) {
    Change change;
    for (Vertex* vertex : which) {
        ++work_;
        Need& need = vertex->needs.at(node);
        need.dirty = false;
        const Content& content = vertex->content;
        const bool owner = !content.owner.empty() && content.owner == node->name;
        const std::string& bytes = owner ? content.owner_bytes : content.bytes;
        const std::uint64_t stamp = owner ? vertex->owner_stamp : vertex->stamp;
        const bool wanted = need.count > 0 && !bytes.empty();
        if (need.sent != 0 && (!wanted || need.sent_key != content.key)) {
            change.removes.push_back(need.sent_key);
            need.sent = 0;
        }
        if (wanted && need.sent != stamp) {
            change.upserts.push_back({content.key, bytes});
            need.sent = stamp;
            need.sent_key = content.key;
        }
        if (need.count == 0) {
            vertex->needs.erase(node);
            node->known.erase(vertex);
            if (!vertex->maybe_unused && !vertex->used()) {
                vertex->maybe_unused = true;
                unused_.push_back(vertex);
            }
        }
    }
    std::ranges::sort(change.upserts, {}, &Upsert::key);
    std::ranges::sort(change.removes);
    // A key that one resource gave up and another took over is an upsert alone.
    std::erase_if(change.removes, [&](const WireKey& key) {
        const auto at = std::ranges::lower_bound(change.upserts, key, {}, &Upsert::key);
        return at != change.upserts.end() && at->key == key;
    });
    return change;
}

Graph::Change Graph::take(std::string_view name) {
    NodeState* node = find_node(name);
    return node == nullptr ? Change{} : emit(node, std::exchange(node->dirty, {}));
}

Graph::Change Graph::take_all(std::string_view name) {
    NodeState* node = find_node(name);
    if (node == nullptr) {
        return {};
    }
    node->dirty.clear();
    const std::vector<Vertex*> all(node->known.begin(), node->known.end());
    for (Vertex* vertex : all) {
        vertex->needs.at(node).sent = 0;
    }
    return emit(node, all);
}

void Graph::drop(std::string_view name) {
    NodeState* node = find_node(name);
    if (node != nullptr && node->known.empty()) {
        changed_.erase(node);
        nodes_.erase(std::string(name));
    }
}

}  // namespace culvert::intent
