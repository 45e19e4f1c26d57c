# SPDX-License-Identifier: Apache-2.0
"""A hostile API client: owner of a subscription and of nothing else. References that point at
others' resources, and answers that must not tell what exists."""
import copy
import json
import re

import pytest
from culvert_harness import NETWORK
from scenes import consumer, provider

TYPE = "/providers/Microsoft.Network/"


class Attacker:
    """Another subscription's owner, with one resource of each type of its own."""

    def __init__(self, net, tenant=False):
        self.net = net
        self.subscription, self.rest = net.customer(tenant)
        self.group = net.group(subscription=self.subscription, rest=self.rest)
        self.vnet = net.vnet(self.group, rest=self.rest)
        self.subnet = f"{self.vnet}/subnets/default"
        self.balancer = net.balancer(self.group, self.subnet, [(80, 8080)], rest=self.rest)
        self.nic, _ = net.nic(self.group, self.subnet, rest=self.rest)
        self.service = net.service(self.group, self.balancer, self.subnet, auto=False,
                                   rest=self.rest)


@pytest.fixture(scope="module")
def victim(net):
    made = provider(net, [net.nodes[0]], auto=False)
    client = consumer(net, net.nodes[0])
    made.endpoint, _ = net.endpoint(client.group, client.subnet(), made.service, manual=True)
    made.client = client
    net.rest.put(f"{made.balancer}/inboundNatRules/n", {"properties": {
        "frontendIPConfiguration": {"id": f"{made.balancer}/frontendIPConfigurations/fe"},
        "protocol": "Tcp", "frontendPort": 2222, "backendPort": 22}})
    shown = net.rest.get(made.service)
    shown["properties"]["visibility"] = {"subscriptions": []}
    net.rest.put(made.service, dict(shown))
    return made


@pytest.fixture(scope="module", params=["same tenant", "another tenant"])
def attacker(request, net):
    made = Attacker(net, tenant=request.param == "another tenant")
    made.label = request.param
    yield made
    made.rest.close()


def settle(body, *path):
    """The place in a body that a path of keys names."""
    for key in path:
        body = body[key]
    return body


def bodies(attacker, own):
    """A good body of each type; `own` is the path that the balancers will have."""
    net = attacker.net
    subnet = {"subnet": {"id": attacker.subnet}}
    wrap = lambda **properties: {"location": "local", "properties": properties}  # noqa: E731
    pool = {"loadBalancerBackendAddressPools": [{"id": ""}]}
    rule = {"loadBalancerInboundNatRules": [{"id": ""}]}
    balancer = wrap(
        frontendIPConfigurations=[{"name": "fe", "properties": dict(subnet)}],
        backendAddressPools=[{"name": "pool"}],
    ) | {"sku": {"name": "Standard"}}
    with_rule = copy.deepcopy(balancer)
    with_rule["properties"] |= {
        "probes": [{"name": "p", "properties": {"protocol": "Tcp", "port": 80}}],
        "loadBalancingRules": [{"name": "r", "properties": {
            "frontendIPConfiguration": {"id": f"{own}/frontendIPConfigurations/fe"},
            "backendAddressPool": {"id": f"{own}/backendAddressPools/pool"},
            "probe": {"id": f"{own}/probes/p"},
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80}}],
        "inboundNatRules": [{"name": "n", "properties": {
            "frontendIPConfiguration": {"id": f"{own}/frontendIPConfigurations/fe"},
            "backendAddressPool": {"id": f"{own}/backendAddressPools/pool"}, "protocol": "Tcp",
            "frontendPortRangeStart": 500, "frontendPortRangeEnd": 509, "backendPort": 22}}],
    }
    public = copy.deepcopy(balancer)
    public["properties"]["frontendIPConfigurations"][0]["properties"] = {
        "publicIPAddress": {"id": ""}}
    return {
        "nic": wrap(ipConfigurations=[{"name": "ip", "properties": dict(subnet)}]),
        "pooled": wrap(ipConfigurations=[{"name": "ip", "properties": subnet | pool}]),
        "ruled": wrap(ipConfigurations=[{"name": "ip", "properties": subnet | rule}]),
        "balancer": balancer,
        "with_rule": with_rule,
        "public": public,
        "service": wrap(
            loadBalancerFrontendIpConfigurations=[
                {"id": f"{attacker.balancer}/frontendIPConfigurations/fe"}],
            ipConfigurations=[{"name": "nat", "properties": dict(subnet)}],
            visibility={"subscriptions": ["*"]},
        ),
        "endpoint": net.endpoint_body(attacker.subnet, attacker.service),
        "manual": net.endpoint_body(attacker.subnet, attacker.service, manual=True),
        "network": wrap(
            addressSpace={"addressPrefixes": ["10.9.0.0/16"]},
            subnets=[{"name": "s", "properties": {"addressPrefix": "10.9.0.0/24"} | {
                field: {"id": ""} for field in ("networkSecurityGroup", "routeTable", "natGateway")
            }}],
        ),
    }


