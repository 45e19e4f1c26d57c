# SPDX-License-Identifier: Apache-2.0
"""A hostile host on the backbone, and a node's host that forges what its agent would not: VXLAN
with every field wrong in turn. A good frame goes first: it must pass, or the others prove
nothing."""
import os
import socket
import struct
import time

import packets
import pytest
from culvert_harness import Watch, inside, wait_for
from frames import eth, ip, mac_of, tcp, udp
from scenes import consumer, index_of, link_id, provider

PORT = packets.VXLAN_PORT


class Scene:
    """A consumer on the first node, a backend on the second; the forger stands on the first
    node's host, whose address the second expects the consumer's packets from."""

    def __init__(self, net):
        self.net, (self.here, self.there) = net, net.nodes
        self.made = provider(net, [self.there])
        client = consumer(net, self.here)
        self.client = client.workload
        self.path, self.endpoint = net.endpoint(client.group, client.subnet(), self.made.service)
        self.backend = self.made.workloads[0]
        self.bystander = net.workload(self.made.group, self.made.subnet(), self.there)
        stranger = consumer(net, self.there)
        self.stranger = stranger.workload
        self.client.ask(self.endpoint, 80)
        self.link = packets.VNI_LINK | link_id(net, self.made, self.path)
        self.source = index_of(self.here, self.client)
        self.target = index_of(self.there, self.backend)
        self.macs = {
            self.here.name: mac_of(self.here.namespace, "bb0"),
            self.there.name: mac_of(self.there.namespace, "bb0"),
            "host": mac_of(net.backbone, "br0"),
        }
        self.port = 20000

    def next_port(self):
        self.port += 1
        return self.port

    def inner(self, marker=b"", **wrong):
        """The consumer's SYN as its node sends it, but for what is wrong."""
        sport = wrong.get("sport") or self.next_port()
        source = wrong.get("saddr", self.client.address)
        target = wrong.get("daddr", self.endpoint)
        segment = tcp(source, target, sport, wrong.get("dport", 80), wrong.get("flags", 0x02),
                      marker)
        lies = {name: wrong[name] for name in ("ihl", "length", "version", "fragment")
                if name in wrong}
        packet = ip(source, target, wrong.get("protocol", 6), segment, **lies)
        return eth(
            wrong.get("source_mac", packets.mac(self.source)),
            packet,
            wrong.get("target_mac", packets.mac(self.target)),
            wrong.get("kind", b"\x08\x00"),
        )

    def vxlan(self, marker=b"", **wrong):
        head = struct.pack(
            "!B3sI",
            wrong.get("vxlan_flags", 0x08),
            wrong.get("reserved", b"\0\0\0"),
            wrong.get("vni", self.link) << 8 | wrong.get("last", 0),
        )
        return head + self.inner(marker, **wrong)

    def outer(self, datagram, **wrong):
        """The whole frame, from the first node to the second."""
        body = udp(wrong.get("udp_source", 50000), wrong.get("port", PORT), datagram,
                   wrong.get("udp_length"))
        lies = {name[6:]: value for name, value in wrong.items() if name.startswith("outer_")}
        packet = ip(wrong.get("from_", self.here.outer), wrong.get("to", self.there.outer), 17,
                    body, **lies)
        mac = self.macs["host"] if wrong.get("host") else self.macs[self.here.name]
        return eth(mac, packet, self.macs[self.there.name])

    def send(self, frames, host=False):
        """From the first node's host, or from a host that is no node."""
        space, ifname = (self.net.backbone, "br0") if host else (self.here.namespace, "bb0")
        with inside(space):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with sock:
            sock.bind((ifname, 3))
            for frame in frames:
                sock.send(frame)

    def attack(self, ledger, attack, reasons, *frames, host=False, who="node's host"):
        marker = os.urandom(16)
        workloads = (self.backend, self.bystander, self.stranger)
        with Watch([(w.namespace, "eth0") for w in workloads], marker) as watch:
            with ledger.dropped(who, attack, self.there, reasons, 3 * len(frames)):
                self.send([frame(marker) for frame in frames] * 3, host)
        assert watch.leaks(()) == {}, f"{attack}: a workload saw it"

    def wrong(self, **fields):
        """A frame-maker for attack(): everything right but these."""
        return lambda marker: self.outer(self.vxlan(marker, **fields), **fields)


