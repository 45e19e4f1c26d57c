# SPDX-License-Identifier: Apache-2.0
"""Many connections through private endpoints, counted exactly by culvert-load (load.cpp)."""
import json
import queue
import subprocess
import threading
from collections import Counter

from machine import BIN, ns_command, wait_for

LOAD = BIN.parent / "tests/bin/culvert-load"


class Echo:
    """culvert-load's server in a workload."""

    def __init__(self, workload, port):
        self.popen = subprocess.Popen(
            ns_command(workload.namespace, LOAD, "serve", "--port", port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.popen.stdout.readline().strip() != "ready":
            raise RuntimeError("the echo server did not start")

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()


class Driver:
    """One process of clients in a workload."""

    def __init__(self, workload, target, **plan):
        options = [word for key, value in plan.items() for word in (f"--{key}", value)]
        self.popen = subprocess.Popen(
            ns_command(workload.namespace, LOAD, "drive", "--target", target, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def say(self, word):
        self.popen.stdin.write(f"{word}\n")
        self.popen.stdin.flush()

    def hear(self, event, seconds):
        report = self.lines.get(timeout=seconds)
        if report is None or report["event"] != event:
            raise RuntimeError(f"culvert-load said {report} instead of {event}")
        return report

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()


class Load:
    """Drivers for (workload, "address:port") pairs, and the servers behind them; a context
    manager."""

    def __init__(self, servers, clients, patience=60, **plan):
        self.patience = patience
        self.servers, self.drivers = [], []
        try:
            for workload, port in servers:
                self.servers.append(Echo(workload, port))
            for workload, target in clients:
                self.drivers.append(Driver(workload, target, patience=patience, **plan))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        for each in self.drivers + self.servers:
            each.close()
        self.drivers, self.servers = [], []

    def _sum(self, event, seconds):
        total, why = Counter(), Counter()
        slowest = 0
        for driver in self.drivers:
            report = driver.hear(event, seconds)
            why.update(report.pop("why"))
            slowest = max(slowest, report.pop("slowest_ms"))
            report.pop("event")
            total.update(report)
        return {**total, "slowest_ms": slowest, "why": dict(why)}

    def opened(self):
        """When every long connection is open."""
        return self._sum("open", 4 * self.patience)

    def check(self):
        """Every long connection exchanges a message, then the sums so far."""
        for driver in self.drivers:
            driver.say("check")
        return self._sum("check", 4 * self.patience)

    def end(self):
        for driver in self.drivers:
            driver.say("quit")
        sums = self._sum("end", 4 * self.patience)
        for driver in self.drivers:
            wait_for(lambda each=driver: each.popen.poll() is not None, 30, what="end of a driver")
        return sums
