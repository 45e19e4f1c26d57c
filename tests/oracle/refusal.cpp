// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/refusal.hpp"

#include "abi/wire.h"

#include <map>

namespace culvert::oracle {
namespace {

constexpr std::uint8_t kHost = 1, kProtocol = 2, kPort = 3, kTooBig = 4, kProhibited = 13;

// Reasons that are told, and how ICMP says them (RFC 792, RFC 1812 5.2.7.1).
const std::map<std::string, std::uint8_t> kTold = {
    {"NO_RULE", kPort},
    {"NAT_DIRECT", kPort},
    {"NO_FLOW", kPort},
    {"SCTP", kProtocol},
    {"PROTOCOL", kProtocol},
    {"NO_BACKEND", kHost},
    {"PING", kHost},
    {"NODE_LOST", kHost},
    {"LINK_REFUSED", kProhibited},
    {"LINK_UNKNOWN", kProhibited},
    {"LINK_STALE", kProhibited},
    {"FLOW_QUOTA", kProhibited},
    {"NAT_QUOTA", kProhibited},
    {"TOO_BIG", kTooBig},
};

// RFC 9293 3.10.7.1; nothing where a segment is not answered.
Bytes reset(std::uint32_t nic, const Frame& frame) {
    if (frame.flags & kRst || frame.is_later() || frame.options) {
        return {};
    }
    auto answer = towards(nic)
                      .ipv4(frame.at.destination, frame.at.source)
                      .ip_id(0)
                      .tcp(frame.at.dport, frame.at.sport);
    if (frame.flags & kAck) {
        return answer.resets_ack().bytes();
    }
    const std::uint32_t length =
        frame.bytes + (frame.flags & kSyn ? 1u : 0u) + (frame.flags & kFin ? 1u : 0u);
    return answer.resets(length).bytes();
}

Bytes unreachable(std::uint32_t nic, const Frame& frame, std::uint8_t code, std::uint32_t mtu) {
    const bool icmp = frame.at.protocol == kIcmp;
    if (frame.is_later() || frame.options || (icmp && frame.type != kEcho)) {
        return {};
    }
    return towards(nic)
        .ipv4(frame.at.destination, frame.at.source)
        .ip_id(0)
        .fragment(0)
        .icmp(kUnreachable, code, mtu)
        .raw(frame.quoted(frame.at.protocol == kTcp ? 20 : 8))
        .bytes();
}

}  // namespace

packet::Packet towards(std::uint32_t nic) {
    return packet::Packet().eth(net::Mac::of_nic(0), net::Mac::of_nic(nic));
}

Fate refused(std::uint32_t nic, const Frame& frame, const std::string& reason, std::uint32_t mtu) {
    Fate fate;
    fate.drop = reason;
    fate.target = nic;
    const auto told = kTold.find(reason);
    if (told == kTold.end()) {
        return fate;
    }
    if (told->second == kTooBig) {
        fate.out = unreachable(nic, frame, kTooBig, mtu - CV_ENCAP_IPV4);
    } else {
        fate.out = frame.at.protocol == kTcp ? reset(nic, frame)
                                             : unreachable(nic, frame, told->second, 0);
    }
    fate.kind = fate.out.empty() ? Fate::Kind::kDropped : Fate::Kind::kAnswered;
    return fate;
}

Fate ponged(std::uint32_t nic, const Frame& frame) {
    Fate fate;
    fate.kind = Fate::Kind::kAnswered;
    fate.target = nic;
    Frame pong = frame;
    pong.at = frame.at.turned();
    pong.type = kEchoReply;
    fate.out = pong.behind(towards(nic));
    return fate;
}

}  // namespace culvert::oracle
