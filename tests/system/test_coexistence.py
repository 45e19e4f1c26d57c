# SPDX-License-Identifier: Apache-2.0
"""Others use the same interfaces and the same host: other tc programs, and the firewall rules that
container engines write."""
import json

import pytest
from culvert_harness import BIN, Conversation, Topology, ns_command, run, wait_for
from other_programs import OtherProgram, filters
from scenes import connects, consumer, provider


@pytest.fixture(name="other")
def other_program(tmp_path):
    with OtherProgram(tmp_path / "other") as program:
        yield program


def places(net, made, client):
    """(namespace, interface) of the backbone on both nodes and of both workloads' host sides."""
    found = [(node.namespace, "bb0") for node in net.nodes]
    for workload in (made.workloads[0], client.workload):
        name = next(
            nic["hostIfname"]
            for nic in workload.node.status()["nics"]
            if nic["id"].lower() == workload.nic.lower()
        )
        found.append((workload.node.namespace, name))
    return found


@pytest.mark.both_modes
def test_another_tcx_program_on_our_interfaces_sees_everything_and_stays(net, other):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        for place in places(net, made, client):
            other.attach_tcx(*place)
        talk.check(b"two programs" * 1000)
        seen = other.seen()
        assert seen > 0, "the other one is asked"
        for node in net.nodes:
            node.agent.stop()
            node.start().wait_ready()
        before = other.seen()
        talk.check(b"and after a restart" * 1000)
        assert other.seen() > before, "the other one is still there"
    assert connects(client.workload, address)


@pytest.mark.both_modes
def test_a_filter_of_clsact_on_our_interfaces_stays_and_so_do_we(net, other):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    found = places(net, made, client)
    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        for place in found:
            other.attach_filter(*place)
        talk.check(b"two filters" * 1000)
        for node in net.nodes:
            node.agent.stop()
            node.start().wait_ready()
        talk.check(b"and after a restart" * 1000)
    assert connects(client.workload, address)
    try:
        for place in found:
            shown = filters(*place)
            assert "pref 100" in shown, "theirs"
            assert ("pref 1 " in shown) == (net.mode == "clsact"), "and ours"
    finally:
        for namespace, ifname in found:
            run(
                *ns_command(
                    namespace, "tc", "filter", "del", "dev", ifname, "ingress", "prio", "100"
                )
            )


def test_programs_that_were_there_first_are_there_when_we_have_gone(other):
    """Attached before ours and after a purge, by both ways."""
    net = Topology(nodes=2)
    try:
        node, peer = net.nodes
        purge = (BIN / "culvert-agent", "purge", "--data-dir", node.data)
        node.agent.stop()
        run(*ns_command(node.namespace, *purge))
        other.attach_tcx(node.namespace, "bb0")
        other.attach_filter(node.namespace, "bb0")
        node.start().wait_ready()
        made = provider(net, [peer])
        client = consumer(net, node)
        _, address = net.endpoint(client.group, client.subnet(), made.service)
        assert client.workload.ask(address, 80, b"ours works" * 100)[0] == "backend0"
        net.detach(client.workload)
        node.agent.stop()
        run(*ns_command(node.namespace, *purge))
        assert "pref 100" in filters(node.namespace, "bb0")
        before = other.seen()
        run(*ns_command(peer.namespace, "ping", "-c", "2", "-i", "0.2", "-W", "2", node.outer))
        assert other.seen() > before
    finally:
        net.close()


