# SPDX-License-Identifier: Apache-2.0
"""What links carried, as the API and Prometheus tell it: each byte once, whatever dies."""
import contextlib
import json
import os
import re
import signal
import socket

import pytest
from culvert_harness import ROOT, Topology, wait_for
from exposition import AGENT_PORT, METRICS_PORT, scrape
from scenes import BACKEND_PORT, consumer, nat_addresses, provider
from test_datagrams import datagram, echoing

RULES = ((80, BACKEND_PORT), (53, 5353, "Udp"))
INSIGHTS = "/providers/Microsoft.Insights"
VERSION = "2023-10-01"
HEADERS = 28  # of IPv4 and UDP: sums are of IP packets
PATIENCE = 60


@pytest.fixture(name="net", scope="module")
def _net():
    topology = Topology(
        nodes=2,
        control_flags=("--metrics", f"198.18.0.254:{METRICS_PORT}"),
        agent_flags=("--metrics", f"0.0.0.0:{AGENT_PORT}"),
    )
    yield topology
    topology.close()


def asked(net, resource, names, rest=None, **more):
    """The answer for a resource's metrics over the last hours."""
    query = {"metricnames": names, "timespan": "PT3H", "interval": "FULL"} | more
    target = f"{resource}{INSIGHTS}/metrics?" + "&".join(f"{k}={v}" for k, v in query.items())
    return (rest or net.rest).call("GET", target, None, VERSION)


def total(net, resource, name, **more):
    answer = asked(net, resource, name, **more)
    assert answer.status == 200, answer.raw
    (metric,) = answer["value"]
    assert metric["name"]["value"] == name
    return sum(
        point.get("total", 0) for line in metric["timeseries"] for point in line["data"]
    )


def exchange(client, address, sizes, source=0):
    """Datagrams that each come back; the bytes of IP packets one way."""
    with datagram(client) as sock:
        if source:
            sock.bind(("0.0.0.0", source))
        sock.connect((address, 53))
        for size in sizes:
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(65535) == payload
    return sum(size + HEADERS for size in sizes)


def expect(net, resource, wanted):
    """wanted: metric -> exact total"""
    seen = {}

    def right():
        seen.update({name: total(net, resource, name) for name in wanted})
        assert all(seen[name] <= wanted[name] for name in wanted), (seen, wanted)
        return seen == wanted

    with contextlib.suppress(TimeoutError):
        wait_for(right, PATIENCE, 0.3)
    assert seen == wanted, resource


@pytest.fixture(name="scene", scope="module")
def _scene(net):
    """Consumers on both nodes, the backend on the second."""
    made = provider(net, [net.nodes[1]], rules=RULES)
    clients = []
    for node in net.nodes:
        client = consumer(net, node)
        clients.append((client.workload, *net.endpoint(client.group, client.subnet(),
                                                       made.service)))
    with echoing(made.workloads[0]):
        yield made, clients


def test_each_byte_is_counted_once_whatever_dies(net, scene):
    made, clients = scene
    sums = [0, 0]

    def carry(*sizes):
        for number, (client, _, address) in enumerate(clients):
            sums[number] += exchange(client, address, sizes)

    def check():
        for number, (_, endpoint, _) in enumerate(clients):
            expect(net, endpoint, {"PEBytesIn": sums[number], "PEBytesOut": sums[number]})
        expect(net, made.service, {"PLSBytesIn": sum(sums), "PLSBytesOut": sum(sums)})
        expect(net, made.balancer, {"ByteCount": 2 * sum(sums)})

    carry(*range(0, 1400, 7))
    check()
    # agents: the kernel goes on counting
    for node in net.nodes:
        node.agent.send(signal.SIGKILL)
        node.agent.popen.wait(10)
    carry(1000, 1, 77)
    for node in net.nodes:
        node.start()
    for node in net.nodes:
        node.wait_ready()
    carry(10)
    check()
    # the control plane: what it had not kept is told again
    net.culvertd.send(signal.SIGKILL)
    net.culvertd.popen.wait(10)
    carry(333, 334)
    net.start_control()
    check()
    net.culvertd.stop()
    net.start_control()
    carry(5)
    check()


