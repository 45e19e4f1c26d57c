# SPDX-License-Identifier: Apache-2.0
"""A hostile node or host speaks of backends: that others are down, in others' names, at random."""
import contextlib
import json
import os
import signal
import socket
import struct

import culvert_harness
import pytest
from culvert_harness import inside, wait_for
from probing import FLAGS, LIMIT_S, PROBE_PORT, answerers, backends, tcp, wait_state
from scenes import consumer, index_of, moved, provider
from web import Site

VXLAN_PORT = 4789
NEWS, HAVE, ASK = 1, 2, 3
HEAD = struct.Struct("!BBHIIIQQQQQ")  # abi/note.h
NOTE_AT = 14 + 20 + 8 + 8 + 14  # in a frame of the backbone
ROW = struct.Struct("!IIIIB3x")


def frame(note):
    vxlan = struct.pack("!B3xI", 0x08, 0x800000 << 8)
    return vxlan + bytes.fromhex("02cf00000000" * 2) + b"\x88\xb6" + note


class Speaker:
    """What a node's agent would be, while that agent is stopped."""

    def __init__(self, node, index):
        self.node, self.index = node, index
        with inside(node.namespace):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((node.outer, 0))
        self.wire.bind(("bb0", 3))
        self.wire.settimeout(1)

    def say(self, to, target, kind, key, rows=(), origin=None, session=7, span=(0, 9)):
        head = HEAD.pack(
            1, kind, len(rows), origin or self.index, target, 0, key, 99, session, *span
        )
        self.sock.sendto(frame(head + b"".join(ROW.pack(*row) for row in rows)), (to, VXLAN_PORT))

    def key_of(self, to, target):
        """What the node tells whoever asks, at this node's address."""

        def told():
            self.say(to, target, ASK, 0)
            with contextlib.suppress(TimeoutError):
                for _ in range(200):  # other frames are on the wire, too
                    got = self.wire.recv(2048)
                    note = got[NOTE_AT:]
                    if got[NOTE_AT - 2 : NOTE_AT] != b"\x88\xb6" or len(note) < HEAD.size:
                        continue
                    fields = HEAD.unpack(note[: HEAD.size])
                    if fields[3] == target and fields[6] == 99:
                        return fields[7]
            return None

        return wait_for(told, LIMIT_S, 0.01, "a key")

    def close(self):
        self.sock.close()
        self.wire.close()


@pytest.fixture(scope="module")
def three():
    topology = culvert_harness.Topology(nodes=3, agent_flags=FLAGS)
    yield topology
    topology.close()


def shown(node):
    return json.loads(node.culvert("backends", "--output", "json").stdout)


def number(node):
    """The node's index, as its peers are told."""
    others = [one for one in node.topology.nodes if one is not node and one.agent.alive()]
    peers = [peer for one in others for peer in one.status()["reach"]["peers"]]
    return next(peer["index"] for peer in peers if peer["name"] == node.name)


def test_a_node_is_not_believed_about_others_backends(three, ledger):
    made = provider(three, three.nodes[:2], names=["b1", "b2"], probe=tcp())
    sites = [Site(workload, PROBE_PORT) for workload in made.workloads]
    client = consumer(three, three.nodes[2])
    _, address = three.endpoint(client.group, client.subnet(), made.service)
    hearer, liar = three.nodes[2], three.nodes[1]
    here, there, other = (number(each) for each in (hearer, liar, three.nodes[0]))
    speaker = None
    try:
        for workload in made.workloads:
            wait_state(hearer, workload, "up")
        indices = [index_of(workload.node, workload) for workload in made.workloads]
        known = backends(hearer)[made.workloads[0].nic.lower()]
        pool, probe = known["poolId"], known["probeId"]
        liar.agent.stop(signal.SIGKILL)
        speaker = Speaker(liar, there)
        key = speaker.key_of(hearer.outer, here)
        lies = [(nic, generation, pool, probe, 0) for nic in indices for generation in range(1, 4)]
        before = shown(hearer)["notesRefused"]
        speaker.say(hearer.outer, here, NEWS, key, lies)
        # its own backend is its own to speak of, so the note did arrive and was believed
        wait_state(hearer, made.workloads[1], "down")
        assert answerers(client.workload, address) == {"b1"}
        assert shown(hearer)["notesRefused"] > before
        ledger.note("node", "note: another node's backend is down", "not believed", "notesRefused")
        # in another node's name; without the key; at random
        drops = hearer.drops()
        speaker.say(hearer.outer, here, NEWS, key, lies, origin=other)
        wait_for(
            lambda: moved(drops, hearer.drops(), ["ECHO_SOURCE"]) >= 1, LIMIT_S, 0.05, "a drop"
        )
        ledger.note("node", "note: in another node's name", "dropped", "ECHO_SOURCE")
        raised = [(nic, generation, pool, probe, 1) for nic in indices for generation in (1, 2, 3)]
        speaker.say(hearer.outer, here, NEWS, key ^ 1, raised, session=8)
        for _ in range(500):
            junk = HEAD.pack(1, NEWS, 3, there, here, 0, key, 1, 1, 0, 1)
            speaker.sock.sendto(
                frame(junk + os.urandom(os.urandom(1)[0])), (hearer.outer, VXLAN_PORT)
            )
        assert answerers(client.workload, address) == {"b1"}
        wait_state(hearer, made.workloads[1], "down")
        ledger.note("node", "notes: garbage, no key", "refused", "notesRefused")
    finally:
        if speaker:
            speaker.close()
        if not liar.agent.alive():
            liar.start()
            liar.wait_ready(LIMIT_S)
        for site in sites:
            site.close()
