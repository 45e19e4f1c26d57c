# SPDX-License-Identifier: Apache-2.0
"""Backends are probed by their own node from 168.63.129.16; who fails gets no new connections, on
whatever node these begin, with and without a control plane."""
import contextlib
import errno
import ipaddress
import os
import signal
import socket
import threading

import culvert_harness
import pytest
from culvert_harness import Conversation, run, wait_for
from probing import (
    FLAGS,
    LIMIT_S,
    PROBE_PORT,
    answerers,
    backends,
    http,
    state,
    tcp,
    wait_state,
)
from scenes import connects, consumer, index_of, moved, provider
from web import Site, certificate

PLATFORM = "168.63.129.16"


@pytest.fixture(scope="module")
def three():
    topology = culvert_harness.Topology(nodes=3, agent_flags=FLAGS)
    yield topology
    topology.close()


@contextlib.contextmanager
def shop(net, probe, nodes=(0, 1), rules=((80, 8080),), pem=None):
    """Backends with a web server each to be probed, and a consumer on the last node."""
    made = provider(
        net,
        [net.nodes[n] for n in nodes],
        rules=rules,
        names=[f"b{n + 1}" for n in nodes],
        probe=probe,
    )
    sites = [Site(workload, PROBE_PORT, pem) for workload in made.workloads]
    client = consumer(net, net.nodes[-1])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    try:
        for node in net.nodes:
            for workload in made.workloads:
                if node in (client.workload.node, workload.node):
                    wait_state(node, workload, "up")
        yield made, sites, client.workload, address
    finally:
        for site in sites:
            site.close()


def restart(node):
    """The node's agent is killed and started; returns when it answers."""
    node.agent.stop(signal.SIGKILL)
    node.start()
    wait_for(lambda: node.status(check=False), LIMIT_S, 0.02, f"agent {node.name}")


def test_workloads_of_one_address_are_probed_apart(three):
    node = three.nodes[0]
    made = [
        provider(three, [node], addresses=["10.0.0.10"], probe=http()) for _ in range(2)
    ]
    workloads = [each.workloads[0] for each in made]
    good, bad = (Site(workload, PROBE_PORT) for workload in workloads)
    with contextlib.closing(good), contextlib.closing(bad):
        bad.say("500")
        wait_state(node, workloads[0], "up")
        wait_for(
            lambda: backends(node)[workloads[1].nic.lower()].get("reason") == "status 500",
            LIMIT_S,
            0.05,
            "status 500",
        )
        good.say("503")
        bad.say("200")
        wait_state(node, workloads[1], "up")
        wait_state(node, workloads[0], "down")
        shown = node.culvert("backends").stdout
        assert "http:8000/health" in shown and "DOWN" in shown and "status 503" in shown


@pytest.mark.parametrize("word", ["500", "404", "302", "silent", "reset", "slow", "giant"])
def test_a_backend_that_does_not_answer_200_gets_no_connections(three, word):
    with shop(three, http()) as (made, sites, client, address):
        assert answerers(client, address) == {"b1", "b2"}
        sites[0].say(word)
        wait_state(client.node, made.workloads[0], "down")
        assert answerers(client, address) == {"b2"}
        sites[0].say("200")
        wait_state(client.node, made.workloads[0], "up")
        # on a busy machine the other one may not have answered in time just now
        wait_for(lambda: answerers(client, address) == {"b1", "b2"}, 30, 0.1, "both again")


def test_https_is_probed_without_a_look_at_the_certificate(three):
    pem = certificate(three.folder)
    with shop(three, http(protocol="Https"), pem=pem) as (made, sites, client, address):
        assert answerers(client, address) == {"b1", "b2"}
        sites[1].say("500")
        wait_state(client.node, made.workloads[1], "down")
        assert answerers(client, address) == {"b1"}


def test_verdicts_travel_while_the_control_plane_is_away(three):
    with shop(three, tcp()) as (made, sites, client, address):
        three.culvertd.stop(signal.SIGKILL)
        try:
            sites[0].kill()
            wait_state(client.node, made.workloads[0], "down")
            assert answerers(client, address) == {"b2"}
            sites[0].start()
            wait_state(client.node, made.workloads[0], "up")
            assert answerers(client, address) == {"b1", "b2"}
            sites[1].pause()  # a closed port and a hung process look alike to TCP only here
            assert answerers(client, address) == {"b1", "b2"}
            sites[1].resume()
        finally:
            three.start_control()
            for node in three.nodes:
                node.wait_ready(LIMIT_S)


