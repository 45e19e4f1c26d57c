# SPDX-License-Identifier: Apache-2.0
"""natAddressPerConnection: each approved connection of a service has a NAT address of its own, so
that a server tells its tenants apart by the address that it sees."""
import copy

import pytest
from culvert_harness import NETWORK
from scenes import consumer, provider, with_nat

ADDRESSES = ["10.0.0.77", "10.0.0.78"]


def settings(net, made, **values):
    body = copy.deepcopy(net.rest.get(made.service))
    body["properties"].update(values)
    return body


def seen(side):
    workload, address = side
    return {workload.ask(address, 80)[1][0] for _ in range(24)}


def tenants(net, made, count):
    """Consumers with an endpoint each: (workload, address), and the endpoints."""
    sides, endpoints = [], []
    for _ in range(count):
        client = consumer(net, net.nodes[0])
        endpoint, address = net.endpoint(client.group, client.subnet(), made.service)
        sides.append((client.workload, address))
        endpoints.append(endpoint)
    return sides, endpoints


def told(net, made, endpoint):
    return net.connection_of(made.service, endpoint)["properties"].get("natAddress")


@pytest.mark.parametrize("across", [False, True], ids=["one node", "two nodes"])
def test_a_server_tells_its_tenants_apart_by_their_addresses(net, across):
    made = provider(net, [net.nodes[1 if across else 0]], nat=ADDRESSES)
    net.rest.put(made.service, settings(net, made, natAddressPerConnection=True))
    sides, endpoints = tenants(net, made, 2)
    whose = [seen(side) for side in sides]
    assert whose == [{told(net, made, endpoint)} for endpoint in endpoints]
    assert whose[0] | whose[1] == set(ADDRESSES)
    # what clients that do not know of it write leaves it as it is
    body = settings(net, made)
    del body["properties"]["natAddressPerConnection"]
    net.rest.put(made.service, body)
    assert [seen(side) for side in sides] == whose
    # a restart of everything does, too
    net.culvertd.popen.kill()
    net.culvertd.popen.wait()
    net.start_control()
    for node in net.nodes:
        node.agent.popen.kill()
        node.agent.popen.wait()
        node.start()
    for node in net.nodes:
        node.wait_ready()
    assert [seen(side) for side in sides] == whose


def test_no_more_connections_are_approved_than_there_are_addresses(net):
    made = provider(net, net.nodes[:1], nat=ADDRESSES)
    net.rest.put(made.service, settings(net, made, natAddressPerConnection=True))
    sides, endpoints = tenants(net, made, 2)
    late = consumer(net, net.nodes[0])
    path = f"{late.group}/providers/Microsoft.Network/privateEndpoints/late"
    answer = net.rest.call("PUT", path, net.endpoint_body(late.subnet(), made.service))
    assert answer.status == 409 and answer.code == "NotEnoughNatAddresses", answer.raw
    assert "add one to properties.ipConfigurations" in answer.message
    # one that is rejected gives its address to the next one that is approved
    net.decide(made.service, endpoints[0], "Rejected")
    free = set(ADDRESSES) - {told(net, made, endpoints[1])}
    _, address = net.endpoint(late.group, late.subnet(), made.service, name="late")
    assert seen((late.workload, address)) == free
    refused = net.connection_of(made.service, endpoints[0])
    state = {"status": "Approved", "description": "once more"}
    body = {"name": refused["name"], "properties": {"privateLinkServiceConnectionState": state}}
    answer = net.rest.call("PUT", refused["id"], body)
    assert answer.status == 409 and answer.code == "NotEnoughNatAddresses", answer.raw
    # and an address cannot go while each is somebody's
    fewer = with_nat(net, made, ADDRESSES[:1])
    answer = net.rest.call("PUT", made.service, fewer, NETWORK)
    assert answer.status == 409 and answer.code == "NotEnoughNatAddresses", answer.raw
    assert seen(sides[1]) == {told(net, made, endpoints[1])}


def test_it_is_turned_on_and_off_under_traffic(net):
    made = provider(net, net.nodes[:1], nat=ADDRESSES)
    sides, endpoints = tenants(net, made, 2)
    assert seen(sides[0]) == seen(sides[1]) == set(ADDRESSES)
    net.rest.put(made.service, settings(net, made, natAddressPerConnection=True))
    assert seen(sides[0]) | seen(sides[1]) == set(ADDRESSES)
    assert len(seen(sides[0])) == len(seen(sides[1])) == 1
    net.rest.put(made.service, settings(net, made, natAddressPerConnection=False))
    assert seen(sides[0]) == seen(sides[1]) == set(ADDRESSES)
    assert told(net, made, endpoints[0]) is None
