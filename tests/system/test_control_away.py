# SPDX-License-Identifier: Apache-2.0
"""The control plane dies, comes back or cannot be reached: traffic does not notice, and nothing
that a node may still know is used again."""
import signal
import threading

import culvert_harness
import pytest
from culvert_harness import Conversation, run, wait_for
from rest import NETWORK_OLD
from scenes import connects, consumer, link_id, provider

RESTARTS = 20
NUMBERS = 16  # --link-limit: ids 1 to 15


class Traffic:
    """One connection that never rests, and a new one after the other, until told to stop."""

    def __init__(self, workload, address):
        self.workload, self.address = workload, address
        self.rounds = self.opened = 0
        self.broken = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._keep), threading.Thread(target=self._open)]

    def _keep(self):
        try:
            with self.workload.connect(self.address, 80) as sock:
                talk = Conversation(sock)
                while not self.stopped.wait(0.005):
                    talk.check(b"kept" * 200)
                    self.rounds += 1
        except OSError as error:
            self.broken.append(f"the kept connection: {error!r}")

    def _open(self):
        while not self.stopped.wait(0.005):
            try:
                self.workload.ask(self.address, 80, b"new")
                self.opened += 1
            except OSError as error:
                self.broken.append(f"new connection {self.opened}: {error!r}")

    def wait_for_more(self):
        """Both have gone on from here."""
        rounds, opened = self.rounds, self.opened
        wait_for(
            lambda: self.broken or (self.rounds > rounds + 1 and self.opened > opened + 1),
            20,
            what="traffic",
        )
        assert not self.broken, self.broken[:5]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def listed(net):
    return net.rest.get("/culvert/nodes", None)


def node_of(net, name):
    return next(node for node in listed(net)["value"] if node["name"] == name)


def test_the_control_plane_is_killed_twenty_times_under_traffic(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with Traffic(client.workload, address) as traffic:
        traffic.wait_for_more()
        for turn in range(RESTARTS):
            net.culvertd.stop(signal.SIGKILL)
            net.rest.close()
            net.start_control()
            endpoint, more = net.endpoint(client.group, client.subnet(), made.service)
            assert connects(client.workload, more), f"after restart {turn} changes are made"
            net.rest.delete(endpoint)
            assert not connects(client.workload, more, timeout=0.2), "and unmade"
            traffic.wait_for_more()
    assert not traffic.broken, traffic.broken[:5]
    for node in net.nodes:
        node.wait_ready()
    counters = listed(net)["counters"]
    assert counters["snapshots"] == 0, "nobody was sent again what it holds"
    assert counters["resumed"] >= len(net.nodes)
    print(f"{traffic.rounds} exchanges, {traffic.opened} connections, {RESTARTS} restarts")


def test_a_node_cut_off_from_the_control_plane_carries_on(net):
    made = provider(net, [net.nodes[1]])
    client = consumer(net, net.nodes[0])
    endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
    away = net.nodes[0]
    with Traffic(client.workload, address) as traffic:
        traffic.wait_for_more()
        run("ip", "-n", away.namespace, "link", "set", "mg0", "down")
        try:
            wait_for(lambda: not node_of(net, away.name)["live"], 30, 0.1, "end of its lease")
            traffic.wait_for_more()
            net.decide(made.service, endpoint, "Rejected")
            wait_for(lambda: traffic.broken, 20, what="the other end's refusal")
            traffic.broken.clear()
            net.decide(made.service, endpoint, "Approved")
            wait_for(lambda: connects(client.workload, address), 20, what="approval")
        finally:
            run("ip", "-n", away.namespace, "link", "set", "mg0", "up")
    away.wait_ready(60)
    assert connects(client.workload, address)


@pytest.fixture(name="small")
def small_topology():
    topology = culvert_harness.Topology(nodes=3, control_flags=("--link-limit", str(NUMBERS)))
    yield topology
    topology.close()


def test_an_agent_that_stood_still_while_changes_came_is_back_afterwards(net):
    """its stream was closed meanwhile, with changes on it that it had not read"""
    node = net.nodes[0]
    group = net.group()
    subnet = f"{net.vnet(group)}/subnets/default"
    net.workload(group, subnet, node)
    node.agent.send(signal.SIGSTOP)
    try:
        nics = [net.nic(group, subnet, None, None)[0] for _ in range(3)]
        for nic in nics:
            net.rest.call("POST", f"{nic}/attach", {"node": node.name}, NETWORK_OLD)
        wait_for(lambda: not node_of(net, node.name)["connected"], 20, 0.1, "end of its stream")
    finally:
        node.agent.send(signal.SIGCONT)
    wait_for(lambda: node_of(net, node.name)["live"], 20, 0.1, "the node")
    node.wait_ready()
    net.attach(nics[-1], node, None)


def test_what_a_silent_node_may_know_is_not_used_again_until_it_is_back_or_removed(small):
    net = small
    made = provider(net, [net.nodes[0]])
    near = consumer(net, net.nodes[0])
    far = consumer(net, net.nodes[1])
    silent = net.nodes[1]
    made_here = []

    def new_endpoint(who, address=None):
        path = f"{who.group}/providers/Microsoft.Network/privateEndpoints/{net.name('pe')}"
        body = net.endpoint_body(who.subnet(), made.service, False, address)
        return path, net.rest.call("PUT", path, body, NETWORK_OLD)

    def take_all():
        """Makes endpoints until no number is left; the numbers they got."""
        numbers = set()
        while True:
            path, answer = new_endpoint(near)
            if answer.status == 503:
                assert "taken" in answer.message
                return numbers
            assert answer.status < 300, answer.raw
            made_here.append(path)
            numbers.add(link_id(net, made, path))

    def give_back(count):
        for _ in range(count):
            net.rest.delete(made_here.pop())

    def lose():
        """The node knows an endpoint, falls silent, and the endpoint is deleted."""
        path, answer = new_endpoint(far, "10.0.0.90")
        assert answer.status < 300, answer.raw
        number = link_id(net, made, path)
        assert connects(far.workload, "10.0.0.90")
        silent.agent.stop(signal.SIGKILL)
        assert connects(far.workload, "10.0.0.90"), "its data plane goes on"
        net.rest.delete(path)
        return number

    def restart_control():
        net.culvertd.stop(signal.SIGKILL)
        net.rest.close()
        net.start_control()
        for node in (net.nodes[0], net.nodes[2]):
            node.wait_ready()

    number = lose()
    restart_control()
    assert number not in take_all(), "the silent node still has it in its kernel"
    assert new_endpoint(far, "10.0.0.90")[1].status >= 400, "and the address"
    assert node_of(net, silent.name)["releasesWaiting"] >= 1
    shown = net.nodes[0].culvert("node", "list")
    assert f"culvert node delete {silent.name}" in shown.stderr, "what the operator can do"
    silent.start().wait_ready()
    wait_for(lambda: node_of(net, silent.name)["releasesWaiting"] == 0, 20, what="its answer")
    assert take_all() == {number}

    give_back(2)
    number = lose()
    net.rest.call("POST", f"{far.workload.nic}/detach", {})
    restart_control()
    assert number not in take_all()
    net.rest.delete(f"/culvert/nodes/{silent.name}", None)
    wait_for(lambda: new_endpoint(far, "10.0.0.90")[1].status < 300, 20, 0.1, what="the address")
