# SPDX-License-Identifier: Apache-2.0
"""A NIC moves to another node and its connections go with it: as backend and as consumer, with the
other end here, there and elsewhere; and moves that are called off leave everything as it was."""
import signal
import threading

import pytest
from culvert_harness import NETWORK, Topology, wait_for
from moves import PAYLOAD, Talks, become, both_ways, entries, settled
from scenes import connects, consumer, index_of, nat_addresses, provider

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def three():
    topology = Topology(nodes=3)
    yield topology
    topology.close()


@pytest.fixture
def talks():
    made = Talks()
    yield made
    made.close()


@pytest.mark.parametrize("mover", ["backend", "consumer"])
def test_connections_go_with_a_nic_wherever_their_other_end_is(three, mover, talks):
    """Every placement of both ends, there and back: n1 -> n2 -> n3 -> n1."""
    net = three
    home, *others = net.nodes
    if mover == "backend":
        made = provider(net, [home])
        moving = made.workloads[0]
        clients = [consumer(net, node) for node in net.nodes]
        for client in clients:
            _, address = net.endpoint(client.group, client.subnet(), made.service)
            talks.begin(client.workload, address, 3)
    else:
        client = consumer(net, home)
        moving = client.workload
        for node in net.nodes:
            made = provider(net, [node])
            _, address = net.endpoint(client.group, client.subnet(), made.service)
            talks.begin(moving, address, 3)
    seen = [talk.seen for talk in talks.open]
    for node in [*others, home]:
        moved = net.migrate(moving, node)
        assert moved["connections"] >= len(talks.open)
        assert moved["refusedConnections"] == 0
        talks.go_on()
        settled(net, moving)
        talks.go_on()
    # new connections, too, and still by NAT addresses
    assert [talk.seen for talk in talks.open] == seen
    for node in net.nodes:
        assert node.drops().get("MOVED_TWICE", 0) == 0


def test_a_nic_that_uses_its_own_service_moves(three, talks):
    net = three
    made = provider(net, [net.nodes[0]])
    moving = made.workloads[0]
    _, address = net.endpoint(made.group, made.subnet(), made.service)
    talks.begin(moving, address, 3)
    for node in (net.nodes[1], net.nodes[0]):
        net.migrate(moving, node)
        talks.go_on()
        assert moving.ask(address, 80, PAYLOAD)[1][0] in nat_addresses(net, made)
        settled(net, moving)


