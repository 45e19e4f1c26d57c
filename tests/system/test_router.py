# SPDX-License-Identifier: Apache-2.0
"""What a virtual machine's own IPv6 set-up asks for: a router and its address, from the node alone.
Frames by hand, and a real DHCPv6 client in a namespace; test_virtual_machines.py has machines."""
import ipaddress
import signal
import struct

import packets
import pytest
from culvert_harness import Process, ns_command, wait_for
from scenes import provider
from tap import Tap, udp
from test_ipv6 import addresses, six_consumer, six_endpoint
from test_tap import attach

pytestmark = pytest.mark.filterwarnings("error")
ROUTER, ALL_NODES, ALL_ROUTERS, SERVERS = "fe80::1", "ff02::1", "ff02::2", "ff02::1:2"
ICMP, UDP, TCP = 58, 17, 6
SOLICIT, ADVERTISE, REQUEST, REPLY = 1, 2, 3, 7
CLIENT, SERVER, ASSOCIATION, ADDRESS = 1, 2, 3, 5
NAME = b"\0\3\0\1tester"
SCRIPT = """#!/bin/sh
[ "$reason" = BOUND6 ] || exit 0
ip -6 addr replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface"
echo "$new_ip6_address" >"{0}"
"""


class Machine:
    """A virtual machine's place at its TAP."""

    def __init__(self, tap, shown):
        self.tap, self.mac = tap, packets.mac_bytes(shown["macAddress"])
        self.local = str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(8) + self.mac))

    def send(self, destination, following, body, at, hops=64, source=None, partial=False):
        source = source or self.local
        body = packets.summed(source, destination, following, body, at)
        if partial:  # the sum of the addresses alone, for the device to go on from
            start = packets.pseudo_sum(source, destination, following, bytes(len(body)))
            body = body[:at] + struct.pack("!H", start ^ 0xFFFF) + body[at + 2 :]
        packet = packets.ipv6(source, destination, following, body, hops)
        group = b"\x33\x33" + ipaddress.IPv6Address(destination).packed[-4:]
        target = group if destination.startswith("ff") else packets.ROUTER
        frame = target + self.mac + b"\x86\xdd" + packet
        self.tap.send(frame, checksum=(54, at) if partial else None)

    def receive(self, following, wanted, seconds=10):
        """The body of the first packet of a protocol that `wanted` takes, its checksum right."""
        frame = self.tap.receive(
            lambda got: got[12:14] == b"\x86\xdd" and got[20] == following and wanted(got[54:]),
            seconds,
        )
        if frame is None:
            return None, None
        size = int.from_bytes(frame[18:20], "big")
        ends = [str(ipaddress.IPv6Address(frame[at : at + 16])) for at in (22, 38)]
        body = frame[54 : 54 + size]
        assert packets.pseudo_sum(*ends, following, body) == 0
        return body, ends

    def router(self):
        """The router's advertisement, for a solicitation."""
        for _ in range(5):
            self.send(ALL_ROUTERS, ICMP, struct.pack("!BBHI", 133, 0, 0, 0), 2, hops=255)
            body, ends = self.receive(ICMP, lambda got: got[0] == 134, 3)
            if body:
                return body, ends
        raise TimeoutError("no router")

    def ask(self, kind, server=b"", **more):
        """The answer's kind and its options, by number."""
        options = option(CLIENT, NAME) + option(ASSOCIATION, b"abcd" + bytes(8))
        message = bytes([kind, 1, 2, 3]) + options + (option(SERVER, server) if server else b"")
        for _ in range(5):
            self.send(SERVERS, UDP, udp(546, 547, message), 6, **more)
            body, ends = self.receive(UDP, lambda got: got[:4] == struct.pack("!HH", 547, 546), 3)
            if body:
                assert ends == [ROUTER, self.local] and body[9:12] == bytes([1, 2, 3])
                return body[8], parsed(body[12:])
        raise TimeoutError("no answer to DHCPv6")


def option(number, content):
    return struct.pack("!HH", number, len(content)) + content


def parsed(options):
    found = {}
    while options:
        number, size = struct.unpack_from("!HH", options)
        found[number] = options[4 : 4 + size]
        options = options[4 + size :]
    return found


def told(found):
    """The address of an association."""
    association = found[ASSOCIATION]
    assert association[:4] == b"abcd"
    return str(ipaddress.IPv6Address(parsed(association[12:])[ADDRESS][:16]))