@pytest.fixture(scope="module")
def scene(net):
    return Scene(net)


def passes(scene, frame):
    """Does the backend see the frame's marker?"""
    marker = os.urandom(16)
    place = (scene.backend.namespace, "eth0")
    with Watch([place], marker) as watch:
        scene.send([frame(marker)])
        wait_for(lambda: watch.counts[place], 10, 0.02, "the frame at the backend")


def test_a_good_frame_passes(scene):
    """the control: what the tests below break one field at a time"""
    passes(scene, scene.wrong())


def test_fields_that_carry_no_right_may_hold_anything(scene):
    """RFC 7348 5: reserved fields are ignored on receipt"""
    passes(scene, scene.wrong(vxlan_flags=0xFF, reserved=b"\xff\xff\xff", last=0xFF))
    passes(scene, scene.wrong(udp_source=1))


def test_each_field_of_vxlan_is_checked(scene, ledger):
    for name, reason, fields in (
        ("flags without the VNI bit", "MALFORMED", {"vxlan_flags": 0xF7}),
        ("flags zero", "MALFORMED", {"vxlan_flags": 0}),
        ("VNI 0", "VNI_UNKNOWN", {"vni": 0}),
        ("VNI of a link nobody has", "LINK_UNKNOWN", {"vni": packets.VNI_LINK | 0x3FFFF}),
        ("VNI of a link beyond the table", "LINK_UNKNOWN", {"vni": 0xFFFFFF}),
        ("VNI of link 0", "LINK_UNKNOWN", {"vni": packets.VNI_LINK}),
        ("the link's number as a network's", ("VNI_UNKNOWN", "NIC_NOT_IN_VNET"),
         {"vni": scene.link & 0x7FFFFF}),
        ("inner type IPv6", "NOT_IPV4", {"kind": b"\x86\xdd"}),
        ("inner type ARP", "NOT_IPV4", {"kind": b"\x08\x06"}),
        ("inner type 802.1Q", "NOT_IPV4", {"kind": b"\x81\x00"}),
    ):
        scene.attack(ledger, f"VXLAN: {name}", reason, scene.wrong(**fields))


def test_link_ids_are_not_guessed(scene, net, ledger):
    """every other link of the installation, and ids around the right one"""
    others = []
    for _ in range(3):
        client = consumer(net, scene.here)
        path, _ = net.endpoint(client.group, client.subnet(), scene.made.service)
        others.append(packets.VNI_LINK | link_id(net, scene.made, path))
    scene.attack(ledger, "VXLAN: ids of others' links", "NIC_NOT_IN_VNET",
                 *(scene.wrong(vni=vni) for vni in others))
    taken = {scene.link, *others}
    near = [vni for step in range(1, 50) for vni in (scene.link - step, scene.link + step)]
    near = [vni for vni in near if packets.VNI_LINK < vni <= 0xFFFFFF and vni not in taken]
    scene.attack(ledger, f"VXLAN: {len(near)} ids around a link's",
                 ("LINK_UNKNOWN", "NIC_NOT_IN_VNET", "LINK_REFUSED"),
                 *(scene.wrong(vni=vni) for vni in near))


def test_each_inner_mac_is_checked(scene, ledger):
    bystander = index_of(scene.there, scene.bystander)
    stranger = index_of(scene.there, scene.stranger)
    mac = packets.mac
    for name, reason, fields in (
        ("source: the router", "NIC_NOT_IN_VNET", {"source_mac": mac(0)}),
        ("source: a NIC of another network", "NIC_NOT_IN_VNET", {"source_mac": mac(stranger)}),
        ("source: a NIC of the provider", "NIC_NOT_IN_VNET", {"source_mac": mac(bystander)}),
        ("source: the target itself", "NIC_NOT_IN_VNET", {"source_mac": mac(scene.target)}),
        ("source: no NIC", "NIC_NOT_IN_VNET", {"source_mac": mac(scene.source + 100000)}),
        ("source: the largest index", "NIC_NOT_IN_VNET", {"source_mac": mac(0xFFFFFFFF)}),
        ("source: of another maker", "NIC_NOT_IN_VNET", {"source_mac": b"\x52\x54\0\1\2\3"}),
        ("target: the router", "NIC_NOT_IN_VNET", {"target_mac": mac(0)}),
        ("target: broadcast", "NIC_NOT_IN_VNET", {"target_mac": b"\xff" * 6}),
        ("target: a NIC outside the pool", "NIC_NOT_IN_POOL", {"target_mac": mac(bystander)}),
        ("target: a NIC of another network", "NIC_NOT_IN_VNET", {"target_mac": mac(stranger)}),
        ("target: the sender", "NIC_NOT_IN_VNET", {"target_mac": mac(scene.source)}),
        ("target: the largest index", "NIC_NOT_IN_VNET", {"target_mac": mac(0xFFFFFFFF)}),
    ):
        scene.attack(ledger, f"inner MAC, {name}", reason, scene.wrong(**fields))


