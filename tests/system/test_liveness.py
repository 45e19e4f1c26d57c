# SPDX-License-Identifier: Apache-2.0
"""Nodes tell by echoes whom they reach: a node, path or backbone fault sends new connections
elsewhere, a stopped agent or lossy network does not."""
import contextlib
import os
import signal
import socket
import time

import culvert_harness
import pytest
from backbone import filtered
from culvert_harness import Conversation, run, wait_for
from scenes import consumer, moved, provider

LIMIT_S = 60  # generous: what is waited for takes a third of a second to a few seconds


@pytest.fixture(scope="module")
def four():
    topology = culvert_harness.Topology(nodes=4)
    yield topology
    topology.close()


@pytest.fixture(scope="module")
def shop(four):
    """Backends on nodes 1, 2 and 3; a consumer each on nodes 1 and 4; an endpoint each."""
    made = provider(four, four.nodes[:3], names=["b1", "b2", "b3"])
    clients = {}
    for number in (1, 4):
        client = consumer(four, four.nodes[number - 1])
        _, address = four.endpoint(client.group, client.subnet(), made.service)
        clients[number] = (client.workload, address)
    for node in four.nodes:
        wait_for(lambda node=node: all_alive(node, 3), LIMIT_S, 0.1, f"peers of {node.name}")
    return made, clients


def reach(node):
    return node.status()["reach"]


def peers(node):
    return {peer["name"]: peer for peer in reach(node)["peers"]}


def all_alive(node, count):
    known = peers(node)
    return len(known) == count and all(peer["state"] == "alive" for peer in known.values())


def said(node, words):
    return words in node.agent.log.read_text(errors="replace")


def wait_lost(node, name, fault):
    def lost():
        peer = peers(node)[name]
        return peer["state"] == "lost" and peer["fault"] == fault

    wait_for(lost, LIMIT_S, 0.05, f"{name} lost by a {fault} fault at {node.name}")


def wait_alive(node, name):
    wait_for(
        lambda: peers(node)[name]["state"] == "alive" and not reach(node)["isolated"],
        LIMIT_S,
        0.05,
        f"{name} alive at {node.name}",
    )


def answerers(client, count=40):
    """The names of who answered `count` new connections; each must be answered."""
    workload, address = client
    return {workload.ask(address, 80, timeout=5.0)[0] for _ in range(count)}


@contextlib.contextmanager
def unplugged(four, number):
    """The node's backbone cable is out, at the switch."""
    run("ip", "-n", four.backbone, "link", "set", f"p{number}", "down")
    try:
        yield
    finally:
        run("ip", "-n", four.backbone, "link", "set", f"p{number}", "up")


@contextlib.contextmanager
def without_control(four, number):
    run("ip", "-n", four.control, "link", "set", f"m{number}", "down")
    try:
        yield
    finally:
        run("ip", "-n", four.control, "link", "set", f"m{number}", "up")


def restarted(node):
    """The node's agent is killed and started; what it shows as soon as it knows its peers."""
    node.agent.stop(signal.SIGKILL)
    node.start()

    def first():
        status = node.status(check=False)
        return status["reach"] if status and status["reach"]["peers"] else None

    return wait_for(first, LIMIT_S, 0.02, f"agent {node.name}")


def path_cut(four, one, other):
    between = [(one, other), (other, one)]
    return filtered(four, [(a, f"ip saddr 192.0.2.{a} ip daddr 192.0.2.{b}") for a, b in between])


def test_peers_are_shown_with_their_round_trip(four, shop):
    del shop
    shown = peers(four.nodes[3])
    assert set(shown) == {"n1", "n2", "n3"}
    for peer in shown.values():
        assert 0 < peer["rttMicroseconds"] < 1_000_000
        assert peer["outer"].startswith("192.0.2.")
    table = four.nodes[3].culvert("status").stdout
    assert "3 of 3 answer, lost after 3 x 100 ms" in table


