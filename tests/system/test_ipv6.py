# SPDX-License-Identifier: Apache-2.0
"""IPv6 of a workload to a service that has IPv4: connections, datagrams, errors, echoes, path MTU,
and that nothing but that gets in."""
import contextlib
import os
import socket
from dataclasses import dataclass

import pytest
from culvert_harness import wait_for
from rest import NETWORK_OLD
from scenes import nat_addresses, provider
from test_datagrams import RULES, echoing
from workload import Conversation

pytestmark = pytest.mark.filterwarnings("error")
IPV6_MTU, IPV6_DONTFRAG, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO = 24, 62, 23, 2
PREFIX = "fd00:1::/64"
both_modes = pytest.mark.both_modes
placements = pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])


@dataclass
class Client:
    group: str
    vnet: str
    workload: object
    six: str

    @property
    def subnet(self):
        return f"{self.vnet}/subnets/default"


def addresses(net, nic):
    """IPv4's and IPv6's of an interface."""
    configs = [c["properties"] for c in net.rest.get(nic)["properties"]["ipConfigurations"]]
    of = {c["privateIPAddressVersion"]: c["privateIPAddress"] for c in configs}
    return of["IPv4"], of.get("IPv6")


def six_consumer(net, node, prefix=PREFIX, address=None):
    group = net.group()
    vnet = net.vnet(group, six=prefix)
    nic, four = net.nic(group, f"{vnet}/subnets/default", address, six=True)
    return Client(group, vnet, net.attach(nic, node, four), addresses(net, nic)[1])


def six_endpoint(net, client, service, version="DualStack"):
    """An endpoint: its path, its IPv4 and its IPv6 address."""
    path = f"{client.group}/providers/Microsoft.Network/privateEndpoints/{net.name('pe')}"
    body = net.endpoint_body(client.subnet, service)
    body["properties"]["ipVersionType"] = version
    made = net.rest.put(path, body, NETWORK_OLD)
    assert made["properties"]["ipVersionType"] == version
    return path, *addresses(net, made["properties"]["networkInterfaces"][0]["id"])


@contextlib.contextmanager
def connected(client, address, port=80, source=0):
    with client.workload.socket(family=socket.AF_INET6) as sock:
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if source:
            sock.bind(("::", source))
        sock.connect((address, port))
        yield sock


def ask(client, address, payload=b"", port=80, source=0):
    with connected(client, address, port, source) as sock:
        return Conversation(sock).check(payload)


@contextlib.contextmanager
def datagram(client, address, port=53):
    with client.workload.socket(socket.SOCK_DGRAM, socket.AF_INET6) as sock:
        sock.settimeout(10)
        sock.connect((address, port))
        yield sock


@pytest.fixture(name="scene")
def _scene(net, across):
    made = provider(net, [net.nodes[-1 if across else 0]], rules=RULES)
    client = six_consumer(net, net.nodes[0])
    return made, client, *six_endpoint(net, client, made.service)


@both_modes
@placements
def test_connections_reach_the_service_by_both_versions(net, scene):
    made, client, _, four, six = scene
    assert six == "fd00:1::" + "{:x}{:02x}:{:x}".format(
        int(four.split(".")[0]), int(four.split(".")[1]),
        int(four.split(".")[2]) << 8 | int(four.split(".")[3]))
    name, (seen, _) = ask(client, six, os.urandom(20_000_000), source=40000)
    assert name == "backend0" and seen in nat_addresses(net, made)
    with connected(client, six, source=40001) as sock:
        talk = Conversation(sock)
        assert client.workload.ask(four, 80, b"four", source=40001)[0] == "backend0"
        talk.check(b"still six")


@both_modes
@placements
def test_datagrams_and_their_answers(scene):
    made, client, _, _, six = scene
    with echoing(made.workloads[0]) as seen, datagram(client, six) as sock:
        for size in (0, 1, 33, 1401, 1402):
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(65535) == payload
    assert len(set(seen)) == 1, "one flow keeps its NAT port"


@both_modes
@placements
def test_errors_and_echoes_tell_the_truth(net, scene):
    made, client, _, _, six = scene
    ping = ("ping", "-6", "-n", "-c", "1", "-W", "5", six)
    assert client.workload.run(*ping, check=False).returncode == 0
    with datagram(client, six) as sock:
        sock.send(b"nobody listens")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    with pytest.raises(ConnectionRefusedError):
        ask(client, six, port=81)
    with datagram(client, six, 54) as sock:
        sock.send(b"no rule")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    net.detach(made.workloads[0])
    wait_for(lambda: client.workload.run(*ping, check=False).returncode != 0, 30, 0.1, "a refusal")
    assert "Destination unreachable" in client.workload.run(*ping, check=False).stdout


