// SPDX-License-Identifier: Apache-2.0
// The data plane's programs in the running kernel (BPF_PROG_TEST_RUN), with frames and map states
// from anyone. The input is a list of steps: a frame made from a template, some of its bytes
// changed; a frame byte by byte; a change of the maps such as the control plane makes. After each
// frame: the verdict is one a program may give, it was counted once, and what leaves goes only
// where sender, link and network allow, with the bytes unchanged that must be.
//
// The fuzzer sees no coverage of the kernel: which counters moved on which hook stands for it.
// Needs root; makes a network namespace and no pins.
#include "tests/packet/row.hpp"
#include "tests/packet/world.hpp"

#include "base/assert.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <system_error>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kEth = 14, kIp = 20, kOuter = kEth + CV_ENCAP_IPV4, kTcp = 20;
constexpr std::uint32_t kStrangersLink = 10, kEmptyPool = 7, kWrongPool = 8;
constexpr std::size_t kDhcp = 248;  // of a short request
constexpr std::size_t kSteps = 12, kFrameMost = 2048;

__attribute__((section("__libfuzzer_extra_counters"))) std::uint8_t features[2 * 128 * 4];

class Input {
  public:
    explicit Input(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
    bool empty() const { return rest_.empty(); }
    std::uint8_t byte() {
        const std::uint8_t value = rest_.empty() ? 0 : rest_.front();
        rest_ = rest_.subspan(rest_.empty() ? 0 : 1);
        return value;
    }
    Bytes take(std::size_t count) {
        count = std::min(count, rest_.size());
        Bytes out(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(count));
        rest_ = rest_.subspan(count);
        return out;
    }

  private:
    std::span<const std::uint8_t> rest_;
};

std::uint16_t be16(const Bytes& b, std::size_t at) {
    return static_cast<std::uint16_t>(b[at] << 8 | b[at + 1]);
}
std::uint32_t be32(const Bytes& b, std::size_t at) {
    return static_cast<std::uint32_t>(be16(b, at)) << 16 | be16(b, at + 2);
}
// As the maps hold it: network order.
std::uint32_t address_at(const Bytes& b, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, &b[at], 4);
    return value;
}
// The NIC that a MAC names; 64 (none has that index) for all others.
std::uint32_t nic_at(const Bytes& b, std::size_t at) {
    return be16(b, at) == (CV_MAC_OUI0 << 8 | CV_MAC_OUI1) ? std::min(be32(b, at + 2), 64u) : 64;
}
bool sums_up(const Bytes& b, std::size_t at, std::size_t bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < bytes; i += 2) {
        sum += be16(b, at + i);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}
Bytes from_byte(const Bytes& b, std::size_t at) {
    return {b.begin() + static_cast<std::ptrdiff_t>(std::min(at, b.size())), b.end()};
}

// RFC 2131: a DHCPDISCOVER of the consumer.
Bytes discover() {
    Bytes out(kDhcp);
    const auto own = mac(kConsumer).bytes;
    out[0] = out[1] = 1;
    out[2] = 6;
    std::ranges::copy(own, out.begin() + 28);
    const Bytes options{99, 130, 83, 99, 53, 1, 1, 55, 2, 1, 3, 255};
    std::ranges::copy(options, out.end() - static_cast<std::ptrdiff_t>(options.size()));
    return out;
}

struct Template {
    Hook hook;
    std::uint32_t Devices::* device;
    Packet packet;
};

