# SPDX-License-Identifier: Apache-2.0
"""enableTcpReset: when an established connection has been idle for as long as its rule says, both
of its ends are reset; without it they are not told. Minutes count as less than a second here."""
import contextlib
import copy
import select
import socket
import struct

import culvert_harness
import pytest
from culvert_harness import wait_for
from scenes import BACKEND_PORT, consumer, provider
from test_ipv6 import PREFIX, six_consumer, six_endpoint
from workload import bind_any

placements = pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
RST = 0x04


@pytest.fixture(name="quick", scope="module")
def _quick():
    """Four minutes take 2.4 seconds."""
    flags = ("--idle-unit-ms", "10")
    with contextlib.closing(culvert_harness.Topology(nodes=2, agent_flags=flags)) as topology:
        yield topology


def set_reset(net, made, wanted):
    body = copy.deepcopy(net.rest.get(made.balancer))
    for rule in body["properties"]["loadBalancingRules"]:
        rule["properties"]["enableTcpReset"] = wanted
    net.rest.put(made.balancer, body)


class Pair:
    """An open connection with a real socket on either end."""

    def __init__(self, net, across, reset=True, six=False):
        self.made = provider(net, [net.nodes[1 if across else 0]], six=PREFIX if six else None)
        set_reset(net, self.made, reset)
        if six:
            client = six_consumer(net, net.nodes[0])
            self.address = six_endpoint(net, client, self.made.service)[2]
        else:
            client = consumer(net, net.nodes[0])
            _, self.address = net.endpoint(client.group, client.subnet(), self.made.service)
        family = socket.AF_INET6 if six else socket.AF_INET
        self.consumer, self.backend = client.workload, self.made.workloads[0]
        self.backend.close()
        self.nodes = {self.consumer.node, self.backend.node}
        self.heard = {end: end.frames() for end in (self.consumer, self.backend)}
        with self.backend.socket(family=family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind_any(listener, BACKEND_PORT)
            listener.listen(1)
            self.here = self.consumer.socket(family=family)
            self.here.settimeout(20)
            self.here.connect((self.address, 80))
            self.there, _ = listener.accept()
        self.here.sendall(b"to and")
        assert self.there.recv(100) == b"to and"
        self.there.sendall(b"fro")
        assert self.here.recv(100) == b"fro"
        self.port = self.here.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for sock in (self.here, self.there, *self.heard.values()):
            sock.close()

    def flows(self):
        """The entries that the connection has on the nodes."""
        return sum(
            self.port in (entry["key"]["sport"], swapped(entry["key"]["sport"]))
            for node in self.nodes
            for entry in node.flow_entries()
            if entry["key"]["proto"] == 6
        )

    def resets(self, end):
        """The resets that an end's interface has got so far: their sequence numbers."""
        found = []
        sock = self.heard[end]
        while select.select([sock], [], [], 0)[0]:
            frame, where = sock.recvfrom(200)
            if where[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00":
                if frame[23] == socket.IPPROTO_TCP and frame[47] & RST:
                    found.append(struct.unpack_from("!I", frame, 38)[0])
        return found


def swapped(port):
    return struct.unpack("<H", struct.pack(">H", port))[0]


def ended(sock):
    """The error that a socket has, when it has one."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@placements
def test_both_ends_of_an_idle_connection_are_reset(quick, across):
    with Pair(quick, across) as pair:
        before = sum(node.counters()["IDLE_RESET"] for node in pair.nodes)
        for sock in (pair.here, pair.there):
            sock.settimeout(60)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        for end in (pair.consumer, pair.backend):
            assert pair.resets(end), "the reset itself, on the wire"
        assert pair.flows() == 0
        after = sum(node.counters()["IDLE_RESET"] for node in pair.nodes)
        # each node tells of its own end
        assert after - before == len(pair.nodes)


@placements
def test_ends_that_speak_ipv6_are_reset(quick, across):
    with Pair(quick, across, six=True) as pair:
        for sock in (pair.here, pair.there):
            sock.settimeout(60)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert pair.flows() == 0


@placements
def test_without_it_an_idle_connection_ends_silently(quick, across):
    with Pair(quick, across, reset=False) as pair:
        wait_for(lambda: pair.flows() == 0, 60, 0.1, "the connection's entries to go")
        # another connection's end comes later, and is told: so would this one have been
        with Pair(quick, across) as other:
            other.here.settimeout(60)
            with pytest.raises(ConnectionResetError):
                other.here.recv(1)
        assert ended(pair.here) == 0 and ended(pair.there) == 0
        assert not pair.resets(pair.consumer) and not pair.resets(pair.backend)


def test_a_connection_in_use_is_left_alone(quick):
    with Pair(quick, False) as busy, Pair(quick, False) as idle:
        idle.here.setblocking(False)
        over = False
        while not over:
            busy.here.sendall(b"still here")
            assert busy.there.recv(100) == b"still here"
            over = ended(idle.here) != 0
        assert ended(busy.here) == 0 and ended(busy.there) == 0


def test_a_workload_that_answers_nothing_holds_nothing_up(quick):
    with Pair(quick, False) as mute, Pair(quick, False) as other:
        mute.backend.run("ip", "link", "set", "eth0", "down")
        other.here.settimeout(60)
        with pytest.raises(ConnectionResetError):
            other.here.recv(1)
        mute.here.settimeout(60)
        with pytest.raises(ConnectionResetError):
            mute.here.recv(1)
        assert mute.flows() == 0


def test_the_setting_holds_for_connections_that_begin_after_it(quick):
    with Pair(quick, False, reset=False) as pair:
        set_reset(quick, pair.made, True)
        wait_for(lambda: pair.flows() == 0, 60, 0.1, "the connection's entries to go")
        with Pair(quick, False) as other:
            other.here.settimeout(60)
            with pytest.raises(ConnectionResetError):
                other.here.recv(1)
        assert ended(pair.here) == 0
