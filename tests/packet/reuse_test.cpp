// SPDX-License-Identifier: Apache-2.0
// A link id that was given to another tenant's link while this node, or the backbone, still has
// something of the old one: nothing of either tenant reaches the other. The tenants use the same
// addresses and ports throughout, which is what the control plane cannot prevent.
#include "tests/packet/usual.hpp"

namespace culvert::packet {
namespace {

constexpr std::uint32_t kTheirVnet = kStrangerVnet, kTheirProvider = 400;
constexpr std::uint32_t kTheirService = 7, kTheirPool = 8;
constexpr std::uint32_t kTheirClient = kStranger, kTheirBackend = kSecondBackend;

// The new owner's link: its consumer elsewhere, its backend `node`'s.
void give_link_away(World& world, std::uint32_t node) {
    change_nic(world, kTheirClient, [](cv_nic& nic) { nic.address = kClient; });
    change_nic(world, kTheirBackend, [&](cv_nic& nic) {
        nic.vnet = kTheirProvider;
        nic.address = kServer;
        nic.node = node;
        nic.ifindex = node == kHere ? devices().second : 0;
    });
    world.prefix(kTheirProvider, ip("10.0.0.0"), 16);
    world.address(kTheirProvider, kNat, CV_ADDRESS_NAT, kTheirService);
    world.service(kTheirService, kTheirProvider, {kNat});
    world.rule(kTheirService, kPort, kTheirPool, kBackendPort);
    world.pool(kTheirPool, {kTheirBackend});
    change_link(world, [](cv_link& link) {
        link.generation++;
        link.service = kTheirService;
        link.consumer_vnet = kTheirVnet;
        link.provider_vnet = kTheirProvider;
    });
}
void give_away_here(World& world) { give_link_away(world, kHere); }
void give_away_there(World& world) { give_link_away(world, kThere); }

// Another consumer of the same service gets it: backend and service stay what they were.
void give_to_another_consumer(World& world) {
    change_nic(world, kTheirClient, [](cv_nic& nic) { nic.address = kClient; });
    change_link(world, [](cv_link& link) {
        link.generation++;
        link.consumer_vnet = kTheirVnet;
    });
}

// The NICs' numbers went to the same tenants as the link's: nothing but generations tells.
void give_all_numbers_away(World& world) {
    give_link_away(world, kHere);
    change_link(world, [](cv_link& link) { link.service = kService; });
    world.service(kService, kTheirProvider, {kNat});
    for (const auto& [index, vnet] :
         {std::pair{kConsumer, kTheirVnet}, {kBackend, kTheirProvider}}) {
        change_nic(world, index, [vnet](cv_nic& nic) {
            nic.vnet = vnet;
            nic.generation++;
        });
    }
}

// By the backbone, of the link's new owner.
Packet theirs(std::uint32_t target) {
    return tunnel(kLinkVni, kTheirClient, target).ipv4(kClient, kEndpoint).tcp(kClientPort, kPort);
}

const std::vector<Row> kBackendsNode = {
    {.name = "the old consumer's segment in flight goes nowhere",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backbone_brings(arriving().payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "the old consumer's SYN in flight opens nothing",
     .maps = consumer_there,
     .meanwhile = give_away_here,
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}},
     .flows = 0},
    {.name = "the old consumer does not reach the new owner's backend",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kTheirBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "the old backend's answer goes nowhere, and its flow ends",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "the new consumer's SYN on the old flow's tuple reaches the new backend",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backbone_brings(theirs(kTheirBackend).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kTheirBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "the new consumer's segment does not go on in the old flow",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backbone_brings(theirs(kTheirBackend).payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "the new consumer does not reach the old backend",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_away_here,
     .in = backbone_brings(theirs(kBackend).payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "another consumer of the service does not go on in the old one's flow",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_to_another_consumer,
     .in = backbone_brings(theirs(kBackend).payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "the service's answer to the old consumer does not reach the new one",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_to_another_consumer,
     .in = backend_sends(answer().payload(9)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "where every number was given away the generation alone ends the flow",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = give_all_numbers_away,
     .in = backbone_brings(arriving().payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a node that has not heard of the new owner does not serve it",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile =
         [](World& world) {
             change_nic(world, kTheirClient, [](cv_nic& nic) { nic.address = kClient; });
         },
     .in = backbone_brings(theirs(kBackend).payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
};

const std::vector<Row> kConsumersNode = {
    {.name = "the old consumer's flow sends nothing by the new owner's link",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = give_away_there,
     .in = consumer_sends(request().payload(9)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
    {.name = "an address that still leads to the id opens nothing",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = give_away_there,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
    {.name = "the old backend's answer in flight goes nowhere",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = give_away_there,
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "the new backend does not answer the old consumer",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = give_away_there,
     .in = backbone_brings(tunnel(kLinkVni, kTheirBackend, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "where every number was given away the generation alone keeps the answer out",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = give_all_numbers_away,
     .in = backbone_brings(returning().payload(9)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
};

CULVERT_PACKET_ROWS(LinkReuseAtTheBackend, kBackendsNode);
CULVERT_PACKET_ROWS(LinkReuseAtTheConsumer, kConsumersNode);

}  // namespace
}  // namespace culvert::packet
