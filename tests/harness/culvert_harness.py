# SPDX-License-Identifier: Apache-2.0
"""Real topologies for tests: culvertd and agents in network namespaces of their own.

                management bridge (198.18.0.0/24)
        ┌───────────────┬────────────────┬───────────────┐
     culvertd         agent n1         agent n2          ...
     namespace cp     namespace n1     namespace n2
                        └── backbone bridge (192.0.2.0/24) ──┘
                             in namespace bb

Nothing is made in the machine's own namespace, everything carries one prefix, and close() removes
it all: processes by their pid, then namespaces, then the files.
"""
import atexit
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import socket
import ssl
import tempfile
import time

from machine import (  # noqa: F401
    BIN,
    ROOT,
    Process,
    Watch,
    inside,
    interfaces,
    interrupt_on_signals,
    ns_command,
    run,
    wait_for,
)
from resources import Resources
from rest import NETWORK, NETWORK_OLD, RESOURCES, Answer, Rest  # noqa: F401
from workload import Conversation, Server, Workload  # noqa: F401

_serial = itertools.count()


class Node:
    """A host: a namespace with an address on the backbone and an agent in it."""

    def __init__(self, topology, number):
        self.topology, self.number = topology, number
        self.name = f"n{number}"
        self.namespace = f"{topology.prefix}n{number}"
        self.outer = f"192.0.2.{number}"
        self.data = topology.folder / self.name
        self.binary = BIN / "culvert-agent"
        self.agent = None
        self.options = []  # more arguments of `culvert-agent run`

    def join(self):
        self.topology.join(self.name, self.outer, self.data, self.namespace)

    def start(self):
        argv = [
            self.binary,
            "run",
            "--data-dir",
            self.data,
            "--backbone",
            "bb0",
            "--pin",
            self.data / "pin",
            "--flows",
            self.topology.flows,
            "--log-level",
            os.environ.get("CULVERT_LOG", "info"),
        ]
        argv.extend(self.topology.agent_flags)
        if self.topology.mode == "clsact":
            argv.append("--force-clsact")
        argv += self.options
        self.agent = Process(ns_command(self.namespace, *argv), self.data / "agent.log")
        return self

    def wait_ready(self, seconds=15):
        def ready():
            if not self.agent.alive():
                raise RuntimeError(f"agent {self.name} ended:\n{self.agent.tail()}")
            status = self.status(check=False)
            return (
                status
                if status and status.get("connected") and status["intent"]["version"]
                else None
            )

        try:
            return wait_for(ready, seconds, 0.05, f"agent {self.name}")
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.agent.tail()}") from late

    def culvert(self, *argv, check=True, patience=0):
        """patience: for how many seconds a command that fails is tried again."""
        end = time.monotonic() + patience
        while True:
            last = time.monotonic() >= end
            done = run(
                *ns_command(self.namespace, BIN / "culvert", *argv, "--data-dir", self.data),
                check=check and last,
                env=self.topology.environment,
            )
            if done.returncode == 0 or last:
                return done
            time.sleep(0.2)

    def status(self, check=True):
        done = self.culvert("status", "--output", "json", check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            if check:
                raise RuntimeError(done.stderr)
            return None
        return json.loads(done.stdout).get("agent")

    def _read(self, what):
        rows = json.loads(self.culvert(what, "--output", "json").stdout)
        return {row["name"]: row["value"] for row in rows}

    def drops(self):
        return self._read("drops")

    def counters(self):
        return self._read("counters")

    def flow_entries(self):
        """The entries of the flow tables, by the kernel alone."""
        return [
            entry["formatted"]
            for path in (self.data / "pin").glob("v*")
            for entry in json.loads(
                run("bpftool", "-j", "map", "dump", "pinned", path / "cv_flows").stdout
            )
        ]

    def close(self):
        if self.agent is not None:
            self.agent.stop()
            self.agent = None
        if (self.data / "node.json").exists():
            run(
                *ns_command(
                    self.namespace,
                    BIN / "culvert-agent",
                    "purge",
                    "--data-dir",
                    self.data,
                    "--pin",
                    self.data / "pin",
                ),
                check=False,
            )


class Topology(Resources):
    """culvertd and `nodes` agents. mode: tcx or clsact; control_flags, agent_flags: more of
    culvertd's and of each agent's; flows: entries of each flow table."""

    def __init__(self, nodes=2, mode="tcx", control_flags=(), flows=65536, agent_flags=()):
        super().__init__()
        self.mode, self.flows = mode, flows
        self.control_flags, self.agent_flags = control_flags, agent_flags
        self.prefix = f"cvt{os.getpid()}{chr(ord('a') + next(_serial) % 26)}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.namespaces = []
        self.workloads = {}
        self.culvertd = None
        self.patience = 0  # of attach() and detach(), in seconds
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        self.control_address = "198.18.0.254"
        self.control_url = f"https://{self.control_address}:8443"
        self.environment = dict(os.environ, XDG_CONFIG_HOME=str(self.folder / "config"))
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    # -- building ------------------------------------------------------------------------------

    def namespace(self, name):
        full = f"{self.prefix}{name}"
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def _wire(self, bridge_ns, port, namespace, ifname, address):
        run(
            "ip",
            "-n",
            bridge_ns,
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            ifname,
            "netns",
            namespace,
        )
        run("ip", "-n", bridge_ns, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", ifname)
        run("ip", "-n", namespace, "link", "set", ifname, "up")

    def _build(self):
        self.backbone = self.namespace("bb")
        self.control = self.namespace("cp")
        for space in (self.backbone, self.control):
            run("ip", "-n", space, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", space, "link", "set", "br0", "up")
        run("ip", "-n", self.backbone, "addr", "add", "192.0.2.254/24", "dev", "br0")
        run("ip", "-n", self.control, "addr", "add", f"{self.control_address}/24", "dev", "br0")
        for node in self.nodes:
            self.namespace(node.name)
            node.data.mkdir()
            self._wire(self.backbone, f"p{node.number}", node.namespace, "bb0", node.outer)
            self._wire(
                self.control, f"m{node.number}", node.namespace, "mg0", f"198.18.0.{node.number}"
            )
        self.start_control()
        for node in self.nodes:
            node.join()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def join(self, name, outer, folder, namespace=None):
        """A real token, a real key, a real certificate; returns the identity's folder."""
        token = self.rest.good("POST", "/culvert/join-tokens", {"name": name}, None)["token"]
        run(
            *ns_command(
                namespace or self.nodes[0].namespace,
                BIN / "culvert-agent",
                "join",
                "--control",
                self.control_url,
                "--ca",
                self.ca,
                "--token",
                token,
                "--name",
                name,
                "--outer",
                outer,
                "--data-dir",
                folder,
            )
        )
        return folder

    def start_control(self):
        data = self.folder / "control"
        data.mkdir(exist_ok=True)
        bootstrap = self.folder / "bootstrap.json"
        self.culvertd = Process(
            ns_command(
                self.control,
                BIN / "culvertd",
                "--data-dir",
                data,
                "--listen",
                f"{self.control_address}:8443",
                "--intent-listen",
                f"{self.control_address}:8444",
                "--advertise",
                self.control_address,
                "--print-bootstrap",
                bootstrap,
                "--log-level",
                os.environ.get("CULVERT_LOG", "info"),
                *self.control_flags,
            ),
            self.folder / "culvertd.log",
        )
        self.ca = data / "ca.crt"

        def ready():
            if not self.culvertd.alive():
                raise RuntimeError(f"culvertd ended:\n{self.culvertd.tail()}")
            if not (bootstrap.exists() and self.ca.exists()):
                return False
            with inside(self.control):
                try:
                    socket.create_connection((self.control_address, 8443), timeout=1).close()
                    return True
                except OSError:
                    return False

        wait_for(ready, 15, 0.02, "culvertd")
        self.bootstrap = json.loads(bootstrap.read_text())
        self.subscription = self.bootstrap["subscription"]
        trust = ssl.create_default_context(cafile=str(self.ca))
        self.rest = Rest(self.control, self.control_address, 8443, trust, self.bootstrap)
        self.environment.update(
            CULVERT_CONTROL=self.control_url,
            CULVERT_CA=str(self.ca),
            CULVERT_CLIENT_ID=self.bootstrap["client_id"],
            CULVERT_CLIENT_SECRET=self.bootstrap["client_secret"],
            CULVERT_TENANT=self.bootstrap["tenant"],
        )

    def close(self):
        atexit.unregister(self.close)
        for workload in self.workloads.values():
            workload.close()
        self.workloads = {}
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.close()
        if self.culvertd is not None:
            self.culvertd.stop()
            self.culvertd = None
        for namespace in reversed(self.namespaces):
            run("ip", "netns", "del", namespace, check=False)
        self.namespaces = []
        keep = os.environ.get("CULVERT_KEEP_LOGS")
        if keep:
            for log in self.folder.rglob("*.log"):
                shutil.copy(log, pathlib.Path(keep) / f"{self.prefix}-{log.parent.name}-{log.name}")
        with open("/proc/self/mounts", encoding="ascii") as mounts:
            for mounted in [line.split()[1] for line in mounts]:
                if mounted.startswith(f"{self.folder}/"):
                    run("umount", "-l", mounted, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- workloads -----------------------------------------------------------------------------

    def attach(self, nic, node, address):
        """A workload with that NIC on a node."""
        workload = self.unplugged(nic, node, address)
        node.culvert("attach", "--nic", nic, "--netns", workload.namespace, patience=self.patience)
        return workload

    def unplugged(self, nic, node, address):
        """A workload that is to have that NIC on a node and has no interface yet."""
        workload = Workload(self, nic, node, self.namespace(self.name("w")), address)
        self.workloads[nic] = workload
        return workload

    def detach(self, workload):
        workload.node.culvert("detach", "--nic", workload.nic, patience=self.patience)
        workload.close()
        self.workloads.pop(workload.nic, None)
        run("ip", "netns", "del", workload.namespace)
        self.namespaces.remove(workload.namespace)

    def migrate(self, workload, node):
        """Moves the workload's NIC to another node; what the command says of it."""
        done = node.culvert(
            "migrate",
            "--nic",
            workload.nic,
            "--to",
            node.name,
            "--netns",
            workload.namespace,
            "--output",
            "json",
        )
        workload.node = node
        return json.loads(done.stdout)

    def attachment(self, workload):
        """What the control plane says of where the workload is."""
        listed = self.rest.good("GET", "/culvert/attachments", None, None)["value"]
        return next(one for one in listed if one["nic"].lower() == workload.nic.lower())

    def workload(self, group, subnet, node, address=None, pool=None, six=False):
        nic, address = self.nic(group, subnet, address, pool, six=six)
        return self.attach(nic, node, address)
