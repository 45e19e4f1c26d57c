# SPDX-License-Identifier: Apache-2.0
"""What must not get through does not, and is counted by its reason."""
import os
import socket

import packets
import pytest
from culvert_harness import Watch, inside, wait_for
from scenes import connects, consumer, index_of, link_id, provider

ATTACKS = (
    "OUTER_SOURCE",
    "VNI_UNKNOWN",
    "NIC_NOT_IN_VNET",
    "NIC_NOT_IN_POOL",
    "INNER_ADDRESS",
    "LINK_UNKNOWN",
    "MALFORMED",
)


def counted(node, reasons, action, least=1):
    """Runs action and waits until at least that many drops of one of the reasons were counted."""
    before = node.drops()
    action()

    def enough():
        after = node.drops()
        return sum(after[name] - before[name] for name in reasons) >= least

    wait_for(enough, 3, 0.02, f"{least} drops of {reasons}")


def send(workload, frame, times=1):
    with workload.frames() as sock:
        for _ in range(times):
            sock.send(frame)


@pytest.fixture
def scene(net):
    """A consumer on the first node, a backend on the second, an approved endpoint."""
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    client.workload.ask(address, 80)  # all of it works
    return made, client, endpoint, address


@pytest.mark.both_modes
def test_a_spoofed_source_address_is_dropped(net, scene):
    made, client, _, address = scene
    server = made.workloads[0].servers[0]
    served = len(server.peers)
    frame = packets.tcp_frame(
        packets.mac_bytes(client.workload.mac), "10.0.0.100", address, 50000, 80
    )
    counted(net.nodes[0], ["SPOOFED_ADDRESS"], lambda: send(client.workload, frame, 5), 5)
    assert len(server.peers) == served


@pytest.mark.both_modes
def test_a_spoofed_source_mac_is_dropped(net, scene):
    _, client, _, address = scene
    index = index_of(net.nodes[0], client.workload)
    frame = packets.tcp_frame(packets.mac(index + 1), client.workload.address, address, 50000, 80)
    counted(net.nodes[0], ["SPOOFED_MAC"], lambda: send(client.workload, frame, 5), 5)


def test_vxlan_made_in_a_workload_never_reaches_the_backbone(net, scene):
    made, client, endpoint, _ = scene
    marker = os.urandom(24)
    inner = packets.tcp_frame(packets.mac(1), "10.0.0.4", "10.0.0.5", 1, 80, payload=marker)
    datagram = packets.vxlan(packets.VNI_LINK | link_id(net, made, endpoint), inner)
    places = [
        (net.backbone, "br0"),
        (net.nodes[0].namespace, "bb0"),
        (net.nodes[1].namespace, "bb0"),
    ]

    def attack():
        with client.workload.socket(socket.SOCK_DGRAM) as sock:
            for node in net.nodes:
                sock.sendto(datagram, (node.outer, packets.VXLAN_PORT))

    with Watch(places, marker) as watch:
        counted(net.nodes[0], ["NO_DESTINATION"], attack, 2)
    assert watch.leaks(allowed=()) == {}


def forged(net, scene, marker):
    """Datagrams that the second node (or a stranger) sends to the first, each with what is wrong
    in it."""
    made, client, endpoint, address = scene
    link = packets.VNI_LINK | link_id(net, made, endpoint)
    victim = index_of(net.nodes[0], client.workload)
    backend = index_of(net.nodes[1], made.workloads[0])
    other = consumer(net, net.nodes[1])
    stranger = index_of(net.nodes[1], other.workload)

    def frame(source, destination, addresses, flags=0x10, sport=80, dport=55555):
        return packets.tcp_frame(
            packets.mac(source),
            *addresses,
            sport,
            dport,
            flags,
            payload=marker,
            destination_mac=packets.mac(destination),
        )

    answer = (address, client.workload.address)
    return {
        "a VNI that names nothing": (packets.VNI_LINK | 0x3FFFF, frame(backend, victim, answer)),
        "a NIC of another node as sender": (link, frame(victim, victim, answer)),
        "a NIC of another network as sender": (link, frame(stranger, victim, answer)),
        "a target that is not of the link": (link, frame(backend, victim + 100000, answer)),
        "another source than the endpoint": (
            link,
            frame(backend, victim, ("10.0.0.123", client.workload.address)),
        ),
        "a network's VNI for a NIC outside it": (
            1,
            frame(stranger, victim, (other.workload.address, client.workload.address)),
        ),
    }


