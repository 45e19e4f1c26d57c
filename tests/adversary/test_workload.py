# SPDX-License-Identifier: Apache-2.0
"""A hostile workload: root in its own namespace, any frame it likes on its own interface."""
import os
import struct

import packets
import pytest
from culvert_harness import Watch, wait_for
from frames import arp, eth, ip, neighbour_advertisement, tcp, udp
from scenes import connects, consumer, index_of, nat_addresses, provider

TIMES = 3
PORT = 51000


class Scene:
    """An attacker and a neighbour in one VNet, a service behind an endpoint of theirs; all on one
    node, where a mistake would cost most."""

    def __init__(self, net):
        self.net, self.node = net, net.nodes[0]
        self.made = provider(net, [self.node])
        client = consumer(net, self.node)
        self.attacker = client.workload
        self.neighbour = net.workload(client.group, client.subnet(), self.node)
        _, self.endpoint = net.endpoint(client.group, client.subnet(), self.made.service)
        self.backend = self.made.workloads[0]
        self.index = index_of(self.node, self.attacker)
        self.mac = packets.mac(self.index)
        self.neighbour_mac = packets.mac(index_of(self.node, self.neighbour))
        self.backend_mac = packets.mac(index_of(self.node, self.backend))
        self.me, self.them = self.attacker.address, self.neighbour.address
        self.attacker.ask(self.endpoint, 80)  # all of it works

    def attack(self, ledger, attack, reasons, *made, times=TIMES, sender=None):
        """Sends the frames; they must be counted for the reasons, and nobody may see them."""
        marker = os.urandom(16)
        places = [(w.namespace, "eth0") for w in (self.neighbour, self.backend) if w is not sender]
        if sender is not None:
            places.append((self.attacker.namespace, "eth0"))
        frames = [frame + marker for frame in made]
        with Watch(places, marker) as watch:
            with ledger.dropped("workload", attack, self.node, reasons, times * len(frames)):
                self.send(frames, times, sender)
        assert watch.leaks(allowed=()) == {}, f"{attack}: somebody saw it"

    def send(self, frames, times=TIMES, sender=None):
        with (sender or self.attacker).frames() as sock:
            for _ in range(times):
                for frame in frames:
                    sock.send(frame)

    def syn(self, source=None, target=None, sport=PORT, dport=80, **lies):
        """A SYN as an IP packet. A lie about the IP header goes to ip(), one about TCP to tcp()."""
        source, target = source or self.me, target or self.endpoint
        of_tcp = {name: lies.pop(name) for name in ("flags", "words") if name in lies}
        return ip(source, target, 6, tcp(source, target, sport, dport, **of_tcp), **lies)


@pytest.fixture(scope="module")
def scene(net):
    return Scene(net)


def test_addresses_of_others_are_not_a_source(scene, ledger):
    claims = {
        "a neighbour's": scene.them,
        "the endpoint's": scene.endpoint,
        "the router's": "10.0.0.1",
        "an unused one": "10.0.0.200",
        "none": "0.0.0.0",
        "loopback": "127.0.0.1",
        "multicast": "224.0.0.9",
        "broadcast": "255.255.255.255",
    }
    for whose, address in claims.items():
        scene.attack(
            ledger,
            f"source address: {whose}",
            "SPOOFED_ADDRESS",
            eth(scene.mac, scene.syn(source=address)),
            eth(scene.mac, scene.syn(source=address, target=scene.them)),
        )


def test_macs_of_others_are_not_a_source(scene, ledger):
    claims = {
        "a neighbour's": scene.neighbour_mac,
        "the router's": packets.ROUTER,
        "of no index in use": packets.mac(scene.index + 100000),
        "of the largest index": packets.mac(0xFFFFFFFF),
        "of another maker": b"\x52\x54\x00\x12\x34\x56",
        "broadcast": b"\xff" * 6,
    }
    for whose, mac in claims.items():
        scene.attack(ledger, f"source MAC: {whose}", "SPOOFED_MAC", eth(mac, scene.syn()))


