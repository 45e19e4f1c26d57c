#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three nodes at full load for a while, and then nothing is left of it.

  endure.py [--minutes N] [--workers N] [--churn N] [--long N] [--flows N]

Connections between all nodes come and go as fast as the machine allows, long ones stay; links of
several tenants are made, approved, rejected and removed, workloads attached and detached; agents
are killed and stopped, backups taken, certificates renewed all the time, and in the first eighth
culvertd is killed and stopped. Every connection is answered with its own bytes. At the end all
that was made is removed, and the census (harness/census.py) must be what it was at the start; what
stops by itself ends with status 0, which under AddressSanitizer means without a leak. What culvertd
and the agent that nobody stops have allocated must not have grown from the second quarter to the
last; what is resident is shown beside it, and grows with what allocators keep for later.
"""
import argparse
import contextlib
import copy
import http.client
import os
import pathlib
import signal
import statistics
import sys
import threading
import time
import traceback

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import census  # noqa: E402
import culvert_harness  # noqa: E402
from culvert_harness import BIN, ns_command, run, wait_for  # noqa: E402
from exposition import AGENT_PORT, METRICS_PORT, scrape  # noqa: E402
from faults import between_all  # noqa: E402
from load import Load  # noqa: E402
from scenes import connects, consumer, provider  # noqa: E402

PATIENCE = 90  # seconds in which what is killed must be back
SAMPLE_EVERY = 10
COUNT_EVERY = 60
IDLE = 330  # until a connection that nobody closes is forgotten: 4 minutes, and the sweep
FAULT_EVERY = 5
LONG_ENOUGH = 600  # seconds in which caches and the store's history fill within a quarter
MIB = 1 << 20
MEMORY = ALLOCATED, _ = "process_heap_bytes", "process_resident_memory_bytes"
GROWTH, GROWTH_BYTES = 1.05, 4 * MIB  # flat: the larger of both
CERTIFICATE_LIFE = 120  # seconds
QUICK_PORTS = ("net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=1024 65000")
MUST_RISE = (
    "cv_flows cv_slots cv_nic_held cv_link_held cv_nat_held cv_nics cv_links cv_addresses"
).split()


class Failure(Exception):
    """Something that the soak is there to find."""


def view_of(net, rest=None):
    """The same topology through a connection of one's own, patient with what restarts."""
    view = copy.copy(net)
    view.rest = rest or net.rest.other()
    view.rest.patience = view.patience = PATIENCE
    return view


class Absences:
    """When which node had no agent. Changes do not wait for one without a lease: it follows when it
    is back, so what a change promised may come later there."""

    def __init__(self):
        self.lock = threading.Lock()
        self.times = []  # [node, from, to]

    @contextlib.contextmanager
    def of(self, node):
        entry = [node, time.monotonic(), float("inf")]
        with self.lock:
            self.times.append(entry)
        yield
        with self.lock:
            entry[2] = time.monotonic()

    def since(self, moment, nodes):
        with self.lock:
            return any(node in nodes and to > moment for node, _, to in self.times)


