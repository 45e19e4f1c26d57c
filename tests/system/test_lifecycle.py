# SPDX-License-Identifier: Apache-2.0
"""Processes come and go, interfaces are attached and moved: connections stay."""
import signal
import socket
import time

import pytest
from culvert_harness import Conversation, run, wait_for
from scenes import connects, consumer, provider


@pytest.mark.both_modes
def test_connections_outlive_a_killed_and_restarted_agent_on_either_node(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        for node in net.nodes:
            node.agent.stop(signal.SIGKILL)
            talk.check(b"dead agent" * 5000)
            assert connects(client.workload, address), "new connections too need no agent"
            node.start().wait_ready()
            talk.check(b"new agent" * 5000)
    assert connects(client.workload, address)
    for node in net.nodes:
        assert all(nic["carrying"] for nic in node.status()["nics"])


def test_traffic_and_the_last_intent_outlive_the_control_plane(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        net.culvertd.stop(signal.SIGKILL)
        net.rest.close()
        talk.check(b"no control plane" * 5000)
        net.nodes[0].agent.stop()  # an agent that starts meanwhile has only its disk
        net.nodes[0].start()
        wait_for(
            lambda: (net.nodes[0].status(check=False) or {}).get("nics"),
            10,
            0.05,
            "agent without control plane",
        )
        talk.check(b"and a new agent" * 5000)
        assert connects(client.workload, address)
        net.start_control()
        for node in net.nodes:
            node.wait_ready()
        talk.check(b"all are back" * 5000)
    net.decide(made.service, endpoint, "Rejected")
    assert not connects(client.workload, address), "the control plane that came back is obeyed"


def test_a_nic_attached_on_one_node_is_refused_on_another(net):
    made = provider(net, [net.nodes[0]])
    nic = made.workloads[0].nic
    space = net.namespace(net.name("w"))
    refused = net.nodes[1].culvert("attach", "--nic", nic, "--netns", space, check=False)
    assert refused.returncode == 1
    assert net.nodes[0].name in refused.stderr, "the message says where it is attached"
    assert "eth0" not in run("ip", "-n", space, "link").stdout
    again = net.nodes[0].culvert("attach", "--nic", nic, "--netns", made.workloads[0].namespace)
    assert again.returncode == 0, "attaching what is attached is no error"


def test_a_nic_moves_to_another_node_and_the_service_follows(net):
    made = provider(net, [net.nodes[0]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    assert client.workload.ask(address, 80)[0] == "backend0"
    nic, at = made.workloads[0].nic, made.workloads[0].address
    net.detach(made.workloads[0])
    assert not connects(client.workload, address, timeout=0.3)
    moved = net.attach(nic, net.nodes[1], at)
    moved.serve(8080, "moved")
    # the other node says by itself that the backend is there
    wait_for(lambda: connects(client.workload, address), 10, 0.02, "the moved backend")
    assert client.workload.ask(address, 80, b"x" * 100_000)[0] == "moved"


def test_attach_and_detach_leave_nothing_behind(net):
    group = net.group()
    vnet = net.vnet(group)
    before = set(run("ip", "-n", net.nodes[0].namespace, "-br", "link").stdout.split())
    workload = net.workload(group, f"{vnet}/subnets/default", net.nodes[0])
    assert [nic for nic in net.nodes[0].status()["nics"] if nic["id"] == workload.nic]
    net.detach(workload)
    wait_for(
        lambda: set(run("ip", "-n", net.nodes[0].namespace, "-br", "link").stdout.split())
        == before,
        5,
        what="interfaces as before",
    )
    assert not [nic for nic in net.nodes[0].status()["nics"] if nic["id"] == workload.nic]
    answer = net.rest.delete(workload.nic)
    assert answer.status in (200, 202, 204)


def test_a_deleted_endpoint_is_gone_and_its_address_is_free_again(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(
        client.group, client.subnet(), made.service, address="10.0.0.90"
    )
    assert connects(client.workload, address)
    net.rest.delete(endpoint)
    assert net.rest.call("GET", endpoint).status == 404
    assert not connects(client.workload, address, timeout=0.5)
    again, address = net.endpoint(client.group, client.subnet(), made.service, address="10.0.0.90")
    assert connects(client.workload, address)
    assert net.connection_of(made.service, again)


def test_backends_join_and_leave_the_pool_while_connections_run(net):
    made = provider(net, [net.nodes[0]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        late = net.workload(made.group, made.subnet(), net.nodes[1], None, made.pool)
        late.serve(8080, "late")
        names = set()
        wait_for(
            lambda: names.add(client.workload.ask(address, 80)[0]) or names == {"backend0", "late"},
            10,
            what="connections to both",
        )
        made.workloads[0].servers[0].listener.close()
        net.rest.put(
            made.workloads[0].nic,
            {
                "location": "local",
                "properties": {
                    "ipConfigurations": [
                        {
                            "name": "ip1",
                            "properties": {
                                "subnet": {"id": made.subnet()},
                                "privateIPAllocationMethod": "Static",
                                "privateIPAddress": made.workloads[0].address,
                            },
                        }
                    ]
                },
            },
        )
        assert {client.workload.ask(address, 80)[0] for _ in range(20)} == {"late"}
        with pytest.raises(ConnectionError):  # soon reset, not left without an answer
            wait_for(lambda: not talk.check(b"who is no backend has no connections"), 10)


def test_status_says_how_many_backends_are_healthy(net):
    status = net.nodes[0].status()
    assert "healthy" in status["health"]
    assert status["attachMode"] == net.mode
    plain = net.nodes[0].culvert("status").stdout
    assert "healthy" in plain and "control plane" in plain


def test_an_idle_workload_answers_its_neighbours_arp_only_through_the_router(net):
    """every address of the network has the router's MAC: nothing learns another NIC's"""
    group = net.group()
    vnet = net.vnet(group)
    first, second = (net.workload(group, f"{vnet}/subnets/default", net.nodes[0]) for _ in range(2))
    second.serve(7000, "second")
    first.ask(second.address, 7000)
    neighbours = first.run("ip", "neigh", "show", second.address).stdout
    assert "02:cf:00:00:00:00" in neighbours


def test_the_workload_mtu_leaves_room_for_the_outer_headers(net):
    workload = consumer(net, net.nodes[0]).workload
    assert "mtu 1450" in workload.run("ip", "link", "show", "eth0").stdout


def test_a_thousand_connections_come_and_go(net):
    made = provider(net, net.nodes)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    start = time.monotonic()
    for _ in range(10):
        held = []
        for _ in range(100):
            sock = client.workload.socket()
            sock.setblocking(False)
            sock.connect_ex((address, 80))
            held.append(sock)
        for sock in held:
            sock.settimeout(5)
            assert sock.recv(64, socket.MSG_PEEK).startswith(b"backend")
            sock.close()
    print(f"1000 connections in {time.monotonic() - start:.2f} s")
