# SPDX-License-Identifier: Apache-2.0
"""NAT addresses of a service come and go while it is used: an added one serves at once, a removed
one keeps its connections, and nobody else gets it before they have ended."""
import contextlib
import copy

import culvert_harness
import pytest
from culvert_harness import NETWORK, Conversation, wait_for
from scenes import consumer, nat_addresses, provider, set_nat, with_nat

FIRST, SECOND = "10.0.0.77", "10.0.0.78"
placements = pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])


def seen(workload, address, count=24):
    """The NAT addresses that new connections get."""
    return {workload.ask(address, 80)[1][0] for _ in range(count)}


def nic_with(net, made, address):
    """What the control plane says to a NIC that wants the address: its id, or the error's code."""
    path = f"{made.group}/providers/Microsoft.Network/networkInterfaces/{net.name('nic')}"
    config = {
        "subnet": {"id": made.subnet()},
        "privateIPAddress": address,
        "privateIPAllocationMethod": "Static",
    }
    body = {
        "location": "local",
        "properties": {"ipConfigurations": [{"name": "ip1", "properties": config}]},
    }
    answer = net.rest.call("PUT", path, body, NETWORK)
    return path if answer.status in (200, 201) else answer["error"]["code"]


def gets_it(net, made, address):
    return nic_with(net, made, address) != "PrivateIPAddressInUse"


@contextlib.contextmanager
def scene(net, across=False):
    made = provider(net, [net.nodes[1 if across else 0]], nat=[FIRST])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        assert talk.seen[0] == FIRST
        yield made, client.workload, address, talk


@placements
def test_a_removed_address_keeps_its_connections_and_nobody_gets_it_before(net, across):
    with scene(net, across) as (made, workload, address, talk):
        set_nat(net, made, [FIRST, SECOND])
        assert seen(workload, address) == {FIRST, SECOND}
        talk.check(b"while there are two")
        set_nat(net, made, [SECOND])
        assert seen(workload, address) == {SECOND}
        talk.check(b"still here" * 1000)
        assert nic_with(net, made, FIRST) == "PrivateIPAddressInUse"
        # nor does the service itself: other connections would be told from these by nothing
        refused = net.rest.call("PUT", made.service, with_nat(net, made, [SECOND, FIRST]), NETWORK)
        assert refused.status == 400
        assert refused["error"]["code"] == "PrivateIPAddressInUse"
        talk.check(b"and here")
        talk.file.close()
    wait_for(lambda: gets_it(net, made, FIRST), 30, 0.2, "the removed address to be free")


def test_an_address_without_connections_is_free_with_the_answer(net):
    made = provider(net, net.nodes[:1], nat=[FIRST, SECOND])
    with scene(net) as (*_, talk):  # another tenant's connection, with the same NAT address
        set_nat(net, made, [SECOND])
        assert gets_it(net, made, FIRST)
        talk.check(b"still here")


def test_the_last_address_stays(net):
    made = provider(net, net.nodes[:1], nat=[FIRST])
    answer = net.rest.call("PUT", made.service, with_nat(net, made, []), NETWORK)
    assert answer.status == 400
    assert "properties.ipConfigurations" in answer["error"]["message"]
    assert "a private link service has 1 to 8" in answer["error"]["message"]
    assert nat_addresses(net, made) == {FIRST}


def test_a_rejected_link_holds_no_address(net):
    made = provider(net, net.nodes[:1], nat=[FIRST, SECOND])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    with contextlib.ExitStack() as held:
        for _ in range(8):
            Conversation(held.enter_context(client.workload.connect(address, 80)))
        net.decide(made.service, endpoint, "Rejected")
        set_nat(net, made, [SECOND])
        assert gets_it(net, made, FIRST), "its connections carry nothing more"


def test_a_service_that_rotates_its_addresses_ends_its_oldest_connections(net):
    """Eight of a service drain at once; another tenant's connection has the same address."""
    made = provider(net, net.nodes[:1], nat=["10.0.0.60"])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with scene(net) as (*_, others), contextlib.ExitStack() as held:
        talks = []
        for number in range(10):
            set_nat(net, made, [f"10.0.0.{60 + number}"])
            talks.append(Conversation(held.enter_context(client.workload.connect(address, 80))))
        for talk in talks[1:]:
            talk.check(b"still here")
        with pytest.raises(OSError):
            talks[0].check(b"is anybody there")
        assert gets_it(net, made, "10.0.0.60")
        assert nic_with(net, made, "10.0.0.61") == "PrivateIPAddressInUse"
        others.check(b"not concerned")


@pytest.fixture(name="brief", scope="module")
def _brief():
    """Connections go on for three seconds."""
    flags = ("--nat-drain-s", "3")
    with contextlib.closing(culvert_harness.Topology(nodes=2, agent_flags=flags)) as topology:
        yield topology


@placements
def test_connections_of_a_removed_address_end_when_its_time_is_over(brief, across):
    net = brief
    with scene(net, across) as (made, workload, address, talk):
        set_nat(net, made, [FIRST, SECOND])
        set_nat(net, made, [SECOND])
        wait_for(lambda: gets_it(net, made, FIRST), 30, 0.2, "the removed address to be free")
        assert seen(workload, address) == {SECOND}
        server = made.workloads[0].servers[0]
        wait_for(lambda: not server.open, 30, 0.1, "a reset of the backend's end")
        talk.sock.settimeout(30)
        if not across:
            with pytest.raises(ConnectionResetError):
                talk.sock.recv(1)
            return
        # the consumer's node knows nothing of it
        before = net.nodes[1].drops()["NO_FLOW"]
        talk.sock.sendall(b"is anybody there")
        wait_for(
            lambda: net.nodes[1].drops()["NO_FLOW"] > before, 30, 0.1, "a segment of no connection"
        )


@pytest.mark.parametrize("lost", [False, True], ids=["", "without-its-list"])
def test_restarts_forget_no_address_that_is_in_use(net, lost):
    with scene(net) as (made, workload, address, talk):
        set_nat(net, made, [FIRST, SECOND])
        set_nat(net, made, [SECOND])
        node = net.nodes[0]
        node.agent.popen.kill()
        node.agent.popen.wait()
        net.culvertd.popen.kill()
        net.culvertd.popen.wait()
        if lost:
            (node.data / "nat.json").unlink()
        net.start_control()
        node.start().wait_ready()
        assert nic_with(net, made, FIRST) == "PrivateIPAddressInUse"
        talk.check(b"still here" * 1000)
        assert seen(workload, address) == {SECOND}
        talk.file.close()
    wait_for(lambda: gets_it(net, made, FIRST), 30, 0.2, "the removed address to be free")
