// SPDX-License-Identifier: Apache-2.0
// The node's own services at the platform's address: a workload comes there as its alias, an alias
// leads to its workload, and nobody speaks as another.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

const std::uint32_t kPlatform = ip("168.63.129.16"), kAlias = ip("100.64.0.1"),
                    kBackendAlias = ip("100.64.0.2");
constexpr std::uint16_t kDns = 53, kProbing = 45000;
constexpr std::size_t kQuoted = 28;  // no transport checksum among them

void serving(World& world) {
    one_link(world);
    world.alias({.ifindex = devices().second, .base = CV_ALIAS_BASE});
}
void backend_elsewhere(World& world) {
    backend_there(world);
    world.alias({.ifindex = devices().second, .base = CV_ALIAS_BASE});
}
// By its interface; nothing in the services' namespace looks at MACs.
Packet from_services() { return Packet().eth(mac(kRouter), mac(kRouter)); }
Send services_send(const Packet& packet) { return {Hook::Services, devices().second, packet}; }
Packet to_services(std::uint32_t nic) { return Packet().eth(mac(nic), mac(kRouter)); }

Packet about_probe(std::uint32_t target) {
    return Packet().ipv4(kPlatform, target).tcp(kProbing, kBackendPort);
}
Packet about_answer(std::uint32_t source) {
    return Packet().ipv4(source, kPlatform).tcp(kBackendPort, kProbing);
}