def test_a_provider_sees_each_connection_and_the_ports_of_each_address(net, scene):
    made, clients = scene
    with contextlib.ExitStack() as held:
        for client, _, address in clients:
            held.enter_context(client.connect(address, 80))
        names = sorted(each["name"] for each in net.connections(made.service))
        answer = asked(net, made.service, "PLSBytesIn",
                       **{"$filter": "PrivateEndpointConnection eq '*'"})
        lines = answer["value"][0]["timeseries"]
        assert sorted(line["metadatavalues"][0]["value"] for line in lines) == names
        both = [total(net, made.service, "PLSBytesIn",
                      **{"$filter": f"PrivateEndpointConnection eq '{name}'"}) for name in names]
        assert all(both) and sum(both) == total(net, made.service, "PLSBytesIn")

        def ports():
            answer = asked(net, made.service, "PLSNatPortsUsage", aggregation="Maximum",
                           **{"$filter": "PrivateLinkServiceIPAddress eq '*'"})
            lines = answer["value"][0]["timeseries"]
            assert {line["metadatavalues"][0]["value"] for line in lines} <= nat_addresses(
                net, made)
            return [point["maximum"] for line in lines for point in line["data"]
                    if point.get("maximum")]

        assert 0 < max(wait_for(ports, PATIENCE, 0.3)) < 1


def test_tcp_is_counted_as_the_data_plane_gets_it(net, scene):
    """a super-packet has one header, so that a sum lies between the payload and every segment's"""
    _, [_, (client, endpoint, address)] = scene
    before = total(net, endpoint, "PEBytesIn")
    payload = 3_000_000
    with client.connect(address, 80) as sock:
        sock.settimeout(20)
        sock.sendall(bytes(payload))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    wait_for(lambda: total(net, endpoint, "PEBytesIn") - before >= payload, PATIENCE, 0.3)
    assert total(net, endpoint, "PEBytesIn") - before < payload * 1.2


def test_definitions_name_what_there_is(net, scene):
    made, clients = scene
    for resource, names in (
        (clients[0][1], ["PEBytesIn", "PEBytesOut"]),
        (made.service, ["PLSBytesIn", "PLSBytesOut", "PLSNatPortsUsage"]),
        (made.balancer, ["ByteCount", "PacketCount"]),
    ):
        listed = net.rest.get(f"{resource}{INSIGHTS}/metricDefinitions", "2018-01-01")["value"]
        assert [each["name"]["value"] for each in listed] == names
        for each in listed:
            more = {"aggregation": ",".join(each["supportedAggregationTypes"]),
                    "interval": "PT1M"}
            assert asked(net, resource, each["name"]["value"], **more).status == 200
        spaces = net.rest.get(f"{resource}{INSIGHTS}/metricNamespaces", "2024-02-01")["value"]
        assert len(spaces) == 1


def test_what_is_wrong_is_said_and_whose_it_is_not_learns_nothing(net, scene):
    made, clients = scene
    for more, word in (
        ({"interval": "PT3M"}, "PT5M"),
        ({"aggregation": "Average"}, "Total"),
        ({"timespan": "never"}, "START/END"),
        ({"$filter": "Node eq 'n1'"}, "PrivateEndpointConnection"),
    ):
        answer = asked(net, made.service, "PLSBytesIn", **more)
        assert answer.status == 400 and word in answer.message, answer.raw
    assert "PLSBytesIn" in asked(net, made.service, "PEBytesIn").message
    nothing = made.service + "-not"
    assert asked(net, nothing, "PLSBytesIn").status == 404
    assert asked(net, made.vnet, "PLSBytesIn").status == 400
    # the consumer's side and the provider's are apart, and another tenant has neither
    for rest in (net.customer()[1], net.customer(tenant=True)[1]):
        answers = [
            asked(net, resource, name, rest)
            for resource, name in ((made.service, "PLSBytesIn"), (nothing, "PLSBytesIn"),
                                   (clients[0][1], "PEBytesIn"))
        ]
        assert {answer.status for answer in answers} <= {403, 404}
        assert answers[0].status == answers[1].status, "the same whether it is there or not"


def test_what_an_endpoint_carried_stays_the_services_when_it_is_gone(net, scene):
    made, _ = scene
    client = consumer(net, net.nodes[0])
    before = total(net, made.service, "PLSBytesIn")
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    sent = exchange(client.workload, address, range(100))
    expect(net, endpoint, {"PEBytesIn": sent})
    net.rest.delete(endpoint)
    expect(net, made.service, {"PLSBytesIn": before + sent})


def names_in(expression):
    return set(re.findall(r"\b(?:culvertd?|process)_\w+", expression))


def test_every_panel_of_the_dashboard_shows_what_is_served(net, scene):
    del scene
    served = set()
    for address, port in (("198.18.0.1", AGENT_PORT), ("198.18.0.2", AGENT_PORT),
                          (net.control_address, METRICS_PORT)):
        types, values = scrape(net, address, port)
        served |= types.keys() | {name.split("{")[0] for name in values}
    board = json.loads((ROOT / "docs/grafana/culvert.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 10
    for expression in targets:
        assert names_in(expression) and names_in(expression) <= served, expression
        assert expression.count("(") == expression.count(")"), expression