def sendto(namespace, target, datagrams):
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, (target, packets.VXLAN_PORT))


@pytest.mark.both_modes
def test_vxlan_forged_on_a_node_is_dropped_for_each_thing_that_is_wrong_in_it(net, scene):
    _, client, _, _ = scene
    node = net.nodes[0]
    marker = os.urandom(24)
    workload, backbone = (client.workload.namespace, "eth0"), (node.namespace, "bb0")
    with Watch([workload, backbone], marker) as watch:
        for wrong, (vni, frame) in forged(net, scene, marker).items():
            before = node.drops()
            sendto(net.nodes[1].namespace, node.outer, [packets.vxlan(vni, frame)] * 3)
            after = wait_for(
                lambda before=before: grown(node, before, 3), 3, 0.02, f"three drops for {wrong}"
            )
            print(f"{wrong}: {after}")
    assert watch.counts[backbone] >= 18, "the captures see them arrive"
    assert watch.counts[workload] == 0, "nothing reached the workload"


def grown(node, before, least):
    """Reasons that moved since, once `least` drops were counted as attacks or faults."""
    after = node.drops()
    rise = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    return rise if sum(rise.get(name, 0) for name in (*ATTACKS, "NIC_NOT_HERE")) >= least else None


def test_vxlan_from_an_address_that_is_no_node_is_dropped(net, scene):
    made, client, endpoint, address = scene
    link = packets.VNI_LINK | link_id(net, made, endpoint)
    frame = packets.tcp_frame(
        packets.mac(index_of(net.nodes[1], made.workloads[0])),
        address,
        client.workload.address,
        80,
        55555,
        0x10,
        destination_mac=packets.mac(index_of(net.nodes[0], client.workload)),
    )
    counted(
        net.nodes[0],
        ["OUTER_SOURCE"],
        lambda: sendto(net.backbone, net.nodes[0].outer, [packets.vxlan(link, frame)] * 4),
        4,
    )


def test_what_is_not_ours_on_the_backbone_passes_untouched(net):
    """another UDP port, and another program's VXLAN port, between the same hosts"""
    with inside(net.nodes[0].namespace):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind((net.nodes[0].outer, 4790))
        receiver.settimeout(3)
        with inside(net.nodes[1].namespace), socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM
        ) as sock:
            sock.sendto(b"hello", (net.nodes[0].outer, 4790))
        assert receiver.recv(100) == b"hello"


@pytest.mark.both_modes
@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_an_endpoint_that_waits_for_approval_carries_nothing_and_then_everything(net, across):
    made = provider(net, [net.nodes[-1 if across else 0]], auto=False)
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service, manual=True)
    server = made.workloads[0].servers[0]
    counted(net.nodes[0], ["LINK_REFUSED"], lambda: connects(client.workload, address))
    assert server.peers == []
    net.decide(made.service, endpoint, "Approved")
    assert client.workload.ask(address, 80)[0] == "backend0"
    net.decide(made.service, endpoint, "Rejected")
    served = len(server.peers)
    counted(
        net.nodes[0], ["LINK_REFUSED", "LINK_STALE"], lambda: connects(client.workload, address)
    )
    assert len(server.peers) == served
    net.decide(made.service, endpoint, "Approved")
    assert client.workload.ask(address, 80)[0] == "backend0"


def test_ports_without_a_rule_are_refused_and_counted(net, scene):
    _, client, _, address = scene
    counted(net.nodes[0], ["NO_RULE"], lambda: connects(client.workload, address, 81))


@pytest.mark.both_modes
def test_a_refused_consumer_is_told_at_once_and_its_open_connections_too(net, scene):
    """a reset, as from a closed port: nobody waits for a timeout"""
    made, client, endpoint, address = scene
    with client.workload.connect(address, 80) as sock:
        sock.recv(100)
        net.decide(made.service, endpoint, "Rejected")
        with pytest.raises(ConnectionRefusedError):
            client.workload.connect(address, 80, timeout=10)
        with pytest.raises(ConnectionResetError):
            sock.settimeout(10)
            sock.sendall(b"are you there")
            sock.recv(100)
    net.decide(made.service, endpoint, "Approved")
    with pytest.raises(ConnectionRefusedError):
        client.workload.connect(address, 81, timeout=10)  # no rule has this port
    assert client.workload.ask(address, 80)[0] == "backend0"