const std::vector<Row> kWorkloads = {
    {.name = "a workload's query comes from its alias",
     .maps = serving,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPlatform).udp(5353, kDns).payload(40)),
     .verdict = Verdict::Redirected,
     .out = to_services(kConsumer).ipv4(kAlias, kPlatform).udp(5353, kDns).payload(40),
     .moved = {{"SERVICES_IN", 1}},
     .flows = 0},
    {.name = "a datagram without checksum stays without",
     .maps = serving,
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kPlatform).udp(5353, kDns).no_checksum().payload(9)),
     .verdict = Verdict::Redirected,
     .out = to_services(kConsumer).ipv4(kAlias, kPlatform).udp(5353, kDns).no_checksum().payload(9),
     .moved = {{"SERVICES_IN", 1}}},
    {.name = "a segment of any kind goes there, a service decides",
     .maps = serving,
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kPlatform).tcp(kBackendPort, kProbing).syn_ack()),
     .verdict = Verdict::Redirected,
     .out =
         to_services(kBackend).ipv4(kBackendAlias, kPlatform).tcp(kBackendPort, kProbing).syn_ack(),
     .moved = {{"SERVICES_IN", 1}},
     .flows = 0},
    {.name = "an echo goes there",
     .maps = serving,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPlatform).ping(3).payload(8)),
     .verdict = Verdict::Redirected,
     .out = to_services(kConsumer).ipv4(kAlias, kPlatform).ping(3).payload(8),
     .moved = {{"SERVICES_IN", 1}}},
    {.name = "an error about a probe quotes what the prober sent",
     .maps = serving,
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kPlatform).icmp(3, 13).quote(about_probe(kServer), kQuoted)),
     .verdict = Verdict::Redirected,
     .out = to_services(kBackend)
                .ipv4(kBackendAlias, kPlatform)
                .icmp(3, 13)
                .quote(about_probe(kBackendAlias), kQuoted),
     .moved = {{"SERVICES_IN", 1}}},
    {.name = "an error about a packet to another alias is forged",
     .maps = serving,
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kPlatform).icmp(3, 13).quote(about_probe(kAlias), kQuoted)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an error about a packet of somebody else is forged",
     .maps = serving,
     .in = backend_sends(
         from(kBackend)
             .ipv4(kServer, kPlatform)
             .icmp(3, 13)
             .quote(Packet().ipv4(kPeer, kServer).tcp(kProbing, kBackendPort), kQuoted)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an error that quotes too little is malformed",
     .maps = serving,
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kPlatform).icmp(3, 13).quote(about_probe(kServer), 27)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a redirect does not teach the services a route",
     .maps = serving,
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kPlatform).icmp(5, 1).quote(about_probe(kServer), kQuoted)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.PROTOCOL", 1}}},
    {.name = "other protocols are refused",
     .maps = serving,
     .in =
         consumer_sends(from(kConsumer).ipv4(kClient, kPlatform).protocol(IPPROTO_ESP).payload(40)),
     .verdict = Verdict::Redirected,
     .out =
         to(kConsumer)
             .ipv4(kPlatform, kClient)
             .fragment(0)
             .ip_id(0)
             .icmp(3, 2)
             .quote(Packet().ipv4(kClient, kPlatform).protocol(IPPROTO_ESP).payload(40), kQuoted),
     .moved = {{"drop.PROTOCOL", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "nor are fragments put together",
     .maps = serving,
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kPlatform).fragment(0x2000).udp(5353, kDns).payload(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "options are not carried",
     .maps = serving,
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kPlatform).ip_options(4).udp(5353, kDns).payload(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.IP_OPTIONS", 1}}},
    {.name = "a workload that speaks as the platform is dropped",
     .maps = serving,
     .in = consumer_sends(from(kConsumer).ipv4(kPlatform, kPeer).udp(kDns, 5353).payload(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "a workload that speaks as an alias is dropped",
     .maps = serving,
     .in = consumer_sends(from(kConsumer).ipv4(kBackendAlias, kPlatform).udp(5353, kDns)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "an alias is no address of a virtual network",
     .maps = serving,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kBackendAlias).udp(5353, kDns)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
    {.name = "without an agent nobody is there",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPlatform).udp(5353, kDns)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SERVICES_AWAY", 1}}},
    {.name = "the backbone brings nothing from the platform",
     .maps = serving,
     .in = backbone_brings(
         tunnel(kConsumerVnet, kNeighbour, kConsumer).ipv4(kPlatform, kClient).udp(kDns, 5353)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "its MAC is asked for like any of the network",
     .maps = serving,
     .in = consumer_sends(Packet()
                              .eth(mac(kConsumer), net::Mac{{255, 255, 255, 255, 255, 255}}, 0x0806)
                              .arp_request(mac(kConsumer), kClient, kPlatform)),
     .verdict = Verdict::Redirected,
     .out = Packet()
                .eth(mac(kRouter), mac(kConsumer), 0x0806)
                .arp_reply(mac(kRouter), kPlatform, mac(kConsumer), kClient),
     .moved = {{"ARP_ANSWERED", 1}}},
};

const std::vector<Row> kServices = {
    {.name = "a probe comes to the workload from the platform's address",
     .maps = serving,
     .in = services_send(
         from_services().ipv4(kPlatform, kBackendAlias).tcp(kProbing, kBackendPort).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kPlatform, kServer).tcp(kProbing, kBackendPort).syn(),
     .moved = {{"SERVICES_OUT", 1}},
     .flows = 0},
    {.name = "an answer to a query, too",
     .maps = serving,
     .in = services_send(from_services().ipv4(kPlatform, kAlias).udp(kDns, 5353).payload(300)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kPlatform, kClient).udp(kDns, 5353).payload(300),
     .moved = {{"SERVICES_OUT", 1}}},
    {.name = "that nobody listens is said about the workload's own packet",
     .maps = serving,
     .in = services_send(from_services()
                             .ipv4(kPlatform, kBackendAlias)
                             .icmp(3, 3)
                             .quote(about_answer(kBackendAlias), kQuoted)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kPlatform, kServer).icmp(3, 3).quote(about_answer(kServer), kQuoted),
     .moved = {{"SERVICES_OUT", 1}}},
    {.name = "an alias of an interface on another node leads nowhere",
     .maps = backend_elsewhere,
     .in = services_send(
         from_services().ipv4(kPlatform, kBackendAlias).tcp(kProbing, kBackendPort).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ALIAS_UNKNOWN", 1}}},
    {.name = "nor does one that is not plumbed",
     .maps = serving,
     .meanwhile =
         [](World& world) { change_nic(world, kBackend, [](cv_nic& nic) { nic.ifindex = 0; }); },
     .in = services_send(
         from_services().ipv4(kPlatform, kBackendAlias).tcp(kProbing, kBackendPort).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ALIAS_UNKNOWN", 1}}},
    {.name = "the base alone is nobody's alias",
     .maps = serving,
     .in = services_send(from_services().ipv4(kPlatform, ip("100.64.0.0")).udp(kDns, 5353)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ALIAS_UNKNOWN", 1}}},
    {.name = "addresses beyond the aliases lead nowhere",
     .maps = serving,
     .in = services_send(from_services().ipv4(kPlatform, kServer).udp(kDns, 5353)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ALIAS_UNKNOWN", 1}}},
    {.name = "what is not from the platform's address is not passed on",
     .maps = serving,
     .in = services_send(from_services().ipv4(kAlias, kBackendAlias).udp(kDns, 5353)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ALIAS_UNKNOWN", 1}}},
};

CULVERT_PACKET_ROWS(AliasWorkloads, kWorkloads);
CULVERT_PACKET_ROWS(AliasServices, kServices);

}  // namespace
}  // namespace culvert::packet