def test_established_connections_outlive_a_probe_that_fails(three):
    with shop(three, tcp()) as (made, sites, client, address):
        held = {}
        while len(held) < 2:
            talk = Conversation(client.connect(address, 80))
            held.setdefault(talk.name, talk)
        for site in sites:
            site.kill()
        for workload in made.workloads:
            wait_state(client.node, workload, "down")
        before = client.node.drops()
        with pytest.raises(ConnectionRefusedError):
            client.connect(address, 80)
        assert moved(before, client.node.drops(), ["NO_BACKEND"]) >= 1
        assert client.run("ping", "-c1", "-W1", address, check=False).returncode != 0
        for talk in held.values():
            talk.check(b"still here" * 100)
            talk.sock.close()
        sites[0].start()
        wait_state(client.node, made.workloads[0], "up")
        assert answerers(client, address) == {"b1"}
        assert client.run("ping", "-c1", "-W5", address).returncode == 0


def test_all_of_them_are_used_where_the_probe_says_so(three):
    with shop(three, tcp(noHealthyBackendsBehavior="AllProbedUp")) as scene:
        made, sites, client, address = scene
        sites[0].kill()
        wait_state(client.node, made.workloads[0], "down")
        assert answerers(client, address) == {"b2"}
        sites[1].kill()
        wait_state(client.node, made.workloads[1], "down")
        assert answerers(client, address) == {"b1", "b2"}


class Datagrams:
    """A UDP server that answers with its name."""

    def __init__(self, workload, port, name):
        self.sock = workload.socket(socket.SOCK_DGRAM)
        self.sock.bind(("0.0.0.0", port))
        self.name = name.encode()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                _, peer = self.sock.recvfrom(2048)
                self.sock.sendto(self.name, peer)

    def close(self):
        self.sock.close()


def test_datagrams_move_to_a_backend_that_is_up(three):
    with contextlib.ExitStack() as stack:
        rules = ((53, 5353, "Udp"),)
        made, sites, client, address = stack.enter_context(shop(three, tcp(), rules=rules))
        for number, workload in enumerate(made.workloads):
            server = Datagrams(workload, 5353, f"b{number + 1}")
            stack.enter_context(contextlib.closing(server))
        sock = stack.enter_context(client.socket(socket.SOCK_DGRAM))
        sock.settimeout(1)
        sock.connect((address, 53))

        def answer():
            with contextlib.suppress(OSError):
                sock.send(b"who")
                return sock.recv(100).decode()
            return None

        first = wait_for(answer, LIMIT_S, 0.05, "an answer")
        assert {answer() for _ in range(20)} == {first}, "one flow, one backend"
        sites[int(first[1]) - 1].kill()
        other = {"b1": "b2", "b2": "b1"}[first]
        wait_for(lambda: answer() == other, LIMIT_S, 0.05, "the other backend")
        sites[int(other[1]) - 1].kill()
        before = client.node.drops()
        wait_for(
            lambda: answer() is None and moved(before, client.node.drops(), ["NO_BACKEND"]),
            LIMIT_S,
            0.05,
            "nobody",
        )


def test_verdicts_outlive_the_agents(three):
    with shop(three, tcp()) as (made, sites, client, address):
        sites[0].kill()
        wait_state(client.node, made.workloads[0], "down")
        for node in (client.node, made.workloads[0].node):
            wait_for(lambda node=node: (node.data / "health.json").exists(), LIMIT_S, 0.05, "file")
        # the file is written some tenths of a second after
        wait_for(lambda: '"up":false' in (client.node.data / "health.json").read_text(),
                 LIMIT_S, 0.05, "the verdict on disk")  # fmt: skip
        restart(client.node)
        assert state(client.node, made.workloads[0]) == "down"
        assert answerers(client, address) == {"b2"}
        # a speaker that starts again does not flap, and is heard
        lines = client.node.agent.log.read_text(errors="replace").count("backend ")
        restart(made.workloads[0].node)
        assert answerers(client, address) == {"b2"}
        sites[0].start()
        wait_state(client.node, made.workloads[0], "up")
        assert answerers(client, address) == {"b1", "b2"}
        assert client.node.agent.log.read_text(errors="replace").count("backend ") == lines


def test_a_backend_without_an_interface_counts_as_down(three):
    with shop(three, None) as (made, sites, client, address):
        gone = made.workloads[0]
        host = next(
            nic["hostIfname"]
            for nic in gone.node.status()["nics"]
            if nic["id"].lower() == gone.nic.lower()
        )
        sites[0].kill()  # what runs there keeps the namespace
        three.workloads.pop(gone.nic).close()
        run("ip", "netns", "del", gone.namespace)
        three.namespaces.remove(gone.namespace)
        links = lambda: run("ip", "-n", gone.node.namespace, "-j", "link").stdout  # noqa: E731
        wait_for(lambda: f'"{host}"' not in links(), LIMIT_S, 0.05, "the interface's end")
        restart(gone.node)
        wait_state(client.node, gone, "unplumbed")
        assert answerers(client, address) == {"b2"}


