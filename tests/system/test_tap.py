# SPDX-License-Identifier: Apache-2.0
"""The interfaces of virtual machines and DHCP, without a machine: frames by hand, a client in a
namespace. tests/system/test_virtual_machines.py has the machines."""
import ipaddress
import json
import signal
import socket

import packets
import pytest
from culvert_harness import run, wait_for
from scenes import consumer, provider
from tap import BROADCAST, Tap, dhcp, udp

pytestmark = pytest.mark.filterwarnings("error")
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
SCRIPT = """#!/bin/sh
[ "$1" = bound ] && echo "$ip/$mask $router $mtu $serverid $dns" >"{0}"
exit 0
"""


def link(node, name):
    """What the kernel says of an interface; None when there is none."""
    shown = run("ip", "-n", node.namespace, "-j", "-d", "link", "show", name, check=False)
    return json.loads(shown.stdout)[0] if shown.returncode == 0 else None


def attach(node, nic, *words):
    return json.loads(
        node.culvert("attach", "--nic", nic, "--tap", *words, "--output", "json").stdout
    )


def refused(node, nic, *words):
    done = node.culvert("attach", "--nic", nic, *words, check=False)
    assert done.returncode in (1, 3), done.stdout
    return done.stderr


def broadcast(mac, kind, **more):
    """A client's message that has no address yet."""
    packet = packets.ipv4("0.0.0.0", "255.255.255.255", 17, udp(68, 67, dhcp(kind, mac, **more)))
    return BROADCAST + mac + b"\x08\x00" + packet


