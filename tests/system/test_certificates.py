# SPDX-License-Identifier: Apache-2.0
"""Certificates come and go while streams and traffic stay: lives of seconds by the real clock."""
import re
import socket
import ssl
import time

import pytest
from culvert_harness import Conversation, Topology, inside, wait_for
from scenes import connects, consumer, provider

NODE_LIFE = 20  # seconds; renewed after about 13
SERVER_LIFE = 30


@pytest.fixture(name="brief", scope="module")
def brief_topology():
    """A topology whose certificates live for seconds."""
    topology = Topology(
        nodes=2,
        control_flags=(
            "--node-certificate-life",
            f"{NODE_LIFE}s",
            "--server-certificate-life",
            f"{SERVER_LIFE}s",
        ),
    )
    yield topology
    topology.close()


def credentials(node):
    return (node.data / "node.pem").read_text()


def served(net):
    """The certificate that the API shows."""
    context = ssl.create_default_context(cafile=str(net.ca))
    with inside(net.control):
        with socket.create_connection((net.control_address, 8443), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname=net.control_address) as tls:
                return tls.getpeercert()["serialNumber"]


def test_every_certificate_is_renewed_and_nothing_notices(brief):
    net = brief
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    other, other_address = net.endpoint(client.group, client.subnet(), made.service)
    nodes = {node.name: credentials(node) for node in net.nodes}
    api = served(net)

    def all_renewed():
        return served(net) != api and all(
            credentials(node) != nodes[node.name] for node in net.nodes
        )

    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        end = time.monotonic() + 120
        while not all_renewed():
            assert time.monotonic() < end, "not everything was renewed in two minutes"
            # an answer means that it is true in both kernels: a node whose stream had broken, or
            # whose lease had ended, would be late or left out
            net.decide(made.service, other, "Rejected")
            assert not connects(client.workload, other_address, timeout=0.3)
            net.decide(made.service, other, "Approved")
            assert connects(client.workload, other_address)
            talk.check(b"the same connection" * 1000)
        for node in net.nodes:
            node.wait_ready()
        talk.check(b"until the end" * 1000)
    log = net.culvertd.log.read_text()
    assert "its lease is over" not in log
    assert len(re.findall("renewed the certificate of node", log)) >= 2
    for node in net.nodes:
        assert (node.data / "node.pem").stat().st_mode & 0o777 == 0o600


def test_an_agent_that_starts_again_uses_the_renewed_certificate(brief):
    node = brief.nodes[0]
    first = credentials(node)
    wait_for(lambda: credentials(node) != first, 60, 0.1, "a renewal")
    renewed = credentials(node)
    node.agent.stop()
    node.start().wait_ready()
    assert "revoked" not in node.agent.tail(), renewed[-200:]


def trusting(net):
    """The API is trusted as the control plane's ca.crt says now."""
    net.rest.close()
    net.rest.context = ssl.create_default_context(cafile=str(net.ca))


def rotate(net, *argv, check=True):
    done = net.nodes[0].culvert("ca", "rotate", *argv, check=check)
    trusting(net)
    return done


def authority(net):
    return net.rest.call("GET", "/culvert/ca", None, None)


def test_the_authority_is_rotated_and_nothing_notices(brief):
    net = brief
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    old = net.ca.read_text()
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        rotate(net)
        talk.check(b"another authority" * 1000)

    def all_trust():
        """That the old one is forgotten is the last thing that nodes are told."""
        return all(node["trusts"] and node["connected"] for node in authority(net)["nodes"])

    wait_for(all_trust, 30, 0.1, "the old authority to be forgotten everywhere")
    state = authority(net)
    assert state["rotation"] == "none" and len(state["authorities"]) == 1
    names = {node["authority"] for node in state["nodes"]}
    assert names == {state["authorities"][0]["name"]}
    assert net.ca.read_text() != old
    for node in net.nodes:
        assert (node.data / "ca.crt").read_text() == net.ca.read_text()
    assert "its lease is over" not in net.culvertd.log.read_text()
    assert connects(client.workload, address)


def test_a_rotation_waits_for_nodes_that_are_away_and_force_cuts_them_off(brief):
    net, away = brief, brief.nodes[1]
    away.agent.stop()
    wait_for(
        lambda: not all(node["connected"] for node in authority(net)["nodes"]), 20, 0.1, "a gap"
    )
    # the first step needs nobody, the second one the node
    late = rotate(net, "--wait", "1", check=False)
    assert late.returncode == 1 and away.name in late.stderr and "--force" in late.stderr
    assert authority(net)["rotation"] == "trusting"
    refused = net.rest.call("POST", "/culvert/ca", {"action": "rotate"}, None)
    assert refused.status == 409 and refused.code == "NodesWouldBeCutOff"
    away.start().wait_ready()
    rotate(net)  # goes on where it was
    assert authority(net)["rotation"] == "none"
    away.agent.stop()
    rotate(net, "--wait", "1", "--force")
    state = {node["name"]: node for node in authority(net)["nodes"]}
    assert not state[away.name]["ready"] or not state[away.name]["connected"]
    away.start()
    wait_for(lambda: "ended: " in away.agent.tail(5), 30, 0.1, "a refusal")
    assert not authority(net)["nodes"][1]["connected"]
    # as the documents say: join again
    away.agent.stop()
    (away.data / "node.json").unlink()
    away.join()
    away.start().wait_ready()
    assert authority(net)["nodes"][1]["connected"]


def test_a_rotation_that_has_not_signed_is_aborted(brief):
    net = brief
    old = net.ca.read_text()
    began = net.rest.call("POST", "/culvert/ca", {"action": "rotate"}, None)
    assert began["rotation"] == "trusting"
    assert net.ca.read_text() != old
    shown = rotate(net, "--abort").stdout
    assert "READY" in shown
    assert net.ca.read_text() == old
    assert authority(net)["rotation"] == "none"
    bad = net.rest.call("POST", "/culvert/ca", {"action": "burn"}, None)
    assert bad.status == 400
