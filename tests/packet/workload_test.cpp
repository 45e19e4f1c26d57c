// SPDX-License-Identifier: Apache-2.0
// From a workload: who may send, ARP, and traffic inside a VNet.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

const std::vector<Row> kSenders = {
    {.name = "a node without configuration drops everything",
     .maps = [](World&) {},
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_CONFIGURED", 1}}},
    {.name = "a configuration of another ABI version counts as none",
     .maps =
         [](World& world) {
             one_link(world);
             cv_config other{};
             other.abi_version = CV_ABI_VERSION + 1;
             world.config(other);
         },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_CONFIGURED", 1}}},
    {.name = "an interface without a NIC carries nothing",
     .in = {Hook::Workload, devices().backbone, from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)},
     .verdict = Verdict::Dropped,
     .moved = {{"drop.UNKNOWN_PORT", 1}}},
    {.name = "a source MAC of another NIC is spoofed",
     .in = consumer_sends(from(kNeighbour).ipv4(kPeer, kNobody).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_MAC", 1}}},
    {.name = "a source MAC that names no NIC is spoofed",
     .in = consumer_sends(
         Packet().eth({{0x02, 0, 0, 0, 0, 1}}, mac(kRouter)).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_MAC", 1}}},
    {.name = "the router's MAC as source is spoofed",
     .in = consumer_sends(from(kRouter).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_MAC", 1}}},
    {.name = "a source MAC beyond the NIC table is spoofed",
     .in = consumer_sends(from(0x7fffffff).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_MAC", 1}}},
    {.name = "a source address that is not the NIC's is spoofed",
     .in = consumer_sends(from(kConsumer).ipv4(kNobody, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "a detached NIC's interface carries nothing",
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kConsumer);
             nic.ifindex = 0;
             world.nic(kConsumer, nic);
         },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.UNKNOWN_PORT", 1}}},
};

const std::vector<Row> kHeaders = {
    {.name = "IPv6 is not carried yet",
     .in = consumer_sends(Packet().eth(mac(kConsumer), mac(kRouter), 0x86dd).payload(60)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_IPV4", 1}}},
    {.name = "a VLAN tag is not carried",
     .in = consumer_sends(Packet().eth(mac(kConsumer), mac(kRouter), 0x88a8).payload(60)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_IPV4", 1}}},
    {.name = "a broadcast frame is dropped",
     .in = consumer_sends(Packet()
                              .eth(mac(kConsumer), {{255, 255, 255, 255, 255, 255}})
                              .ipv4(kClient, ip("10.0.255.255"))
                              .udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MULTICAST", 1}}},
    {.name = "a multicast address is dropped, whatever the MAC",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, ip("224.0.0.251")).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MULTICAST", 1}}},
    {.name = "the broadcast address is dropped, whatever the MAC",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, ip("255.255.255.255")).udp(67, 68)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MULTICAST", 1}}},
    {.name = "an IP version other than four is malformed",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).ip_version(5).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an IP length beyond the frame is malformed",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).ip_length_error(1).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an IP length below its header is malformed",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).ip_length_error(-9).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a TCP header cut short is malformed to an endpoint",
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, ip("10.0.1.5")).protocol(IPPROTO_TCP).payload(12)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a TCP data offset below five is malformed to an endpoint",
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, ip("10.0.1.5")).tcp(kClientPort, kPort).syn().tcp_words(4)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
};

const std::vector<Row> kArp = {
    {.name = "a request for the gateway is answered with the router's MAC",
     .in = consumer_sends(Packet()
                              .eth(mac(kConsumer), {{255, 255, 255, 255, 255, 255}})
                              .arp_request(mac(kConsumer), kClient, ip("10.0.0.1"))),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).arp_reply(mac(kRouter), ip("10.0.0.1"), mac(kConsumer), kClient),
     .moved = {{"ARP_ANSWERED", 1}}},
    {.name = "a unicast request is answered, too",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), kClient, kPeer)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).arp_reply(mac(kRouter), kPeer, mac(kConsumer), kClient),
     .moved = {{"ARP_ANSWERED", 1}}},
    {.name = "a request for the asker's own address gets no answer",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), kClient, kClient)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ARP_UNANSWERED", 1}}},
    {.name = "a probe for the asker's own address gets no answer",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), 0, kClient)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ARP_UNANSWERED", 1}}},
    {.name = "an unasked reply gets no answer",
     .in =
         consumer_sends(from(kConsumer).arp_reply(mac(kConsumer), kClient, mac(kNeighbour), kPeer)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ARP_UNANSWERED", 1}}},
    {.name = "a request for an address outside the VNet gets no answer",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), kClient, ip("10.1.0.1"))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
    {.name = "an ARP sender address that is not the NIC's is spoofed",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), kPeer, kNobody)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "an ARP sender MAC that is not the NIC's is spoofed",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kNeighbour), kClient, kPeer)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_MAC", 1}}},
    {.name = "ARP of other address sizes is malformed",
     .in = consumer_sends(
         from(kConsumer).arp_request(mac(kConsumer), kClient, kPeer).arp_address_bytes(16)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "ARP cut short is malformed",
     .in = consumer_sends(from(kConsumer).arp_request(mac(kConsumer), kClient, kPeer).cut(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
};

const std::vector<Row> kInside = {
    {.name = "a NIC reaches its neighbour on this node",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1000, 53).payload(9)),
     .verdict = Verdict::Redirected,
     .out = to(kNeighbour).ipv4(kClient, kPeer).udp(1000, 53).payload(9),
     .moved = {{"VNET_LOCAL", 1}},
     .flows = 0},
    {.name = "TCP inside a VNet needs no flow and makes none",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).tcp(1000, 22).payload(9)),
     .verdict = Verdict::Redirected,
     .out = to(kNeighbour).ipv4(kClient, kPeer).tcp(1000, 22).payload(9),
     .moved = {{"VNET_LOCAL", 1}},
     .flows = 0},
    {.name = "fragments and options pass inside a VNet",
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kPeer).fragment(0x2010).ip_options(8).payload(64)),
     .verdict = Verdict::Redirected,
     .out = to(kNeighbour).ipv4(kClient, kPeer).fragment(0x2010).ip_options(8).payload(64),
     .moved = {{"VNET_LOCAL", 1}}},
    {.name = "a NIC reaches its neighbour on another node by VXLAN with the VNet's id",
     .maps = neighbour_there,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1000, 53).payload(9)),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kConsumerVnet, kConsumer, kNeighbour)
                .ipv4(kClient, kPeer)
                .udp(1000, 53)
                .payload(9),
     .moved = {{"VNET_OUT", 1}}},
    {.name = "an address nobody has is no destination",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kNobody).tcp(1, 2).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
    {.name = "the same address in another VNet is no destination",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, ip("10.0.0.7")).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
    {.name = "an address entry that names a NIC of another VNet leads nowhere",
     .meanwhile =
         [](World& world) { world.address(kConsumerVnet, kNobody, CV_ADDRESS_NIC, kBackend); },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kNobody).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
    {.name = "a neighbour that is nowhere attached has no node",
     .maps = [](World& world) { one_link(world, {.neighbour_node = 0}); },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NODE_UNKNOWN", 1}}},
    {.name = "a neighbour of this node without an interface is not here",
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kNeighbour);
             nic.ifindex = 0;
             world.nic(kNeighbour, nic);
         },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "the largest packet that the backbone carries passes",
     .maps = neighbour_there,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2).payload(1422)),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kConsumerVnet, kConsumer, kNeighbour)
                .ipv4(kClient, kPeer)
                .udp(1, 2)
                .payload(1422),
     .moved = {{"VNET_OUT", 1}}},
    {.name = "what the kernel refuses to wrap is counted",
     .maps = neighbour_there,
     .in = {Hook::Workload, devices().consumer,
            from(kConsumer).ipv4(kClient, kPeer).udp(1, 2).payload(500), 100},
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ENCAP_FAILED", 1}}},
};

CULVERT_PACKET_ROWS(Senders, kSenders);
CULVERT_PACKET_ROWS(Headers, kHeaders);
CULVERT_PACKET_ROWS(Arp, kArp);
CULVERT_PACKET_ROWS(InsideVnet, kInside);

}  // namespace
}  // namespace culvert::packet