@both_modes
def test_a_sender_learns_what_the_backbone_carries(net):
    made = provider(net, [net.nodes[1]], rules=RULES)
    client = six_consumer(net, net.nodes[0])
    *_, six = six_endpoint(net, client, made.service)
    for workload in (made.workloads[0], client.workload):
        workload.run("ip", "link", "set", "eth0", "mtu", "1500")
    with echoing(made.workloads[0]), datagram(client, six) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        sock.send(os.urandom(1452))
        with pytest.raises(OSError, match="Message too long"):
            sock.recv(2000)
        assert sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1470
        payload = os.urandom(1422)
        sock.send(payload)
        assert sock.recv(2000) == payload
    # TCP finds its way by itself, from either side
    assert ask(client, six, os.urandom(1_000_000))[0] == "backend0"


def test_an_endpoint_of_ipv6_alone_does_not_answer_ipv4(net):
    made = provider(net, net.nodes[:1])
    client = six_consumer(net, net.nodes[0])
    _, four, six = six_endpoint(net, client, made.service, "IPv6")
    assert ask(client, six)[0] == "backend0"
    with pytest.raises(OSError):
        client.workload.connect(four, 80, timeout=1)


def test_two_tenants_with_one_prefix_reach_their_own(net):
    clients = []
    for number in range(2):
        made = provider(net, net.nodes[1:], names=[f"tenant{number}"])
        client = six_consumer(net, net.nodes[0], address="10.0.0.20")
        clients.append((client, six_endpoint(net, client, made.service)[2]))
    assert clients[0][0].six == clients[1][0].six == "fd00:1::a00:14"
    (first, six), (second, other) = clients
    assert ask(first, six, b"x", source=41000)[0] == "tenant0"
    assert ask(second, other, b"x", source=41000)[0] == "tenant1"


@both_modes
@placements
def test_a_revoked_endpoint_stops_at_once(net, scene):
    made, client, endpoint, _, six = scene
    with connected(client, six) as sock:
        talk = Conversation(sock)
        talk.check(b"before")
        net.decide(made.service, endpoint, "Rejected")
        with pytest.raises(OSError):
            talk.check(b"after")
    with pytest.raises(OSError):
        ask(client, six)


def test_a_connection_moves_with_its_interface(net):
    made = provider(net, net.nodes[:1])
    client = six_consumer(net, net.nodes[0])
    *_, six = six_endpoint(net, client, made.service)
    with connected(client, six) as sock:
        talk = Conversation(sock)
        talk.check(b"here")
        net.migrate(client.workload, net.nodes[1])
        talk.check(os.urandom(100_000))
    assert ask(client, six)[0] == "backend0"


def test_ipv6_reaches_endpoints_and_nothing_else(net):
    node = net.nodes[0]
    client = six_consumer(net, node)
    nic, four = net.nic(client.group, client.subnet, six=True)
    other = Client(client.group, client.vnet, net.attach(nic, node, four), addresses(net, nic)[1])
    before = node.drops()
    with datagram(client, other.six, 9) as sock:
        sock.send(b"neighbour")
    with datagram(client, "fd00:2::1", 9) as sock:
        sock.send(b"abroad")
    wait_for(lambda: node.drops()["NO_DESTINATION"] - before["NO_DESTINATION"] >= 2, 10, 0.1,
             "drops by name")
    client.workload.run("ip", "-6", "addr", "add", f"{other.six}/128", "dev", "eth0", "nodad")
    with client.workload.socket(socket.SOCK_DGRAM, socket.AF_INET6) as sock:
        sock.bind((other.six, 0))
        sock.sendto(b"another's", ("fd00:1::1:1", 9))
    wait_for(lambda: node.drops()["SPOOFED_ADDRESS"] > before["SPOOFED_ADDRESS"], 10, 0.1,
             "a spoofed address")


def test_what_cannot_be_is_refused_with_its_remedy(net):
    client = six_consumer(net, net.nodes[0])
    made = provider(net, net.nodes[:1])
    plain = net.vnet(client.group)
    body = net.endpoint_body(f"{plain}/subnets/default", made.service)
    body["properties"]["ipVersionType"] = "IPv6"
    path = f"{client.group}/providers/Microsoft.Network/privateEndpoints/{net.name('pe')}"
    refused = net.rest.call("PUT", path, body, NETWORK_OLD)
    assert refused.status == 400 and "add a /64" in refused.message
    shown = net.rest.get(client.vnet)
    shown["properties"]["subnets"][0]["properties"]["addressPrefixes"].pop()
    refused = net.rest.call("PUT", client.vnet, shown)
    assert refused.status == 400 and "gives IPv6 addresses" in refused.message
    shown = net.rest.get(client.workload.nic)
    shown["properties"]["ipConfigurations"].pop()
    refused = net.rest.call("PUT", client.workload.nic, shown)
    assert refused.status == 409 and "culvert detach" in refused.message


def test_the_same_again_writes_nothing(net):
    client = six_consumer(net, net.nodes[0])
    made = provider(net, net.nodes[:1])
    endpoint, _, _ = six_endpoint(net, client, made.service)
    for path in (client.vnet, client.workload.nic, endpoint):
        shown = net.rest.get(path)
        again = net.rest.put(path, shown)
        assert again["etag"] == shown["etag"], path
