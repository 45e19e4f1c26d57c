# SPDX-License-Identifier: Apache-2.0
"""Culvert as its packages install it, with a service, an endpoint and traffic between them."""
import contextlib
import http.client
import json
import socket
import ssl
import threading

from machine import inside, wait_for
from resources import Resources
from rest import Rest
from workload import Conversation, Workload

ADDRESS = "127.0.0.1"


class InsideRest(Rest):
    """The API on the container's loopback."""

    def _connect(self):
        with inside(self.namespace):
            raw = socket.create_connection((self.address, self.port), timeout=20)
        self.connection = http.client.HTTPSConnection(self.address, self.port, timeout=20)
        self.connection.sock = self.context.wrap_socket(raw, server_hostname=self.address)


class Scene(Resources):
    """One node; provider and consumer on it."""

    def __init__(self, container):
        super().__init__()
        self.container = container
        data = container.path("/var/lib/culvert/control")
        bootstrap = json.loads((data / "bootstrap.json").read_text())
        self.subscription = bootstrap["subscription"]
        trust = ssl.create_default_context(cafile=str(data / "ca.crt"))
        self.rest = InsideRest(container.netns, ADDRESS, 8443, trust, bootstrap)

    def join(self):
        token = self.container.json(
            "culvert", "node", "token", "--node", "one", "--output", "json"
        )["token"]
        self.container.run(
            "culvert-agent",
            "join",
            "--control",
            f"https://{ADDRESS}:8443",
            "--ca",
            "/var/lib/culvert/control/ca.crt",
            "--token",
            token,
            "--name",
            "one",
            "--outer",
            "192.0.2.1",
        )
        self.container.run("systemctl", "start", "culvert-agent")
        self.wait_connected()

    def wait_connected(self):
        def connected():
            shown = self.container.run("culvert", "status", "--output", "json", check=False)
            agent = json.loads(shown.stdout).get("agent") if shown.stdout else None
            return agent and agent["connected"]

        wait_for(connected, 30, 0.1, "a connected agent")

    def workload(self, group, subnet, pool=None):
        nic, address = self.nic(group, subnet, None, pool)
        name = self.name("w")
        self.container.run("ip", "netns", "add", name)
        self.container.run("culvert", "attach", "--nic", nic, "--netns", name)
        return Workload(self, nic, None, str(self.container.path(f"/run/netns/{name}")), address)

    def build(self):
        """A backend behind a service, and a consumer with an endpoint of it."""
        provider, consumer = self.group(), self.group()
        vnet = self.vnet(provider)
        balancer = self.balancer(provider, f"{vnet}/subnets/default", ((80, 8080),))
        service = self.service(provider, balancer, f"{vnet}/subnets/default")
        pool = f"{balancer}/backendAddressPools/pool"
        self.backend = self.workload(provider, f"{vnet}/subnets/default", pool)
        self.backend.serve(8080, "backend")
        home = self.vnet(consumer)
        self.client = self.workload(consumer, f"{home}/subnets/default")
        _, self.address = self.endpoint(consumer, f"{home}/subnets/default", service)

    def loose_nic(self):
        """A NIC that is attached nowhere, and a namespace for it."""
        group = self.group()
        nic, _ = self.nic(group, f"{self.vnet(group)}/subnets/default")
        name = self.name("w")
        self.container.run("ip", "netns", "add", name)
        return nic, name

    def connects(self):
        with contextlib.suppress(OSError):
            with self.client.connect(self.address, 80) as sock:
                Conversation(sock).check(b"new" * 1000)
                return True
        return False


class Traffic:
    """One connection that talks all the time, and new ones all the time."""

    def __init__(self, scene):
        self.scene, self.failures, self.rounds = scene, [], 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with self.scene.client.connect(self.scene.address, 80) as sock:
                talk = Conversation(sock)
                while not self.stopped.is_set():
                    talk.check(b"the old one" * 500)
                    if not self.scene.connects():
                        self.failures.append("a new connection failed")
                    self.rounds += 1
        except (OSError, ConnectionError) as broken:
            self.failures.append(f"the old connection broke: {broken}")

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.rounds > 2 or self.failures, 20, 0.02, "traffic")
        return self

    def __exit__(self, *exc):
        before = self.rounds
        wait_for(lambda: self.rounds > before + 2 or self.failures, 20, 0.02, "traffic after it")
        self.stopped.set()
        self.thread.join()