def test_neighbour_tables_cannot_be_poisoned(scene, ledger):
    mac, theirs = scene.mac, scene.neighbour_mac
    me, them, zero = scene.me, scene.them, b"\0" * 6
    for attack, reason, frame in (
        ("ARP: gratuitous for a neighbour", "SPOOFED_ADDRESS", (1, mac, them, zero, them)),
        ("ARP: reply for a neighbour's address", "SPOOFED_ADDRESS", (2, mac, them, theirs, them)),
        ("ARP: reply for the router", "SPOOFED_ADDRESS", (2, mac, "10.0.0.1", theirs, them)),
        ("ARP: a neighbour's MAC as sender", "SPOOFED_MAC", (1, theirs, me, zero, them)),
        ("ARP: gratuitous for the own address", "ARP_UNANSWERED", (1, mac, me, zero, me)),
        ("ARP: reply nobody asked for", "ARP_UNANSWERED", (2, mac, me, theirs, them)),
        ("ARP: outside the network", "NO_DESTINATION", (1, mac, me, zero, "192.0.2.1")),
    ):
        scene.attack(ledger, attack, reason, arp(mac, *frame))
    for field in ("hardware", "protocol", "hardware_bytes", "protocol_bytes"):
        frame = arp(mac, 1, mac, me, zero, them, **{field: 3})
        scene.attack(ledger, f"ARP: wrong {field}", "MALFORMED", frame)
    with ledger.dropped("workload", "ARP: truncated", scene.node, "MALFORMED", TIMES):
        scene.send([arp(mac, 1, mac, me, zero, them)[:30]])
    scene.attack(
        ledger,
        "ND: advertisement for the router",
        "NOT_IPV4",
        neighbour_advertisement(mac, mac),
    )


def test_arp_straight_to_a_neighbour_is_answered_by_the_router_alone(scene, ledger):
    request = arp(scene.mac, 1, scene.mac, scene.me, b"\0" * 6, scene.them)
    marker = os.urandom(16)
    before = scene.node.counters()["ARP_ANSWERED"]
    with Watch([(scene.neighbour.namespace, "eth0")], marker) as watch:
        scene.send([scene.neighbour_mac + request[6:] + marker])
        wait_for(
            lambda: scene.node.counters()["ARP_ANSWERED"] >= before + TIMES, 10, 0.02, "answers"
        )
    assert watch.leaks(()) == {}
    ledger.note("workload", "ARP: unicast to a neighbour", "answered, not passed on",
                "n1 counter ARP_ANSWERED")


def test_headers_that_lie_about_lengths_are_malformed(scene, ledger):
    size = 40
    lies = {
        "IHL 0": {"ihl": 0},
        "IHL 4": {"ihl": 4},
        "version 6 as IPv4": {"version": 6},
        "version 0": {"version": 0},
        "total length below the header": {"length": 19},
        "total length 0": {"length": 0},
        "total length beyond the packet": {"length": size + 200},
        "total length 65535": {"length": 65535},
    }
    for lie, fields in lies.items():
        scene.attack(ledger, f"IPv4: {lie}", "MALFORMED", eth(scene.mac, scene.syn(**fields)))
    # the marker is 16 bytes: 56 in all, less than IHL 15 says
    scene.attack(ledger, "IPv4: IHL 15 in a packet of 56 bytes", ("MALFORMED", "IP_OPTIONS"),
                 eth(scene.mac, scene.syn(ihl=15)))
    for words in range(5):
        scene.attack(
            ledger, f"TCP: data offset {words}", "MALFORMED", eth(scene.mac, scene.syn(words=words))
        )


def test_a_packet_cut_at_every_length_is_malformed(scene, ledger):
    whole = eth(scene.mac, scene.syn())
    frames = [whole[:length] for length in range(14, len(whole))]
    # and with a total length that admits the cut
    frames += [
        eth(scene.mac, scene.syn(length=length - 14))[:length] for length in range(34, len(whole))
    ]
    attack = f"IPv4 and TCP: cut at every length from 14 to {len(whole) - 1}"
    with ledger.dropped("workload", attack, scene.node, "MALFORMED", len(frames)):
        scene.send(frames, 1)