def leave_pool(net, workload):
    nic = net.rest.get(workload.nic)
    config = nic["properties"]["ipConfigurations"][0]["properties"]
    config.pop("loadBalancerBackendAddressPools")
    net.rest.put(workload.nic, {"location": "local", "properties": {
        "ipConfigurations": [{"name": "ip1", "properties": {
            "subnet": config["subnet"],
            "privateIPAddress": config["privateIPAddress"],
            "privateIPAllocationMethod": "Static",
        }}]}})  # fmt: skip


def is_reset(sock):
    """The next segments meet a reset."""
    sock.settimeout(LIMIT_S)
    try:
        while True:
            sock.sendall(b"x")
            if not sock.recv(100):
                return False
    except OSError as error:
        # the server's own thread may see the reset first and close the socket
        return error.errno in (errno.ECONNRESET, errno.EPIPE, errno.EBADF)


@pytest.mark.parametrize("how", ["pool", "rule"])
@pytest.mark.parametrize("place", [0, 2])
def test_connections_to_a_removed_backend_are_reset(three, how, place):
    """At the consumer's node and on another one; by the consumer and by the backend."""
    with shop(three, None, nodes=(place,), rules=((80, 8080), (81, 8081))) as scene:
        made, _, client, address = scene
        asking, answering = (Conversation(client.connect(address, 80)) for _ in range(2))
        server = made.workloads[0].servers[0]
        wait_for(lambda: len(server.open) == 2, LIMIT_S, 0.02, "two connections")
        theirs = next(s for s in server.open if s.getpeername() == answering.seen)
        if how == "pool":
            leave_pool(three, made.workloads[0])
        else:
            balancer = three.rest.get(made.balancer)
            rules = balancer["properties"]["loadBalancingRules"]
            balancer["properties"]["loadBalancingRules"] = rules[1:]
            three.rest.put(made.balancer, balancer)
        said = "ended connections"
        for node in {client.node, made.workloads[0].node}:
            wait_for(
                lambda node=node: said in node.agent.log.read_text(errors="replace"),
                LIMIT_S,
                0.05,
                f"the end at {node.name}",
            )
        assert is_reset(asking.sock)
        assert is_reset(theirs)
        assert not connects(client, address)


def test_the_platform_is_reached_and_nothing_behind_it(three):
    with shop(three, None) as (made, _, client, address):
        del address
        node = client.node
        # nobody listens yet: the services' namespace says so, at once
        for port in (53, 80, 32526):
            with pytest.raises(ConnectionRefusedError):
                client.connect(PLATFORM, port)
        sock = client.socket(socket.SOCK_DGRAM)
        sock.settimeout(LIMIT_S)
        sock.connect((PLATFORM, 53))
        sock.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(1)
        assert client.run("ping", "-c1", "-W5", PLATFORM).returncode == 0
        # aliases, the host and other nodes are no destinations
        index = index_of(made.workloads[0].node, made.workloads[0])
        alias = str(ipaddress.IPv4Address("100.64.0.0") + index)
        before = node.drops()
        for target in (alias, node.outer, "198.18.0.254"):
            with pytest.raises(OSError):
                client.connect(target, 80, timeout=0.3)
        assert moved(before, node.drops(), ["NO_DESTINATION"]) >= 3
        # nor is the namespace a way on for what is addressed to it
        before = node.drops()
        client.run("ip", "addr", "add", f"{PLATFORM}/32", "dev", "lo")
        client.run("ip", "route", "replace", "10.0.0.250/32", "dev", "eth0", "src", PLATFORM)
        spoof = client.socket(socket.SOCK_DGRAM)
        spoof.bind((PLATFORM, 0))
        with contextlib.suppress(OSError):
            spoof.sendto(b"?", ("10.0.0.250", 53))
        wait_for(
            lambda: moved(before, node.drops(), ["SPOOFED_ADDRESS"]) >= 1,
            LIMIT_S,
            0.05,
            "a spoofed packet",
        )


def test_an_agent_that_ends_leaves_no_namespace(three):
    node = three.nodes[1]
    links = lambda: run("ip", "-n", node.namespace, "-j", "link").stdout  # noqa: E731
    wait_for(lambda: "cvservices" in links(), LIMIT_S, 0.05, "the services' interface")
    node.agent.stop(signal.SIGKILL)
    wait_for(lambda: "cvservices" not in links(), LIMIT_S, 0.05, "its end")
    node.start()
    node.wait_ready(LIMIT_S)
    wait_for(lambda: "cvservices" in links(), LIMIT_S, 0.05, "the services' interface")
    assert os.path.exists(node.data / "agent.sock")
