// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/oracle.hpp"

#include "tests/oracle/refusal.hpp"

#include "abi/limits.h"
#include "abi/wire.h"

#include <algorithm>

namespace culvert::oracle {
namespace {

template <typename Map, typename Key>
auto* find(Map& map, const Key& key) {
    const auto at = map.find(key);
    return at == map.end() ? nullptr : &at->second;
}

Fate dropped(std::string reason) {
    Fate fate;
    fate.drop = std::move(reason);
    return fate;
}

void deliver(Fate& fate, std::uint32_t nic, Frame frame) {
    fate.kind = Fate::Kind::kDelivered;
    fate.target = nic;
    fate.out = frame.behind(towards(nic));
    fate.frame = std::move(frame);
}

std::size_t header_bytes(std::uint8_t protocol) { return protocol == kTcp ? 20 : 8; }

// The packet with other ends; an error says it of the packet that it quotes, which ran the other
// way.
Frame with_ends(Frame frame, const Tuple& ends) {
    if (frame.is_error()) {
        frame.quote = with_tuple(frame.quote, ends.turned());
        frame.at.source = ends.source;
        frame.at.destination = ends.destination;
        return frame;
    }
    const auto protocol = frame.at.protocol;
    frame.at = ends;
    frame.at.protocol = protocol;
    return frame;
}

std::array<std::uint32_t, 3> fragment_place(bool link, std::uint32_t sender, std::uint32_t id) {
    return {link, sender, id % CV_FRAGMENT_SLOTS};
}

// Why no flow can carry an ICMP packet; else the tuple of the flow that it is about.
std::optional<std::string> read_icmp(const Frame& frame, Tuple& at) {
    if (!frame.is_error()) {
        return frame.type == kEcho ? "PING" : "PROTOCOL";
    }
    if (frame.quote.size() < 28) {
        return "MALFORMED";
    }
    const Tuple quoted = tuple_of(frame.quote);
    if (quoted.protocol != kTcp && quoted.protocol != kUdp) {
        return "PROTOCOL";
    }
    if ((frame.quote[6] & 0x1f) || frame.quote[7]) {
        return "FRAGMENT";
    }
    if (quoted.source != frame.at.destination || quoted.destination != frame.at.source) {
        return "INNER_ADDRESS";
    }
    at = quoted.turned();
    return {};
}

}  // namespace

void Node::forget() {
    flows_.clear();
    fragments_.clear();
    affine_.clear();
}

std::vector<std::pair<std::uint32_t, Tuple>> Node::answers() const {
    std::vector<std::pair<std::uint32_t, Tuple>> found;
    for (const auto& [key, flow] : flows_) {
        if (flow.paired && !flow.primary) {
            found.emplace_back(key.scope, key.at);
        }
    }
    return found;
}

Node::Segment Node::read(const Frame& frame, bool link, std::uint32_t scope,
                         std::uint32_t sender) const {
    Segment segment;
    segment.key = Key{link, scope, frame.at};
    segment.id = segment.sent_as = frame.id;
    const auto protocol = frame.at.protocol;
    if (protocol != kTcp && protocol != kUdp && protocol != kIcmp) {
        segment.unfit = protocol == kSctp ? "SCTP" : "PROTOCOL";
    } else if (frame.options) {
        segment.unfit = "IP_OPTIONS";
    } else if (frame.is_later()) {
        const auto* first = find(fragments_, fragment_place(link, sender, frame.id));
        const std::size_t offset = (frame.fragment & kOffset) * std::size_t{8};
        if (!first || first->id != frame.id || first->key.scope != scope ||
            first->key.at.source != frame.at.source ||
            first->key.at.destination != frame.at.destination ||
            first->key.at.protocol != protocol || offset < header_bytes(protocol)) {
            segment.unfit = "FRAGMENT";
            return segment;
        }
        segment.key = first->key;
        segment.later = true;
        segment.id = first->sent_id;
    } else if (protocol == kIcmp) {
        segment.unfit = read_icmp(frame, segment.key.at).value_or("");
        segment.error = segment.unfit.empty();
    } else {
        segment.first = frame.is_fragment();
        segment.opening = protocol == kTcp && (frame.flags & (kSyn | kAck | kRst | kFin)) == kSyn;
        segment.datagram = protocol == kUdp;
    }
    return segment;
}

bool Node::is_closed(std::uint32_t node) const {
    const auto* state = find(intent_.nodes, node);
    return state && *state != NodeState::kOpen;
}

bool Node::is_closing(const Flow& flow) const {
    const auto* other = flow.paired ? find(flows_, flow.other) : nullptr;
    const bool fin = flow.fin || (other && other->fin);
    const bool back = flow.fin_back || (other && other->fin_back);
    return flow.reset || (other && other->reset) || (fin && back);
}

void Node::remove(const Key& key) {
    const auto* flow = find(flows_, key);
    const auto* other = flow && flow->paired ? find(flows_, flow->other) : nullptr;
    if (other && other->other == key) {
        flows_.erase(Key(flow->other));
    }
    flows_.erase(key);
}

void Node::touch(Flow& flow, const Segment& segment, const Frame& frame, bool reply) {
    if (segment.error || segment.later || frame.at.protocol != kTcp) {
        return;
    }
    flow.reset = flow.reset || frame.flags & kRst;
    if (frame.flags & kFin && !(frame.flags & kRst)) {
        (!reply && flow.primary ? flow.fin : flow.fin_back) = true;
    }
}

Node::Reason Node::link_admits(std::uint32_t id) const {
    const auto* link = find(intent_.links, id);
    if (!link || link->state == LinkState::kNone) {
        return "LINK_UNKNOWN";
    }
    return link->state == LinkState::kApproved ? Reason() : Reason("LINK_REFUSED");
}

// Whether the flow of the segment's key may carry it; kFresh: it is gone, the packet opens a new
// one.
Node::Reason Node::admits(const Segment& segment, const Nic& source) {
    const Flow& flow = flows_.at(segment.key);
    const Nic& target = intent_.nics.at(flow.nic);
    if (auto refusal = link_admits(flow.link)) {
        return refusal;
    }
    const bool opening = segment.opening || (segment.datagram && flow.remote && flow.primary &&
                                             is_closed(target.node));
    Reason fate;
    if (intent_.links.at(flow.link).generation != flow.link_generation) {
        fate = "LINK_STALE";
    } else if (target.generation != flow.nic_generation ||
               source.generation != flow.source_generation) {
        fate = "NO_FLOW";
    }
    return fate || opening ? doubt(segment, fate, segment.may_open(), target) : Reason();
}

Node::Reason Node::doubt(const Segment& segment, const Reason& fate, bool opening,
                         const Nic& target) {
    const Flow& flow = flows_.at(segment.key);
    const bool primary = flow.primary;
    if (!fate) {
        if (!primary) {
            return "NAT_DIRECT";
        }
        const bool here = target.node == index_;
        if (here != flow.remote && !is_closed(target.node) && !is_closing(flow)) {
            return {};
        }
    }
    remove(segment.key);
    return primary && opening ? kFresh : fate;
}

bool Node::fits(const Frame& frame) const {
    return frame.behind({}).size() + CV_ENCAP_IPV4 <= intent_.mtu;
}

Fate Node::to_nic(std::uint32_t source, const Frame& frame, std::uint32_t target) const {
    const auto* nic = find(intent_.nics, target);
    const auto& sender = intent_.nics.at(source);
    if (!nic || nic->vnet != sender.vnet) {
        return dropped("NO_DESTINATION");
    }
    Fate fate;
    if (nic->node == index_) {
        deliver(fate, target, frame);
    } else if (!fits(frame)) {
        return refused(source, frame, "TOO_BIG", intent_.mtu);
    } else {
        fate.kind = Fate::Kind::kSent;
        fate.wire = {index_, nic->node, false, sender.vnet, source, target, frame};
    }
    return fate;
}

// A first fragment: what follows it takes its way, where addresses change under another
// identification. Of one that was refused afterwards nobody has seen it: 0, until a later one
// shows it.
void Node::note(Segment& segment, const Flow& flow, std::uint32_t sender, const Choice& choice,
                Fate& fate) {
    Fragment first{segment.key, segment.id, segment.id};
    if (flow.rewritten) {
        first.sent_id = segment.id = choice.id;
        for (const auto& [where, other] : fragments_) {
            if (first.sent_id != 0 && other.sent_id == first.sent_id && other.sent_id != other.id) {
                fate.breach = "an identification that is in use";
            }
        }
    }
    fragments_[fragment_place(segment.key.link, sender, first.id)] = first;
}

void Node::learn_id(Segment& segment, std::uint32_t sender, const Choice& choice) {
    if (segment.later && segment.id == 0) {
        segment.id = choice.id;
        auto& first = fragments_.at(fragment_place(segment.key.link, sender, segment.sent_as));
        first.sent_id = choice.id;
    }
}

Fate Node::carry(const Frame& frame, const Segment& segment, const Flow& flow, Fate fate) const {
    const Nic& target = intent_.nics.at(flow.nic);
    if (flow.remote && intent_.nodes.at(target.node) == NodeState::kGone) {
        return refused(segment.key.scope, frame, "NODE_LOST", intent_.mtu);
    }
    if (flow.remote && !fits(frame)) {
        return refused(segment.key.scope, frame, "TOO_BIG", intent_.mtu);
    }
    Frame out = flow.rewritten ? with_ends(frame, flow.out) : frame;
    if (flow.rewritten && (segment.first || segment.later)) {
        out.id = segment.id;
    }
    if (flow.remote) {
        fate.kind = Fate::Kind::kSent;
        fate.wire = {index_, target.node, true, flow.link, flow.source, flow.nic, out};
    } else {
        deliver(fate, flow.nic, out);
    }
    return fate;
}

Fate Node::from_workload(std::uint32_t index, const Frame& frame, const Choice& choice) {
    const Nic& nic = intent_.nics.at(index);
    if (frame.at.source != nic.address) {
        return dropped("SPOOFED_ADDRESS");
    }
    Segment segment = read(frame, false, index, index);
    if (segment.unfit.empty() && flows_.contains(segment.key)) {
        const auto refusal = admits(segment, nic);
        if (refusal && *refusal != kFresh) {
            return refused(index, frame, *refusal, intent_.mtu);
        }
        if (!refusal) {
            Flow& flow = flows_.at(segment.key);
            Fate fate;
            touch(flow, segment, frame, false);
            learn_id(segment, index, choice);
            if (segment.first) {
                note(segment, flow, index, choice, fate);
            }
            return carry(frame, segment, flow, std::move(fate));
        }
    }
    return miss(index, frame, segment, choice);
}

// What is the destination of a packet that no flow carries?
Fate Node::miss(std::uint32_t index, const Frame& frame, Segment& segment, const Choice& choice) {
    const Nic& nic = intent_.nics.at(index);
    const auto* what = find(intent_.addresses, std::pair(nic.vnet, frame.at.destination));
    if (!what) {
        return refused(index, frame, "NO_DESTINATION", intent_.mtu);
    }
    if (what->kind == AddressKind::kNic) {
        return to_nic(index, frame, what->id);
    }
    Fate fate;
    auto refusal = resolve(nic, frame, segment, *what);
    if (refusal == "PING" && is_alive(frame.at, what->id, choice.backend != 0)) {
        return ponged(index, frame);
    }
    if (!refusal) {
        refusal = open(segment.key, what->id, index, choice, fate);
    }
    if (refusal) {
        return refused(index, frame, *refusal, intent_.mtu);
    }
    Flow& flow = flows_.at(segment.key);
    touch(flow, segment, frame, false);
    if (segment.first) {
        note(segment, flow, index, choice, fate);
    }
    return carry(frame, segment, flow, std::move(fate));
}

Node::Reason Node::resolve(const Nic& nic, const Frame& frame, const Segment& segment,
                           const Address& what) const {
    if (what.kind == AddressKind::kNat) {
        return "NAT_DIRECT";
    }
    if (what.kind == AddressKind::kFrontend) {
        return "FRONTEND_DIRECT";
    }
    if (auto refusal = link_admits(what.id)) {
        return refusal;
    }
    const Link& link = intent_.links.at(what.id);
    if (link.consumer_vnet != nic.vnet || link.endpoint != frame.at.destination) {
        return "LINK_UNKNOWN";
    }
    if (!segment.unfit.empty()) {
        return segment.unfit;
    }
    return segment.may_open() ? Reason() : Reason("NO_FLOW");
}

Fate Node::arrive_vnet(const Wire& wire) const {
    const auto* source = find(intent_.nics, wire.source);
    const auto* target = find(intent_.nics, wire.target);
    if (!source || !target || source->vnet != wire.id || target->vnet != wire.id) {
        const bool known = std::ranges::any_of(
            intent_.nics, [&](const auto& one) { return one.second.vnet == wire.id; });
        return dropped(known ? "NIC_NOT_IN_VNET" : "VNI_UNKNOWN");
    }
    if (source->node != wire.from || source->node == index_) {
        return dropped("OUTER_SOURCE");
    }
    if (target->node != index_) {
        return dropped("NIC_NOT_HERE");
    }
    if (source->address != wire.inner.at.source || target->address != wire.inner.at.destination) {
        return dropped("INNER_ADDRESS");
    }
    Fate fate;
    deliver(fate, wire.target, wire.inner);
    return fate;
}

Fate Node::from_backbone(const Wire& wire, const Choice& choice) {
    if (!wire.link) {
        return arrive_vnet(wire);
    }
    if (auto refusal = link_admits(wire.id)) {
        return dropped(*refusal);
    }
    const Link& link = intent_.links.at(wire.id);
    const auto* source = find(intent_.nics, wire.source);
    const auto* target = find(intent_.nics, wire.target);
    const bool forward = wire.inner.at.destination == link.endpoint;
    if (!source || !target || source->vnet != (forward ? link.consumer_vnet : link.provider_vnet) ||
        target->vnet != (forward ? link.provider_vnet : link.consumer_vnet)) {
        return dropped("NIC_NOT_IN_VNET");
    }
    if (source->node != wire.from || source->node == index_) {
        return dropped("OUTER_SOURCE");
    }
    if (target->node != index_) {
        return dropped("NIC_NOT_HERE");
    }
    Segment segment = read(wire.inner, true, wire.id, wire.source);
    if (!segment.unfit.empty()) {
        return dropped(segment.unfit);
    }
    return forward ? arrive_forward(wire, segment, choice) : arrive_reply(wire, segment);
}

Fate Node::arrive_forward(const Wire& wire, Segment& segment, const Choice& choice) {
    const Nic& source = intent_.nics.at(wire.source);
    if (source.address != wire.inner.at.source) {
        return dropped("INNER_ADDRESS");
    }
    Fate fate;
    Reason refusal = kFresh;
    if (const auto* flow = find(flows_, segment.key)) {
        if (flow->nic == wire.target && flow->source == wire.source) {
            refusal = admits(segment, source);
        } else if (segment.may_open()) {
            remove(segment.key);
        } else {
            refusal = "NO_FLOW";
        }
    }
    if (refusal == kFresh) {
        const Link& link = intent_.links.at(wire.id);
        const auto* rule = find(
            intent_.rules, RuleKey{link.service, segment.key.at.dport, segment.key.at.protocol});
        if (!segment.may_open()) {
            refusal = "NO_FLOW";
        } else if (!rule) {
            refusal = "NO_RULE";
        } else if (!intent_.pools.at(rule->pool).members.contains(wire.target)) {
            refusal = "NIC_NOT_IN_POOL";
        } else {
            refusal =
                open_pair(segment.key, wire.id, *rule, wire.source, wire.target, choice, fate);
        }
    }
    if (refusal) {
        return dropped(*refusal);
    }
    Flow& flow = flows_.at(segment.key);
    if (segment.first) {
        note(segment, flow, wire.source, choice, fate);
    }
    learn_id(segment, wire.source, choice);
    Frame out = with_ends(wire.inner, flow.out);
    if (segment.first || segment.later) {
        out.id = segment.id;
    }
    touch(flow, segment, wire.inner, false);
    deliver(fate, wire.target, out);
    return fate;
}

Fate Node::arrive_reply(const Wire& wire, Segment& segment) {
    const Link& link = intent_.links.at(wire.id);
    const Nic& source = intent_.nics.at(wire.source);
    const Nic& target = intent_.nics.at(wire.target);
    if (wire.inner.at.source != link.endpoint || target.address != wire.inner.at.destination) {
        return dropped("INNER_ADDRESS");
    }
    const Key turned{false, wire.target, segment.key.at.turned()};
    auto* flow = find(flows_, turned);
    if (!flow || !flow->remote || flow->link != wire.id || flow->nic != wire.source ||
        segment.opening) {
        return dropped("NO_FLOW");
    }
    if (flow->link_generation != link.generation) {
        remove(turned);
        return dropped("LINK_STALE");
    }
    if (flow->nic_generation != source.generation || flow->source_generation != target.generation) {
        remove(turned);
        return dropped("NO_FLOW");
    }
    Fate fate;
    if (segment.first) {
        note(segment, *flow, wire.source, {}, fate);
    }
    touch(*flow, segment, wire.inner, true);
    deliver(fate, wire.target, wire.inner);
    return fate;
}

}  // namespace culvert::oracle