RULE = ("loadBalancingRules", 0, "properties")
NAT_RULE = ("inboundNatRules", 0, "properties")
IP = ("ipConfigurations", 0, "properties")
FRONTEND = ("frontendIPConfigurations", 0, "properties")
SUBNET = ("subnets", 0, "properties")
AUTOMATIC = ("privateLinkServiceConnections", 0, "properties", "privateLinkServiceId")
MANUAL = ("manualPrivateLinkServiceConnections", 0, "properties", "privateLinkServiceId")
# what, its type, which body, where in its properties, what of the victim's it can point at
FIELDS = (
    ("NIC: subnet", "networkInterfaces", "nic", (*IP, "subnet", "id"), "subnet"),
    ("NIC: backend pool", "networkInterfaces", "pooled",
     (*IP, "loadBalancerBackendAddressPools", 0, "id"), "pool"),
    ("NIC: inbound NAT rule", "networkInterfaces", "ruled",
     (*IP, "loadBalancerInboundNatRules", 0, "id"), "nat rule"),
    ("balancer: frontend's subnet", "loadBalancers", "balancer", (*FRONTEND, "subnet", "id"),
     "subnet"),
    ("balancer: frontend's public address", "loadBalancers", "public",
     (*FRONTEND, "publicIPAddress", "id"), "public"),
    ("balancer: rule's frontend", "loadBalancers", "with_rule",
     (*RULE, "frontendIPConfiguration", "id"), "frontend"),
    ("balancer: rule's pool", "loadBalancers", "with_rule", (*RULE, "backendAddressPool", "id"),
     "pool"),
    ("balancer: inbound NAT rule's frontend", "loadBalancers", "with_rule",
     (*NAT_RULE, "frontendIPConfiguration", "id"), "frontend"),
    ("balancer: inbound NAT rule's pool", "loadBalancers", "with_rule",
     (*NAT_RULE, "backendAddressPool", "id"), "pool"),
    ("balancer: rule's probe", "loadBalancers", "with_rule", (*RULE, "probe", "id"), "probe"),
    ("service: frontend", "privateLinkServices", "service",
     ("loadBalancerFrontendIpConfigurations", 0, "id"), "frontend"),
    ("service: NAT address's subnet", "privateLinkServices", "service", (*IP, "subnet", "id"),
     "subnet"),
    ("endpoint: subnet", "privateEndpoints", "endpoint", ("subnet", "id"), "subnet"),
    ("endpoint: service", "privateEndpoints", "endpoint", AUTOMATIC, "service"),
    ("endpoint: service, by request", "privateEndpoints", "manual", MANUAL, "service"),
    ("endpoint: another type as service", "privateEndpoints", "manual", MANUAL, "balancer"),
    ("network: subnet's security group", "virtualNetworks", "network",
     (*SUBNET, "networkSecurityGroup", "id"), "group"),
    ("network: subnet's route table", "virtualNetworks", "network", (*SUBNET, "routeTable", "id"),
     "group"),
    ("network: subnet's NAT gateway", "virtualNetworks", "network", (*SUBNET, "natGateway", "id"),
     "group"),
)


