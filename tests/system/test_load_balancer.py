# SPDX-License-Identifier: Apache-2.0
"""Rules of a load balancer behind a private endpoint: several frontends, rules and pools, port
translation, every port (HA ports), affinity changed live, how connections are spread and how few
move when a backend leaves or joins."""
import contextlib
import copy
from collections import Counter

import culvert_harness
import pytest
from culvert_harness import Conversation, wait_for
from datagrams import naming, opens, speechless
from scenes import consumer, provider

UDP = 53


@pytest.fixture(name="spread", scope="module")
def _spread():
    """Flows that are idle for 2.4 seconds end."""
    flags = ("--idle-unit-ms", "10")
    with contextlib.closing(
        culvert_harness.Topology(nodes=2, flows=1 << 18, agent_flags=flags)
    ) as topology:
        yield topology


def rule(balancer, name, frontend, pool, ports, protocol="Tcp", **more):
    return {
        "name": name,
        "properties": {
            "frontendIPConfiguration": {"id": f"{balancer}/frontendIPConfigurations/{frontend}"},
            "backendAddressPools": [{"id": f"{balancer}/backendAddressPools/{pool}"}],
            "frontendPort": ports[0],
            "backendPort": ports[1],
            "protocol": protocol,
            **more,
        },
    }


def balancer_body(subnet, frontends, pools, rules):
    return {
        "location": "local",
        "sku": {"name": "Standard"},
        "properties": {
            "frontendIPConfigurations": [
                {"name": name, "properties": {"subnet": {"id": subnet}}} for name in frontends
            ],
            "backendAddressPools": [{"name": name} for name in pools],
            "loadBalancingRules": rules,
        },
    }


def set_frontends(net, made, names):
    body = copy.deepcopy(net.rest.get(made.service))
    body["properties"]["loadBalancerFrontendIpConfigurations"] = [
        {"id": f"{made.balancer}/frontendIPConfigurations/{name}"} for name in names
    ]
    net.rest.put(made.service, body)


def change_rules(net, made, **values):
    body = copy.deepcopy(net.rest.get(made.balancer))
    for each in body["properties"]["loadBalancingRules"]:
        each["properties"].update(values)
    net.rest.put(made.balancer, body)


@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_frontends_rules_and_pools_of_one_service(net, across):
    node = net.nodes[1 if across else 0]
    made = provider(net, [node], rules=((80, 8080),), names=["web"])
    subnet = made.subnet()
    lb = made.balancer
    rules = [
        rule(lb, "web", "fe", "pool", (80, 8080)),
        rule(lb, "web-too", "fe", "pool", (81, 8080)),
        rule(lb, "data", "fe2", "pool2", (5432, 15432)),
        rule(lb, "names", "fe2", "pool2", (53, 5353), "Udp"),
        rule(lb, "all", "fe3", "pool3", (0, 0), "All"),
    ]
    frontends, pools = ["fe", "fe2", "fe3"], ["pool", "pool2", "pool3"]
    net.rest.put(lb, balancer_body(subnet, frontends, pools, rules))
    set_frontends(net, made, frontends)
    data = net.workload(made.group, subnet, node, pool=f"{lb}/backendAddressPools/pool2")
    data.serve(15432, "data")
    every = net.workload(made.group, subnet, node, pool=f"{lb}/backendAddressPools/pool3")
    for port in (81, 7777, 50000):
        every.serve(port, f"every{port}")
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)

    def who(port):
        return client.workload.ask(address, port, b"to and fro")[0]

    assert who(80) == who(81) == "web", "a rule of the port, before that of every port"
    assert who(5432) == "data"
    assert who(7777) == "every7777" and who(50000) == "every50000"
    with pytest.raises(ConnectionRefusedError):
        client.workload.connect(address, 7778)  # the backend itself says so
    with naming(data, 5353, "data"), naming(every, 9999, "every"):
        with speechless(client.workload, 53, 9999):
            assert opens(client.workload, address, 53, 2000, 3) == dict.fromkeys(
                (2000, 2001, 2002), "data"
            )
            assert set(opens(client.workload, address, 9999, 3000, 3).values()) == {"every"}