const std::vector<Template>& templates() {
    const auto client = ip("10.0.0.4"), next = ip("10.0.0.5"), server = ip("10.0.0.7"),
               endpoint = ip("10.0.1.5"), nat = ip("10.0.1.9");
    const auto asks = from(kConsumer).ipv4(client, endpoint).tcp(kClientPort, kPort);
    const auto answers = from(kBackend).ipv4(server, nat).tcp(kBackendPort, kFirstNatPort);
    const auto in = [](std::uint32_t source, std::uint32_t target, std::uint32_t vni) {
        return wire(kThere, kHere, vni, source, target);
    };
    constexpr std::uint32_t kVni = CV_VNI_LINK | kLink;
    const auto W = Hook::Workload, B = Hook::Backbone;
    static const std::vector<Template> kAll{
        {W, &Devices::consumer, Packet(asks).syn()},
        {W, &Devices::consumer, Packet(asks).payload(40)},
        {W, &Devices::consumer, Packet(asks).fin()},
        {W, &Devices::consumer, Packet(asks).rst()},
        {W, &Devices::backend, Packet(answers).syn_ack()},
        {W, &Devices::backend, Packet(answers).payload(60)},
        {W, &Devices::backend, Packet(answers).fin()},
        {W, &Devices::consumer, from(kConsumer).ipv4(client, next).tcp(1, 2).payload(9)},
        {W, &Devices::consumer, from(kConsumer).ipv4(client, next).udp(1, 2).payload(9)},
        {W, &Devices::neighbour, from(kNeighbour).ipv4(next, endpoint).tcp(5, kPort).syn()},
        {W, &Devices::consumer,
         Packet()
             .eth(mac(kConsumer), mac(kRouter), 0x0806)
             .arp_request(mac(kConsumer), client, endpoint)},
        {B, &Devices::backbone,
         in(kConsumer, kBackend, kVni).ipv4(client, endpoint).tcp(kClientPort, kPort).syn()},
        {B, &Devices::backbone,
         in(kConsumer, kBackend, kVni).ipv4(client, endpoint).tcp(kClientPort, kPort).payload(33)},
        {B, &Devices::backbone,
         in(kBackend, kConsumer, kVni).ipv4(endpoint, client).tcp(kPort, kClientPort).syn_ack()},
        {B, &Devices::backbone,
         in(kBackend, kConsumer, kVni).ipv4(endpoint, client).tcp(kPort, kClientPort).payload(33)},
        {B, &Devices::backbone,
         in(kNeighbour, kConsumer, kConsumerVnet).ipv4(next, client).udp(9, 9).payload(7)},
        {W, &Devices::consumer,
         Packet()
             .eth(mac(kConsumer), {{255, 255, 255, 255, 255, 255}})
             .ipv4(0, 0xffffffff)
             .fragment(0)
             .udp(68, 67)
             .raw(discover())},
    };
    return kAll;
}

// One node with two consumers, two backends, a stranger's link; and what it was, to return to.
class Node {
  public:
    Node() : world_(1 << 16, 200ms) {
        devices();
        one_link(world_);
        cv_lease lease{};
        lease.gateway = ip("10.0.0.1");
        world_.lease(kConsumer, lease);
        auto link = world_.link(kLink);
        link.consumer_vnet = kStrangerVnet;
        world_.link(kStrangersLink, link);
        world_.pool(kPool, {kBackend, kSecondBackend});
        world_.pool(kEmptyPool, {});
        world_.pool(kWrongPool, {kNeighbour});
        for (std::uint32_t i = 0; i < nics_.size(); i++) {
            nics_[i] = world_.nic(i);
        }
        for (std::uint32_t i = 0; i < links_.size(); i++) {
            links_[i] = world_.link(kLink + i);
        }
        world_.moved();
    }

    void restore() {
        for (std::uint32_t i = 1; i < nics_.size(); i++) {
            world_.nic(i, nics_[i]);
        }
        for (std::uint32_t i = 0; i < links_.size(); i++) {
            world_.link(kLink + i, links_[i]);
        }
        world_.rule(kService, kPort, kPool, kBackendPort);
        world_.forget_flows();
        world_.cursor(1);
    }

    void tweak(Input& input) {
        const auto what = input.byte();
        const std::uint32_t which = input.byte(), value = input.byte();
        if (what % 2 == 0) {
            change_link(world_, kLink + which % 2, what / 2, value);
        } else if (what % 16 != 15) {
            change_nic(world_, 1 + which % 5, what / 2, value);
        } else {
            const std::array<std::uint32_t, 3> pools{kPool, kEmptyPool, kWrongPool};
            world_.rule(kService, kPort, pools[value % 3], kBackendPort);
        }
    }

    World& world() { return world_; }

