# SPDX-License-Identifier: Apache-2.0
"""Attacks on what all share: the flow tables of a node, a backend's NAT ports. The neighbour must
not notice: every connection that it opens meanwhile comes about, and its open ones go on. How fast
is printed, not judged: the machine is shared with the attacker and with other tests."""
import contextlib
import resource
import socket
import struct
import subprocess
import time

import culvert_harness
import pytest
from culvert_harness import ROOT, ns_command, wait_for
from scenes import consumer, provider

FLOWS = 16384  # a table that one workload could fill at once
RATE = 4000
FLOOD = ROOT / "tests/adversary/flood.py"


@pytest.fixture(scope="module")
def small():
    """Two nodes with small flow tables: what the attacks need is proportional to them."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], FLOWS), max(limits[1], FLOWS)))
    topology = culvert_harness.Topology(nodes=2, flows=FLOWS)
    yield topology
    topology.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Side:
    """A consumer on the first node of a service of its own, on a node of the caller's choice."""

    def __init__(self, net, where):
        self.made = provider(net, [where])
        client = consumer(net, net.nodes[0])
        self.workload = client.workload
        _, self.address = net.endpoint(client.group, client.subnet(), self.made.service)
        self.workload.ask(self.address, 80)

    def works(self, seconds=1.5):
        """Connections after connections, each with an echo; every one must succeed. Returns
        (connections a second, bytes a second)."""
        payload = b"x" * (1 << 20)  # few and large: the table is small for the victim, too
        begin, done = time.monotonic(), 0
        while time.monotonic() < begin + seconds or done < 10:
            self.workload.ask(self.address, 80, payload, timeout=20)
            done += 1
        took = time.monotonic() - begin
        return done / took, 2 * len(payload) * done / took


@contextlib.contextmanager
def flood(side):
    """SYNs of ever new ports from a workload that never answers."""
    space = side.workload.namespace
    # its kernel would reset what it does not know, and end the half-open connections
    rules = (
        "table ip quiet { chain out { type filter hook output priority 0; "
        "tcp flags & rst == rst drop; }; }"
    )
    culvert_harness.run(*ns_command(space, "nft", rules))
    process = subprocess.Popen(
        ns_command(space, "/usr/bin/python3", FLOOD, side.workload.mac, side.workload.address,
                   side.address, 80, RATE),
        stdout=subprocess.PIPE, text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.poll() is None, "the flood ended by itself"
    finally:
        process.kill()
        process.wait()
        culvert_harness.run(*ns_command(space, "nft", "delete table ip quiet"), check=False)


def told(capsys, what, before, during):
    with capsys.disabled():
        print(f"\n{what}: victim before {before[0]:.0f} connections/s {before[1] / 1e6:.1f} MB/s, "
              f"during {during[0]:.0f} connections/s {during[1] / 1e6:.1f} MB/s "
              f"({during[0] / before[0]:.2f}, {during[1] / before[1]:.2f})")


@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_a_flood_of_openings_leaves_the_neighbour_alone(small, ledger, capsys, across):
    where = small.nodes[1 if across else 0]
    attacker, victim = Side(small, where), Side(small, where)
    full = sum(node.drops()["FLOW_TABLE_FULL"] for node in small.nodes)
    before = victim.works()
    with victim.workload.connect(victim.address, 80) as held:
        held.recv(100)
        # two entries a connection where its backend lives: there the quota is met first
        with ledger.dropped("workload", f"SYN flood, {'two nodes' if across else 'one node'}",
                            where, "FLOW_QUOTA", 100):
            with flood(attacker):
                wait_for(lambda: where.drops()["FLOW_QUOTA"], 30, 0.05, "the quota to be met")
                during = victim.works()
                held.sendall(b"still here")
                assert held.recv(100) == b"still here"
    assert sum(node.drops()["FLOW_TABLE_FULL"] for node in small.nodes) == full
    assert where.status()["flows"] < FLOWS * 0.8
    told(capsys, f"SYN flood, {'two nodes' if across else 'one node'}", before, during)


def test_holding_connections_open_leaves_the_neighbour_alone(small, ledger, capsys):
    """finished handshakes: more are allowed than unfinished ones, and still not all"""
    node = small.nodes[0]
    attacker, victim = Side(small, node), Side(small, node)
    silent = never_accepts(attacker.made.workloads[0])
    before = victim.works()
    held = []
    try:
        with ledger.dropped("workload", "as many open connections as it gets", node, "FLOW_QUOTA"):
            # refused at once, by a reset: nobody waits
            with pytest.raises(ConnectionRefusedError):
                while len(held) < FLOWS:
                    held.append(attacker.workload.connect(attacker.address, 80, timeout=20))
        # more than all unfinished ones together may be, less than a third of the table
        assert FLOWS * 0.06 < len(held) < FLOWS / 6
        during = victim.works()
        told(capsys, f"{len(held)} open connections", before, during)
        exact(small, node)
        # what ends may be opened again
        reset(held[: len(held) // 2])
        wait_for(lambda: opens(attacker), 30, 0.1, "room after connections have ended")
    finally:
        reset(held)
        silent.close()


def never_accepts(workload):
    """In place of the workload's server: the kernel finishes handshakes, nobody takes them."""
    port = workload.servers[0].port
    workload.servers.pop().close()
    sock = workload.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    sock.listen(4096)
    return sock


def reset(sockets):
    for sock in (each for each in sockets if each.fileno() >= 0):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def opens(side):
    try:
        side.workload.connect(side.address, 80, timeout=20).close()
        return True
    except ConnectionRefusedError:
        return False


def exact(net, node):
    """What the interfaces are charged is what the table holds."""

    def equal():
        status = node.status()
        return sum(nic["flows"] for nic in status["nics"]) == status["flows"]

    wait_for(equal, 30, 0.1, "charges that equal the entries")
