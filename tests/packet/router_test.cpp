// SPDX-License-Identifier: Apache-2.0
// What a workload's own IPv6 set-up asks for: a router (RFC 4861) and its address (RFC 8415), told
// by this node, and nobody else is.
#include "tests/packet/usual_six.hpp"

#include <arpa/inet.h>

#include <initializer_list>
#include <optional>

namespace culvert::packet {
namespace {

const Ipv6 kOwn = six("fd00:1::a00:4"), kOther = six("fd00:1::a00:5"),
           kLinkLocal = six("fe80::cf:ff:fe00:1"), kRouterAddress = six("fe80::1"),
           kAllNodes = six("ff02::1"), kAllRouters = six("ff02::2"), kServers = six("ff02::1:2"),
           kUnspecified = six("::");
constexpr std::uint16_t kServerPort = 547, kAskerPort = 546;
constexpr int kSolicit = 1, kAdvertise = 2, kRequest = 3, kConfirm = 4, kRenew = 5, kRebind = 6,
              kReply = 7, kRelease = 8, kDecline = 9, kInformation = 11;
constexpr int kNotOnLink = 4;

void with_six(World& world) {
    one_link(world);
    speaks_six(world, kConsumer, kConsumerVnet, kOwn);
}
void leased(World& world) {
    with_six(world);
    cv_lease lease{};
    lease.mtu = htons(1450);
    world.lease(kConsumer, lease);
}

void put(Bytes& out, std::initializer_list<int> bytes) {
    for (const int byte : bytes) {
        out.push_back(static_cast<std::uint8_t>(byte));
    }
}
template <typename Range>
void add(Bytes& out, const Range& bytes) {
    out.insert(out.end(), std::begin(bytes), std::end(bytes));
}
void add_option(Bytes& out, int option, const Bytes& content) {
    const auto size = static_cast<int>(content.size());
    put(out, {0, option, size >> 8, size & 0xff});
    add(out, content);
}

// -- a router -----------------------------------------------------------------------------------

Packet to_group(const Ipv6& source, const Ipv6& group) {
    return Packet().eth(mac(kConsumer), {{0x33, 0x33, 0, 0, 0, 2}}).ipv6(source, group);
}
Packet looks_for_router(const Ipv6& source = kLinkLocal) {
    Bytes option;
    put(option, {1, 1});
    add(option, mac(kConsumer).bytes);
    return to_group(source, kAllRouters).hops(255).icmpv6(133, 0).raw(option);
}
Packet router_told(const Ipv6& asker) {
    Bytes rest;
    put(rest, {0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
    add(rest, mac(kRouter).bytes);
    put(rest, {5, 1, 0, 0, 0, 0, 1450 >> 8, 1450 & 0xff});
    return to(kConsumer)
        .ipv6(kRouterAddress, asker)
        .hops(255)
        .icmpv6(134, 0, 64u << 24 | 0xc0u << 16 | CV_ADVERTISED_S)
        .raw(rest);
}

// -- an address -----------------------------------------------------------------------------------

struct Message {
    int kind = kSolicit;
    std::size_t client = 14;                   // bytes of its name
    std::optional<std::uint32_t> server = {};  // whose MAC names it
    bool association = true;
    std::optional<Ipv6> has = {};
    int again = 1;  // how often the client says its name
    Bytes more = {};

    static Bytes client_name(std::size_t bytes) {
        Bytes name(bytes, 0x5a);
        return name;
    }
    static Bytes server_name(std::uint32_t nic) {
        Bytes name;
        put(name, {0, 3, 0, 1});
        add(name, mac(nic).bytes);
        return name;
    }
    static Bytes address(const Ipv6& which, int seconds) {
        Bytes out(which.begin(), which.end());
        for (int i = 0; i < 2; ++i) {
            put(out, {0, 0, seconds >> 8, seconds & 0xff});
        }
        return out;
    }
    Bytes bytes() const {
        Bytes out;
        put(out, {kind, 0xab, 0xcd, 0xef});
        for (int i = 0; client != 0 && i < again; ++i) {
            add_option(out, 1, client_name(client));
        }
        put(out, {0, 6, 0, 2, 0, 23});  // a list of what is asked for
        if (server) {
            add_option(out, 2, server_name(*server));
        }
        if (association) {
            Bytes content;
            put(content, {1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0});
            if (has) {
                add_option(content, 5, address(*has, 0));
            }
            add_option(out, 3, content);
        }
        add(out, more);
        return out;
    }
};

Packet asks(const Message& message, const Ipv6& source = kLinkLocal) {
    return to_group(source, kServers).udp(kAskerPort, kServerPort).raw(message.bytes());
}
Packet told(int kind, const Bytes& middle, std::size_t client) {
    Bytes out;
    put(out, {kind, 0xab, 0xcd, 0xef});
    add_option(out, 2, Message::server_name(kRouter));
    add(out, middle);
    if (client != 0) {
        add_option(out, 1, Message::client_name(client));
    }
    return to(kConsumer)
        .ipv6(kRouterAddress, kLinkLocal)
        .hops(255)
        .udp(kServerPort, kAskerPort)
        .raw(out);
}
Packet address_told(int kind, std::size_t client = 14) {
    Bytes content, middle;
    put(content, {1, 2, 3, 4, 0, 0, 1800 >> 8, 1800 & 0xff, 0, 0, 3150 >> 8, 3150 & 0xff});
    add_option(content, 5, Message::address(kOwn, CV_LEASE_S));
    add_option(middle, 3, content);
    return told(kind, middle, client);
}
Packet status_told(int code, std::size_t client = 14) {
    Bytes content, middle;
    put(content, {0, code});
    add(content, std::string_view("the address is the interface's, always"));
    add_option(middle, 13, content);
    return told(kReply, middle, client);
}

Row answered(std::string name, const Packet& in, const Packet& out,
             const std::string& counter = "DHCP_ANSWERED") {
    return {.name = std::move(name),
            .maps = leased,
            .in = consumer_sends(in),
            .verdict = Verdict::Redirected,
            .out = out,
            .moved = {{counter, 1}},
            .flows = 0};
}
Row refused(std::string name, const Packet& in, const std::string& reason = "DHCP",
            std::function<void(World&)> maps = leased) {
    return {.name = std::move(name),
            .maps = std::move(maps),
            .in = consumer_sends(in),
            .verdict = Verdict::Dropped,
            .moved = {{"drop." + reason, 1}},
            .flows = 0};
}

const std::vector<Row> kRouters = {
    answered("who looks for a router is told of one", looks_for_router(), router_told(kLinkLocal),
             "ND_ANSWERED"),
    answered("also without an address", looks_for_router(kUnspecified), router_told(kAllNodes),
             "ND_ANSWERED"),
    answered("also without an option", to_group(kLinkLocal, kAllRouters).hops(255).icmpv6(133, 0),
             router_told(kLinkLocal), "ND_ANSWERED"),
    refused("a solicitation that has come by a router is none", looks_for_router().hops(254),
            "ND_UNANSWERED"),
    refused("nor one with a code", to_group(kLinkLocal, kAllRouters).hops(255).icmpv6(133, 1),
            "ND_UNANSWERED"),
    refused("nobody asks in another's name", looks_for_router(kOther), "SPOOFED_ADDRESS"),
    refused("a workload's own advertisement reaches nobody",
            to_group(kLinkLocal, kAllNodes).hops(255).icmpv6(134, 0, 0x40c0ffff).payload(8),
            "MULTICAST"),
    refused("without a lease nothing is known", looks_for_router(), "ND_UNANSWERED", with_six),
    refused("without IPv6 nothing is told", looks_for_router(), "NOT_IPV4",
            [](World& world) { one_link(world); }),
};

const std::vector<Row> kAddresses = {
    answered("who solicits is offered the NIC's address", asks({}), address_told(kAdvertise)),
    answered("and gets it when it requests it",
             asks({.kind = kRequest, .server = kRouter, .has = kOwn}), address_told(kReply)),
    answered("and no other", asks({.kind = kRequest, .server = kRouter, .has = kOther}),
             address_told(kReply)),
    answered("a lease is renewed with the server that gave it",
             asks({.kind = kRenew, .server = kRouter, .has = kOwn}), address_told(kReply)),
    answered("and with any when that fails", asks({.kind = kRebind, .has = kOwn}),
             address_told(kReply)),
    answered("who has it still is told so", asks({.kind = kConfirm, .has = kOwn}), status_told(0)),
    answered("who has another is told that it is of elsewhere",
             asks({.kind = kConfirm, .has = kOther}), status_told(kNotOnLink)),
    answered("what is given back is the NIC's all the same",
             asks({.kind = kRelease, .server = kRouter, .has = kOwn}), status_told(0)),
    answered("also what is declined", asks({.kind = kDecline, .server = kRouter, .has = kOwn}),
             status_told(0)),
    answered("who asks for the rest alone needs no name",
             asks({.kind = kInformation, .client = 0, .association = false}), status_told(0, 0)),
    answered("a name may be long", asks({.client = CV_DHCP6_CLIENT_MAX}),
             address_told(kAdvertise, CV_DHCP6_CLIENT_MAX)),
    answered("and short, and its length odd", asks({.client = 3}), address_told(kAdvertise, 3)),
    answered("what comes after a broken option is not read", asks({.more = {0, 99, 0xff, 0xff, 0}}),
             address_told(kAdvertise)),
};

const std::vector<Row> kRefusals = {
    refused("another server's answer is for another", asks({.kind = kRequest, .server = kBackend})),
    refused("a request names its server", asks({.kind = kRequest})),
    refused("a renewal, too", asks({.kind = kRenew})),
    refused("and what is given back", asks({.kind = kRelease})),
    refused("who solicits names none", asks({.server = kRouter})),
    refused("nor who asks any", asks({.kind = kRebind, .server = kRouter})),
    refused("a client has a name", asks({.client = 0})),
    refused("of no more than 130 bytes", asks({.client = CV_DHCP6_CLIENT_MAX + 1})),
    refused("who solicits wants an address", asks({.association = false})),
    refused("a server's message is none of a client", asks({.kind = kReply, .server = kRouter})),
    refused("a relay is none", asks({.kind = 12})),
    refused("what is cut short is none",
            to_group(kLinkLocal, kServers).udp(kAskerPort, kServerPort).payload(3)),
    refused("nobody asks in another's name", asks({}, kOther), "SPOOFED_ADDRESS"),
    refused("a workload's own server reaches nobody",
            to_group(kLinkLocal, kAllNodes)
                .udp(kServerPort, kAskerPort)
                .raw(Message{.kind = kAdvertise}.bytes()),
            "MULTICAST"),
    refused("without IPv6 nothing is told", asks({}), "NOT_IPV4",
            [](World& world) { one_link(world); }),
};

CULVERT_PACKET_ROWS(SixRouter, kRouters);
CULVERT_PACKET_ROWS(SixAddress, kAddresses);
CULVERT_PACKET_ROWS(SixAddressRefusal, kRefusals);

}  // namespace
}  // namespace culvert::packet
