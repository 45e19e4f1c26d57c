# SPDX-License-Identifier: Apache-2.0
"""The kernel's own VXLAN device as a peer on the backbone: what it sends is carried, what it is
sent it understands."""
import contextlib
import os
import socket

import culvert_harness
import packets
import pytest
from culvert_harness import inside, run
from scenes import consumer, link_id, nat_addresses, provider
from workload import Workload

OUTER = "192.0.2.77"
LARGE = 3 << 20  # bytes: super-packets on both sides


@pytest.fixture(name="peer", scope="module")
def _peer():
    """A topology of one node, and a host that joined as a node and runs nothing of Culvert."""
    net = culvert_harness.Topology(nodes=1, agent_flags=("--liveness-interval-ms", "0"))
    with contextlib.closing(net):
        net.join("kernel", OUTER, net.folder / "kernel")
        space = net.namespace("kernel")
        net._wire(net.backbone, "p77", space, "bb0", OUTER)  # pylint: disable=protected-access
        yield net, space


def attached(net, group, subnet, pool=None):
    """A NIC that the control plane has put on that host: its address and its MAC."""
    nic, address = net.nic(group, subnet, None, pool)
    net.rest.good("POST", f"{nic}/attach", {"node": "kernel"})
    return nic, address, net.rest.get(nic)["properties"]["macAddress"].replace("-", ":").lower()


@contextlib.contextmanager
def tunnel(net, space, vni, mac, address, others):
    """A VXLAN device with that MAC and address; others: the MACs of those who are on the node."""
    ip = ("ip", "-n", space)
    device = ("type", "vxlan", "id", vni, "local", OUTER, "remote", net.nodes[0].outer)
    options = ("dstport", packets.VXLAN_PORT, "nolearning", "noudpcsum")
    run(*ip, "link", "add", "vx0", "address", mac, "mtu", "1450", *device, *options)
    try:
        run(*ip, "link", "set", "vx0", "up")
        run(*ip, "addr", "add", f"{address}/32", "dev", "vx0")
        for other, its_mac in others.items():
            run(*ip, "route", "add", other, "dev", "vx0")
            run(*ip, "neigh", "add", other, "lladdr", its_mac, "dev", "vx0", "nud", "permanent")
        yield
    finally:
        run(*ip, "link", "del", "vx0")


def vni_of(space, sender, target):
    """The VNI under which the sender's packets to `target` come to that host."""
    with inside(space):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    with sock:
        sock.bind(("bb0", 0x0800))
        sock.settimeout(10)
        sender.run("ping", "-c", "1", "-W", "1", target, check=False)
        while True:
            frame = sock.recv(2048)
            tunnelled = frame[23] == 17 and frame[36:38] == packets.VXLAN_PORT.to_bytes(2, "big")
            if tunnelled and frame[62:64] == b"\x08\x00":  # nodes send each other other things, too
                return int.from_bytes(frame[46:49], "big")


def test_inside_a_vnet(peer):
    net, space = peer
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    here = net.workload(group, subnet, net.nodes[0])
    nic, address, mac = attached(net, group, subnet)
    there = Workload(net, nic, None, space, address)
    here.serve(9000, "culvert")
    vni = vni_of(space, here, address)
    with tunnel(net, space, vni, mac, address, {here.address: here.mac}):
        with contextlib.closing(there.serve(9000, "kernel")):
            data = os.urandom(LARGE)
            name, seen = here.ask(address, 9000, data)
            assert (name, seen[0]) == ("kernel", here.address)
            name, seen = there.ask(here.address, 9000, data)
            assert (name, seen[0]) == ("culvert", address)


def test_a_consumer_behind_it(peer):
    net, space = peer
    made = provider(net, net.nodes)
    backend = made.workloads[0]
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    nic, address, mac = attached(net, group, subnet)
    path, endpoint = net.endpoint(group, subnet, made.service)
    vni = packets.VNI_LINK | link_id(net, made, path)
    with tunnel(net, space, vni, mac, address, {endpoint: backend.mac}):
        name, seen = Workload(net, nic, None, space, address).ask(endpoint, 80, os.urandom(LARGE))
        assert name == "backend0" and seen[0] in nat_addresses(net, made)


def test_a_backend_behind_it(peer):
    net, space = peer
    made = provider(net, [])
    _, _, mac = attached(net, made.group, made.subnet(), made.pool)
    client = consumer(net, net.nodes[0])
    path, endpoint = net.endpoint(client.group, client.subnet(), made.service)
    vni = packets.VNI_LINK | link_id(net, made, path)
    # what a node does for its backends nobody does here: it is asked as the endpoint itself
    there = Workload(net, None, None, space, endpoint)
    others = {client.workload.address: client.workload.mac}
    with tunnel(net, space, vni, mac, endpoint, others):
        with contextlib.closing(there.serve(80, "kernel")):
            name, seen = client.workload.ask(endpoint, 80, os.urandom(LARGE))
            assert (name, seen[0]) == ("kernel", client.workload.address)