  private:
    // INVARIANT of the control plane: what a link or an index stands for changes only together with
    // its generation, and a NIC that is elsewhere has no interface here.
    static void change_link(World& world, std::uint32_t id, int field, std::uint32_t value) {
        auto link = world.link(id);
        switch (field % 6) {
            case 0: link.state = value % 4; break;
            case 1: link.generation += value; break;
            case 2: link.consumer_vnet = 100 * (value % 4); break;
            case 3: link.provider_vnet = 100 * (value % 4); break;
            case 4: link.endpoint = ip(value % 2 != 0 ? "10.0.1.5" : "10.0.0.7"); break;
            default: link.service = kService + value % 2; break;
        }
        link.generation += field % 6 >= 2 ? 1 : 0;
        world.link(id, link);
    }
    static void change_nic(World& world, std::uint32_t index, int field, std::uint32_t value) {
        auto nic = world.nic(index);
        switch (field % 5) {
            case 0:
                nic.node = value % 4;
                nic.ifindex = nic.node == kHere ? nic.ifindex : 0;
                break;
            case 1: nic.vnet = 100 * (value % 4); break;
            case 2: nic.generation += value; break;
            case 3: nic.ifindex = value % 2 != 0 ? nic.ifindex : 0; break;
            default: nic.address = ip(value % 2 != 0 ? "10.0.0.4" : "10.0.0.7"); break;
        }
        nic.generation += field % 5 == 1 || field % 5 == 4 ? 1 : 0;
        world.nic(index, nic);
    }

    World world_;
    std::array<cv_nic, 6> nics_{};
    std::array<cv_link, 2> links_{};
};

struct Seen {
    Hook hook;
    Bytes in, out;
    Moved moved;
};

std::uint64_t of(const Moved& moved, const char* name) {
    const auto at = moved.find(name);
    return at == moved.end() ? 0 : at->second;
}

// An approved link between the two networks that explains the addresses.
bool some_link(World& world, const std::function<bool(std::uint32_t, const cv_link&)>& fits) {
    return std::ranges::any_of(std::array{kLink, kStrangersLink}, [&](std::uint32_t id) {
        const auto link = world.link(id);
        return link.state == CV_LINK_APPROVED && fits(id, link);
    });
}

// By its address, or by the one that stands for IPv6 (abi/six.h), which goes with the consumer's.
bool from_to(std::uint32_t consumer, std::uint32_t endpoint, std::uint32_t index, const cv_nic& nic,
             std::uint32_t id, const cv_link& link) {
    return (consumer == nic.address && endpoint == link.endpoint) ||
           (consumer == htonl(CV_SIX_NIC | index) && endpoint == htonl(CV_SIX_ENDPOINT | id));
}

bool same(const Bytes& a, const Bytes& b, std::size_t from, std::size_t to) {
    return std::equal(a.begin() + static_cast<std::ptrdiff_t>(from),
                      a.begin() + static_cast<std::ptrdiff_t>(to),
                      b.begin() + static_cast<std::ptrdiff_t>(from));
}

// What a link does not rewrite is as it was. Both from the IP header on.
void check_rest(const Bytes& out, const Bytes& in) {
    const auto fragment = be16(in, 6) & 0x3fff;
    CULVERT_ASSERT(out.size() == in.size());
    CULVERT_ASSERT(same(out, in, 0, 4) && same(out, in, 6, 10));
    CULVERT_ASSERT(fragment != 0 || same(out, in, 4, 6));
    CULVERT_ASSERT(sums_up(out, 0, kIp) == sums_up(in, 0, kIp));
    if ((fragment & 0x1fff) != 0) {
        CULVERT_ASSERT(same(out, in, kIp, in.size()));
    } else if (in[9] == IPPROTO_UDP) {
        CULVERT_ASSERT(same(out, in, kIp + 4, kIp + 6) && same(out, in, kIp + 8, in.size()));
    } else if (in[9] == IPPROTO_ICMP) {
        // type, code; rest; the quoted header up to its checksum; what follows the quoted ports
        CULVERT_ASSERT(same(out, in, kIp, kIp + 2) && same(out, in, kIp + 4, kIp + 8 + 10));
        CULVERT_ASSERT(same(out, in, kIp + 8 + kIp + 4, in.size()));
    } else {
        // sequence, acknowledgement, offset, flags, window
        CULVERT_ASSERT(same(out, in, kIp + 4, kIp + 16) && same(out, in, kIp + kTcp, in.size()));
    }
}

