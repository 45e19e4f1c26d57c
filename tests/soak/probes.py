#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long new connections still go to a backend whose probe fails.

  probes.py [--faults N] [--interval-ms MS] [--threshold N]

Three nodes: backends on 1 and 2, a consumer on 3 that begins a connection every few milliseconds. N
faults of each kind, at random moments, on the backend of node 1: its process is killed, its port is
closed, it answers 500, it hangs (stopped: its kernel still takes connections). What arrives at the
backend is captured there. Shown: from the fault to the last new connection that arrived at the dead
backend, and the same from the verdict, which the backend's node writes into its log: so long at
most it took to the consumers' node and into its tables.
"""
import argparse
import contextlib
import datetime
import os
import pathlib
import random
import re
import select
import socket
import struct
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import culvert_harness  # noqa: E402
from probing import state, wait_state  # noqa: E402
from scenes import consumer, provider  # noqa: E402
from web import Site  # noqa: E402

EVERY_S = 0.004
HELD_S = 0.05  # then a connection is closed, answered or not
AFTER_S = 0.3  # of quiet at the dead backend before the next fault
PORT = 8080
PLATFORM = socket.inet_aton("168.63.129.16")
GOAL_VERDICT_S = 0.1
VERDICT = re.compile(r"^\[?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+)(Z?).*agent: backend down", re.M)


class Opener:
    """New connections from the consumer, until stopped."""

    def __init__(self, workload, address):
        self.workload, self.address = workload, address
        self.stop = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        held = []
        while not self.stop.is_set():
            sock = self.workload.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.connect_ex((self.address, 80))
            self.count += 1
            held.append((time.monotonic(), sock))
            while held and time.monotonic() - held[0][0] > HELD_S:
                held.pop(0)[1].close()
            time.sleep(EVERY_S)
        for _, sock in held:
            sock.close()

    def close(self):
        self.stop.set()
        self.thread.join()


class Arrivals:
    """When a first segment of a consumer came to the backend last."""

    def __init__(self, workload):
        self.sock = workload.frames()
        self.last = 0.0
        self.count = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stop.is_set():
            if not select.select([self.sock], [], [], 0.2)[0]:
                continue
            frame, where = self.sock.recvfrom(2048)
            incoming = where[2] != socket.PACKET_OUTGOING
            if not incoming or frame[12:14] != b"\x08\x00" or frame[23] != 6:
                continue
            opening = frame[47] & 0x12 == 0x02 and frame[26:30] != PLATFORM
            if opening and struct.unpack("!H", frame[36:38])[0] == PORT:
                self.last = time.time()
                self.count += 1

    def close(self):
        self.stop.set()
        self.thread.join()
        self.sock.close()


def faults(site):
    def started():
        site.close()
        site.start()

    return {
        "process killed": (site.kill, started),
        "port closed": (lambda: site.say("close"), started),
        "HTTP 500": (lambda: site.say("500"), lambda: site.say("200")),
        "hung": (site.pause, site.resume),
    }


def verdict_after(node, began):
    """When the node's log said that a backend is down, at or after that time."""
    text = node.agent.log.read_text(errors="replace")
    times = []
    for found, zulu in VERDICT.findall(text):
        when = datetime.datetime.fromisoformat(found.replace(" ", "T"))
        zone = datetime.timezone.utc if zulu else None
        times.append((when.replace(tzinfo=zone) if zone else when.astimezone()).timestamp())
    late = [at for at in times if at >= began - 0.002]
    return late[0] if late else None


def shown(name, times):
    times = sorted(times)
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1000  # noqa: E731
    print(
        f"{name}: {len(times)} faults, least {at(0):.0f} ms, p50 {at(0.5):.0f} ms, "
        f"p90 {at(0.9):.0f} ms, p99 {at(0.99):.0f} ms, longest {times[-1] * 1000:.0f} ms",
        flush=True,
    )
    return times[-1]


def settle(node, victim, arrivals):
    """Until it is up and stays so: who hung has a queue to work off first."""
    while True:
        wait_state(node, victim, "up")
        before = arrivals.count
        time.sleep(AFTER_S)
        if arrivals.count > before and state(node, victim) == "up":
            return


def shop(net, threshold):
    """A service with backends on nodes 1 and 2, whose one port is probed, too."""
    probe = {
        "protocol": "Http",
        "port": PORT,
        "requestPath": "/",
        "intervalInSeconds": 5,
        "probeThreshold": threshold,
    }
    made = provider(net, net.nodes[:2], rules=(), probe=probe)
    balancer = net.rest.get(made.balancer)
    rule = {
        "frontendIPConfiguration": {"id": f"{made.balancer}/frontendIPConfigurations/fe"},
        "backendAddressPools": [{"id": made.pool}],
        "probe": {"id": f"{made.balancer}/probes/probe"},
        "frontendPort": 80,
        "backendPort": PORT,
        "protocol": "Tcp",
    }
    balancer["properties"]["loadBalancingRules"] = [{"name": "rule", "properties": rule}]
    net.rest.put(made.balancer, balancer)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--interval-ms", type=int, default=100)
    parser.add_argument("--threshold", type=int, default=1)
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()
    flags = ("--probe-interval-ms", str(args.interval_ms))
    with contextlib.ExitStack() as stack:
        net = culvert_harness.Topology(nodes=3, agent_flags=flags)
        stack.callback(net.close)
        made = shop(net, args.threshold)
        sites = [Site(workload, PORT) for workload in made.workloads]
        for site in sites:
            stack.callback(site.close)
        client = consumer(net, net.nodes[2])
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        for workload in made.workloads:
            wait_state(net.nodes[2], workload, "up")
        victim = made.workloads[0]
        arrivals = Arrivals(victim)
        stack.callback(arrivals.close)
        opener = Opener(client.workload, address)
        stack.callback(opener.close)
        every = []
        for name, (fault, repair) in faults(sites[0]).items():
            from_fault, from_verdict = [], []
            for _ in range(args.faults):
                time.sleep(0.1 + random.random() * args.interval_ms / 1000)
                before = arrivals.count
                began = time.time()
                fault()
                wait_state(net.nodes[2], victim, "down")
                time.sleep(AFTER_S)
                if arrivals.count == before:
                    raise RuntimeError("no connection came to the backend at all")
                from_fault.append(max(0.0, arrivals.last - began))
                verdict = verdict_after(net.nodes[0], began)
                if verdict is not None:
                    from_verdict.append(max(0.0, arrivals.last - verdict))
                repair()
                settle(net.nodes[2], victim, arrivals)
            shown(f"{name}, from the fault", from_fault)
            if from_verdict:
                shown(f"{name}, from the verdict", from_verdict)
            every += from_verdict
        load = os.getloadavg()
        print(f"{opener.count} connections; load {load[0]:.0f} {load[1]:.0f} {load[2]:.0f}")
    every.sort()
    return 0 if every and every[int(len(every) * 0.99)] <= GOAL_VERDICT_S else 1


if __name__ == "__main__":
    sys.exit(main())
