# SPDX-License-Identifier: Apache-2.0
"""An agent or culvertd dies while a NIC moves: the move is completed or called off, connections go
on where it says that the NIC is, and nothing is left behind.

What has to happen between two steps that are milliseconds apart is made to wait by a node that the
test itself speaks for (liar.py)."""
import signal
import subprocess

import pytest
from culvert_harness import BIN, NETWORK, Topology, ns_command, wait_for
from liar import Liar
from moves import Talks, become, both_ways, entries, settled
from scenes import connects, consumer, index_of, provider

pytestmark = pytest.mark.filterwarnings("error")
LIAR_OUTER = "192.0.2.66"


@pytest.fixture(scope="module")
def three():
    topology = Topology(nodes=3)
    yield topology
    topology.close()


@pytest.fixture(scope="module")
def liar(three):
    """A node without a data plane, whose part in moves the test plays."""
    process = Liar(three, three.join("liar", LIAR_OUTER, three.folder / "liar"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def scene(three):
    """One workload with connections, moved from test to test: they outlive all of it."""
    talks = Talks()
    moving, index = both_ways(three, three.nodes[0], talks)
    yield moving, index, talks
    talks.close()


def places(net, workload):
    """The node where it is now, and the others."""
    at = net.attachment(workload)["node"]
    return sorted(net.nodes, key=lambda node: node.name != at)


def restart_control(net):
    net.culvertd.stop(signal.SIGKILL)
    net.rest.close()
    net.start_control()


def kill(node):
    node.agent.stop(signal.SIGKILL)


def migrating(net, workload, node):
    """The command, running."""
    return subprocess.Popen(
        ns_command(
            node.namespace, BIN / "culvert", "migrate", "--nic", workload.nic,
            "--netns", workload.namespace, "--data-dir", node.data,
        ),
        env=net.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def records(node):
    folder = node.data / "moves"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def spoken_for(liar):
    stream = liar.open(obey=True)
    liar.say(stream, hello={"node": "liar"})
    liar.deltas(stream)
    return stream


def until(liar, stream, stage):
    """Waits until the liar is told of a move in this stage."""

    def told():
        moves = [
            each["move"] for delta in liar.deltas(stream) for each in delta.get("upsert", [])
            if "move" in each
        ]
        return moves and moves[-1]["stage"] == stage

    wait_for(told, 20, 0.05, stage)


def take_copies(liar, stream, report):
    """Plays the target until the source may let go."""
    liar.say(stream, report={**report, "what": "READY"})
    count = 1
    while not liar.heard(stream, "flows", count)[-1].get("last"):
        liar.say(stream, report={**report, "what": "TAKEN"})
        count += 1
    liar.say(stream, report={**report, "what": "COPIED"})
    until(liar, stream, "MOVE_MOVING")


def interfaces(workload):
    shown = workload.run("ip", "-o", "link").stdout
    return sorted(line.split(": ")[1].partition("@")[0] for line in shown.splitlines())


@pytest.mark.parametrize("dies", ["source", "source until it is called off", "culvertd"])
def test_the_target_never_takes_over_and_something_dies(three, liar, scene, dies):
    """The source has let go: what it has turned is turned back, by whatever life of its agent."""
    net = three
    moving, index, talks = scene
    source, target, _ = places(net, moving)
    before = entries(net, index)
    stream = spoken_for(liar)
    begun = net.rest.call("POST", f"{moving.nic}/migrate", {"node": "liar"}, NETWORK)
    take_copies(liar, stream, {"nic": index, "attachment": begun["move"]})
    wait_for(lambda: records(source) == [str(index)], 5, 0.01, "record of what was turned")
    if dies == "culvertd":
        restart_control(net)
    else:
        kill(source)
        if dies == "source":
            source.start()
        settled(net, moving)
        if dies != "source":
            source.start()
    for node in net.nodes:
        node.wait_ready()
    settled(net, moving)
    assert net.attachment(moving)["node"] == source.name
    become(net, index, before)
    talks.go_on()
    assert interfaces(moving) == ["eth0", "lo"]
    wait_for(lambda: records(source) == [], 5, 0.01, "end of the record")
    # and it moves when it may
    moved = net.migrate(moving, target)
    assert moved["connections"] == len(talks.open) and moved["refusedConnections"] == 0
    settled(net, moving)


@pytest.mark.parametrize("dies", ["source", "target", "culvertd"])
def test_something_dies_while_a_move_is_prepared(three, scene, dies):
    """The move goes on where it was."""
    net = three
    moving, index, talks = scene
    source, target, _ = places(net, moving)
    waiting = sorted(["eth0", "lo", f"cvnew{index:x}"])
    source.agent.send(signal.SIGSTOP)
    command = migrating(net, moving, target)
    wait_for(lambda: interfaces(moving) == waiting, 20, 0.02, "interface that waits")
    if dies == "culvertd":
        restart_control(net)
    elif dies == "source":
        kill(source)
        source.start()
    else:
        kill(target)
        command.communicate(timeout=60)
        assert command.returncode == 1
        target.start().wait_ready()
        command = migrating(net, moving, target)  # run again it goes on, or begins anew
        wait_for(lambda: interfaces(moving) == waiting, 20, 0.02, "interface that waits")
    source.agent.send(signal.SIGCONT)
    for node in net.nodes:
        node.wait_ready()
    said = command.communicate(timeout=60)
    assert command.returncode == 0, said
    wait_for(lambda: net.attachment(moving)["node"] == target.name, 40, 0.1, "the move")
    talks.go_on()
    settled(net, moving)
    wait_for(lambda: interfaces(moving) == ["eth0", "lo"], 10, 0.1, "the former interface's end")
    talks.go_on()
    assert records(source) == []


@pytest.mark.parametrize("dies", ["source", "target"])
def test_an_agent_dies_when_the_nic_has_moved(three, scene, dies):
    net = three
    moving, index, talks = scene
    source, target, _ = places(net, moving)
    assert net.migrate(moving, target)["connections"] == len(talks.open)
    victim = target if dies == "target" else source
    kill(victim)
    talks.go_on()
    settled(net, moving)  # a source that comes late finds the move over
    victim.start().wait_ready()
    talks.go_on()
    assert net.attachment(moving)["node"] == target.name
    wait_for(lambda: interfaces(moving) == ["eth0", "lo"], 10, 0.1, "the former interface's end")
    wait_for(lambda: records(source) + records(target) == [], 10, 0.1, "end of the records")


def test_the_target_dies_when_the_source_has_let_go(three, liar):
    """It asks for the flows again, and takes over."""
    net = three
    target = net.nodes[1]
    made = provider(net, [target])
    group, subnet = made.group, made.subnet()
    nic, address = net.nic(group, subnet, None, None)
    stream = spoken_for(liar)
    net.rest.call("POST", f"{nic}/attach", {"node": "liar"}, NETWORK)
    neighbour = net.workload(group, subnet, net.nodes[0])
    moving = net.unplugged(nic, target, address)
    command = migrating(net, moving, target)
    (order,) = liar.heard(stream, "order")
    flows = {"nic": order["nic"], "attachment": order["attachment"], "restart": True, "last": True}
    liar.say(stream, flows=flows)
    until(liar, stream, "MOVE_MOVING")
    kill(target)
    command.communicate(timeout=60)
    target.start()
    orders = liar.heard(stream, "order", 2)
    assert orders[-1]["restart"], "from the beginning"
    liar.say(stream, flows={**flows, "final": True})
    target.wait_ready()
    settled(net, moving)
    if net.attachment(moving)["node"] == "liar":  # it was away for longer than a move may take
        wait_for(lambda: interfaces(moving) == ["lo"], 10, 0.1, "end of the interface")
        return
    assert interfaces(moving) == ["eth0", "lo"]
    moving.serve(7000, "moved")
    assert neighbour.ask(address, 7000, b"new")[0] == "moved"
    assert index_of(target, moving)