// To or from a workload here: addresses are the link's, the NIC is here.
void check_delivered(World& world, const Bytes& out, std::uint32_t source, const Bytes& in_packet) {
    const auto nat = ip("10.0.1.9");
    const auto target = world.nic(nic_at(out, 0));
    const auto sender = world.nic(source);
    const auto from_address = address_at(out, kEth + 12), to_address = address_at(out, kEth + 16);
    CULVERT_ASSERT(nic_at(out, 6) == kRouter && target.node == kHere && target.ifindex != 0);
    const bool forward = some_link(world, [&](std::uint32_t id, const cv_link& link) {
        return link.consumer_vnet == sender.vnet && link.provider_vnet == target.vnet &&
               from_to(address_at(in_packet, 12), address_at(in_packet, 16), source, sender, id,
                       link) &&
               from_address == nat;
    });
    const bool back = some_link(world, [&](std::uint32_t id, const cv_link& link) {
        return link.provider_vnet == sender.vnet && link.consumer_vnet == target.vnet &&
               from_to(to_address, from_address, nic_at(out, 0), target, id, link);
    });
    CULVERT_ASSERT(forward || back);
    check_rest(from_byte(out, kEth), in_packet);
}

// A frame for the backbone: to the node of the NIC it names, under a VNI of both.
void check_sent(World& world, const Seen& seen, bool link_traffic) {
    const auto& out = seen.out;
    CULVERT_ASSERT(out.size() == seen.in.size() + CV_ENCAP_IPV4);
    const auto source = nic_at(out, kOuter - 8), target = nic_at(out, kOuter - 14);
    const auto sender = world.nic(nic_at(seen.in, 6)), receiver = world.nic(target);
    CULVERT_ASSERT(source == nic_at(seen.in, 6));
    CULVERT_ASSERT(sums_up(out, kEth, kIp) && be16(out, kEth + 2) == out.size() - kEth);
    CULVERT_ASSERT(be16(out, kEth + kIp + 4) == out.size() - kEth - kIp);
    CULVERT_ASSERT(address_at(out, kEth + 12) == node_address(kHere));
    CULVERT_ASSERT(receiver.node != kHere && receiver.node != 0 &&
                   address_at(out, kEth + 16) == node_address(receiver.node));
    CULVERT_ASSERT(be16(out, kEth + kIp + 2) == kVxlanPort);
    const auto vni = be32(out, kEth + kIp + 8 + 4) >> 8;
    const auto packet = from_byte(out, kOuter), sent = from_byte(seen.in, kEth);
    if (!link_traffic) {
        CULVERT_ASSERT(vni == sender.vnet && receiver.vnet == sender.vnet && packet == sent);
        return;
    }
    CULVERT_ASSERT((vni & CV_VNI_LINK) != 0);
    const auto link = world.link(vni & 63);
    CULVERT_ASSERT(link.state == CV_LINK_APPROVED);
    const bool forward = link.consumer_vnet == sender.vnet && link.provider_vnet == receiver.vnet &&
                         address_at(packet, 16) == link.endpoint && packet == sent;
    const bool back =
        link.provider_vnet == sender.vnet && link.consumer_vnet == receiver.vnet &&
        from_to(address_at(packet, 16), address_at(packet, 12), target, receiver, vni & 63, link);
    CULVERT_ASSERT(forward || back);
    check_rest(packet, sent);
}