def test_no_connection_goes_to_a_dead_node(four, shop):
    _, clients = shop
    assert answerers(clients[4]) == {"b1", "b2", "b3"}
    with unplugged(four, 3):
        wait_lost(four.nodes[3], "n3", "node")
        wait_lost(four.nodes[0], "n3", "node")
        assert answerers(clients[4]) == {"b1", "b2"}
        assert answerers(clients[1]) == {"b1", "b2"}
        assert "LOST" in four.nodes[3].culvert("status").stdout
    wait_alive(four.nodes[3], "n3")
    assert answerers(clients[4]) == {"b1", "b2", "b3"}


def test_a_cut_path_is_told_from_a_dead_node(four, shop):
    _, clients = shop
    with path_cut(four, 4, 2):
        wait_lost(four.nodes[3], "n2", "path")
        assert answerers(clients[4]) == {"b1", "b3"}
        # the others reach it as before
        assert peers(four.nodes[0])["n2"]["state"] != "lost"
        assert "b2" in answerers(clients[1])
    wait_alive(four.nodes[3], "n2")
    wait_alive(four.nodes[1], "n4")


def test_a_node_without_its_backbone_keeps_to_itself(four, shop):
    _, clients = shop
    losses = {name: peer["timesLost"] for name, peer in peers(four.nodes[0]).items()}
    with unplugged(four, 1):
        wait_for(lambda: reach(four.nodes[0])["isolated"], LIMIT_S, 0.05, "isolation")
        assert answerers(clients[1], 20) == {"b1"}
        assert "ISOLATED" in four.nodes[0].culvert("status").stdout
        # nobody was lost by that: the tables are whole at once when it is over
        assert {n: p["timesLost"] for n, p in peers(four.nodes[0]).items()} == losses
        wait_lost(four.nodes[3], "n1", "node")
        assert answerers(clients[4]) == {"b2", "b3"}
    for name in ("n2", "n3", "n4"):
        wait_alive(four.nodes[0], name)
    wait_alive(four.nodes[3], "n1")
    assert answerers(clients[1]) == {"b1", "b2", "b3"}


def test_without_any_backend_left_connections_are_refused(four, shop):
    del shop
    made = provider(four, [four.nodes[2]])
    client = consumer(four, four.nodes[3])
    _, address = four.endpoint(client.group, client.subnet(), made.service)
    client.workload.ask(address, 80)
    with unplugged(four, 3):
        wait_lost(four.nodes[3], "n3", "node")
        before = four.nodes[3].drops()
        with pytest.raises(ConnectionRefusedError):
            client.workload.connect(address, 80)
        assert moved(before, four.nodes[3].drops(), ["NO_BACKEND"]) >= 1
    wait_alive(four.nodes[3], "n3")
    client.workload.ask(address, 80)


def test_an_established_connection_outlives_a_short_fault(four, shop):
    made, clients = shop
    workload, address = clients[4]
    del made
    sock, talk = None, None
    while talk is None or talk.name != "b2":
        sock = workload.connect(address, 80)
        talk = Conversation(sock)
    with sock:
        with path_cut(four, 4, 2):
            wait_lost(four.nodes[3], "n2", "path")
        sock.settimeout(60)
        talk.check(b"still here" * 1000)
    wait_alive(four.nodes[3], "n2")


def test_a_connection_that_was_opening_chooses_anew(four, shop):
    """The first SYN went to the dead node; the one that TCP repeats a second later must not."""
    _, clients = shop
    workload, address = clients[4]
    with unplugged(four, 3):
        waiting = []
        for _ in range(12):
            sock = workload.socket()
            sock.setblocking(False)
            sock.connect_ex((address, 80))
            waiting.append(sock)
        for sock in waiting:
            with sock:
                sock.settimeout(LIMIT_S)
                assert sock.recv(2) in (b"b1", b"b2")
    wait_alive(four.nodes[3], "n3")