def test_a_busy_nic_moves_to_and_fro_without_a_broken_connection(three, talks):
    net = three
    made = provider(net, [net.nodes[0]])
    moving = made.workloads[0]
    clients = [consumer(net, node) for node in net.nodes]
    addresses = [net.endpoint(c.group, c.subnet(), made.service)[1] for c in clients]
    for c, address in zip(clients, addresses):
        talks.begin(c.workload, address, 30)
    stop, wrong, rounds = threading.Event(), [], []

    def busy(workload, address):
        try:
            (talk,) = talks.begin(workload, address, 1)
            count = 0
            while not stop.is_set():
                talk.check(PAYLOAD)
                count += 1
            rounds.append(count)
        except OSError as error:
            wrong.append(str(error))

    threads = [
        threading.Thread(target=busy, args=(c.workload, address))
        for c, address in zip(clients, addresses)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        for node in (net.nodes[1], net.nodes[2], net.nodes[0]):
            net.migrate(moving, node)
            settled(net, moving)
            # those that come now find it, too
            for c, address in zip(clients, addresses):
                assert c.workload.ask(address, 80, b"new")[0] == "backend0"
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not wrong
    assert len(rounds) == len(threads) and all(rounds)
    talks.go_on()


def test_inside_a_network_a_workload_that_moved_is_reached(three, talks):
    net = three
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    first, second = (net.workload(group, subnet, node) for node in net.nodes[:2])
    second.serve(7000, "second")
    talks.begin(first, second.address, 2, 7000)
    for node in (net.nodes[2], net.nodes[0], net.nodes[1]):
        net.migrate(second, node)
        talks.go_on()
        settled(net, second)
        again = net.migrate(second, node)
        assert again["from"] == again["to"] == node.name, "it is there already"


def test_flow_entries_do_not_stay_behind(three, talks):
    net = three
    made = provider(net, [net.nodes[0]])
    client = consumer(net, net.nodes[2])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    talks.begin(client.workload, address, 20)
    index = index_of(net.nodes[0], made.workloads[0])
    assert len(entries(net, index)["n1"]) >= 40
    net.migrate(made.workloads[0], net.nodes[1])
    settled(net, made.workloads[0])
    wait_for(lambda: not entries(net, index)["n1"], 10, 0.1, "removal")
    talks.go_on()


def test_a_revoked_link_does_not_come_along(three, talks):
    net = three
    made = provider(net, [net.nodes[0]])
    client = consumer(net, net.nodes[2])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    (talk,) = talks.begin(client.workload, address, 1)
    net.decide(made.service, endpoint, "Rejected")
    # it ends where it is: nothing is left that the other node could refuse
    index = index_of(net.nodes[0], made.workloads[0])
    wait_for(lambda: not entries(net, index)["n1"], 10, 0.1, "end of the revoked connection")
    moved = net.migrate(made.workloads[0], net.nodes[1])
    assert moved["connections"] == 0 and moved["refusedConnections"] == 0
    with pytest.raises(OSError):
        talk.check(PAYLOAD)
    settled(net, made.workloads[0])


# -- what cannot be, and moves that are called off -----------------------------------------------


def test_moves_that_cannot_be_are_refused_with_a_reason(three):
    net = three
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    loose, _ = net.nic(group, subnet, None, None)
    workload = net.workload(group, subnet, net.nodes[0])
    ask = lambda nic, body: net.rest.call("POST", f"{nic}/migrate", body, NETWORK)  # noqa: E731
    for nic, body, status, code in (
        (loose, {"node": "n2"}, 409, "NetworkInterfaceNotAttached"),
        (workload.nic, {"node": "n1"}, 409, "NetworkInterfaceAlreadyThere"),
        (workload.nic, {"node": "n9"}, 404, "NodeNotFound"),
        (workload.nic, {}, 400, "InvalidParameter"),
        (workload.nic, {"node": "n2", "callOff": "yes"}, 400, "InvalidParameter"),
    ):
        answer = ask(nic, body)
        assert (answer.status, answer.code) == (status, code)
    elsewhere = net.nodes[0].culvert(
        "migrate", "--nic", workload.nic, "--to", "n2", "--netns", workload.namespace, check=False
    )
    assert elsewhere.returncode == 1 and "run the command on node n2" in elsewhere.stderr
    # under way to one node it does not go to another
    assert ask(workload.nic, {"node": "n2"})["stage"] == "preparing"
    assert ask(workload.nic, {"node": "n2"})["stage"] == "preparing", "idempotent"
    assert ask(workload.nic, {"node": "n3"}).code == "NetworkInterfaceMoving"
    assert ask(workload.nic, {"node": "n2", "callOff": True})["calledOff"] is True
    assert ask(workload.nic, {"node": "n2", "callOff": True})["calledOff"] is False


def test_an_interface_of_somebody_else_does_not_step_aside(three):
    net = three
    made = provider(net, [net.nodes[0]])
    moving = made.workloads[0]
    other = consumer(net, net.nodes[0]).workload
    refused = net.nodes[1].culvert(
        "migrate", "--nic", moving.nic, "--netns", other.namespace, check=False
    )
    assert refused.returncode == 1 and "is not this network interface's" in refused.stderr
    assert "move" not in net.attachment(moving), "called off"
    client = consumer(net, net.nodes[2])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    assert client.workload.ask(address, 80, PAYLOAD)[0] == "backend0"


@pytest.mark.parametrize("dies", ["target", "source"])
def test_a_move_whose_agent_dies_is_called_off_and_nothing_breaks(three, dies, talks):
    """The agent of one side is stopped before the move: it cannot get ready in time."""
    net = three
    made = provider(net, [net.nodes[0]])
    moving = made.workloads[0]
    client = consumer(net, net.nodes[2])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    talks.begin(client.workload, address, 3)
    source, target = net.nodes[0], net.nodes[1]
    victim = target if dies == "target" else source
    victim.agent.send(signal.SIGSTOP)
    try:
        begun = net.rest.call("POST", f"{moving.nic}/migrate", {"node": target.name}, NETWORK)
        assert begun["stage"] == "preparing"
        talks.go_on()
        off = net.rest.call(
            "POST", f"{moving.nic}/migrate", {"node": target.name, "callOff": True}, NETWORK
        )
        assert off["calledOff"] is True
    finally:
        victim.agent.send(signal.SIGCONT)
    victim.wait_ready()
    talks.go_on()
    assert connects(client.workload, address)
    moved = net.migrate(moving, target)
    assert moved["connections"] >= len(talks.open)
    talks.go_on()
    settled(net, moving)


def test_a_move_that_fails_half_way_is_called_off_and_the_source_carries_on(three, talks):
    """The source has let go and the target has the flows; then the interface cannot take the other
    one's place."""
    net = three
    moving, index = both_ways(net, net.nodes[0], talks)
    before = entries(net, index)
    in_the_way = f"cvold{index:x}"
    moving.run("ip", "link", "add", in_the_way, "type", "veth", "peer", "name", "other")
    failed = net.nodes[1].culvert(
        "migrate", "--nic", moving.nic, "--netns", moving.namespace, check=False
    )
    assert failed.returncode == 1 and "called off" in failed.stderr
    settled(net, moving)
    become(net, index, before)
    talks.go_on()
    moving.run("ip", "link", "del", in_the_way)
    net.migrate(moving, net.nodes[1])
    talks.go_on()
    settled(net, moving)
