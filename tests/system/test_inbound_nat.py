# SPDX-License-Identifier: Apache-2.0
"""Inbound NAT rules behind a private endpoint: a port of the endpoint leads to one interface, or
each interface of a pool has a port of its own; changed live, and of use to nobody else."""
import contextlib
import copy

import pytest
from culvert_harness import Conversation, wait_for
from datagrams import naming, opens, speechless
from scenes import connects, consumer, provider

SSH, FIRST = 2222, 5000
BACKEND = 9022


def nat_rule(made, name, pool=None, protocol="Tcp", port=SSH, backend=BACKEND, last=FIRST + 9):
    """Puts a rule of one interface, or of the pool."""
    properties = {
        "frontendIPConfiguration": {"id": f"{made.balancer}/frontendIPConfigurations/fe"},
        "protocol": protocol,
        "backendPort": backend,
    }
    if pool:
        properties |= {
            "backendAddressPool": {"id": pool},
            "frontendPortRangeStart": FIRST,
            "frontendPortRangeEnd": last,
        }
    else:
        properties["frontendPort"] = port
    path = f"{made.balancer}/inboundNatRules/{name}"
    return path, {"name": name, "properties": properties}


def configure(net, workload, **lists):
    """Sets the interface's pools and rules by their ids; None: none."""
    body = copy.deepcopy(net.rest.get(workload.nic))
    config = body["properties"]["ipConfigurations"][0]["properties"]
    for name, id_ in lists.items():
        config[name] = [{"id": id_}] if id_ else []
    net.rest.put(workload.nic, body)


def name_rule(net, workload, rule):
    configure(net, workload, loadBalancerInboundNatRules=rule)


def port_of(net, made, workload):
    """As az network lb list-mapping asks for it."""
    query = f"{made.pool}/queryInboundNatRulePortMapping"
    body = {"ipConfiguration": {"id": f"{workload.nic}/ipConfigurations/ip1"}}
    (told,) = net.rest.good("POST", query, body)["inboundNatRulePortMappings"]
    return told["frontendPort"]


def has_ended(talk):
    try:
        talk.check(b"?")
        return False
    except OSError:
        return True


def backends(net, nodes, auto=True):
    """A provider with a backend on each node, which serves the rules' port as well."""
    made = provider(net, nodes, auto=auto, names=[f"b{number}" for number in range(len(nodes))])
    for number, workload in enumerate(made.workloads):
        workload.serve(BACKEND, f"b{number}")
    return made


@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_a_port_leads_to_the_interface_that_names_its_rule(net, across):
    made = backends(net, [net.nodes[1 if across else 0]] * 2)
    one, two = made.workloads
    rule, body = nat_rule(made, "ssh")
    net.rest.put(rule, body)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)

    def who(port):
        return client.workload.ask(address, port, b"to and fro")[0]

    with pytest.raises(ConnectionRefusedError):
        client.workload.connect(address, SSH)  # it leads nowhere yet
    name_rule(net, two, rule)
    shown = net.rest.get(rule)["properties"]
    assert shown["backendIPConfiguration"]["id"] == f"{two.nic}/ipConfigurations/ip1"
    assert {who(SSH) for _ in range(8)} == {"b1"}
    assert {who(80) for _ in range(40)} == {"b0", "b1"}  # one by chance: once in 10^12 tries
    # the same number of the other protocol is another rule's
    names, body = nat_rule(made, "names", protocol="Udp", backend=5353)
    net.rest.put(names, body)
    name_rule(net, one, names)
    with naming(one, 5353, "one"), speechless(client.workload, SSH):
        answers = opens(client.workload, address, SSH, 3000, 3)
        assert answers == dict.fromkeys((3000, 3001, 3002), "one")
    with client.workload.connect(address, SSH) as sock:
        talk = Conversation(sock)
        name_rule(net, two, None)
        wait_for(lambda: has_ended(talk), 20, what="end of the connection")
        with pytest.raises(ConnectionRefusedError):
            client.workload.connect(address, SSH)
        talk.file.close()
    configure(net, one, loadBalancerInboundNatRules=rule)
    assert who(SSH) == "b0"
    assert net.rest.call("DELETE", rule).code == "InUseInboundNatRuleCannotBeDeleted"
    net.detach(one)
    with pytest.raises(ConnectionRefusedError):
        client.workload.connect(address, SSH)
    assert who(80) == "b1"


def test_connections_by_a_rule_move_with_the_interface(net):
    made = backends(net, [net.nodes[0]] * 2)
    rule, body = nat_rule(made, "ssh")
    net.rest.put(rule, body)
    name_rule(net, made.workloads[0], rule)
    client = consumer(net, net.nodes[1])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    with client.workload.connect(address, SSH, 20) as sock:
        talk = Conversation(sock)
        net.migrate(made.workloads[0], net.nodes[1])
        assert talk.check(b"goes on" * 10_000)[0] == "b0"
        assert client.workload.ask(address, SSH)[0] == "b0"
        talk.file.close()


