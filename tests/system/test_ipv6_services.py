# SPDX-License-Identifier: Apache-2.0
"""Services whose backends are reached by IPv6, by consumers of either version: connections,
datagrams, errors, path MTU, moves, and that backends hear from the service's IPv6 address alone."""
import contextlib
import os
import socket

import pytest
from moves import settled
from scenes import BACKEND_PORT, connects, nat_addresses, provider
from test_datagrams import RULES, IP_MTU, IP_MTU_DISCOVER, IP_PMTUDISC_DO
from test_ipv6 import (
    IPV6_DONTFRAG,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    PREFIX,
    addresses,
    six_consumer,
    six_endpoint,
)
from workload import Conversation, datagram, echoing

pytestmark = pytest.mark.filterwarnings("error")
SIX, FOUR = socket.AF_INET6, socket.AF_INET
both_modes = pytest.mark.both_modes
placements = pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
versions = pytest.mark.parametrize("family", [SIX, FOUR], ids=["from IPv6", "from IPv4"])


class Scene:
    def __init__(self, net, across=False, names=None, address=None):
        self.made = provider(net, [net.nodes[-1 if across else 0]], rules=RULES, names=names,
                             six=PREFIX)
        self.backend = self.made.workloads[0]
        self.client = six_consumer(net, net.nodes[0], address=address)
        self.endpoint, four, six = six_endpoint(net, self.client, self.made.service)
        self.address = {FOUR: four, SIX: six}

    @contextlib.contextmanager
    def connected(self, family, port=80):
        with self.client.workload.socket(family=family) as sock:
            sock.settimeout(10)
            sock.connect((self.address[family], port))
            yield sock

    def ask(self, family, payload=b"x", port=80):
        with self.connected(family, port) as sock:
            return Conversation(sock).check(payload)

    def datagram(self, family, port=53):
        return datagram(self.client.workload, self.address[family], port, family)


@pytest.fixture(name="scene")
def _scene(net, across):
    return Scene(net, across)


@both_modes
@placements
@versions
def test_the_backend_hears_from_the_services_ipv6_address(net, scene, family):
    (nat,) = nat_addresses(net, scene.made)
    name, (seen, _) = scene.ask(family, os.urandom(20_000_000))
    assert name == "backend0"
    assert seen == nat and nat.startswith("fd00:1::")
    assert scene.backend.servers[0].listener.family == SIX


@both_modes
@placements
@versions
def test_datagrams_and_their_answers(net, scene, family):
    with echoing(scene.backend, family=SIX) as seen, scene.datagram(family) as sock:
        for size in (0, 1, 33, 1401, 1402):
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(65535) == payload
    assert {peer[0] for peer in seen} == nat_addresses(net, scene.made)
    assert len(set(seen)) == 1, "one flow keeps its NAT port"


@both_modes
@placements
@versions
def test_errors_and_echoes_tell_the_truth(net, scene, family):
    ping = ("ping", "-n", "-c", "1", "-W", "5", scene.address[family])
    assert scene.client.workload.run(*ping, check=False).returncode == 0
    with scene.datagram(family) as sock:
        sock.send(b"nobody listens")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    with pytest.raises(ConnectionRefusedError):
        scene.ask(family, port=81)
    scene.backend.close()
    with pytest.raises(ConnectionRefusedError):
        scene.ask(family)


@both_modes
@versions
def test_both_ends_learn_what_the_backbone_carries(net, family):
    scene = Scene(net, across=True)
    for workload in (scene.backend, scene.client.workload):
        workload.run("ip", "link", "set", "eth0", "mtu", "1500")
    with echoing(scene.backend, family=SIX), scene.datagram(family) as sock:
        header, fits = (48, 1470) if family == SIX else (28, 1450)
        if family == SIX:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.send(os.urandom(1500 - header))
        with pytest.raises(OSError, match="Message too long"):
            sock.recv(2000)
        known = (socket.IPPROTO_IPV6, IPV6_MTU) if family == SIX else (socket.IPPROTO_IP, IP_MTU)
        assert sock.getsockopt(*known) == fits
        payload = os.urandom(fits - header)
        sock.send(payload)
        assert sock.recv(2000) == payload
    # TCP finds its way by itself, from either side
    assert scene.ask(family, os.urandom(1_000_000))[0] == "backend0"


def test_two_tenants_with_one_prefix_reach_their_own(net):
    scenes = [Scene(net, True, names=[f"tenant{n}"], address="10.0.0.20") for n in range(2)]
    assert scenes[0].client.six == scenes[1].client.six
    for number, scene in enumerate(scenes):
        for family in (SIX, FOUR):
            assert scene.ask(family)[0] == f"tenant{number}"


@both_modes
@placements
def test_a_revoked_endpoint_stops_at_once(net, scene):
    with scene.connected(SIX) as sock:
        talk = Conversation(sock)
        talk.check(b"before")
        net.decide(scene.made.service, scene.endpoint, "Rejected")
        with pytest.raises(OSError):
            talk.check(b"after")
    with pytest.raises(OSError):
        scene.ask(FOUR)