def references(attacker):
    """(what, path, body, where the reference stands, what of the victim's it can point at)"""
    name = attacker.net.name("confused")
    made = bodies(attacker, f"{attacker.group}{TYPE}loadBalancers/{name}")
    return [
        (what, f"{attacker.group}{TYPE}{kind}/{name}", made[body], ("properties", *where), target)
        for what, kind, body, where, target in FIELDS
    ]


def targets(made):
    """What of the victim's each reference could point at, and its twin that does not exist."""
    none = lambda path: re.sub(r"([^/]+)$", r"\1none", path)  # noqa: E731
    found = {
        "subnet": made.subnet(),
        "pool": made.pool,
        "frontend": f"{made.balancer}/frontendIPConfigurations/fe",
        "probe": f"{made.balancer}/probes/p",
        "nat rule": f"{made.balancer}/inboundNatRules/n",
        "service": made.service,
        "balancer": made.balancer,
        "public": f"{made.group}{TYPE}publicIPAddresses/ip",
        "group": f"{made.group}{TYPE}networkSecurityGroups/nsg",
    }
    return {kind: (path, none(path)) for kind, path in found.items()}


def shape(answer, target, twin=""):
    """The answer without what names the target or the request."""
    text = answer.raw.decode(errors="replace").replace(target, "TARGET")
    for here, there in zip(target.split("/"), twin.split("/")):
        if here != there:
            text = re.sub(rf"(?<=[/']){re.escape(here)}(?=[/'])", "NAME", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "GUID", text)
    headers = {name: value for name, value in answer.headers.items()
               if name not in ("date", "content-length") and "request-id" not in name
               and "ratelimit" not in name and "routing" not in name}
    if "x-ms-correlation-request-id" in headers:
        del headers["x-ms-correlation-request-id"]
    return answer.status, text, headers


def snapshot(net, made):
    """Everything of the victim's, as its owner sees it."""
    paths = (made.vnet, made.balancer, made.service, made.endpoint,
             f"{made.service}/privateEndpointConnections", made.workloads[0].nic)
    return [net.rest.get(path).raw for path in paths]


def test_no_reference_of_any_type_reaches_into_another_subscription(
    net, victim, attacker, ledger
):
    """each reference field of each type, pointed at the victim's resource and at one that is not
    there: the same answer but for the name, nothing made, nothing changed"""
    before = snapshot(net, victim)
    for what, path, body, where, kind in references(attacker):
        told = []
        for target in targets(victim)[kind]:
            wrong = copy.deepcopy(body)
            settle(wrong, *where[:-1])[where[-1]] = target
            answer = attacker.rest.call("PUT", path, wrong)
            assert 400 <= answer.status < 500, f"{what} -> {target}: {answer.raw!r}"
            assert attacker.rest.call("GET", path).status == 404, f"{what}: it was made"
            told.append(shape(answer, target))
        assert told[0] == told[1], f"{what}: the two are told apart"
        ledger.note(f"API client ({attacker.label})", f"reference: {what}", answer.code,
                    f"status {answer.status}")
    assert snapshot(net, victim) == before


