# SPDX-License-Identifier: Apache-2.0
"""Rejecting or deleting a connection stops established flows, whoever is there to hear of it."""
import contextlib
import signal
import threading
import time

import pytest
from culvert_harness import wait_for
from scenes import connects, consumer, provider, tcp_info

WITHIN = 0.1


class Stream:
    """A connection that carries bytes both ways without a pause, and both ends' kernel counts of
    what arrived."""

    def __init__(self, client, server_workload, address):
        server_workload.servers[0].close()
        self.listener = server_workload.socket()
        self.listener.setsockopt(1, 2, 1)  # SOL_SOCKET, SO_REUSEADDR
        self.listener.bind(("0.0.0.0", 8080))
        self.listener.listen(1)
        self.near = client.connect(address, 80)
        self.far, _ = self.listener.accept()
        self.ends = (self.near, self.far)
        for sock in self.ends:
            threading.Thread(target=self._send, args=(sock,), daemon=True).start()
            threading.Thread(target=self._drain, args=(sock,), daemon=True).start()
        wait_for(lambda: min(self.received()) > 50_000, 5, what="traffic both ways")

    @staticmethod
    def _send(sock):
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(b"x" * 2000)
                time.sleep(0.001)

    @staticmethod
    def _drain(sock):
        with contextlib.suppress(OSError):
            while sock.recv(1 << 16):
                pass

    def received(self):
        """Bytes that each end's kernel took in order."""
        return tuple(tcp_info(sock)[1] for sock in self.ends)

    def close(self):
        for sock in (*self.ends, self.listener):
            sock.close()

    def last_arrival(self, since, quiet=0.4, limit=3.0):
        """Seconds from `since` to the last byte either end took; fails when bytes still come after
        `limit`."""
        last, at = self.received(), time.monotonic()
        while time.monotonic() - at < quiet:
            assert time.monotonic() - since < limit, "the flow goes on"
            time.sleep(0.002)
            now = self.received()
            if now != last:
                last, at = now, time.monotonic()
        return at - since


def scene(net):
    made = provider(net, [net.nodes[1]], auto=False)
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service, manual=True)
    net.decide(made.service, endpoint, "Approved")
    return made, client, endpoint, address


@pytest.mark.both_modes
@pytest.mark.parametrize("how", ["reject", "delete the connection", "delete the endpoint"])
def test_an_answered_revocation_has_stopped_established_flows(net, how):
    made, client, endpoint, address = scene(net)
    stream = Stream(client.workload, made.workloads[0], address)
    connection = net.connection_of(made.service, endpoint)["id"]
    start = time.monotonic()
    if how == "reject":
        net.decide(made.service, endpoint, "Rejected")
    else:
        net.rest.delete(connection if "connection" in how else endpoint)
    answered = stream.received()
    took = time.monotonic() - start
    time.sleep(WITHIN)
    then = stream.received()
    time.sleep(0.5)
    last = stream.received()
    assert last == then, f"bytes still arrived more than {WITHIN} s after the answer"
    late = sum(last) - sum(answered)
    print(f"{how}: answered after {took * 1e3:.1f} ms, {late} bytes arrived after that")
    stream.close()
    assert not connects(client.workload, address, timeout=0.5)


@pytest.mark.parametrize(
    "stopped", [0, 1], ids=["consumer's agent stopped", "provider's agent stopped"]
)
def test_either_node_alone_stops_established_flows(net, stopped):
    """One agent is stopped and hears nothing. The best of five tries counts: a busy machine may
    delay one, but
    a system that leaves it to both nodes succeeds in none."""
    node = net.nodes[stopped]
    made, client, endpoint, address = scene(net)
    connection = net.connection_of(made.service, endpoint)
    other = net.rest.other()
    other.sign_in()
    best = None
    for _ in range(5):
        stream = Stream(client.workload, made.workloads[0], address)
        node.agent.send(signal.SIGSTOP)
        try:
            start = time.monotonic()
            reject = threading.Thread(
                target=other.call,
                args=(
                    "PUT",
                    connection["id"],
                    {
                        "name": connection["name"],
                        "properties": {
                            "privateLinkServiceConnectionState": {
                                "status": "Rejected",
                                "description": "x",
                            }
                        },
                    },
                ),
            )
            reject.start()
            last = stream.last_arrival(start)
            reject.join()
        finally:
            node.agent.send(signal.SIGCONT)
            stream.close()
        best = last if best is None else min(best, last)
        if best < WITHIN:
            break
        node.wait_ready()
        net.decide(made.service, endpoint, "Approved")
        wait_for(lambda: connects(client.workload, address), 30, what="a connection after approval")
    node.wait_ready()
    print(f"last byte {best * 1e3:.1f} ms after the request was sent")
    assert best < WITHIN
    wait_for(
        lambda: not connects(client.workload, address, timeout=0.3),
        30,
        what="refusal once the agent is back",
    )


def test_a_connection_cut_by_rejection_does_not_resume_when_approved_again(net):
    made, client, endpoint, address = scene(net)
    stream = Stream(client.workload, made.workloads[0], address)
    net.decide(made.service, endpoint, "Rejected")
    net.decide(made.service, endpoint, "Approved")
    time.sleep(WITHIN)
    then = stream.received()
    time.sleep(1.0)
    assert stream.received() == then
    assert connects(client.workload, address), "new connections work"
    stream.close()


def test_what_is_opened_after_an_approval_is_left_alone(net):
    """The backend leaves the consumer's node with the link and comes back with it; what was open
    before ends there a little later, and only that."""
    made, client, endpoint, address = scene(net)
    for _ in range(3):
        net.decide(made.service, endpoint, "Rejected")
        net.decide(made.service, endpoint, "Approved")
        with client.workload.connect(address, 80) as sock:
            reader = sock.makefile("rb")
            assert reader.readline()
            end = time.monotonic() + 1.5  # longer than the agent waits
            while time.monotonic() < end:
                sock.sendall(b"here\n")
                assert reader.readline() == b"here\n"
                time.sleep(0.02)


def test_other_endpoints_of_the_service_go_on(net):
    made = provider(net, [net.nodes[1]])
    clients = [consumer(net, net.nodes[0]) for _ in range(2)]
    ends = [net.endpoint(c.group, c.subnet(), made.service) for c in clients]
    with clients[1].workload.connect(ends[1][1], 80) as sock:
        reader = sock.makefile("rb")
        reader.readline()
        net.decide(made.service, ends[0][0], "Rejected")
        sock.sendall(b"still here\n")
        assert reader.readline() == b"still here\n"
    assert not connects(clients[0].workload, ends[0][1], timeout=0.5)