def test_ip_options_do_not_reach_an_endpoint(scene, ledger):
    options = {
        "record route": b"\x07\x27\x04" + b"\0" * 37,
        "loose source route": b"\x83\x07\x04" + bytes([10, 0, 0, 9]) + b"\0",
        "strict source route": b"\x89\x07\x04" + bytes([10, 0, 0, 9]) + b"\0",
        "timestamp": b"\x44\x24\x05\x00" + b"\0" * 32,
        "router alert": b"\x94\x04\x00\x00",
        "an option of length 0": b"\x07\x00\x00\x00",
        "only padding": b"\x01" * 40,
    }
    for name, option in options.items():
        frame = eth(scene.mac, scene.syn(options=option))
        scene.attack(ledger, f"IPv4 option: {name}", "IP_OPTIONS", frame)


def test_fragments_of_no_connection_do_not_reach_an_endpoint(scene, ledger):
    body = tcp(scene.me, scene.endpoint, PORT, 80, flags=0x10) + b"x" * 60
    for name, pieces in {
        "first piece": [(0x2000, body[:40])],
        "last piece": [(0x0005, body[40:])],
        "a piece of 8 bytes, the ports alone": [(0x2000, body[:8]), (0x0001, body[8:])],
        "overlapping pieces": [(0x2000, body[:40]), (0x2002, body[8:48]), (0x0003, body[24:])],
        "the same piece again": [(0x2000, body[:40]), (0x2000, body[:40])],
        "an offset beyond 65535": [(0x1FFF, body[:40])],
        "the reserved flag and more": [(0xA000, body[:40])],
    }.items():
        frames = [
            eth(scene.mac, ip(scene.me, scene.endpoint, 6, piece, fragment=field))
            for field, piece in pieces
        ]
        scene.attack(ledger, f"fragments: {name}", ("FRAGMENT", "NO_FLOW"), *frames)


def test_fragments_of_a_connection_change_nothing_of_it(scene, ledger):
    """Pieces that would write over the ports or flags of the first one, or that follow nothing."""
    body = tcp(scene.me, scene.endpoint, PORT, 80, flags=0x10) + b"x" * 60
    for name, field in (
        ("over the ports", 0x2001),
        ("over the flags", 0x0002),
        ("of another packet", 0x0005),
    ):
        frame = eth(scene.mac, ip(scene.me, scene.endpoint, 6, body[:40], fragment=field))
        scene.attack(ledger, f"fragments: {name}", "FRAGMENT", frame)
    with scene.attacker.connect(scene.endpoint, 80) as sock:
        sock.sendall(b"still whole")
        assert sock.recv(100)


def test_flags_that_open_nothing_open_nothing(scene, ledger):
    for name, flags in {
        "null": 0x00,
        "FIN": 0x01,
        "SYN FIN": 0x03,
        "SYN RST": 0x06,
        "SYN ACK": 0x12,
        "ACK of no connection": 0x10,
        "Xmas": 0x29,
        "all": 0xFF,
    }.items():
        frame = eth(scene.mac, scene.syn(flags=flags))
        scene.attack(ledger, f"TCP flags: {name}", "NO_FLOW", frame)
    assert scene.node.status()["flows"] >= 0


def test_ports_and_addresses_that_lead_nowhere(scene, ledger):
    nat = sorted(nat_addresses(scene.net, scene.made))[0]
    for attack, reason, packet in (
        ("TCP: destination port 0", "NO_RULE", scene.syn(dport=0)),
        ("TCP: a port without a rule", "NO_RULE", scene.syn(dport=22)),
        ("land: source and destination the endpoint", "SPOOFED_ADDRESS",
         scene.syn(source=scene.endpoint)),
        ("address: the cloud's metadata", "NO_DESTINATION", scene.syn(target="169.254.169.254")),
        ("address: the node's own backbone", "NO_DESTINATION",
         scene.syn(target=scene.node.outer)),
        ("address: loopback", "NO_DESTINATION", scene.syn(target="127.0.0.1")),
        ("address: the provider's NAT address", "NO_DESTINATION", scene.syn(target=nat))
        if nat not in (scene.them, scene.endpoint) else
        ("address: zero", "NO_DESTINATION", scene.syn(target="0.0.0.0")),
        ("address: the subnet's broadcast", "NO_DESTINATION", scene.syn(target="10.0.0.255")),
        ("address: limited broadcast", "MULTICAST", scene.syn(target="255.255.255.255")),
        ("address: multicast", "MULTICAST", scene.syn(target="224.0.0.1")),
    ):
        scene.attack(ledger, attack, reason, eth(scene.mac, packet))
    for name, mac in (("broadcast", b"\xff" * 6), ("multicast", b"\x01\x00\x5e\x00\x00\x01")):
        frame = eth(scene.mac, scene.syn(target=scene.them), destination=mac)
        scene.attack(ledger, f"MAC: {name} to a neighbour", "MULTICAST", frame)
    # the frame names another VNet's NIC, the packet an address of the own one that is nobody's
    frame = eth(scene.mac, scene.syn(target="10.0.0.201"), destination=scene.backend_mac)
    scene.attack(ledger, "MAC: a NIC of another network", "NO_DESTINATION", frame)


