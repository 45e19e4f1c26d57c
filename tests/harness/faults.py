# SPDX-License-Identifier: Apache-2.0
"""What happens to a node's agent and to the control plane while connections run; each fault ends
with everything back in place and the connections counted."""
import shutil
import signal
import time

from load import Load
from machine import BIN, run, wait_for

NEXT_AGENT = BIN.parent / "next/bin/culvert-agent"
PORT = 80
ECHO_PORT = 9000


def between_all(net, provider, consumer):
    """A service on every node, reached from every node: (servers, clients) as Load wants them."""
    servers, clients = [], []
    for node in net.nodes:
        made = provider(net, [node], rules=((PORT, ECHO_PORT),))
        for server in made.workloads[0].servers:
            server.close()
        servers.append((made.workloads[0], ECHO_PORT))
        for other in net.nodes:
            client = consumer(net, other)
            _, address = net.endpoint(client.group, client.subnet(), made.service)
            clients.append((client.workload, f"{address}:{PORT}"))
    return servers, clients


class Faults:
    """Connections between every pair of two nodes: `idle` and `busy` ones in all, and `fresh` short
    ones a second in all."""

    def __init__(self, net, provider, consumer, idle, busy, fresh, pace, patience=60):
        self.net = net
        # programs that an upgrade accepts: in a directory that is root's
        self.builds = {}
        for name, binary in (("this", BIN / "culvert-agent"), ("next", NEXT_AGENT)):
            self.builds[name] = net.folder / f"agent-{name}"
            shutil.copy(binary, self.builds[name])
        servers, clients = between_all(net, provider, consumer)
        share = len(clients)
        self.load = Load(
            servers,
            clients,
            patience=patience,
            idle=idle // share,
            busy=busy // share,
            fresh=max(1, fresh // share),
            pace=pace,
        )
        self.wanted = (idle // share + busy // share) * share
        self.log = []
        opened = self.load.opened()
        assert opened["open"] == self.wanted, opened
        self.step("open")

    def step(self, what):
        """Every connection works, none has broken or failed."""
        sums = self.load.check()
        self.log.append((what, sums))
        print(f"{what}: {sums}", flush=True)
        assert sums["broken"] == 0 and sums["failed"] == 0, (what, sums)
        assert sums["open"] == self.wanted, (what, sums)

    def kill_agents(self, times):
        for turn in range(times):
            node = self.net.nodes[turn % len(self.net.nodes)]
            node.agent.stop(signal.SIGKILL)
            node.start().wait_ready(60)
        self.step(f"agents killed {times} times")

    def stop_agents(self):
        for node in self.net.nodes:
            node.agent.stop()
        self.step("agents stopped")
        for node in self.net.nodes:
            node.start()
        for node in self.net.nodes:
            node.wait_ready(60)
        self.step("agents started again")

    def freeze_agents(self):
        for node in self.net.nodes:
            node.agent.send(signal.SIGSTOP)
        self.step("agents frozen")
        for node in self.net.nodes:
            node.agent.send(signal.SIGCONT)
        for node in self.net.nodes:
            node.wait_ready(60)

    def change_build(self, name):
        """`culvert agent upgrade` on each node; the process stays."""
        for node in self.net.nodes:
            before = node.status()
            done = node.culvert("agent", "upgrade", "--binary", self.builds[name])
            print(done.stdout, flush=True)
            after = node.wait_ready(60)
            assert after["pid"] == before["pid"] == node.agent.pid
            assert after["instance"] != before["instance"]
            assert [layout["state"] for layout in after["layouts"]] == ["active", "draining"]
            assert after["layouts"][0]["version"] != before["layouts"][0]["version"]
            assert after["layouts"][1]["flows"] > 0
            node.binary = self.builds[name]
        self.step(f"agents are build {name}")

    def kill_control(self, times):
        for _ in range(times):
            self.net.culvertd.stop(signal.SIGKILL)
            self.net.rest.close()
            self.net.start_control()
        for node in self.net.nodes:
            node.wait_ready(60)
        self.step(f"culvertd killed {times} times")

    def cut_off(self, seconds):
        """No packet between agents and culvertd."""
        for node in self.net.nodes:
            run("ip", "-n", self.net.control, "link", "set", f"m{node.number}", "down")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(60.0, max(0.0, until - time.monotonic())))
            self.step("cut off from culvertd")
        for node in self.net.nodes:
            run("ip", "-n", self.net.control, "link", "set", f"m{node.number}", "up")
        for node in self.net.nodes:
            node.wait_ready(120)
        self.step(f"cut off for {seconds} s")

    def end(self):
        """Closes everything; every flow ends in the kernel, and with them the layouts that are no
        longer active."""
        sums = self.load.end()
        self.load.close()

        def drained(node):
            status = node.status()
            return status["flows"] == 0 and len(status["layouts"]) == 1

        for node in self.net.nodes:
            wait_for(lambda each=node: drained(each), 90, 0.5, f"no flow on {node.name}")
            pinned = [path.name for path in (node.data / "pin").glob("v*")]
            assert len(pinned) == 1, pinned
        return sums

    def close(self):
        self.load.close()