// What came from the backbone: the outer source is the sending NIC's node.
void check_arrived(World& world, const Seen& seen, bool link_traffic) {
    const auto source = nic_at(seen.in, kOuter - 8), target = nic_at(seen.in, kOuter - 14);
    const auto sender = world.nic(source), receiver = world.nic(target);
    CULVERT_ASSERT(address_at(seen.in, kEth + 12) == node_address(sender.node));
    CULVERT_ASSERT(sender.node != kHere && receiver.node == kHere);
    CULVERT_ASSERT(nic_at(seen.out, 0) == target && nic_at(seen.out, 6) == kRouter);
    const auto packet = from_byte(seen.in, kOuter);
    const auto vni = be32(seen.in, kEth + kIp + 8 + 4) >> 8;
    if (!link_traffic) {
        CULVERT_ASSERT(vni == sender.vnet && vni == receiver.vnet);
        CULVERT_ASSERT(from_byte(seen.out, kEth) == packet);
        return;
    }
    CULVERT_ASSERT(world.link(vni & 63).state == CV_LINK_APPROVED);
    check_delivered(world, seen.out, source, packet);
}

// What the data plane says itself goes to the sender, in the name of whom it sent to.
void check_told(const Seen& seen) {
    const auto& out = seen.out;
    CULVERT_ASSERT(nic_at(out, 6) == kRouter && nic_at(out, 0) == nic_at(seen.in, 6));
    CULVERT_ASSERT(address_at(out, kEth + 12) == address_at(seen.in, kEth + 16));
    CULVERT_ASSERT(address_at(out, kEth + 16) == address_at(seen.in, kEth + 12));
    CULVERT_ASSERT(sums_up(out, kEth, kIp));
}

void check_reset(const Seen& seen) {
    check_told(seen);
    CULVERT_ASSERT(seen.out.size() == kEth + kIp + kTcp);
    CULVERT_ASSERT((seen.out[kEth + kIp + 13] & 0x04) != 0);
}

void check_pong(const Seen& seen) {
    check_told(seen);
    CULVERT_ASSERT(seen.in[kEth + kIp] == 8 && seen.out[kEth + kIp] == 0);
    CULVERT_ASSERT(from_byte(seen.out, kEth + kIp + 4) == from_byte(seen.in, kEth + kIp + 4));
}

void check_unreachable(const Seen& seen) {
    check_told(seen);
    const auto quoted = from_byte(seen.out, kEth + kIp + 8);
    CULVERT_ASSERT(seen.out[kEth + kIp] == 3 && sums_up(seen.out, kEth + kIp, 8 + quoted.size()));
    CULVERT_ASSERT(quoted.size() == kIp + (seen.in[kEth + 9] == IPPROTO_TCP ? kTcp : 8));
    CULVERT_ASSERT(same(quoted, from_byte(seen.in, kEth), 0, quoted.size()));
}

// To who asked, from the platform, about its own address.
void check_lease(World& world, const Seen& seen) {
    const auto yours = address_at(seen.out, kEth + kIp + 8 + 16);
    const auto asker = nic_at(seen.in, 6);
    CULVERT_ASSERT(nic_at(seen.out, 0) == asker && nic_at(seen.out, 6) == kRouter);
    CULVERT_ASSERT(address_at(seen.out, kEth + 12) == ip("168.63.129.16"));
    CULVERT_ASSERT(yours == 0 || yours == world.nic(asker).address);
    CULVERT_ASSERT(sums_up(seen.out, kEth, kIp) && seen.out[kEth + kIp + 8] == 2);
}