def test_a_node_that_was_cut_off_gets_connections_only_with_the_newest_intent(four, shop):
    """Without backbone and control plane for longer than a lease; a link is made meanwhile. Its
    connections go to the node only when that knows the link: none fails."""
    made, _ = shop
    cut = four.nodes[2]
    with without_control(four, 3):
        with unplugged(four, 3):
            wait_for(lambda: said(cut, "agent: fenced:"), LIMIT_S, 0.1, "fence")
            wait_lost(four.nodes[3], "n3", "node")
            client = consumer(four, four.nodes[3])
            _, address = four.endpoint(client.group, client.subnet(), made.service)
            assert answerers((client.workload, address)) == {"b1", "b2"}
        # the backbone is back first
        for node in (four.nodes[0], four.nodes[3]):
            wait_for(
                lambda node=node: said(node, "peer fenced node=n3"),
                LIMIT_S,
                0.05,
                f"n3 fenced at {node.name}",
            )
    seen = set()

    def whole():
        seen.update(answerers((client.workload, address), 5))
        return "b3" in seen

    wait_for(whole, LIMIT_S, 0.01, "connections to b3")
    assert said(cut, "agent: no longer fenced")
    wait_alive(four.nodes[3], "n3")
    wait_alive(four.nodes[0], "n3")


def wait_fenced(node, fenced=True):
    wait_for(lambda: reach(node)["fenced"] is fenced, LIMIT_S, 0.05, f"{node.name} fenced {fenced}")


def test_a_fence_outlives_the_agent(four, shop):
    """The next life begins when the backbone is back and the control plane is not."""
    _, clients = shop
    cut = four.nodes[2]
    with without_control(four, 3):
        with unplugged(four, 3):
            wait_fenced(cut)
        assert restarted(cut)["fenced"], "it may not know the newest intent"
        wait_for(lambda: peers(four.nodes[3])["n3"]["state"] == "fenced", LIMIT_S, 0.05, "n3")
    wait_fenced(cut, False)
    wait_alive(four.nodes[3], "n3")
    assert answerers(clients[4]) == {"b1", "b2", "b3"}


def test_a_node_without_its_backbone_address_fences_itself(four, shop):
    """It cannot ask anybody: with the socket it has, nor can its next life open one."""
    _, clients = shop
    cut = four.nodes[2]
    address = ("192.0.2.3/24", "dev", "bb0")
    with without_control(four, 3):
        run("ip", "-n", cut.namespace, "addr", "del", *address)
        try:
            wait_fenced(cut)
            assert restarted(cut)["fenced"]
            wait_for(lambda: reach(cut)["error"], LIMIT_S, 0.05, "no socket")
            wait_for(lambda: reach(cut)["isolated"], LIMIT_S, 0.05, "isolation")
        finally:
            run("ip", "-n", cut.namespace, "addr", "add", *address)
    wait_fenced(cut, False)
    for name in ("n1", "n2", "n4"):
        wait_alive(cut, name)
    wait_alive(four.nodes[3], "n3")
    assert answerers(clients[4]) == {"b1", "b2", "b3"}


def test_a_restarted_agent_does_not_take_up_with_the_dead(four, shop):
    _, clients = shop
    node = four.nodes[3]
    with unplugged(four, 3):
        wait_lost(node, "n3", "node")
        known = {peer["name"]: peer for peer in restarted(node)["peers"]}
        assert known["n3"]["state"] == "lost"
        assert answerers(clients[4]) == {"b1", "b2"}
        # not by being lost anew: it was never anything else
        assert peers(node)["n3"]["timesLost"] == 0
    wait_alive(node, "n3")
    assert answerers(clients[4]) == {"b1", "b2", "b3"}


def test_a_stopped_agent_is_no_dead_node(four, shop):
    _, clients = shop
    losses = peers(four.nodes[3])["n3"]["timesLost"]
    four.nodes[2].agent.send(signal.SIGSTOP)
    try:
        time.sleep(2)  # six times what a dead node is given
        assert peers(four.nodes[3])["n3"]["timesLost"] == losses
        assert "b3" in answerers(clients[4])
    finally:
        four.nodes[2].agent.send(signal.SIGCONT)


def test_an_agent_that_was_stopped_holds_nothing_against_its_peers(four, shop):
    del shop
    agent = four.nodes[3].agent
    losses = {name: peer["timesLost"] for name, peer in peers(four.nodes[3]).items()}
    agent.send(signal.SIGSTOP)
    try:
        time.sleep(1.5)
    finally:
        agent.send(signal.SIGCONT)
    wait_for(lambda: all_alive(four.nodes[3], 3), LIMIT_S, 0.05, "peers of n4")
    assert {n: p["timesLost"] for n, p in peers(four.nodes[3]).items()} == losses


