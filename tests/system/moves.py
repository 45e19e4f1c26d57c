# SPDX-License-Identifier: Apache-2.0
"""What tests of moving NICs share: conversations that go on, and what kernels hold of them."""
import os

from culvert_harness import Conversation, wait_for
from scenes import consumer, index_of, provider

PAYLOAD = os.urandom(20_000)
# of an entry: what does not change while its connection talks
KEPT = (
    "link",
    "link_generation",
    "nic",
    "nic_generation",
    "source_nic",
    "source_generation",
    "saddr",
    "daddr",
    "sport",
    "dport",
    "idle_s",
    "action",
    "other",
)


class Talks:
    """Connections in the middle of a conversation."""

    def __init__(self):
        self.open = []

    def begin(self, workload, address, count, port=80):
        found = []
        for _ in range(count):
            sock = workload.connect(address, port)
            sock.settimeout(30)
            talk = Conversation(sock)
            self.open.append(talk)
            talk.check(b"before")
            found.append(talk)
        return found

    def go_on(self):
        for talk in self.open:
            talk.check(PAYLOAD)

    def close(self):
        for talk in self.open:
            talk.file.close()
            talk.sock.close()
        self.open = []


def both_ways(net, home, talks, count=2):
    """A workload on `home` that is a backend for consumers on every node, and a consumer of a
    service on every node; returns it and its NIC's index."""
    made = provider(net, [home])
    moving = made.workloads[0]
    for node in net.nodes:
        client = consumer(net, node)
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        talks.begin(client.workload, address, count)
        other = provider(net, [node])
        _, address = net.endpoint(made.group, made.subnet(), other.service)
        talks.begin(moving, address, count)
    return moving, index_of(home, moving)


def settled(net, workload):
    """Waits until the move is over for all nodes."""
    wait_for(lambda: "move" not in net.attachment(workload), 60, 0.05, "end of the move")


def entries(net, index):
    """What each node's kernel holds of the connections of a NIC."""
    return {
        node.name: sorted(
            repr((entry["key"], [entry["value"][name] for name in KEPT]))
            for entry in node.flow_entries()
            if index in (entry["value"]["nic"], entry["value"]["source_nic"])
        )
        for node in net.nodes
    }


def become(net, index, wanted):
    """Waits until the kernels hold of the NIC's connections what they are to."""
    found = {}

    def same():
        found.update(entries(net, index))
        return found == wanted

    try:
        wait_for(same, 20, 0.1, "entries")
    except TimeoutError as late:
        more = {name: sorted(set(found[name]) - set(wanted[name])) for name in found}
        less = {name: sorted(set(wanted[name]) - set(found[name])) for name in found}
        raise AssertionError(f"{late}\nmore: {more}\nless: {less}") from late