void check_redirected(World& world, const Seen& seen) {
    static constexpr std::array kPaths{"VNET_LOCAL",       "VNET_OUT",     "VNET_IN",
                                       "LINK_LOCAL",       "LINK_OUT",     "LINK_IN",
                                       "ARP_ANSWERED",     "RESET_SENT",   "PING_ANSWERED",
                                       "UNREACHABLE_SENT", "DHCP_ANSWERED"};
    std::uint64_t paths = 0;
    for (const auto* path : kPaths) {
        paths += of(seen.moved, path);
    }
    CULVERT_ASSERT(paths == 1);
    const auto came = from_byte(seen.in, kEth);
    if (of(seen.moved, "RESET_SENT") != 0) {
        check_reset(seen);
    } else if (of(seen.moved, "PING_ANSWERED") != 0) {
        check_pong(seen);
    } else if (of(seen.moved, "UNREACHABLE_SENT") != 0) {
        check_unreachable(seen);
    } else if (of(seen.moved, "DHCP_ANSWERED") != 0) {
        check_lease(world, seen);
    } else if (of(seen.moved, "ARP_ANSWERED") != 0) {
        CULVERT_ASSERT(nic_at(seen.out, 0) == nic_at(seen.in, 6) && be16(seen.out, 20) == 2);
    } else if (of(seen.moved, "VNET_LOCAL") != 0) {
        const auto target = world.nic(nic_at(seen.out, 0));
        CULVERT_ASSERT(target.vnet == world.nic(nic_at(seen.in, 6)).vnet);
        CULVERT_ASSERT(target.node == kHere && target.ifindex != 0);
        CULVERT_ASSERT(from_byte(seen.out, kEth) == came);
    } else if (of(seen.moved, "LINK_LOCAL") != 0) {
        check_delivered(world, seen.out, nic_at(seen.in, 6), came);
    } else if (of(seen.moved, "VNET_OUT") + of(seen.moved, "LINK_OUT") != 0) {
        check_sent(world, seen, of(seen.moved, "LINK_OUT") != 0);
    } else {
        check_arrived(world, seen, of(seen.moved, "LINK_IN") != 0);
    }
}

void note_features(Hook hook, Verdict verdict, const Moved& moved) {
    const std::size_t base = hook == Hook::Workload ? 0 : sizeof(features) / 2;
    for (const auto& [name, value] : moved) {
        const auto at = std::hash<std::string>{}(name) % 128 * 2 + (verdict == Verdict::Dropped);
        features[base + at] = 1;
    }
}

void run_frame(World& world, Hook hook, std::uint32_t ifindex, const Bytes& frame) {
    Seen seen{hook, frame, {}, {}};
    Verdict verdict{};
    try {
        auto outcome = world.send(hook, ifindex, frame);
        verdict = outcome.verdict;
        seen.out = std::move(outcome.out);
    } catch (const std::system_error&) {
        return;  // no frame that a device could bring: shorter than its Ethernet header
    }
    seen.moved = world.moved();
    note_features(hook, verdict, seen.moved);
    std::uint64_t drops = 0;
    for (const auto& [name, value] : seen.moved) {
        drops += name.starts_with("drop.") ? value : 0;
    }
    switch (verdict) {
        case Verdict::Pass:
            CULVERT_ASSERT(hook == Hook::Backbone && seen.out == frame && drops == 0);
            CULVERT_ASSERT(of(seen.moved, "NOT_OURS") == 1);
            break;
        case Verdict::Dropped: CULVERT_ASSERT(drops == 1); break;
        case Verdict::Redirected:
            CULVERT_ASSERT(drops ==
                           of(seen.moved, "RESET_SENT") + of(seen.moved, "UNREACHABLE_SENT"));
            check_redirected(world, seen);
            break;
        default: CULVERT_ASSERT(false);
    }
}

void frame_step(World& world, Input& input, std::uint8_t op) {
    const auto& all = templates();
    const auto& made = all[op % all.size()];
    auto frame = made.packet.bytes();
    for (int patches = input.byte() % 8; patches > 0 && !frame.empty(); patches--) {
        const auto at = input.byte();
        frame[at % frame.size()] = input.byte();
    }
    if (const auto cut = input.byte(); cut % 4 == 3) {
        frame.resize(std::min<std::size_t>(frame.size(), 14u + cut / 4 * 2));
    }
    run_frame(world, made.hook, devices().*made.device, frame);
}

}  // namespace
}  // namespace culvert::packet

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert::packet;
    static Node node;
    Input input({data, size});
    for (std::size_t step = 0; step < kSteps && !input.empty(); step++) {
        const auto op = input.byte();
        if (op < 160) {
            frame_step(node.world(), input, op);
        } else if (op < 224) {
            node.tweak(input);
        } else {
            const auto hook = op % 2 == 0 ? Hook::Workload : Hook::Backbone;
            const auto frame = input.take(std::min<std::size_t>(kFrameMost, 14u + input.byte()));
            run_frame(node.world(), hook,
                      hook == Hook::Workload ? devices().consumer : devices().backbone, frame);
        }
    }
    node.restore();
    return 0;
}
