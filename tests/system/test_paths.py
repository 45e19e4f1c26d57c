# SPDX-License-Identifier: Apache-2.0
"""A private endpoint carries traffic: every placement, overlapping addresses, and the cases where
two tuples are alike."""
import hashlib
import os
import socket
import threading
import time

import pytest
from scenes import connects, consumer, moved, nat_addresses, provider, tcp_info

pytestmark = pytest.mark.filterwarnings("error")
PAYLOAD = os.urandom(300_000)


@pytest.mark.both_modes
def test_every_consumer_node_reaches_a_backend_on_every_node(net):
    for backend_node in net.nodes:
        made = provider(net, [backend_node], names=[f"on-{backend_node.name}"])
        for consumer_node in net.nodes:
            client = consumer(net, consumer_node)
            _, address = net.endpoint(client.group, client.subnet(), made.service)
            name, seen = client.workload.ask(address, 80, PAYLOAD)
            assert name == f"on-{backend_node.name}"
            assert seen[0] in nat_addresses(
                net, made
            ), "the backend must see a NAT address, never the consumer's"


@pytest.mark.both_modes
@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_all_addresses_may_overlap(net, across):
    """consumer = backend, endpoint = NAT address, in VNets with the same prefixes"""
    made = provider(
        net, [net.nodes[-1 if across else 0]], nat=["10.0.0.77"], addresses=["10.0.0.50"]
    )
    client = consumer(net, net.nodes[0], address="10.0.0.50")
    _, address = net.endpoint(client.group, client.subnet(), made.service, address="10.0.0.77")
    assert address == "10.0.0.77"
    name, seen = client.workload.ask(address, 80, PAYLOAD)
    assert (name, seen[0]) == ("backend0", "10.0.0.77")


@pytest.mark.both_modes
def test_workloads_of_one_network_reach_each_other_on_one_node_and_across(net):
    group = net.group()
    vnet = net.vnet(group)
    first, near, far = (
        net.workload(group, f"{vnet}/subnets/default", node)
        for node in (net.nodes[0], net.nodes[0], net.nodes[1])
    )
    for other, name in ((near, "near"), (far, "far")):
        other.serve(7000, name)
        assert first.ask(other.address, 7000, PAYLOAD) == (name, (first.address, first_port(other)))


def first_port(workload):
    return workload.servers[0].peers[-1][1]


def test_a_workload_of_another_network_is_not_reachable_by_its_address(net):
    made = provider(net, [net.nodes[0]], addresses=["10.0.0.60"])
    client = consumer(net, net.nodes[0])
    assert not connects(client.workload, "10.0.0.60", 8080, timeout=0.5)
    assert made.workloads[0].servers[0].peers == []


@pytest.mark.parametrize(
    "where", [0, 1], ids=["consumer beside the backend", "consumer on the other node"]
)
def test_an_endpoint_may_stand_in_the_providers_own_network_and_in_the_backends_subnet(net, where):
    made = provider(net, [net.nodes[0]])
    _, address = net.endpoint(made.group, made.subnet(), made.service)
    client = net.workload(made.group, made.subnet(), net.nodes[where])
    name, seen = client.ask(address, 80, PAYLOAD)
    assert name == "backend0"
    assert seen[0] in nat_addresses(net, made)


def test_a_backend_may_consume_its_own_service(net):
    made = provider(net, [net.nodes[0]])
    _, address = net.endpoint(made.group, made.subnet(), made.service)
    name, seen = made.workloads[0].ask(address, 80, PAYLOAD)
    assert name == "backend0"
    assert seen[0] in nat_addresses(net, made)


def test_a_backend_on_each_node_may_consume_the_service_of_both(net):
    made = provider(net, net.nodes)
    _, address = net.endpoint(made.group, made.subnet(), made.service)
    for workload in made.workloads:
        names = {workload.ask(address, 80)[0] for _ in range(40)}
        assert names == {"backend0", "backend1"}


def test_two_endpoints_in_one_subnet_lead_to_different_services(net):
    client = consumer(net, net.nodes[0])
    made = [provider(net, [node], names=[f"service-{node.name}"]) for node in net.nodes]
    for one in made:
        _, address = net.endpoint(client.group, client.subnet(), one.service)
        assert client.workload.ask(address, 80, PAYLOAD)[0] == one.workloads[0].servers[0].name