class Links:
    """Makes links with workloads at both ends, changes its mind about them, and removes them."""

    def __init__(self, net, number, absences, hold=True):
        self.net, self.absences, self.hold, self.rounds = view_of(net), absences, hold, 0
        nodes = net.nodes
        self.provider_node = nodes[number % len(nodes)]
        self.consumer_node = nodes[(number + 1 + number // len(nodes)) % len(nodes)]

    def round(self):
        net = self.net
        made = provider(net, [self.provider_node], auto=False)
        client = consumer(net, self.consumer_node)
        endpoint, address = net.endpoint(client.group, client.subnet(), made.service, manual=True)
        for _ in range(2):
            before = time.monotonic()
            net.decide(made.service, endpoint, "Approved")
            for _ in range(5):
                self.ask(client, address, before)
            # what is open then stays in the flow tables until it has been idle for long enough
            if not self.hold:
                for node in net.nodes:
                    wait_for(lambda each=node: not each.status()["flows"], 60, 0.2, "no flow")
            held = client.workload.connect(address, 80, PATIENCE) if self.hold else None
            with held or contextlib.nullcontext():
                net.decide(made.service, endpoint, "Rejected")
            if connects(client.workload, address):
                raise Failure(f"{endpoint} was rejected and still connects")
        net.rest.delete(endpoint)
        for workload in (client.workload, *made.workloads):
            net.detach(workload)
        for group in (client.group, made.group):
            net.rest.delete(group, culvert_harness.RESOURCES)
        self.rounds += 1

    def ask(self, client, address, before):
        ends = (self.provider_node, self.consumer_node)
        while True:
            try:
                client.workload.ask(address, 80, os.urandom(20_000), timeout=PATIENCE)
                return
            except ConnectionRefusedError as refused:
                if time.monotonic() > before + PATIENCE or not self.absences.since(before, ends):
                    drops = {node.name: node.drops() for node in ends}
                    raise Failure(f"approved, and {refused}; drops: {drops}") from refused

    def close(self):
        self.net.rest.close()


class Customers:
    """The owner of another tenant asks for links to a service that stays; its owner decides."""

    def __init__(self, net, service, who):
        subscription, rest = who
        self.net, self.service, self.rounds = view_of(net), service, 0
        self.theirs = view_of(net, rest)
        self.theirs.subscription = subscription

    def round(self):
        theirs = self.theirs
        group = theirs.group()
        vnet = theirs.vnet(group)
        made = [
            theirs.endpoint(group, f"{vnet}/subnets/default", self.service, manual=True)[0]
            for _ in range(4)
        ]
        for status in ("Approved", "Rejected", "Approved"):
            for endpoint in made:
                self.net.decide(self.service, endpoint, status)
        for endpoint in made[:2]:
            theirs.rest.delete(endpoint)
        theirs.rest.delete(group, culvert_harness.RESOURCES)
        self.rounds += 1

    def close(self):
        self.net.rest.close()
        self.theirs.rest.close()


class Endurance:
    def __init__(self, net, args):
        self.net, self.args, self.seconds = net, args, args.minutes * 60
        self.quiet = view_of(net)
        self.customers = [net.customer(tenant=number > 0) for number in range(args.workers)]
        self.stop = threading.Event()
        self.absences = Absences()
        self.failures = []  # appended to by the workers
        self.samples = {}  # (who, of MEMORY): [(seconds, bytes)]
        self.most = {}  # of the census while it ran
        self.counted = -COUNT_EVERY
        self.faults = {}  # what: times
        self.renewed_before = 0

    # -- what runs ------------------------------------------------------------------------------

    def work(self, worker):
        try:
            while not self.stop.is_set():
                worker.round()
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(f"{type(worker).__name__}: {error!r}")
            traceback.print_exc()
        finally:
            worker.close()

    def agent_killed(self):
        node = self.net.nodes[1]
        with self.absences.of(node):
            node.agent.stop(signal.SIGKILL)
            node.start().wait_ready(PATIENCE)

    def agent_stopped(self):
        node = self.net.nodes[2]
        with self.absences.of(node):
            ended_well(node.agent, node.name)
            node.start().wait_ready(PATIENCE)

    def control_killed(self):
        self.net.culvertd.stop(signal.SIGKILL)
        self.start_control()

    def control_stopped(self):
        ended_well(self.net.culvertd, "culvertd")
        self.start_control()

    def start_control(self):
        self.net.rest.close()
        self.net.start_control()
        for node in self.net.nodes:
            node.wait_ready(PATIENCE)

    def backup_taken(self):
        where = self.net.folder / "soak.backup"
        self.culvert("backup", "--to", where)
        where.unlink()

    def culvert(self, *argv):
        return run(
            *ns_command(
                self.net.control, BIN / "culvert", *argv, "--data-dir", self.net.folder / "control"
            ),
            env=self.net.environment,
        )

    def fault(self, turn, early):
        kinds = [self.agent_killed, self.agent_stopped, self.backup_taken]
        if early:
            kinds += [self.control_killed, self.control_stopped]
        kind = kinds[turn % len(kinds)]
        kind()
        self.faults[kind.__name__] = self.faults.get(kind.__name__, 0) + 1

    def sample(self, start):
        at = time.monotonic() - start
        pages = {"culvertd": (self.net.control_address, METRICS_PORT)}
        pages |= {node.name: (f"198.18.0.{node.number}", AGENT_PORT) for node in self.net.nodes}
        for who, page in pages.items():
            with contextlib.suppress(OSError, http.client.HTTPException):  # away just now
                _, values = scrape(self.net, *page)
                for size in MEMORY:
                    self.samples.setdefault((who, size), []).append((at, values[size]))

    # -- its course ------------------------------------------------------------------------------

    def warm_up(self):
        """Everything once, so that what is made at its first use is there at the start."""
        self.net.nodes[0].agent.stop()
        self.net.nodes[0].start()
        for again in (self.agent_killed, self.agent_stopped, self.control_stopped):
            again()
        made = provider(self.quiet, [self.net.nodes[0]], auto=False)
        for worker in [
            *(
                Links(self.net, number, self.absences, hold=False)
                for number in range(len(self.net.nodes))
            ),
            *(Customers(self.net, made.service, who) for who in self.customers),
        ]:
            with contextlib.closing(worker):
                worker.round()
        self.backup_taken()
        self.remove(made.workloads)

    def remove(self, workloads):
        """These workloads and all that the first tenant has."""
        for workload in workloads:
            self.quiet.detach(workload)
        where = f"/subscriptions/{self.net.subscription}/resourcegroups"
        rest = self.quiet.rest
        for last in (False, True):  # a service goes after the endpoints of other groups
            for group in rest.get(where, culvert_harness.RESOURCES)["value"]:
                (rest.good if last else rest.call)(
                    "DELETE", group["id"], None, culvert_harness.RESOURCES
                )
        for each in (rest, self.net.rest):
            each.close()

    def look(self, load, start):
        """A sample; every long connection exchanges a message; the most that there is of all."""
        self.sample(start)
        sums = load.check()
        if time.monotonic() > self.counted + COUNT_EVERY:
            self.counted = time.monotonic()
            for name, count in census.take(self.net).items():
                self.most[name] = max(count, self.most.get(name, 0))
        print(
            f"{time.monotonic() - start:.0f} s: {sums['fresh']} short connections, {sums['open']} "
            f"long ones, {sums['exchanges']} exchanges, slowest {sums['slowest_ms']} ms, culvertd "
            f"{self.last_of('culvertd')}, agent {self.last_of(self.net.nodes[0].name)}",
            flush=True,
        )
        if sums["broken"] or sums["failed"]:
            self.failures.append(f"connections: {sums}")
        return sums

    def last_of(self, who):
        """What it has allocated and what is resident."""
        sizes = [self.samples.get((who, size), [(0, 0)])[-1][1] for size in MEMORY]
        return f"{sizes[0] / MIB:.1f} of {sizes[1] / MIB:.0f} MiB"

    def endure(self, load, workers):
        threads = [
            threading.Thread(target=self.work, args=(worker,), daemon=True) for worker in workers
        ]
        start, turn, looked, sums = time.monotonic(), 0, 0.0, {}
        for thread in threads:
            thread.start()
        try:
            while (gone := time.monotonic() - start) < self.seconds and not self.failures:
                if gone >= looked + SAMPLE_EVERY or not looked:
                    looked = gone
                    sums = self.look(load, start)
                self.fault(turn, gone < self.seconds / 8)
                turn += 1
                self.stop.wait(max(0.0, start + gone + FAULT_EVERY - time.monotonic()))
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(2 * PATIENCE)
        if any(thread.is_alive() for thread in threads):
            self.failures.append("a worker did not end")
        return load.end() if not self.failures else sums

    def run(self):
        self.warm_up()
        before = census.settled(self.net)
        self.renewed_before = self.renewals()
        servers, clients = between_all(self.quiet, provider, consumer)
        asked = provider(self.quiet, [self.net.nodes[0]], auto=False)
        for workload, _ in clients:
            for setting in QUICK_PORTS:
                workload.run("sysctl", "-qw", setting)
        long = max(1, self.args.long // len(clients))
        churn = max(1, self.args.churn // len(clients))
        plan = {"idle": long, "busy": long, "churn": churn, "pace": 1000}
        with Load(servers, clients, patience=PATIENCE, **plan) as load:
            load.opened()
            workers = [
                Links(self.net, number, self.absences) for number in range(self.args.workers)
            ]
            workers += [Customers(self.net, asked.service, who) for who in self.customers]
            sums = self.endure(load, workers)
        if not self.failures:
            self.remove([*asked.workloads, *(each for each, _ in [*servers, *clients])])
            after = census.settled(self.net, before, IDLE)
            self.judge_census(before, after)
            self.judge_memory()
            self.end()
        self.tell(sums, workers)
        return not self.failures

    # -- judgement -------------------------------------------------------------------------------

    def judge_census(self, before, after):
        other = census.differences(before, after)
        rows = [
            (name, before[name], self.most.get(name, 0), after[name])
            for name in sorted({*before, *after, *self.most})
            if name in other or self.most.get(name, 0) != before[name]
        ]
        table(("what", "start", "most", "end"), rows)
        every = len({*before, *after})
        print(f"{every - len(other)} of {every} counts are at the end what they were at the start")
        self.failures += [f"{name}: {was} at the start, {now} at the end"
                          for name, (was, now) in other.items()]
        revoked = after[census.REVOKED] - before[census.REVOKED]
        if revoked > self.renewals() - self.renewed_before:
            self.failures.append(f"{revoked} more records of replaced certificates than renewals")
        # a census that sees nothing proves nothing
        for name in MUST_RISE:
            for node in self.net.nodes:
                if self.most.get(f"{node.name}: {name}", 0) <= before[f"{node.name}: {name}"]:
                    self.failures.append(f"{node.name}: {name} never rose: is it counted?")

    def judge_memory(self):
        """Grown is what both the median and the lowest sample of a quarter say: a leak lifts both,
        the store's page caches (6 of 4 MiB), which fill and are dropped, one or the other."""
        rows = []
        for (who, size), points in sorted(self.samples.items()):
            quarters = [
                [held for at, held in points if part <= 4 * at / self.seconds < part + 1] or [0]
                for part in range(4)
            ]
            medians = [statistics.median(each) for each in quarters]
            lowest = [min(each) for each in quarters]
            if who not in ("culvertd", self.net.nodes[0].name):
                verdict = "killed meanwhile"
            elif size != ALLOCATED:
                verdict = "not judged"
            elif self.seconds < LONG_ENOUGH:
                verdict = "too short to judge"
            elif grew(medians) and grew(lowest):
                verdict = "grew"
                self.failures.append(f"memory of {who}: {medians} bytes by quarter")
            else:
                verdict = "flat"
            shown = (*medians, lowest[1], lowest[3], max(held for _, held in points))
            kind = "allocated" if size == ALLOCATED else "resident"
            rows.append((f"{who} {kind}", *(f"{each / MIB:.1f}" for each in shown), verdict))
        head = "1st quarter,2nd,3rd,last,lowest of 2nd,of last,most,".split(",")
        table(("MiB, median of", *head), rows)

    def end(self):
        """Everything stops by itself, and without a leak where a sanitizer looks."""
        self.culvert("store", "verify")
        for who, each in [*((n.name, n.agent) for n in self.net.nodes),
                          ("culvertd", self.net.culvertd)]:
            ended_well(each, who)

    def renewals(self):
        return self.net.culvertd.log.read_text().count("renewed the certificate of node")

    def tell(self, sums, workers):
        rounds = {}
        for worker in workers:
            name = type(worker).__name__.lower()
            rounds[name] = rounds.get(name, 0) + worker.rounds
        renewed = self.renewals()
        if self.seconds > 2 * CERTIFICATE_LIFE and not renewed:
            self.failures.append("no certificate was renewed")
        rows = [
            *sums.items(),
            ("short connections a second", round(sums.get("fresh", 0) / self.seconds)),
            *((f"rounds of {name}", count) for name, count in rounds.items()),
            *self.faults.items(),
            ("certificates renewed", renewed),
        ]
        table(("what", "how many"), rows)
        for failure in self.failures[:20]:
            print(f"FAILED: {failure}")


def grew(quarters):
    return quarters[3] > max(quarters[1] * GROWTH, quarters[1] + GROWTH_BYTES)


def ended_well(process, who):
    process.stop(seconds=PATIENCE)
    if process.popen.returncode != 0:
        raise Failure(f"{who} ended with {process.popen.returncode}:\n{process.tail(60)}")


def table(head, rows):
    rows = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())
    print(flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2, help="of each kind")
    parser.add_argument("--churn", type=int, default=72, help="short connections under way")
    parser.add_argument("--long", type=int, default=450, help="idle ones, and as many busy ones")
    parser.add_argument("--flows", type=int, default=524288, help="entries of each flow table")
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()
    net = culvert_harness.Topology(
        nodes=3,
        flows=args.flows,
        control_flags=(
            "--node-certificate-life",
            f"{CERTIFICATE_LIFE}s",
            "--server-certificate-life",
            f"{CERTIFICATE_LIFE}s",
            "--metrics",
            f"198.18.0.254:{METRICS_PORT}",
        ),
        agent_flags=("--metrics", f"0.0.0.0:{AGENT_PORT}"),
    )
    with contextlib.closing(net):
        soak = Endurance(net, args)
        try:
            return 0 if soak.run() else 1
        finally:
            soak.stop.set()


if __name__ == "__main__":
    sys.exit(main())
