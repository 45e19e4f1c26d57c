# SPDX-License-Identifier: Apache-2.0
"""UDP and ICMP through a private endpoint: datagrams, the errors about them, echoes, path MTU."""
import contextlib
import os
import socket

import pytest
from culvert_harness import wait_for
from scenes import BACKEND_PORT, consumer, nat_addresses, provider
from workload import datagram, echoing

pytestmark = pytest.mark.filterwarnings("error")
RULES = ((80, BACKEND_PORT), (53, 5353, "Udp"))
UDP_SEGMENT = 103  # linux/udp.h
SO_NO_CHECK = 11
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
both_modes = pytest.mark.both_modes
placements = pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])


@pytest.fixture(name="scene")
def _scene(net, across):
    made = provider(net, [net.nodes[-1 if across else 0]], rules=RULES)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    return made, made.workloads[0], client.workload, address


@both_modes
@placements
def test_datagrams_reach_the_backend_and_their_answers_come_back(net, scene):
    made, backend, client, address = scene
    with echoing(backend) as seen, datagram(client, address, 53) as sock:
        for size in (0, 1, 33, 1400, 1422):
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(65535) == payload
    assert {peer[0] for peer in seen} <= nat_addresses(net, made)
    assert len(set(seen)) == 1, "one flow keeps its NAT port"


@placements
def test_a_datagram_without_checksum_is_carried(scene):
    _, backend, client, address = scene
    with echoing(backend), datagram(client, address, 53) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        sock.send(b"no checksum")
        assert sock.recv(100) == b"no checksum"


@both_modes
@placements
def test_a_super_packet_arrives_as_the_datagrams_it_stands_for(scene):
    _, backend, client, address = scene
    pieces = [os.urandom(1200) for _ in range(9)] + [os.urandom(77)]
    with echoing(backend), datagram(client, address, 53) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
        sock.send(b"".join(pieces))
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        assert sorted(sock.recv(65535) for _ in pieces) == sorted(pieces)


@both_modes
@placements
def test_a_closed_port_of_the_backend_is_told_to_the_consumer(scene):
    _, _, client, address = scene
    with datagram(client, address, 53) as sock:
        sock.send(b"nobody listens")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)


def test_a_port_that_the_service_does_not_have_is_refused_at_once(net):
    made = provider(net, net.nodes[:1])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with datagram(client.workload, address, 80) as sock:  # it has 80 for TCP alone
        sock.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)


@placements
def test_a_rejected_endpoint_carries_no_datagram_more(net, across):
    made = provider(net, [net.nodes[-1 if across else 0]], rules=RULES)
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    with echoing(made.workloads[0]) as seen, datagram(client.workload, address, 53) as sock:
        sock.send(b"before")
        assert sock.recv(100) == b"before"
        net.decide(made.service, endpoint, "Rejected")
        before = len(seen)
        sock.send(b"after")
        with pytest.raises(OSError):
            sock.recv(100)
        assert len(seen) == before


def ping(client, address):
    return client.run("ping", "-n", "-c", "1", "-W", "5", address, check=False)


@both_modes
@placements
def test_ping_tells_whether_there_is_a_backend(net, scene):
    _, backend, client, address = scene
    assert ping(client, address).returncode == 0
    net.detach(backend)
    wait_for(lambda: ping(client, address).returncode != 0, 30, 0.1, "an echo that is refused")
    assert "Destination Host Unreachable" in ping(client, address).stdout


@both_modes
def test_a_sender_learns_what_the_backbone_carries(net):
    made = provider(net, [net.nodes[1]], rules=RULES)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    backend = made.workloads[0]
    for workload in (backend, client.workload):
        workload.run("ip", "link", "set", "eth0", "mtu", "1500")
    with echoing(backend), datagram(client.workload, address, 53) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.send(os.urandom(1472))
        with pytest.raises(OSError, match="Message too long"):
            sock.recv(2000)
        assert sock.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1450
        payload = os.urandom(1422)
        sock.send(payload)
        assert sock.recv(2000) == payload
    # TCP finds its way by itself, from either side
    payload = os.urandom(1_000_000)
    assert client.workload.ask(address, 80, payload, timeout=30)[0] == "backend0"


def test_the_path_shows_its_mtu(net):
    made = provider(net, [net.nodes[1]], rules=((80, BACKEND_PORT), (44444, 44444, "Udp")))
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    client.workload.run("ip", "link", "set", "eth0", "mtu", "1500")
    shown = client.workload.run("tracepath", "-n", "-p", "44444", address).stdout
    assert "pmtu 1450" in shown and "reached" in shown, shown


@both_modes
@placements
def test_datagrams_in_fragments_arrive_whole(scene):
    _, backend, client, address = scene
    with echoing(backend) as seen, datagram(client, address, 53) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)  # never DF
        for size in (1423, 3000, 9000, 60000):
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(65535) == payload
    assert len(set(seen)) == 1, "one flow keeps its NAT port"


def test_fragments_of_two_consumers_with_one_nat_address_do_not_mix(net):
    made = provider(net, [net.nodes[1]], rules=RULES, nat=["10.0.0.77"])
    clients = []
    for _ in range(2):
        client = consumer(net, net.nodes[0])
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        clients.append((client.workload, address))
    with echoing(made.workloads[0]), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(datagram(*client, 53)) for client in clients]
        for sock in socks:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        for turn in range(50):
            wanted = [bytes([turn, number]) * 2000 for number in range(2)]
            for sock, payload in zip(socks, wanted):
                sock.send(payload)
            for sock, payload in zip(socks, wanted):
                assert sock.recv(65535) == payload