def test_several_endpoints_lead_to_one_service(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    addresses = [net.endpoint(client.group, client.subnet(), made.service)[1] for _ in range(3)]
    assert len(set(addresses)) == 3
    held = [
        client.workload.connect(address, 80, source=41000) for address in addresses
    ]  # all from one port
    ports = set()
    for sock in held:
        line = sock.makefile("rb").readline().split()
        ports.add((line[1], line[2]))
        sock.close()
    assert len(ports) == 3, "three connections at one backend must have three tuples"


def test_every_backend_of_the_pool_answers(net):
    made = provider(net, [net.nodes[0], net.nodes[1], net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    names = [client.workload.ask(address, 80)[0] for _ in range(120)]
    assert set(names) == {"backend0", "backend1", "backend2"}
    assert min(names.count(name) for name in set(names)) >= 15  # 40 each on average


def test_source_affinity_keeps_a_consumer_on_one_backend(net):
    made = provider(net, [net.nodes[0], net.nodes[1]], rules=((80, 8080, "Tcp", "SourceIP"),))
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    assert len({client.workload.ask(address, 80)[0] for _ in range(30)}) == 1


@pytest.mark.both_modes
@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_one_client_port_reaches_two_endpoint_ports_that_share_a_backend_port(net, across):
    made = provider(net, [net.nodes[-1 if across else 0]], rules=((80, 8080), (81, 8080)))
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    talk_at_the_same_time([(client.workload, address, port, 42000) for port in (80, 81)])


@pytest.mark.both_modes
@pytest.mark.parametrize(
    "nodes", [(0, 0), (0, 1), (1, 1)], ids=["beside", "one beside one across", "across"]
)
def test_two_consumers_use_the_same_source_address_and_port_at_once(net, nodes):
    made = provider(net, [net.nodes[0]])
    talks = []
    for number in nodes:
        client = consumer(net, net.nodes[number], address="10.0.0.44")
        _, address = net.endpoint(client.group, client.subnet(), made.service, address="10.0.0.99")
        talks.append((client.workload, address, 80, 43000))
    talk_at_the_same_time(talks)


def talk_at_the_same_time(talks):
    """Each connection is open while the others carry their own bytes, and none sees another's."""
    socks = [
        workload.connect(address, port, source=source) for workload, address, port, source in talks
    ]
    try:
        readers = [sock.makefile("rb") for sock in socks]
        seen = [tuple(reader.readline().split()[1:]) for reader in readers]
        assert len(set(seen)) == len(socks)
        for turn in range(20):
            for number, sock in enumerate(socks):
                sock.sendall(f"turn {turn} of {number}\n".encode())
            for number, reader in enumerate(readers):
                assert reader.readline() == f"turn {turn} of {number}\n".encode()
    finally:
        for sock in socks:
            sock.close()


def test_a_gigabyte_crosses_intact_in_super_packets(net):
    """1 GB by checksum; and it must have crossed the backbone as super-packets, both ways of the
    wire"""
    size, chunk = 1_000_000_000, os.urandom(1 << 20)
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    before = [node.counters() for node in net.nodes]
    made.workloads[0].servers[0].close()
    listener = made.workloads[0].socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", 8080))
    listener.listen(1)
    result = {}

    def receive():
        sock, _ = listener.accept()
        digest, got = hashlib.sha256(), 0
        buffer = bytearray(1 << 20)
        while count := sock.recv_into(buffer):
            digest.update(memoryview(buffer)[:count])
            got += count
        result["got"], result["sha"] = got, digest.hexdigest()
        sock.close()

    thread = threading.Thread(target=receive)
    thread.start()
    sent, digest = 0, hashlib.sha256()
    sock = client.workload.connect(address, 80)
    sock.settimeout(30)
    while sent < size:
        part = chunk[: min(len(chunk), size - sent)]
        sock.sendall(part)
        digest.update(part)
        sent += len(part)
    sock.close()
    thread.join(60)
    listener.close()
    assert result == {"got": size, "sha": digest.hexdigest()}
    after = [node.counters() for node in net.nodes]
    out = after[0]["SUPER_OUT"] - before[0]["SUPER_OUT"]
    taken = after[1]["SUPER_IN"] - before[1]["SUPER_IN"]
    packets = after[0]["LINK_OUT"] - before[0]["LINK_OUT"]
    assert out > 1000 and taken > 1000, f"super-packets: {out} sent, {taken} taken"
    assert (
        packets < size / 1450 / 4
    ), f"{packets} packets for {size} bytes: segmentation was not left to the kernel"


@pytest.mark.both_modes
def test_the_first_packet_after_the_answer_passes(net):
    """50 endpoints, each used at once: no SYN is dropped. One may be sent again for the sake of a
    machine that stood still for a second, but then no drop may have been counted."""
    made = provider(net, net.nodes)
    client = consumer(net, net.nodes[0])
    other = client_on_the_other_node(net, client)
    before = [node.drops() for node in net.nodes]
    times, again = [], []
    for number in range(50):
        start = time.monotonic()
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        times.append(time.monotonic() - start)
        workload = (client.workload, other)[number % 2]
        with workload.connect(address, 80, timeout=5) as sock:
            if tcp_info(sock)[0]:
                again.append(number)
            assert sock.makefile("rb").readline().startswith(b"backend")
    names = (
        "LINK_UNKNOWN",
        "LINK_REFUSED",
        "NO_DESTINATION",
        "NO_BACKEND",
        "NO_RULE",
        "VNI_UNKNOWN",
    )
    lost = [moved(was, node.drops(), names) for was, node in zip(before, net.nodes)]
    assert len(again) <= 1 and not (again and any(lost)), f"sent again: {again}, dropped: {lost}"
    middle, worst = sorted(times)[25] * 1e3, max(times) * 1e3
    print(f"PUT and address of an endpoint: median {middle:.1f} ms, worst {worst:.1f} ms")


def client_on_the_other_node(net, client):
    return net.workload(client.group, client.subnet(), net.nodes[1])