@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_each_interface_of_a_pool_has_a_port_that_stays(net, across):
    made = backends(net, [net.nodes[0], net.nodes[1 if across else 0], net.nodes[0]])
    rule, body = nat_rule(made, "each", pool=made.pool)
    net.rest.put(rule, body)
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    ports = {port_of(net, made, each): number for number, each in enumerate(made.workloads)}
    assert sorted(ports) == [FIRST, FIRST + 1, FIRST + 2]

    def who():
        return {port: client.workload.ask(address, port, b"x" * 50_000)[0] for port in ports}

    assert who() == {port: f"b{number}" for port, number in ports.items()}
    assert not connects(client.workload, address, FIRST + 3), "nobody has it"
    gone = FIRST + 1
    leaver = made.workloads[ports.pop(gone)]
    with contextlib.ExitStack() as stack:
        talks = {
            port: Conversation(stack.enter_context(client.workload.connect(address, port)))
            for port in (gone, *ports)
        }
        configure(net, leaver, loadBalancerBackendAddressPools=None)
        wait_for(lambda: has_ended(talks[gone]), 20, what="end of the connection")
        with pytest.raises(ConnectionRefusedError):
            client.workload.connect(address, gone)
        for port in ports:  # nobody else moves
            talks[port].check(b"goes on" * 1000)
        assert who() == {port: f"b{number}" for port, number in ports.items()}
        for talk in talks.values():
            talk.file.close()
    configure(net, leaver, loadBalancerBackendAddressPools=made.pool)
    assert port_of(net, made, leaver) == gone
    assert client.workload.ask(address, gone)[0] == leaver.servers[-1].name
    # as in Azure, only beside a load-balancing rule
    balancer = copy.deepcopy(net.rest.get(made.balancer))
    rules = balancer["properties"].pop("loadBalancingRules")
    net.rest.put(made.balancer, balancer)
    assert net.rest.get(rule)["properties"]["carriedByPrivateLink"] is False
    assert not any(connects(client.workload, address, port) for port in (gone, *ports))
    balancer["properties"]["loadBalancingRules"] = rules
    net.rest.put(made.balancer, balancer)
    assert client.workload.ask(address, gone)[0] == leaver.servers[-1].name


def test_nobody_else_reaches_an_interface_by_its_rule(net):
    made = backends(net, [net.nodes[0]], auto=False)
    rule, body = nat_rule(made, "ssh")
    net.rest.put(rule, body)
    name_rule(net, made.workloads[0], rule)
    other = backends(net, [net.nodes[0]])  # the same addresses and ports, but for the rule
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), other.service)
    assert client.workload.ask(address, 80)[0] == "b0"
    with pytest.raises(ConnectionRefusedError):
        client.workload.connect(address, SSH)
    # who asks is not let in by any port, nor by an address of the provider
    asking, at = net.endpoint(client.group, client.subnet(), made.service, manual=True)
    assert not connects(client.workload, at, SSH)
    stranger = consumer(net, net.nodes[0], address="10.0.0.200").workload
    for port in (SSH, BACKEND):
        assert not connects(stranger, made.workloads[0].address, port)
        assert not connects(stranger, at, port)
    net.decide(made.service, asking, "Approved")
    assert client.workload.ask(at, SSH)[0] == "b0"
    net.decide(made.service, asking, "Rejected")
    assert not connects(client.workload, at, SSH)


def test_rules_that_cannot_be_are_refused_by_name(net):
    made = backends(net, [net.nodes[0]])
    lb = made.balancer

    def refused(path, body):
        answer = net.rest.call("PUT", path, body)
        assert answer.status == 400, answer.raw
        return f"{answer.code} {answer.message}"

    rule, body = nat_rule(made, "ssh", port=80)
    assert "RulesUseSameFrontendPortAndProtocol" in refused(rule, body)
    _, body = nat_rule(made, "ssh", protocol="All")
    assert "is for Tcp or Udp" in refused(rule, body)
    each, body = nat_rule(made, "each", pool=made.pool)
    net.rest.put(each, body)
    clash, body = nat_rule(made, "clash", port=FIRST + 5)
    assert "RulesUseSameFrontendPortAndProtocol" in refused(clash, body)
    one, body = nat_rule(made, "each", pool=made.pool, last=FIRST)
    net.rest.put(one, body)
    interface = net.rest.get(made.workloads[0].nic)
    config = copy.deepcopy(interface["properties"]["ipConfigurations"][0]["properties"])
    more = {"subnet": config["subnet"]}
    more["loadBalancerBackendAddressPools"] = [{"id": made.pool}]
    another = {
        "location": "local",
        "properties": {"ipConfigurations": [{"name": "ip1", "properties": more}]},
    }
    path = f"{made.group}/providers/Microsoft.Network/networkInterfaces/late"
    assert "no port of inbound NAT rule 'each' is free" in refused(path, another)
    more.pop("loadBalancerBackendAddressPools")
    more["loadBalancerInboundNatRules"] = [{"id": each}]
    assert "put the interface into that pool" in refused(path, another)
    more["loadBalancerInboundNatRules"] = [{"id": f"{lb}/inboundNatRules/none"}]
    assert "InvalidResourceReference" in refused(path, another)