def test_loss_makes_no_node_flap(four, shop):
    """One packet of a hundred is lost at every port (minutes of it: tests/soak/liveness.py)."""
    del shop
    seconds = float(os.environ.get("CULVERT_LOSS_SECONDS", "10"))
    before = {node.name: peers(node) for node in four.nodes}
    with filtered(four, [(n, "numgen random mod 100 == 0") for n in (1, 2, 3, 4)]):
        time.sleep(seconds)
        for node in four.nodes:
            for name, peer in peers(node).items():
                assert peer["timesLost"] == before[node.name][name]["timesLost"], (node.name, name)
            assert not reach(node)["isolated"]


def test_a_host_on_the_backbone_makes_nobody_look_alive_or_dead(four, shop):
    """Echoes and answers from an address that is no node's, and answers with a guessed nonce."""
    del shop
    node = four.nodes[3]
    before = node.drops()
    index = {peer["name"]: peer["index"] for peer in reach(node)["peers"]}
    own = next(peer["index"] for peer in reach(four.nodes[0])["peers"] if peer["name"] == "n4")

    def echo(step, origin, target):
        vxlan = b"\x08\0\0\0" + b"\x80\0\0\0"
        ethernet = b"\x02\xcf\0\0\0\0" * 2 + b"\x88\xb5"
        numbers = [origin, target, 0, 0x7FFFFFFF, 0]
        wire = bytes([1, step, 0, 0]) + b"".join(n.to_bytes(4, "big") for n in numbers)
        return vxlan + ethernet + wire + b"\x2a" * 8

    with culvert_harness.inside(four.backbone):
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with stranger:
        stranger.settimeout(0.3)
        for _ in range(50):
            stranger.sendto(echo(1, index["n1"], own), (node.outer, 4789))
            stranger.sendto(echo(2, own, index["n1"]), (node.outer, 4789))
        with pytest.raises(TimeoutError):
            stranger.recv(2048)
    wait_for(
        lambda: moved(before, node.drops(), ["ECHO_SOURCE"]) == 100, LIMIT_S, 0.1, "refused echoes"
    )
    # from a node's own address, but without the nonce
    with culvert_harness.inside(four.nodes[0].namespace):
        neighbour = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with neighbour, unplugged(four, 3):
        neighbour.bind((four.nodes[0].outer, 0))
        wait_lost(node, "n3", "node")
        for _ in range(50):
            neighbour.sendto(echo(2, own, index["n1"]), (node.outer, 4789))
            neighbour.sendto(echo(2, own, index["n3"]), (node.outer, 4789))
        wait_for(
            lambda: moved(before, node.drops(), ["ECHO_FORGED", "ECHO_SOURCE"]) >= 200,
            LIMIT_S,
            0.1,
            "refused answers",
        )
        assert peers(node)["n3"]["state"] == "lost"
    wait_alive(node, "n3")


def test_liveness_can_be_turned_off_and_tuned(four):
    node = four.nodes[2]
    node.agent.stop()
    node.options = ["--liveness-interval-ms", "0"]
    try:
        node.start().wait_ready()
        assert not reach(node)["probing"]
        assert "off: every peer counts as alive" in node.culvert("status").stdout
        node.agent.stop()
        node.options = ["--liveness-interval-ms", "250", "--liveness-misses", "4"]
        node.start().wait_ready()
        assert "lost after 4 x 250 ms" in node.culvert("status").stdout
        node.agent.stop()
        refused = run(
            *culvert_harness.ns_command(
                node.namespace,
                culvert_harness.BIN / "culvert-agent",
                "run",
                "--backbone",
                "bb0",
                "--liveness-interval-ms",
                "3",
            ),
            check=False,
        )
        assert refused.returncode != 0
        assert "--liveness-interval-ms" in refused.stderr
    finally:
        node.options = []
        if not node.agent.alive():
            node.start().wait_ready()