def is_answer(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[34:38] == b"\0\x43\0\x44"


def options(frame):
    """The options of a DHCP message, by number."""
    out, at = {}, 42 + 240
    while frame[at] != 255:
        if frame[at] == 0:
            at += 1
            continue
        out[frame[at]] = frame[at + 2 : at + 2 + frame[at + 1]]
        at += 2 + frame[at + 1]
    return out


@pytest.fixture(name="nic")
def _nic(net):
    group = net.group()
    vnet = net.vnet(group)
    return net.nic(group, f"{vnet}/subnets/default")


@pytest.mark.both_modes
def test_a_tap_is_as_it_is_printed_and_goes_with_detach(net, nic):
    node, (nic, address) = net.nodes[0], nic
    made = attach(node, nic)
    name = made["hostIfname"]
    shown = link(node, name)
    assert shown["linkinfo"]["info_kind"] == "tun"
    data = shown["linkinfo"]["info_data"]
    assert data["type"] == "tap" and data["vnet_hdr"] and data["persist"], data
    assert shown["mtu"] == made["mtu"]
    assert f"ifname={name}," in made["qemuOptions"] and made["macAddress"] in made["qemuOptions"]
    assert made["address"] == f"{address}/24"
    (listed,) = [one for one in node.status()["nics"] if one["id"].lower() == nic.lower()]
    assert listed["tap"] and listed["carrying"] and listed["hostIfname"] == name
    table = node.culvert("status").stdout
    assert any("TAP" in line and nic in line for line in table.splitlines()), table

    assert attach(node, nic) == made, "again changes nothing"
    told = node.culvert("attach", "--nic", nic, "--tap").stdout
    assert told.startswith(f"attached TAP {name}: {address}/24 via 10.0.0.1, MAC "), told
    assert made["qemuOptions"] in told
    assert link(node, name)["ifindex"] == shown["ifindex"]
    assert "detach it first" in refused(node, nic, "--tap", "other")
    assert "detach it first" in refused(node, nic, "--tap", "--tap-user", "nobody")
    space = net.namespace(net.name("w"))
    assert "detach it first" in refused(node, nic, "--netns", space)
    assert "TAP interface" in refused(node, nic, "--netns", space)

    node.culvert("detach", "--nic", nic)
    assert link(node, name) is None
    node.culvert("attach", "--nic", nic, "--netns", space)
    assert "detach it first" in refused(node, nic, "--tap")
    node.culvert("detach", "--nic", nic)


def test_a_tap_is_its_users_and_keeps_its_name(net, nic):
    node, (nic, _) = net.nodes[0], nic
    assert "no user" in refused(node, nic, "--tap", "--tap-user", "nobody-of-that-name")
    assert "not a name" in refused(node, nic, "--tap", "web%d")
    run("ip", "-n", node.namespace, "link", "add", "taken", "type", "bridge")
    assert "there already" in refused(node, nic, "--tap", "taken")
    run("ip", "-n", node.namespace, "link", "del", "taken")
    made = attach(node, nic, "web1", "--tap-user", "nobody")
    assert made["hostIfname"] == "web1"
    owner = link(node, "web1")["linkinfo"]["info_data"]["user"]
    assert owner in ("nobody", "65534")
    assert attach(node, nic, "web1", "--tap-user", "65534") == made, "the same user by its number"
    node.culvert("detach", "--nic", nic)
    assert link(node, "web1") is None


def ask(tap, mac, kind, **more):
    """The options of the answer, and the frame."""
    for _ in range(5):
        tap.send(broadcast(mac, kind, **more))
        frame = tap.receive(is_answer, 3)
        if frame:
            return options(frame), frame
    raise TimeoutError("no answer to DHCP")


@pytest.mark.both_modes
def test_what_a_machine_sends_by_its_tap_is_answered(net):
    """Also while the agent is dead; and the interface outlives it."""
    node = net.nodes[0]
    made = provider(net, [net.nodes[1]])
    group = net.group()
    vnet = net.vnet(group)
    nic, address = net.nic(group, f"{vnet}/subnets/default")
    _, endpoint = net.endpoint(group, f"{vnet}/subnets/default", made.service)
    shown = attach(node, nic)
    mac = packets.mac_bytes(shown["macAddress"])
    own = ipaddress.IPv4Address(address).packed

    def refusal(tap, port):
        tap.send(packets.tcp_frame(mac, address, endpoint, 40000, port))
        return tap.receive(lambda frame: frame[23] == 6)

    with Tap(node.namespace, shown["hostIfname"]) as tap:
        told, frame = ask(tap, mac, DISCOVER)
        assert frame[:6] == mac and frame[58:62] == own
        assert told[53] == bytes([OFFER]) and told[1] == b"\xff\xff\xff\0"
        assert told[26] == shown["mtu"].to_bytes(2, "big")
        assert told[3] == ipaddress.IPv4Address(shown["gateway"]).packed
        assert ask(tap, mac, REQUEST, wanted=own)[0][53] == bytes([ACK])
        assert ask(tap, mac, REQUEST, wanted=bytes([10, 0, 0, 99]))[0][53] == bytes([NAK])
        assert 6 not in told
        network = net.rest.get(vnet)
        network["properties"]["dhcpOptions"] = {"dnsServers": ["10.0.0.53"]}
        net.rest.put(vnet, network)
        assert ask(tap, mac, DISCOVER)[0][6] == bytes([10, 0, 0, 53])
        assert refusal(tap, 80)[47] == 0x12, "a backend answers"
        assert refusal(tap, 81)[47] == 0x14, "a reset: no rule leads there"

        before = node.drops()
        tap.send(packets.tcp_frame(mac, "10.0.0.200", endpoint, 40001, 80))
        tap.send(broadcast(packets.mac(0xABCDEF), DISCOVER))
        tap.send(broadcast(mac, OFFER))
        wait_for(
            lambda: all(
                node.drops()[name] > before[name]
                for name in ("SPOOFED_ADDRESS", "SPOOFED_MAC", "DHCP")
            ),
            10,
            0.05,
            "drops by their names",
        )

        ifindex = link(node, shown["hostIfname"])["ifindex"]
        node.agent.stop(signal.SIGKILL)
        assert ask(tap, mac, DISCOVER)[0][53] == bytes([OFFER]), "without the agent"
        assert refusal(tap, 80)[47] == 0x12
        node.start().wait_ready()
        assert link(node, shown["hostIfname"])["ifindex"] == ifindex
        assert refusal(tap, 80)[47] == 0x12
        assert attach(node, nic) == shown
        node.culvert("detach", "--nic", nic)
        assert link(node, shown["hostIfname"]) is None


@pytest.mark.both_modes
def test_a_machine_does_not_choose_where_a_checksum_is_written(net):
    """It could change the source after it was checked, on the way out to another machine."""
    node = net.nodes[0]
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    (sender, address), (neighbour, other) = (net.nic(group, subnet) for _ in range(2))
    one, two = attach(node, sender), attach(node, neighbour)
    mac = packets.mac_bytes(one["macAddress"])
    words = b"\x12\x34" + bytes(30)

    def frame(payload=words):
        datagram = udp(5000, 6000, payload)
        return packets.ROUTER + mac + b"\x08\x00" + packets.ipv4(address, other, 17, datagram)

    def is_ours(got):
        return got[12:14] == b"\x08\x00" and got[-len(words) :] == words

    with Tap(node.namespace, one["hostIfname"]) as tap, Tap(
        node.namespace, two["hostIfname"]
    ) as receiver:

        def passes():
            """Again until the kernel has noticed that the receiver is there."""
            tap.send(frame(), checksum=(34, 6))
            return receiver.receive(is_ours, 1)

        got = wait_for(passes, 30, 0, "the datagram")
        assert got[26:30] == ipaddress.IPv4Address(address).packed
        assert got[40:42] != b"\0\0", "the kernel filled it in"
        before = node.drops()["MALFORMED"]
        # the source, the destination, the ports, the length, within the payload
        odd = [(20, 6), (20, 8), (20, 10), (34, 0), (34, 2), (34, 4), (34, 16), (42, 0)]
        for place in odd:
            tap.send(frame(bytes(4) + words), checksum=place)
        wait_for(lambda: node.drops()["MALFORMED"] >= before + len(odd), 10, 0.05, "their drops")
        tap.send(frame(b"\x56\x78" + words))
        # the first one may have come more than once
        sizes = {len(receiver.receive(is_ours))}
        while max(sizes) < len(frame()) + 2:
            sizes.add(len(receiver.receive(is_ours)))
        assert sizes <= {len(frame()), len(frame()) + 2}, "none of the odd ones has come"
    for nic in (sender, neighbour):
        node.culvert("detach", "--nic", nic)


def test_a_client_in_a_namespace_gets_its_address_from_the_node_alone(net, tmp_path):
    """A neighbour's DHCP server hears nothing of it and reaches nobody."""
    node = net.nodes[0]
    made = consumer(net, node)
    rogue = net.workload(made.group, made.subnet(), node)
    script, lease = tmp_path / "script", tmp_path / "lease"
    script.write_text(SCRIPT.format(lease))
    script.chmod(0o755)
    client = made.workload
    client.run("ip", "addr", "flush", "dev", "eth0")
    with rogue.socket(socket.SOCK_DGRAM) as server, client.frames() as heard:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        server.bind(("0.0.0.0", 67))
        server.settimeout(0.2)
        drops = node.drops()["MULTICAST"]
        forged = bytes([2]) + dhcp(OFFER, packets.mac_bytes(client.mac))[1:]
        server.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")  # SO_BINDTODEVICE
        server.sendto(forged, ("255.255.255.255", 68))
        wait_for(lambda: node.drops()["MULTICAST"] > drops, 10, 0.05, "a drop of the broadcast")
        argv = ["busybox", "udhcpc", "-n", "-q", "-t", "10", "-T", "2", "-i", "eth0"]
        client.run(*argv, "-s", script)
        with pytest.raises(TimeoutError):
            server.recvfrom(2000)
        heard.settimeout(0.2)
        sources = set()
        with pytest.raises(TimeoutError):
            while True:
                frame = heard.recv(2000)
                if is_answer(frame):
                    sources.add(socket.inet_ntoa(frame[26:30]))
    assert sources == {"168.63.129.16"}
    mtu = node.status()["workloadMtu"]
    assert lease.read_text().split() == [
        f"{client.address}/24",
        "10.0.0.1",
        str(mtu),
        "168.63.129.16",
    ]
