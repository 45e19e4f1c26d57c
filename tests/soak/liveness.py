#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long new connections still go to a backend that cannot be reached.

  liveness.py [--faults N] [--loss-seconds N]

Four nodes: backends on 1, 2 and 3, a consumer each on 1 and 4. N faults of each kind, at random
moments: node 3's cable (a dead node, as the others see it), the way between 4 and 2 (a path), node
1's own cable (its backbone). A new connection begins every few milliseconds; one that the first SYN
did not bring about went to a dead backend. The time of a fault is that between its beginning and
the beginning of the last such connection. Then packet loss, in which nobody may flap.
"""
import argparse
import contextlib
import pathlib
import random
import select
import socket
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import culvert_harness  # noqa: E402
from backbone import filtered  # noqa: E402
from culvert_harness import wait_for  # noqa: E402
from scenes import consumer, provider  # noqa: E402
from test_liveness import all_alive, path_cut, peers, reach, unplugged  # noqa: E402

EVERY_S = 0.004
FIRST_SYN_S = 0.9  # TCP sends the second one a second after the first
GOAL_S = 0.4


class Attempts:
    """New connections, one every few milliseconds; which did the first SYN bring about?"""

    def __init__(self, workload, address):
        self.workload, self.address = workload, address
        self.open = {}  # socket -> when it began
        self.failed, self.good = [], 0
        self.stop = threading.Event()
        self.poller = select.epoll()
        self.thread = threading.Thread(target=self._run)

    def _begin(self):
        sock = self.workload.socket()
        sock.setblocking(False)
        began = time.monotonic()
        sock.connect_ex((self.address, 80))
        self.open[sock.fileno()] = (sock, began)
        self.poller.register(sock, select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP)

    def _end(self, number, good):
        sock, began = self.open.pop(number)
        self.poller.unregister(number)
        # no TIME_WAIT: ports are few
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        if good:
            self.good += 1
        else:
            self.failed.append(began)

    def _run(self):
        following = time.monotonic()
        while not self.stop.is_set() or self.open:
            now = time.monotonic()
            if now >= following and not self.stop.is_set():
                following = now + EVERY_S
                self._begin()
            for number, event in self.poller.poll(EVERY_S / 2):
                self._end(number, bool(event & select.EPOLLIN) and not event & select.EPOLLERR)
            for number, (_, began) in list(self.open.items()):
                if now - began > FIRST_SYN_S:
                    self._end(number, False)
                else:
                    break

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()
        self.poller.close()


class Soak:
    def __init__(self, net):
        self.net = net
        self.made = provider(net, net.nodes[:3], names=["b1", "b2", "b3"])
        self.clients = {}
        for number in (1, 4):
            client = consumer(net, net.nodes[number - 1])
            _, address = net.endpoint(client.group, client.subnet(), self.made.service)
            self.clients[number] = (client.workload, address)
        self.whole()

    def whole(self):
        for node in self.net.nodes:
            wait_for(
                lambda node=node: all_alive(node, 3) and not reach(node)["isolated"],
                60,
                0.1,
                f"peers of {node.name}",
            )

    def one(self, fault, client):
        """Seconds of one fault; None: no connection went to the dead backend at all."""
        with Attempts(*self.clients[client]) as attempts:
            time.sleep(0.3 + random.random() * 0.2)
            began = time.monotonic()
            with fault:
                time.sleep(1.2)
                attempts.stop.set()
                attempts.thread.join()
        late = [at for at in attempts.failed if at >= began]
        early = [at for at in attempts.failed if at < began - 0.05]
        if early:
            raise RuntimeError(f"{len(early)} connections failed before the fault")
        self.whole()
        return max(late) - began if late else 0.0

    def faults(self, name, make, client, count):
        times = sorted(self.one(make(), client) for _ in range(count))
        shown = {
            "min": times[0],
            "p50": times[len(times) // 2],
            "p90": times[int(len(times) * 0.9)],
            "p99": times[min(len(times) - 1, int(len(times) * 0.99))],
            "max": times[-1],
        }
        print(
            f"{name}: {count} faults, "
            + ", ".join(f"{key} {value * 1000:.0f} ms" for key, value in shown.items()),
            flush=True,
        )
        return shown["p99"] <= GOAL_S

    def loss(self, seconds):
        before = {node.name: peers(node) for node in self.net.nodes}
        flaps = 0
        with filtered(self.net, [(n, "numgen random mod 100 == 0") for n in (1, 2, 3, 4)]):
            time.sleep(seconds)
            for node in self.net.nodes:
                for name, peer in peers(node).items():
                    flaps += peer["timesLost"] - before[node.name][name]["timesLost"]
                    print(f"{node.name} to {name}: {peer['loss'] * 100:.1f} % of late", flush=True)
        print(f"loss of 1 % at each of 4 ports for {seconds:.0f} s: {flaps} flaps", flush=True)
        return flaps == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--loss-seconds", type=float, default=60)
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()  # so that a soak that is stopped leaves nothing
    net = culvert_harness.Topology(nodes=4)
    with contextlib.closing(net):
        soak = Soak(net)
        good = [
            soak.faults("node", lambda: unplugged(net, 3), 4, args.faults),
            soak.faults("path", lambda: path_cut(net, 4, 2), 4, args.faults),
            soak.faults("own backbone", lambda: unplugged(net, 1), 1, args.faults),
            soak.loss(args.loss_seconds),
        ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