@pytest.mark.both_modes
def test_a_machine_finds_its_router_and_its_address(net):
    """Also while the agent is dead; when it is back, it says unasked where the router is."""
    node = net.nodes[0]
    made = provider(net, [net.nodes[1]])
    group = net.group()
    vnet = net.vnet(group, six="fd00:1::/64")
    nic, _ = net.nic(group, f"{vnet}/subnets/default", six=True)
    shown = attach(node, nic)
    own = addresses(net, nic)[1]
    assert shown["ipv6Address"] == f"{own}/64"
    assert f" and {own}/64" in node.culvert("attach", "--nic", nic, "--tap").stdout
    _, _, endpoint = six_endpoint(net, Place(group, f"{vnet}/subnets/default"), made.service)
    with Tap(node.namespace, shown["hostIfname"]) as tap:
        machine = Machine(tap, shown)

        def reaches(port, flags):
            syn = packets.tcp(own, endpoint, 40000, port)
            machine.send(endpoint, TCP, syn, 16, source=own)
            body, ends = machine.receive(TCP, lambda got: got[13] == flags)
            return body and ends == [endpoint, own]

        def set_up():
            body, ends = machine.router()
            assert ends == [ROUTER, machine.local]
            assert body[5] == 0xC0 and body[6:8] == b"\xff\xff"
            assert body[16:24] == b"\1\1" + packets.ROUTER
            assert body[28:32] == shown["mtu"].to_bytes(4, "big")
            for partial in (False, True):
                kind, found = machine.ask(SOLICIT, partial=partial)
                assert kind == ADVERTISE and told(found) == own
            kind, found = machine.ask(REQUEST, server=found[SERVER])
            assert kind == REPLY and told(found) == own and found[CLIENT] == NAME
            assert reaches(80, 0x12), "a backend answers"
            assert reaches(81, 0x14), "a reset: no rule leads there"

        set_up()
        node.agent.stop(signal.SIGKILL)
        set_up()
        node.start().wait_ready()
        body, ends = machine.receive(ICMP, lambda got: got[0] == 134, 30)
        assert ends == [ROUTER, ALL_NODES] and body[5] == 0xC0, "unasked"
        assert body[28:32] == shown["mtu"].to_bytes(4, "big")
        before = node.drops()
        # a server or a router of its own reaches nobody
        machine.send(ALL_NODES, ICMP, struct.pack("!BBHQ", 134, 0, 0, 0x40C0FFFF << 32), 2, 255)
        machine.send(ALL_NODES, UDP, udp(547, 546, bytes([ADVERTISE, 1, 2, 3])), 6)
        machine.send(SERVERS, UDP, udp(546, 547, bytes([SOLICIT, 1, 2, 3])), 6, source="fe80::2")
        wait_for(
            lambda: node.drops()["MULTICAST"] >= before["MULTICAST"] + 2
            and node.drops()["DHCP"] > before["DHCP"],
            10,
            0.05,
            "drops by their names",
        )
    node.culvert("detach", "--nic", nic)


class Place:
    """Where an endpoint is made."""

    def __init__(self, group, subnet):
        self.group, self.subnet = group, subnet


def test_a_real_client_gets_its_address(net, tmp_path):
    client = six_consumer(net, net.nodes[0])
    workload = client.workload
    script, lease = tmp_path / "script", tmp_path / "lease"
    script.write_text(SCRIPT.format(lease))
    script.chmod(0o755)
    workload.run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
    local = ("ip", "-6", "addr", "show", "dev", "eth0", "scope", "link", "-tentative")
    wait_for(lambda: "fe80" in workload.run(*local).stdout, 30, 0.1, "an address of the link")
    argv = ["dhclient", "-6", "-1", "-d", "-cf", "/dev/null", "-sf", script]
    argv += ["-lf", tmp_path / "leases", "-pf", tmp_path / "pid"]
    process = Process(ns_command(workload.namespace, *argv, "eth0"), tmp_path / "log")
    try:
        wait_for(lease.exists, 60, 0.1, "a lease")
    finally:
        process.stop()
    assert lease.read_text().strip() == client.six
    made = provider(net, [net.nodes[1]])
    _, _, six = six_endpoint(net, client, made.service)
    # the kernel looks for others with the address first
    ping = ("ping", "-6", "-c", "1", "-W", "1", six)
    wait_for(lambda: workload.run(*ping, check=False).returncode == 0, 30, 0.1, "an answer")