def icmp_error(kind, code, quoted):
    header = struct.pack("!BBHI", kind, code, 0, 576)
    return header + quoted[:28]


def test_what_no_rule_names_does_not_tunnel_through_an_endpoint(scene, ledger):
    about = ip(scene.endpoint, scene.me, 6, tcp(scene.endpoint, scene.me, 80, PORT))
    for name, protocol, payload, reason in (
        ("ICMP echo reply nobody asked for", 1, b"\0" * 8 + b"data that wants out", "PROTOCOL"),
        ("ICMP redirect", 1, icmp_error(5, 1, about), "PROTOCOL"),
        ("ICMP source quench", 1, icmp_error(4, 0, about), "PROTOCOL"),
        ("IP in IP", 4, scene.syn(), "PROTOCOL"),
        ("UDP without a rule", 17, udp(PORT, 80, b"data that wants out"), "NO_RULE"),
        ("GRE", 47, b"\0\0\x08\0" + scene.syn(), "PROTOCOL"),
        ("ESP", 50, b"\0" * 40, "PROTOCOL"),
        ("SCTP", 132, b"\0" * 40, "SCTP"),
        ("protocol 255", 255, b"\0" * 40, "PROTOCOL"),
    ):
        frame = eth(scene.mac, ip(scene.me, scene.endpoint, protocol, payload))
        scene.attack(ledger, f"tunnel: {name}", reason, frame)
    wrapped = packets.vxlan(packets.VNI_LINK | 1, eth(scene.neighbour_mac, scene.syn()))
    for node in scene.net.nodes:
        frame = eth(scene.mac, ip(scene.me, node.outer, 17, udp(4789, 4789, wrapped)))
        scene.attack(ledger, f"tunnel: VXLAN to {node.name}", "NO_DESTINATION", frame)


def test_echoes_to_an_endpoint_carry_nothing_to_anybody(scene, ledger):
    marker = os.urandom(16)
    echo = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + marker
    before = scene.node.counters()["PING_ANSWERED"]
    with Watch([(w.namespace, "eth0") for w in (scene.neighbour, scene.backend)], marker) as watch:
        scene.send([eth(scene.mac, ip(scene.me, scene.endpoint, 1, echo))])
        wait_for(
            lambda: scene.node.counters()["PING_ANSWERED"] >= before + TIMES, 10, 0.02, "answers"
        )
    assert watch.leaks(allowed=()) == {}
    ledger.note(
        "workload",
        "tunnel: ICMP echo with data",
        "answered by the node",
        f"{scene.node.name} PING_ANSWERED +{TIMES}",
    )


def test_forged_icmp_errors_touch_no_connection(scene, ledger):
    """Of its own connections a workload may complain; of others', or of none, it may not."""
    theirs = ip(scene.endpoint, scene.them, 6, tcp(scene.endpoint, scene.them, 80, PORT))
    mine = ip(scene.endpoint, scene.me, 6, tcp(scene.endpoint, scene.me, 80, PORT + 1))
    backends = ip(scene.me, scene.endpoint, 6, tcp(scene.me, scene.endpoint, PORT, 80))
    for name, quoted, reason in (
        ("about a neighbour's connection", theirs, "INNER_ADDRESS"),
        ("about what it sent itself", backends, "INNER_ADDRESS"),
        ("about a connection that is none", mine, "NO_FLOW"),
        ("that quotes too little", mine[:20], "MALFORMED"),
        ("that quotes a fragment", mine[:6] + b"\x00\x07" + mine[8:], "FRAGMENT"),
        ("that quotes options", b"\x46" + mine[1:], "IP_OPTIONS"),
        ("that quotes another version", b"\x65" + mine[1:], "MALFORMED"),
    ):
        for kind, code in ((3, 4), (3, 1), (11, 0)):
            frame = eth(scene.mac, ip(scene.me, scene.endpoint, 1, icmp_error(kind, code, quoted)))
            scene.attack(ledger, f"ICMP error {name}", reason, frame)
    spoofed = ip(scene.them, scene.endpoint, 1, icmp_error(3, 4, theirs))
    scene.attack(
        ledger, "ICMP error in a neighbour's name", "SPOOFED_ADDRESS", eth(scene.mac, spoofed)
    )