@pytest.mark.parametrize("mover", ["backend", "consumer"])
def test_connections_move_with_either_end(net, mover):
    scene = Scene(net)
    moving = scene.backend if mover == "backend" else scene.client.workload
    with scene.connected(SIX) as six, scene.connected(FOUR) as four:
        talks = [Conversation(six), Conversation(four)]
        for node in (net.nodes[1], net.nodes[0]):
            moved = net.migrate(moving, node)
            assert moved["connections"] >= 2 and moved["refusedConnections"] == 0
            for talk in talks:
                talk.check(os.urandom(100_000))
            settled(net, moving)
    assert scene.ask(SIX)[0] == scene.ask(FOUR)[0] == "backend0"


def test_a_backend_reaches_by_the_nat_address_what_it_answers_and_nothing_else(net):
    scene = Scene(net)
    (nat,) = nat_addresses(net, scene.made)
    node, backend = net.nodes[0], scene.backend
    before = node.drops()
    with backend.socket(family=SIX) as sock:
        sock.settimeout(10)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((nat, 80))
    assert node.drops()["NAT_DIRECT"] > before["NAT_DIRECT"]
    # a neighbour in the same network has no more of it
    nic, four = net.nic(scene.made.group, scene.made.subnet(), six=True)
    other = net.attach(nic, node, four)
    with other.socket(family=SIX) as sock:
        sock.settimeout(10)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((nat, 80))
    # and by IPv4 nothing listens: the service is of IPv6
    assert not connects(other, scene.backend.address, BACKEND_PORT)


def test_a_removed_nat_address_keeps_its_connections(net):
    scene = Scene(net)
    body = net.rest.get(scene.made.service)
    (old,) = body["properties"]["ipConfigurations"]
    with scene.connected(SIX) as sock:
        talk = Conversation(sock)
        assert talk.seen[0] == old["properties"]["privateIPAddress"]
        new = {"subnet": {"id": scene.made.subnet()}, "privateIPAddressVersion": "IPv6"}
        body["properties"]["ipConfigurations"] = [{"name": "another", "properties": new}]
        net.rest.put(scene.made.service, body)
        (nat,) = nat_addresses(net, scene.made)
        assert nat != talk.seen[0]
        talk.check(os.urandom(100_000))
        assert scene.ask(SIX)[1][0] == nat
        net.nodes[0].agent.stop()
        net.nodes[0].start().wait_ready()
        talk.check(b"and on")


def refused(net, path, body, status=400):
    answer = net.rest.call("PUT", path, body)
    assert answer.status == status, answer
    return answer.message


def test_versions_that_do_not_go_together_are_refused_with_their_remedy(net):
    scene = Scene(net)
    made = scene.made
    plain = provider(net, net.nodes[:1])
    # the service's NAT addresses and its frontend
    body = net.rest.get(made.service)
    nat = body["properties"]["ipConfigurations"][0]["properties"]
    del nat["privateIPAddressVersion"], nat["privateIPAddress"]
    assert "create another one" in refused(net, made.service, body, 409)
    unused = net.balancer(made.group, made.subnet(), RULES, six=True)
    body["properties"]["loadBalancerFrontendIpConfigurations"] = [
        {"id": f"{unused}/frontendIPConfigurations/fe"}
    ]
    assert "use one version" in refused(net, made.service.replace("pls", "other"), body)
    # a frontend where the subnet has no prefix
    body = net.rest.get(plain.balancer)
    front = body["properties"]["frontendIPConfigurations"][0]["properties"]
    front["privateIPAddressVersion"] = "IPv6"
    assert "add a /64" in refused(net, plain.balancer, body)
    # an address that somebody chose
    body = net.rest.get(made.balancer)
    front = body["properties"]["frontendIPConfigurations"][0]["properties"]
    front["privateIPAllocationMethod"] = "Static"
    assert "use Dynamic" in refused(net, made.balancer, body)
    # a backend by the other version
    body = net.rest.get(made.workloads[0].nic)
    four, six = (c["properties"] for c in body["properties"]["ipConfigurations"])
    four["loadBalancerBackendAddressPools"] = six.pop("loadBalancerBackendAddressPools")
    assert "name it in the interface's IPv6 configuration" in refused(
        net, made.workloads[0].nic, body)


def test_the_same_again_writes_nothing(net):
    made = Scene(net).made
    for path in (made.balancer, made.service, made.workloads[0].nic):
        shown = net.rest.get(path)
        assert net.rest.put(path, shown)["etag"] == shown["etag"], path
    # the service's own interface shows what its backends see
    own = net.rest.get(made.service)["properties"]["networkInterfaces"][0]["id"]
    configs = net.rest.get(own)["properties"]["ipConfigurations"]
    assert {c["properties"]["privateIPAddress"] for c in configs} == nat_addresses(net, made)
    assert addresses(net, made.workloads[0].nic)[1].startswith("fd00:1::")


def test_a_node_that_starts_again_keeps_what_it_carries(net):
    scene = Scene(net, across=True)
    with scene.connected(SIX) as sock:
        talk = Conversation(sock)
        talk.check(b"before")
        for node in net.nodes:
            node.agent.stop()
            node.start().wait_ready()
        talk.check(os.urandom(100_000))
        assert scene.ask(SIX)[0] == "backend0"
