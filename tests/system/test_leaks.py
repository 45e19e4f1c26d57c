# SPDX-License-Identifier: Apache-2.0
"""Private link packets touch the backbone and the two workloads' interfaces, nothing else. The
check proves itself: it
sees the traffic on the backbone, and it fails when a packet is put where none belongs."""
import os
import socket

import pytest
from culvert_harness import Watch, inside, interfaces
from scenes import consumer, provider


def every_interface(net):
    spaces = [
        None,
        net.control,
        net.backbone,
        *(node.namespace for node in net.nodes),
        *(workload.namespace for workload in net.workloads.values()),
    ]
    places = []
    for space in spaces:
        for ifname in interfaces(space):
            places.append((space, ifname.split("@")[0]))
    return places


def allowed_places(net, *workloads):
    """The backbone, and both ends of the veth pairs of the workloads that talk."""
    places = {(net.backbone, "br0")}
    for node in net.nodes:
        places |= {(net.backbone, f"p{node.number}"), (node.namespace, "bb0")}
    for workload in workloads:
        nic = next(
            n for n in workload.node.status()["nics"] if n["id"].lower() == workload.nic.lower()
        )
        places |= {(workload.node.namespace, nic["hostIfname"]), (workload.namespace, "eth0")}
    return places


def assert_no_leak(watch, allowed):
    leaks = watch.leaks(allowed)
    assert not leaks, f"private link packets where none belong: {leaks}"


@pytest.fixture
def scene(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    bystander = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    assert bystander.workload.address
    return made, client, address


def traffic(client, address, marker):
    for _ in range(20):
        client.workload.ask(address, 80, marker * 200)


@pytest.mark.both_modes
def test_no_private_link_packet_leaves_the_backbone(net, scene):
    made, client, address = scene
    marker = os.urandom(24)
    allowed = allowed_places(net, client.workload, made.workloads[0])
    places = every_interface(net)
    with Watch(places, marker) as watch:
        traffic(client, address, marker)
    assert_no_leak(watch, allowed)
    for node in net.nodes:  # the positive control: these captures do see it where it belongs
        assert watch.counts[node.namespace, "bb0"] > 20
    assert len(places) - len(allowed) >= 8, "too few other interfaces were watched"


def test_the_check_finds_a_planted_leak(net, scene):
    made, client, address = scene
    marker = os.urandom(24)
    allowed = allowed_places(net, client.workload, made.workloads[0])
    with Watch(every_interface(net), marker) as watch:
        traffic(client, address, marker)
        with inside(net.nodes[0].namespace), socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW
        ) as sock:
            sock.bind(("mg0", 0))
            sock.send(b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + marker)
    with pytest.raises(AssertionError, match="mg0"):
        assert_no_leak(watch, allowed)


def test_on_one_node_nothing_touches_the_backbone_at_all(net):
    made = provider(net, [net.nodes[0]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    marker = os.urandom(24)
    allowed = allowed_places(net, client.workload, made.workloads[0])
    with Watch(every_interface(net), marker) as watch:
        traffic(client, address, marker)
    backbone = {
        place for place in allowed if place[1] in ("bb0", "br0") or place[0] == net.backbone
    }
    assert_no_leak(watch, allowed - backbone)
    assert watch.counts[client.workload.namespace, "eth0"] > 20
