// SPDX-License-Identifier: Apache-2.0
// From the backbone: what is ours, what shape it must have, and traffic inside a VNet.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

const std::vector<Row> kNotOurs = {
    {.name = "UDP to another port is the host's",
     .in = backbone_brings(Packet()
                               .eth(mac(1), mac(2))
                               .ipv4(node_address(kThere), node_address(kHere))
                               .udp(kVxlanPort, 53)),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "VXLAN to another address is the host's",
     .in = backbone_brings(wire(kThere, kElsewhere, kLinkVni, kConsumer, kBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, kPort)),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "TCP to the port of VXLAN is the host's",
     .in = backbone_brings(Packet()
                               .eth(mac(1), mac(2))
                               .ipv4(node_address(kThere), node_address(kHere))
                               .tcp(1, kVxlanPort)),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "ARP on the backbone is the host's",
     .in = backbone_brings(
         Packet().eth(mac(1), mac(2)).arp_request(mac(1), node_address(2), node_address(1))),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "an outer fragment is the host's",
     .in = backbone_brings(Packet()
                               .eth(mac(1), mac(2))
                               .ipv4(node_address(kThere), node_address(kHere))
                               .fragment(0x2000)
                               .udp(1, kVxlanPort)
                               .payload(64)),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "without a configuration everything is the host's",
     .maps = [](World&) {},
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
    {.name = "VXLAN is recognised by the configured port only",
     .meanwhile =
         [](World& world) {
             cv_config config{};
             config.abi_version = CV_ABI_VERSION;
             config.outer_family = 4;
             config.udp_port = htons(8472);
             auto here = node_address(kHere);
             std::copy_n(reinterpret_cast<const std::uint8_t*>(&here), 4, config.outer);
             world.config(config);
         },
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Pass,
     .moved = {{"NOT_OURS", 1}}},
};

const std::vector<Row> kShape = {
    {.name = "VXLAN without a VNI is malformed",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().vxlan_flags(0)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "VXLAN cut before the inner IP header is malformed",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().cut(80)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "VXLAN cut inside its own header is malformed",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().cut(45)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "VXLAN cut inside the TCP header is malformed",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().cut(96)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an inner frame that is not IPv4 is not carried",
     .maps = consumer_there,
     .in = backbone_brings(wire(kThere, kHere, kLinkVni, kConsumer, kBackend)
                               .arp_request(mac(kConsumer), kClient, kEndpoint)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_IPV4", 1}}},
    {.name = "an inner IP version other than four is malformed",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().ip_version(6)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "UDP under a link's id needs a rule of its own",
     .maps = consumer_there,
     .in = backbone_brings(
         tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).udp(1, kPort).payload(20)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_RULE", 1}}},
    {.name = "inner IP options under a link's id are dropped",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn().ip_options(4)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.IP_OPTIONS", 1}}},
};

const std::vector<Row> kInside = {
    {.name = "a VNet's packet from another node reaches its NIC",
     .maps = neighbour_there,
     .in = backbone_brings(tunnel(kConsumerVnet, kNeighbour, kConsumer)
                               .ipv4(kPeer, kClient)
                               .udp(53, 1000)
                               .payload(9)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kPeer, kClient).udp(53, 1000).payload(9),
     .moved = {{"VNET_IN", 1}}},
    {.name = "a VNI that names nothing is unknown",
     .maps = neighbour_there,
     .in = backbone_brings(tunnel(12345, kNeighbour, kConsumer).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.VNI_UNKNOWN", 1}}},
    {.name = "VNI zero is unknown",
     .maps = neighbour_there,
     .in = backbone_brings(tunnel(0, kNeighbour, kConsumer).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.VNI_UNKNOWN", 1}}},
    {.name = "the VNI of another VNet does not name these NICs",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kProviderVnet, kNeighbour, kConsumer).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "a sender of another VNet is refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kStranger, kConsumer).ipv4(ip("10.0.0.6"), kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "a target of another VNet is refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, kBackend).ipv4(kPeer, kServer).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "MACs that name no NIC are refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kRouter, kConsumer).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "a NIC index beyond the table is refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, 0xffffffff).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "a node that the sending NIC is not on is refused",
     .maps = neighbour_there,
     .in = backbone_brings(wire(kElsewhere, kHere, kConsumerVnet, kNeighbour, kConsumer)
                               .ipv4(kPeer, kClient)
                               .udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "a NIC of this node does not send from the backbone",
     .in = backbone_brings(wire(kHere, kHere, kConsumerVnet, kNeighbour, kConsumer)
                               .ipv4(kPeer, kClient)
                               .udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "an inner source that is not the sender's is refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, kConsumer).ipv4(kNobody, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an inner destination that is not the target's is refused",
     .maps = neighbour_there,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, kConsumer).ipv4(kPeer, kNobody).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "a target that is not attached here is refused",
     .maps =
         [](World& world) {
             one_link(world, {.consumer_node = kElsewhere, .neighbour_node = kThere});
         },
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, kConsumer).ipv4(kPeer, kClient).udp(53, 1000)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "a VNet's packet does not reach a NIC by a private link's address",
     .maps = neighbour_there,
     .in = backbone_brings(tunnel(kConsumerVnet, kNeighbour, kConsumer)
                               .ipv4(kPeer, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
};

CULVERT_PACKET_ROWS(NotOurs, kNotOurs);
CULVERT_PACKET_ROWS(Shape, kShape);
CULVERT_PACKET_ROWS(VnetFromBackbone, kInside);

}  // namespace
}  // namespace culvert::packet