def test_others_resources_answer_as_if_they_were_not_there(net, victim, attacker, ledger):
    """every verb on every resource of the victim's, and on its twin that does not exist"""
    none = f"{victim.group}{TYPE}"
    pairs = [
        (victim.vnet, f"{none}virtualNetworks/none"),
        (victim.subnet(), f"{none}virtualNetworks/none/subnets/none"),
        (victim.balancer, f"{none}loadBalancers/none"),
        (victim.pool, f"{none}loadBalancers/none/backendAddressPools/none"),
        (f"{victim.pool}/queryInboundNatRulePortMapping",
         f"{none}loadBalancers/none/backendAddressPools/none/queryInboundNatRulePortMapping"),
        (f"{victim.balancer}/inboundNatRules/n", f"{none}loadBalancers/none/inboundNatRules/none"),
        (victim.service, f"{none}privateLinkServices/none"),
        (f"{victim.service}/privateEndpointConnections",
         f"{none}privateLinkServices/none/privateEndpointConnections"),
        (victim.workloads[0].nic, f"{none}networkInterfaces/none"),
        (victim.endpoint, f"{victim.client.group}{TYPE}privateEndpoints/none"),
        (victim.group, victim.group + "none"),
        (f"{victim.group}{TYPE}virtualNetworks", f"{victim.group}none{TYPE}virtualNetworks"),
        (f"{victim.workloads[0].nic}/attach", f"{none}networkInterfaces/none/attach"),
    ]
    before = snapshot(net, victim)
    for there, absent in pairs:
        for method in ("GET", "PUT", "PATCH", "DELETE", "POST", "HEAD"):
            told = []
            for path, twin in ((there, absent), (absent, there)):
                body = {"location": "local"} if method in ("PUT", "PATCH", "POST") else None
                answer = attacker.rest.call(method, path, body, NETWORK)
                assert answer.status >= 400, (method, path, answer.raw)
                told.append(shape(answer, path, twin))
            assert told[0] == told[1], f"{method} {there}: told apart from {absent}"
        ledger.note(f"API client ({attacker.label})",
                    f"all verbs: {there.split('/')[-2]}/{there.split('/')[-1]}"[:60],
                    "as if absent", f"status {answer.status}")
    assert snapshot(net, victim) == before


def test_an_alias_or_connection_of_another_is_not_guessed(net, victim, attacker, ledger):
    alias = net.rest.get(victim.service)["properties"]["alias"]
    parts = alias.split(".")
    guesses = [alias.replace(parts[1], "00000000-0000-0000-0000-000000000000"),
               alias + "x", parts[0], "*", ""]
    path = f"{attacker.group}{TYPE}privateEndpoints/{net.name('guess')}"
    for guess in guesses:
        body = net.endpoint_body(attacker.subnet, guess, manual=True)
        answer = attacker.rest.call("PUT", path, body)
        assert answer.status in (400, 403, 404), (guess, answer.raw)
    ledger.note(f"API client ({attacker.label})", "alias: guessed", answer.code,
                f"status {answer.status}")
    # the owner's decision is the owner's: the consumer cannot approve its own request
    (connection,) = net.connections(victim.service)
    body = {"name": connection["name"], "properties": {
        "privateLinkServiceConnectionState": {"status": "Approved", "description": "please"}}}
    answer = attacker.rest.call("PUT", connection["id"], body)
    assert answer.status in (403, 404), answer.raw
    (after,) = net.connections(victim.service)
    assert after["properties"]["privateLinkServiceConnectionState"]["status"] == "Pending"
    ledger.note(f"API client ({attacker.label})", "connection: approves itself", answer.code,
                f"status {answer.status}")


def test_lists_show_ones_own_alone(net, victim, attacker, ledger):
    """and what the platform lists do not name strangers"""
    words = {path.split("/")[-1] for path in (victim.vnet, victim.service, victim.balancer)}
    for path in ("/subscriptions", "/tenants", "/culvert/nodes", "/culvert/attachments",
                 "/culvert/principals",
                 f"/subscriptions/{attacker.subscription}/resourceGroups",
                 f"/subscriptions/{attacker.subscription}/resources",
                 f"/subscriptions/{attacker.subscription}{TYPE}privateLinkServices",
                 f"/subscriptions/{attacker.subscription}{TYPE}networkInterfaces"):
        answer = attacker.rest.call("GET", path)
        text = answer.raw.decode()
        assert answer.status in (200, 403, 404) or answer.status == 400, (path, answer.raw)
        if answer.status == 200:
            names = {word for word in words if f'"{word}"' in text}
            assert not names, (path, names)
            if path != "/tenants":
                assert victim.group.split("/")[2] not in json.dumps(answer) or (
                    path == "/subscriptions" and attacker.label == "same tenant"), path
    ledger.note(f"API client ({attacker.label})", "lists: of every kind", "one's own alone",
                "no name of the victim's")