def test_each_inner_address_and_port_is_checked(scene, ledger):
    for name, reason, fields in (
        ("source: a neighbour's address", "INNER_ADDRESS", {"saddr": "10.0.0.222"}),
        ("source: the endpoint's", "INNER_ADDRESS", {"saddr": scene.endpoint}),
        ("source: zero", "INNER_ADDRESS", {"saddr": "0.0.0.0"}),
        ("target: not the endpoint", "NIC_NOT_IN_VNET", {"daddr": "10.0.0.223"}),
        ("target: the backend's own address", ("NIC_NOT_IN_VNET", "INNER_ADDRESS"),
         {"daddr": scene.backend.address if scene.backend.address != scene.endpoint
          else "10.0.0.224"}),
        ("a port without a rule", "NO_RULE", {"dport": 22}),
        ("port 0", "NO_RULE", {"dport": 0}),
        ("a segment of no connection", "NO_FLOW", {"flags": 0x10}),
        ("an answer to nothing", "NO_FLOW", {"flags": 0x12}),
        ("protocol UDP", ("MALFORMED", "NO_RULE"), {"protocol": 17}),
        ("protocol ICMP", "PROTOCOL", {"protocol": 1}),
        ("a later fragment", "FRAGMENT", {"fragment": 0x2005}),
        ("IHL 4", "MALFORMED", {"ihl": 4}),
        ("IHL 6 without options", "IP_OPTIONS", {"ihl": 6}),
        ("version 6", "MALFORMED", {"version": 6}),
        ("total length 19", "MALFORMED", {"length": 19}),
        ("total length beyond the packet", "MALFORMED", {"length": 1400}),
    ):
        scene.attack(ledger, f"inner packet, {name}", reason, scene.wrong(**fields))


def test_a_frame_cut_at_every_length_is_malformed(scene, ledger):
    whole = scene.vxlan()
    frames = [scene.outer(whole[:length]) for length in range(len(whole))]
    attack = f"VXLAN: cut at every length from 0 to {len(whole) - 1}"
    with ledger.dropped("node's host", attack, scene.there, "MALFORMED", len(frames)):
        scene.send(frames)


def test_outer_lengths_that_lie_are_malformed(scene, ledger):
    size = 8 + 8 + 14 + 40 + 16
    for name, length in (
        ("0", 0), ("7", 7), ("8", 8), ("one less", size - 1), ("one more", size + 1),
        ("65535", 65535),
    ):
        scene.attack(ledger, f"outer UDP length: {name}", "MALFORMED",
                     scene.wrong(udp_length=length))


def test_only_the_sending_nics_node_may_send(scene, net, ledger):
    scene.attack(ledger, "outer source: a host that is no node", "OUTER_SOURCE",
                 scene.wrong(from_="192.0.2.254", host=True), host=True, who="host")
    scene.attack(ledger, "outer source: zero", "OUTER_SOURCE",
                 scene.wrong(from_="0.0.0.0", host=True), host=True, who="host")
    scene.attack(ledger, "outer source: the receiver itself", "OUTER_SOURCE",
                 scene.wrong(from_=scene.there.outer, host=True), host=True, who="host")
    # the first node's host speaks for a NIC of the second
    other = consumer(net, scene.there)
    path, address = net.endpoint(other.group, other.subnet(), scene.made.service)
    fields = {
        "vni": packets.VNI_LINK | link_id(net, scene.made, path),
        "source_mac": packets.mac(index_of(scene.there, other.workload)),
        "saddr": other.workload.address,
        "daddr": address,
    }
    scene.attack(ledger, "outer source: a node, for a NIC that lives elsewhere", "OUTER_SOURCE",
                 scene.wrong(**fields))