def test_nat_addresses_and_frontends_are_not_services_of_their_own_network(net):
    made = provider(net, [net.nodes[0]], nat=["10.0.0.70"])
    inside_client = net.workload(made.group, made.subnet(), net.nodes[0])
    counted(net.nodes[0], ["NAT_DIRECT"], lambda: connects(inside_client, "10.0.0.70", 2000, 0.3))


def stranger(net):
    """Another subscription of the same tenant, and a caller who owns that one and nothing else."""
    name = net.name("stranger")
    made = net.rest.good("POST", "/culvert/subscriptions", {"name": name}, None)
    scope = f"/subscriptions/{made['id']}"
    body = {"name": name, "role": "Owner", "scope": scope}
    who = net.rest.good("POST", "/culvert/principals", body, None)
    secret = {"client_id": who["clientId"], "client_secret": who["clientSecret"]}
    return made["id"], net.rest.other(secret)


@pytest.fixture
def foreign(net):
    """A network of another subscription with a workload, and its owner's connection."""
    subscription, rest = stranger(net)
    group = net.group(subscription=subscription, rest=rest)
    vnet = net.vnet(group, rest=rest)
    yield group, vnet, rest
    rest.close()


def test_a_service_of_another_subscription_is_not_reached_by_its_id_without_rights(net, foreign):
    group, vnet, rest = foreign
    made = provider(net, [net.nodes[0]], auto=False)
    path = f"{group}/providers/Microsoft.Network/privateEndpoints/pe"
    before = net.rest.get(f"{made.service}/privateEndpointConnections")
    by_id = net.endpoint_body(f"{vnet}/subnets/default", made.service)
    answer = rest.call("PUT", path, by_id)
    assert (answer.status, answer.code) == (403, "LinkedAuthorizationFailed"), answer.raw
    assert rest.call("GET", path).status == 404
    assert net.rest.get(f"{made.service}/privateEndpointConnections") == before


def test_an_invisible_service_looks_as_if_it_did_not_exist(net, foreign):
    group, vnet, rest = foreign
    made = provider(net, [net.nodes[0]], auto=False)
    shown = net.rest.get(made.service)
    shown["properties"]["visibility"] = {"subscriptions": []}
    net.rest.put(made.service, dict(shown))
    path = f"{group}/providers/Microsoft.Network/privateEndpoints/pe"
    answers = []
    for target in (made.service, made.service + "none"):
        body = net.endpoint_body(f"{vnet}/subnets/default", target, manual=True)
        answer = rest.call("PUT", path, body)
        answers.append((answer.status, answer.code, answer.message.replace(target, "TARGET")))
    assert answers[0] == answers[1], "the two must not be told apart"
    assert answers[0][:2] == (400, "InvalidResourceReference")


def test_others_resources_are_neither_shown_nor_changed_nor_attached(net, foreign):
    _, _, rest = foreign
    made = provider(net, [net.nodes[0]])
    nic = made.workloads[0].nic
    for method, path in (
        ("GET", made.service),
        ("PUT", made.service),
        ("DELETE", made.service),
        ("GET", f"{made.group}/providers/Microsoft.Network/privateLinkServices"),
        ("POST", f"{nic}/detach"),
        ("POST", f"{nic}/attach"),
        ("POST", "/culvert/join-tokens"),
    ):
        answer = rest.call(method, path, {"node": "n2"} if method in ("PUT", "POST") else None)
        assert (answer.status, answer.code) == (403, "AuthorizationFailed"), (
            method,
            path,
            answer.raw,
        )
    assert consumer_works(net, made)


def consumer_works(net, made):
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    return client.workload.ask(address, 80)[0] == "backend0"


def test_a_foreign_consumer_gets_in_by_alias_and_consent_only(net, foreign):
    group, vnet, rest = foreign
    made = provider(net, [net.nodes[1]], auto=False)
    alias = net.rest.get(made.service)["properties"]["alias"]
    endpoint, address = net.endpoint(
        group, f"{vnet}/subnets/default", alias, manual=True, rest=rest
    )
    nic, at = net.nic(group, f"{vnet}/subnets/default", rest=rest)
    client = net.attach(nic, net.nodes[0], at)
    assert not connects(client, address)
    net.decide(made.service, endpoint, "Approved")
    assert client.ask(address, 80)[0] == "backend0"
