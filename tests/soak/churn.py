#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Connections come and go on two nodes while agents are killed and started again.

  churn.py [--minutes N] [--workers N]

Every connection must be answered with its own bytes. One long connection lives through it all.
"""
import argparse
import os
import pathlib
import signal
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import culvert_harness  # noqa: E402
from culvert_harness import Conversation  # noqa: E402
from scenes import consumer, provider  # noqa: E402

RESTART_EVERY_S = 20


class Churn:
    def __init__(self, net):
        self.net = net
        self.made = provider(net, net.nodes)
        self.clients = []
        for node in net.nodes:
            client = consumer(net, node)
            _, address = net.endpoint(client.group, client.subnet(), self.made.service)
            self.clients.append((client.workload, address))
        self.stop = threading.Event()
        self.done, self.wrong = [], []  # appended to by the workers, read when they have ended

    def work(self, number):
        workload, address = self.clients[number % len(self.clients)]
        count = 0
        while not self.stop.is_set():
            payload = os.urandom(1 + count * 977 % 50_000)
            try:
                workload.ask(address, 80, payload, timeout=10.0)
            except OSError as error:
                self.wrong.append(f"worker {number}, connection {count}: {error}")
            count += 1
        self.done.append(count)

    def restart_agents(self, until):
        turn = 0
        while time.monotonic() < until and not self.wrong:
            time.sleep(min(RESTART_EVERY_S, max(0.0, until - time.monotonic())))
            node = self.net.nodes[turn % len(self.net.nodes)]
            node.agent.stop(signal.SIGKILL)
            node.start().wait_ready()
            turn += 1
            print(f"restarted {node.name}, {len(self.wrong)} connections went wrong", flush=True)

    def run(self, minutes, workers):
        threads = [threading.Thread(target=self.work, args=(n,)) for n in range(workers)]
        workload, address = self.clients[0]
        with workload.connect(address, 80) as sock:
            sock.settimeout(30)
            long_lived = Conversation(sock)
            for thread in threads:
                thread.start()
            try:
                self.restart_agents(time.monotonic() + minutes * 60)
                long_lived.check(b"still here" * 10_000)
            finally:
                self.stop.set()
                for thread in threads:
                    thread.join(60)
        print(f"{sum(self.done)} connections, {len(self.wrong)} went wrong")
        print("\n".join(self.wrong[:20]))
        return bool(self.done) and sum(self.done) > 0 and not self.wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=8)
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()  # so that a soak that is stopped leaves nothing
    net = culvert_harness.Topology(nodes=2)
    try:
        return 0 if Churn(net).run(args.minutes, args.workers) else 1
    finally:
        net.close()


if __name__ == "__main__":
    sys.exit(main())