def test_what_is_not_vxlan_to_this_node_is_left_to_the_host(scene, ledger):
    """and no workload sees it"""
    marker = os.urandom(16)
    datagram = scene.vxlan(marker)
    places = [(w.namespace, "eth0") for w in (scene.backend, scene.bystander, scene.stranger)]
    for name, frame in (
        ("another UDP port", scene.outer(datagram, port=4790)),
        ("another destination", scene.outer(datagram, to="192.0.2.77")),
        ("outer IP options", scene.outer(datagram, outer_options=b"\x01" * 4)),
        ("an outer fragment", scene.outer(datagram, outer_fragment=0x2000)),
        ("a VLAN tag", scene.outer(datagram)[:12] + b"\x81\x00\x00\x07"
         + scene.outer(datagram)[12:]),
        ("VXLAN over TCP", eth(scene.macs["n1"], ip(scene.here.outer, scene.there.outer, 6,
                                                    udp(50000, PORT, datagram)),
                               scene.macs["n2"])),
    ):
        before = scene.there.counters()["NOT_OURS"]
        with Watch(places, marker) as watch:
            scene.send([frame] * 3)
            wait_for(lambda before=before: scene.there.counters()["NOT_OURS"] >= before + 3, 10,
                     0.02, f"three packets left alone: {name}")
        assert watch.leaks(()) == {}, name
        ledger.note("node's host", f"outer: {name}", "left to the host", "n2 counter NOT_OURS +3")


class Tape:
    """Copies of the VXLAN frames that leave a node."""

    def __init__(self, node):
        with inside(node.namespace):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind(("bb0", 3))

    def stop(self):
        time.sleep(0.2)  # for what is on its way
        self.sock.settimeout(0)  # the backbone is never silent
        frames = []
        while True:
            try:
                frame, where = self.sock.recvfrom(1 << 16)
            except BlockingIOError:
                break
            if where[2] == 4 and frame[12:14] == b"\x08\x00" and frame[36:38] == b"\x12\xb5":
                frames.append(frame)
        self.sock.close()
        return frames


def test_what_was_recorded_is_of_no_use_later(scene, net, ledger):
    """replay after another approval, and after the link is gone: generations, not luck"""
    client = consumer(net, scene.here)
    path, address = net.endpoint(client.group, client.subnet(), scene.made.service)
    tape = Tape(scene.here)
    with client.workload.connect(address, 80) as live:
        live.recv(100)
        live.sendall(b"recorded")
        live.recv(100)
        net.decide(scene.made.service, path, "Rejected")
        net.decide(scene.made.service, path, "Approved")
    vni = struct.pack("!I", (packets.VNI_LINK | link_id(net, scene.made, path)) << 8)[:3]
    recorded = [frame for frame in tape.stop() if frame[46:49] == vni]
    # without the openings, which the new approval allows
    data = [frame for frame in recorded if frame[64 + 20 + 13] & 0x02 == 0]
    assert len(data) >= 2, "the tape has the connection"
    served = len(scene.backend.servers[0].peers)
    with ledger.dropped("node's host", "replay: segments of an earlier approval", scene.there,
                        ("LINK_STALE", "NO_FLOW"), len(data)):
        scene.send(data)
    net.rest.delete(path)
    with ledger.dropped("node's host", "replay: a connection of a link that is gone", scene.there,
                        ("LINK_UNKNOWN", "LINK_REFUSED"), len(recorded)):
        scene.send(recorded)
    # a link made since: whatever its id, the recorded frames are not its
    path, address = net.endpoint(client.group, client.subnet(), scene.made.service)
    with ledger.dropped("node's host", "replay: after the next link was made", scene.there,
                        ("LINK_UNKNOWN", "LINK_REFUSED", "NO_FLOW", "LINK_STALE"), len(data)):
        scene.send(data)
    assert len(scene.backend.servers[0].peers) == served
    assert client.workload.ask(address, 80)[0] == "backend0"