# What `iptables-save` shows on hosts of the two engines, each with one container and one published
# port, its bridges renamed to interfaces that a node has not; then what an operator may add.
DOCKER = """
*raw
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
PODMAN = """
*nat
:NETAVARK-1D8721804F16F - [0:0]
:NETAVARK-HOSTPORT-MASQ - [0:0]
-A POSTROUTING -j NETAVARK-HOSTPORT-MASQ
-A POSTROUTING -s 10.88.0.0/16 -j NETAVARK-1D8721804F16F
-A NETAVARK-1D8721804F16F -d 10.88.0.0/16 -j ACCEPT
-A NETAVARK-1D8721804F16F ! -d 224.0.0.0/4 -j MASQUERADE
-A NETAVARK-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
COMMIT
*filter
:NETAVARK_FORWARD - [0:0]
-A FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD
-A NETAVARK_FORWARD -d 10.88.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A NETAVARK_FORWARD -s 10.88.0.0/16 -j ACCEPT
COMMIT
"""
WORSE = """
*raw
-A PREROUTING -p udp --dport 4789 -j DROP
COMMIT
*nat
-A POSTROUTING -o bb0 -j MASQUERADE
COMMIT
*filter
-A INPUT -i bb0 -j DROP
-A OUTPUT -o bb0 -j DROP
COMMIT
"""


def save(node):
    return run(*ns_command(node.namespace, "iptables-save")).stdout


@pytest.mark.both_modes
def test_engines_rules_and_a_forward_policy_of_drop_touch_nothing_of_ours(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    same = consumer(net, net.nodes[1])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    _, near = net.endpoint(same.group, same.subnet(), made.service)
    try:
        with client.workload.connect(address, 80) as sock:
            talk = Conversation(sock)
            for rules in (DOCKER, PODMAN, WORSE):
                for node in net.nodes:
                    restore = ns_command(node.namespace, "iptables-restore", "--noflush")
                    run(*restore, input=rules)
                talk.check(b"behind their rules" * 1000)
                assert connects(client.workload, address), "between nodes"
                assert connects(same.workload, near), "on one node"
        for node in net.nodes:
            assert "-A INPUT -i bb0 -j DROP" in save(node)
            node.agent.stop()
            node.start().wait_ready()
            assert "-A INPUT -i bb0 -j DROP" in save(node), "and we leave theirs alone"
        assert connects(client.workload, address)
    finally:
        for node in net.nodes:
            for table in ("raw", "nat", "filter"):
                for flag in ("-F", "-X"):
                    run(*ns_command(node.namespace, "iptables", "-t", table, flag))
            run(*ns_command(node.namespace, "iptables", "-P", "FORWARD", "ACCEPT"))
    wait_for(lambda: connects(client.workload, address), 10, 0.1, "the usual")


def doctor(node):
    done = node.culvert("doctor", "--backbone", "bb0", "--output", "json", check=False)
    return {row["check"]: row for row in json.loads(done.stdout)}


@pytest.mark.both_modes
def test_doctor_names_others_on_our_interfaces_and_the_dates_that_matter(net, other):
    node = net.nodes[0]
    found = doctor(node)
    assert found["other tc programs"]["result"] == "ok", found["other tc programs"]
    assert found["node certificate"]["result"] == "ok"
    assert found["clock skew"]["result"] == "ok", found["clock skew"]
    assert found["disk space"]["found"].startswith(str(node.data))
    assert found["packet filter"]["result"] == "ok"
    other.attach_tcx(node.namespace, "bb0")
    other.attach_filter(node.namespace, "bb0")
    iptables = ("iptables", "-P", "FORWARD")
    settings = {"net.ipv4.conf.bb0.rp_filter": "1", "net.ipv4.conf.all.rp_filter": "0"}
    before = {
        name: run(*ns_command(node.namespace, "sysctl", "-n", name)).stdout.strip()
        for name in settings
    }
    try:
        run(*ns_command(node.namespace, *iptables, "DROP"))
        for name, value in settings.items():
            run(*ns_command(node.namespace, "sysctl", "-w", f"{name}={value}"))
        found = doctor(node)
        programs = found["other tc programs"]
        assert programs["result"] == "warn" and programs["remedy"]
        assert "tcx program 'other' on bb0" in programs["found"]
        assert "filter bpf pref 100 on bb0" in programs["found"]
        assert "DROP" in found["packet filter"]["found"]
        assert found["reverse path filter"]["result"] == "warn"
    finally:
        run(*ns_command(node.namespace, *iptables, "ACCEPT"))
        for name, value in before.items():
            run(*ns_command(node.namespace, "sysctl", "-w", f"{name}={value}"))
        delete = ("tc", "filter", "del", "dev", "bb0", "ingress", "prio", "100")
        run(*ns_command(node.namespace, *delete))