def test_tags_and_other_ethertypes_stay_outside(scene, ledger):
    for name, kind, inner in (
        ("802.1Q tag", b"\x81\x00", b"\x00\x05\x08\x00" + scene.syn()),
        ("802.1Q priority tag", b"\x81\x00", b"\x00\x00\x08\x00" + scene.syn()),
        ("802.1ad and 802.1Q", b"\x88\xa8", b"\x00\x05\x81\x00\x00\x06\x08\x00" + scene.syn()),
        ("MPLS", b"\x88\x47", b"\x00\x01\x01\xff" + scene.syn()),
        ("PPPoE session", b"\x88\x64", b"\x11\x00\x00\x01\x00\x2a\x00\x21" + scene.syn()),
        ("spanning tree", b"\x00\x26", b"\x42\x42\x03" + b"\0" * 35),
        ("LLDP", b"\x88\xcc", b"\0" * 40),
    ):
        frame = eth(scene.mac, inner, kind=kind)
        scene.attack(ledger, f"Ethernet: {name}", "NOT_IPV4", frame)


def test_a_backend_cannot_open_what_only_consumers_open(scene, ledger):
    """the NAT address and port of a live connection lead back for answers alone"""
    with scene.attacker.connect(scene.endpoint, 80) as live:
        live.recv(100)
        seen = scene.backend.servers[0].peers[-1]
        backend_mac = packets.mac_bytes(scene.backend.mac)
        stranger = scene.net.workload(scene.made.group, scene.made.subnet(), scene.node)
        for attack, sender, packet in (
            ("NAT: the backend opens towards a live port", scene.backend,
             ip(scene.backend.address, seen[0], 6, tcp(scene.backend.address, *_turn(seen, 8080)))),
            ("NAT: the backend sends to a port it was not given", scene.backend,
             ip(scene.backend.address, seen[0], 6,
                tcp(scene.backend.address, seen[0], 8080, seen[1] ^ 1, 0x10))),
            ("NAT: from another port of the backend", scene.backend,
             ip(scene.backend.address, seen[0], 6,
                tcp(scene.backend.address, seen[0], 8081, seen[1], 0x10))),
            ("NAT: another workload uses a live port", stranger,
             ip(stranger.address, seen[0], 6,
                tcp(stranger.address, seen[0], 8080, seen[1], 0x10))),
        ):
            mac = backend_mac if sender is scene.backend else packets.mac_bytes(stranger.mac)
            scene.attack(ledger, attack, "NAT_DIRECT", eth(mac, packet), sender=sender)
        live.sendall(b"still mine")
        assert live.recv(100) == b"still mine"
    assert connects(scene.attacker, scene.endpoint)


def _turn(seen, port):
    """destination, source port, destination port of a SYN back to what a server saw"""
    return seen[0], port, seen[1], 0x02


def test_one_tuple_of_two_consumers_stays_two_connections(scene, net, ledger):
    """NAT collisions: equal addresses and ports of different networks never meet"""
    others = [consumer(net, scene.node, address=scene.me) for _ in range(2)]
    held = []
    for other in others:
        _, address = net.endpoint(other.group, other.subnet(), scene.made.service)
        held.append(other.workload.connect(address, 80, source=45454))
    held.append(scene.attacker.connect(scene.endpoint, 80, source=45454))
    try:
        seen = {sock.recv(100) for sock in held}
        assert len(seen) == 3, seen
        for number, sock in enumerate(held):
            sock.sendall(b"%d" % number)
        assert [sock.recv(100) for sock in held] == [b"0", b"1", b"2"]
    finally:
        for sock in held:
            sock.close()
    ledger.note("workload", "NAT: one tuple in three networks", "a NAT port each",
                "3 sources seen by the backend")