def test_rules_that_cannot_go_together_are_refused(net):
    made = provider(net, net.nodes[:1])
    lb = made.balancer

    def refused(rules, frontends=("fe", "fe2"), pools=("pool", "pool2")):
        body = balancer_body(made.subnet(), frontends, pools, rules)
        answer = net.rest.call("PUT", lb, body)
        assert answer.status == 400, answer.raw
        return answer.message

    every = rule(lb, "all", "fe", "pool", (0, 0), "All")
    assert "has no other rules" in refused([every, rule(lb, "web", "fe", "pool2", (80, 80))])
    assert "cannot share a pool" in refused([every, rule(lb, "web", "fe2", "pool", (80, 80))])
    said = refused([rule(lb, "all", "fe", "pool", (0, 80), "All")])
    assert "loadBalancingRules[0].properties.frontendPort" in said and "HA ports" in said
    assert "port 0 is for protocol All" in refused([rule(lb, "web", "fe", "pool", (0, 0))])
    said = refused([rule(lb, "web", "fe", "pool", (80, 80), idleTimeoutInMinutes=101)])
    assert "idleTimeoutInMinutes" in said and "4 to 100" in said
    again = [every, rule(lb, "again", "fe", "pool", (0, 0), "All")]
    assert "already has a rule" in refused(again)


def test_affinity_is_changed_live_and_open_connections_go_on(net):
    """5, 2 and 3 fields of the tuple"""
    made = provider(net, [net.nodes[0], net.nodes[1]] * 2)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    count = 40  # all to one of four by chance: once in 10^23 tries

    def who():
        return {client.workload.ask(address, 80)[0] for _ in range(count)}

    with client.workload.connect(address, 80) as sock:
        talk = Conversation(sock)
        assert len(who()) > 1
        for mode in ("SourceIP", "SourceIPProtocol"):
            change_rules(net, made, loadDistribution=mode)
            assert len(who()) == 1, mode
            talk.check(b"goes on" * 1000)
        change_rules(net, made, loadDistribution="Default")
        assert len(who()) > 1
        talk.check(b"goes on" * 1000)
        talk.file.close()


def moved(before, after, gone):
    """The share of ports that were another backend's than `gone` and whose backend is another one
    now; all ports that are `gone`'s in neither are compared."""
    others = [port for port in before if gone not in (before[port], after[port])]
    return sum(before[port] != after[port] for port in others) / len(before)


def test_ten_backends_get_equal_shares_and_few_flows_move(spread, capsys):
    net = spread
    made = provider(net, [net.nodes[0]] * 5 + [net.nodes[1]] * 5, rules=((UDP, 5353, "Udp"),))
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    # a share within 10 %: six standard deviations; fewer tell how many move
    flows, fewer, first = 30000, 10000, 2000
    with contextlib.ExitStack() as stack:
        for number, backend in enumerate(made.workloads):
            backend.close()
            stack.enter_context(naming(backend, 5353, f"b{number}"))
        stack.enter_context(speechless(client.workload, UDP))

        def ask(count):
            """Who answers each port; when its earlier flow has ended."""
            wait_for(
                lambda: all(node.status()["flows"] == 0 for node in net.nodes), 120, 0.2, "no flow"
            )
            answers = opens(client.workload, address, UDP, first, count)
            assert len(answers) == count
            return answers

        ten = ask(flows)
        shares = Counter(ten.values())
        assert len(shares) == 10
        assert all(abs(share * 10 / flows - 1) < 0.1 for share in shares.values()), shares
        # one leaves the pool, and joins it again
        leaver = made.workloads[9]
        nic = copy.deepcopy(net.rest.get(leaver.nic))
        config = nic["properties"]["ipConfigurations"][0]["properties"]
        pools = config.pop("loadBalancerBackendAddressPools")
        net.rest.put(leaver.nic, nic)
        nine = ask(fewer)
        assert "b9" not in nine.values()
        config["loadBalancerBackendAddressPools"] = pools
        net.rest.put(leaver.nic, nic)
        again = ask(fewer)
        ten = {port: ten[port] for port in again}
        leave, join = moved(ten, nine, "b9"), moved(nine, again, "b9")
        assert leave <= 0.01 + 0.005 and join <= 0.01 + 0.005, (leave, join)
        assert again == ten
    low, high = min(shares.values()) * 10 / flows, max(shares.values()) * 10 / flows
    with capsys.disabled():
        print(f"\n{flows} flows over 10 backends: shares {low:.3f} to {high:.3f} of the equal one; "
              f"moved beyond its own share: {leave:.2%} when one leaves, {join:.2%} when it joins")
