# SPDX-License-Identifier: Apache-2.0
"""A drained node gets no new connections; those it has go on."""
import contextlib
import json

import culvert_harness
import pytest
from culvert_harness import Conversation, wait_for
from scenes import consumer, provider


@contextlib.contextmanager
def drained(net, node):
    done = json.loads(net.nodes[0].culvert("node", "drain", node.name, "--output", "json").stdout)
    assert done["draining"] and done["settled"]
    try:
        yield
    finally:
        net.nodes[0].culvert("node", "undrain", node.name)


@pytest.fixture(scope="module")
def pair():
    """Two nodes that carry nothing else: a drain waits for every connection of its node."""
    with contextlib.closing(culvert_harness.Topology(nodes=2)) as topology:
        yield topology


def shown(net, node):
    return net.rest.get(f"/culvert/nodes/{node.name}", None)


def names(workload, address, count=30):
    return {workload.ask(address, 80)[0] for _ in range(count)}


def test_a_drained_node_gets_no_new_connections_and_keeps_those_it_has(pair):
    net = pair
    made = provider(net, net.nodes, names=["b1", "b2"])
    clients = []
    for node in net.nodes:  # one beside each backend: the local table and the remote one
        client = consumer(net, node)
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        clients.append((client.workload, address))
    workload, address = clients[0]
    talks = []
    with contextlib.ExitStack() as held:
        while "b2" not in {talk.name for talk in talks}:
            sock = held.enter_context(workload.connect(address, 80))
            talks.append(Conversation(sock))
        kept = next(talk for talk in talks if talk.name == "b2")
        with drained(net, net.nodes[1]):
            for client in clients:
                assert names(*client) == {"b1"}
            kept.check(b"still here" * 5000)
            assert "draining" in net.nodes[0].culvert("node", "list").stdout
            # what is left is told, and --wait waits for it
            wait_for(
                lambda: shown(net, net.nodes[1]).get("remainingFlows", 0) > 0, 20, 0.1, "a count"
            )
            late = net.nodes[0].culvert(
                "node", "drain", "n2", "--wait", "--timeout", "1", check=False
            )
            assert late.returncode == 1
            assert "connections are left" in late.stderr
            for talk in talks:
                talk.file.close()
            held.close()
            done = net.nodes[0].culvert("node", "drain", "n2", "--wait", "--timeout", "60")
            assert "no connection is left" in done.stdout
        assert shown(net, net.nodes[1])["draining"] is False
        for client in clients:
            assert names(*client) == {"b1", "b2"}


def test_nothing_is_attached_to_a_drained_node(net):
    group = net.group()
    vnet = net.vnet(group)
    nic, address = net.nic(group, f"{vnet}/subnets/default")
    with drained(net, net.nodes[1]):
        with pytest.raises(RuntimeError, match="undrain n2"):
            net.attach(nic, net.nodes[1], address)
    net.attach(nic, net.nodes[1], address)


def test_a_service_whose_backends_are_all_drained_refuses(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    client.workload.ask(address, 80)
    with drained(net, net.nodes[1]):
        with pytest.raises(ConnectionRefusedError):
            client.workload.connect(address, 80)
    client.workload.ask(address, 80)


def test_draining_is_an_operators_act(net):
    refused = net.nodes[0].culvert("node", "drain", "n9", check=False)
    assert refused.returncode == 3
    assert "no node 'n9'" in refused.stderr
