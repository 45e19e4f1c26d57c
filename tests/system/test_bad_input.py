# SPDX-License-Identifier: Apache-2.0
"""What is wrong is refused with ARM's error body that names field and remedy, and changes nothing
in store or kernel."""
import contextlib
import json
import socket
import ssl

import pytest
from culvert_harness import BIN, NETWORK, NETWORK_OLD, RESOURCES, inside, run
from scenes import connects, consumer, provider


@pytest.fixture(scope="module")
def world(net):
    """A provider and a consumer whose endpoint works, and what bad bodies refer to."""
    made = provider(net, [net.nodes[0]], addresses=["10.0.0.50"])
    client = consumer(net, net.nodes[0], address="10.0.0.50")
    endpoint, address = net.endpoint(
        client.group, client.subnet(), made.service, address="10.0.0.60"
    )
    basic = net.balancer(made.group, made.subnet(), [(80, 8080)], sku="Basic")
    policed = f"{made.group}/providers/Microsoft.Network/virtualNetworks/policed"
    net.rest.put(
        policed,
        {
            "location": "local",
            "properties": {
                "addressSpace": {"addressPrefixes": ["10.9.0.0/16"]},
                "subnets": [{"name": "default", "properties": {"addressPrefix": "10.9.0.0/24"}}],
            },
        },
    )
    policed_balancer = net.balancer(made.group, f"{policed}/subnets/default", [(80, 8080)])
    return {
        "net": net,
        "policed_balancer": policed_balancer,
        "made": made,
        "client": client,
        "endpoint": endpoint,
        "address": address,
        "basic": basic,
        "policed": policed,
    }


def snapshot(world):
    """Everything the API lists and everything the kernels were told."""
    net = world["net"]
    listed = []
    for group in (world["made"].group, world["client"].group):
        for kind in (
            "virtualNetworks",
            "networkInterfaces",
            "loadBalancers",
            "privateLinkServices",
            "privateEndpoints",
        ):
            listed.append(net.rest.get(f"{group}/providers/Microsoft.Network/{kind}"))
    return json.dumps(listed, sort_keys=True), [node.status()["intent"] for node in net.nodes]


def network(world, kind, name="bad"):
    return f"{world['made'].group}/providers/Microsoft.Network/{kind}/{name}"


def vnet_body(prefixes=("10.0.0.0/16",), subnets=()):
    return {
        "location": "local",
        "properties": {
            "addressSpace": {"addressPrefixes": list(prefixes)},
            "subnets": [{"name": n, "properties": {"addressPrefix": p}} for n, p in subnets],
        },
    }


def nic_body(subnet, address):
    return {
        "location": "local",
        "properties": {
            "ipConfigurations": [
                {
                    "name": "ip1",
                    "properties": {
                        "subnet": {"id": subnet},
                        "privateIPAddress": address,
                        "privateIPAllocationMethod": "Static",
                    },
                }
            ]
        },
    }


def service_body(balancer, subnet, addresses=1):
    return {
        "location": "local",
        "properties": {
            "loadBalancerFrontendIpConfigurations": [
                {"id": f"{balancer}/frontendIPConfigurations/fe"}
            ],
            "ipConfigurations": [
                {"name": f"nat{n}", "properties": {"subnet": {"id": subnet}}}
                for n in range(addresses)
            ],
        },
    }


def two_connections(world):
    body = world["net"].endpoint_body(world["client"].subnet(), world["made"].service)
    body["properties"]["privateLinkServiceConnections"] *= 2
    return body


# sentence: (path, body, HTTP status, ARM code or "" for any, words of the message)
CASES = {
    "JSON that does not parse": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: b'{"location": ',
        400,
        "InvalidRequestContent",
        [],
    ),
    "a body that is no object": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: b"[1, 2]",
        400,
        "",
        [],
    ),
    "a number where a list belongs": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: {"location": "local", "properties": {"addressSpace": {"addressPrefixes": 5}}},
        400,
        "",
        ["addressPrefixes"],
    ),
    "a network without addresses": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: {"location": "local", "properties": {}},
        400,
        "",
        ["addressSpace"],
    ),
    "a prefix that is none": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: vnet_body(["10.0.0.0/33"]),
        400,
        "",
        ["10.0.0.0/33"],
    ),
    "overlapping subnets": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: vnet_body(subnets=[("a", "10.0.0.0/24"), ("b", "10.0.0.128/25")]),
        400,
        "NetcfgSubnetRangesOverlap",
        [],
    ),
    "a subnet outside its network": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: vnet_body(subnets=[("a", "10.1.0.0/24")]),
        400,
        "NetcfgSubnetRangeOutsideVnet",
        [],
    ),
    "an interface in a subnet that does not exist": (
        lambda w: network(w, "networkInterfaces"),
        lambda w: nic_body(w["made"].subnet("none"), "10.0.0.61"),
        400,
        "InvalidResourceReference",
        ["subnet"],
    ),
    "an address outside its subnet": (
        lambda w: network(w, "networkInterfaces"),
        lambda w: nic_body(w["made"].subnet(), "10.0.7.7"),
        400,
        "PrivateIPAddressNotInSubnet",
        ["10.0.7.7"],
    ),
    "an address that is taken": (
        lambda w: network(w, "networkInterfaces"),
        lambda w: nic_body(w["made"].subnet(), "10.0.0.50"),
        400,
        "PrivateIPAddressInUse",
        ["10.0.0.50"],
    ),
    "a ninth NAT address": (
        lambda w: network(w, "privateLinkServices"),
        lambda w: service_body(w["made"].balancer, w["made"].subnet(), 9),
        400,
        "",
        ["ipConfigurations", "8"],
    ),
    "a service on a Basic load balancer": (
        lambda w: network(w, "privateLinkServices"),
        lambda w: service_body(w["basic"], w["made"].subnet()),
        400,
        "PrivateLinkServiceCannotUseBasicLoadBalancer",
        ["Standard"],
    ),
    "a frontend of another service": (
        lambda w: network(w, "privateLinkServices"),
        lambda w: service_body(w["made"].balancer, w["made"].subnet()),
        400,
        ""
        "PrivateLinkServiceCannotReferenceFrontendIpConfigurationReferencedBy"
        "DifferentPrivateLinkService",
        [],
    ),
    "NAT addresses where policies are on": (
        lambda w: network(w, "privateLinkServices"),
        lambda w: service_body(w["policed_balancer"], f"{w['policed']}/subnets/default"),
        400,
        "PrivateLinkServiceCannotBeCreatedInSubnetThatHasNetworkPoliciesEnabled",
        ["Disabled"],
    ),
    "an endpoint with two connections": (
        lambda w: network(w, "privateEndpoints"),
        two_connections,
        400,
        "",
        ["privateLinkServiceConnections"],
    ),
    "an endpoint without a connection": (
        lambda w: network(w, "privateEndpoints"),
        lambda w: {"location": "local", "properties": {"subnet": {"id": w["client"].subnet()}}},
        400,
        "",
        ["privateLinkServiceConnections"],
    ),
    "an endpoint to a service that does not exist": (
        lambda w: network(w, "privateEndpoints"),
        lambda w: w["net"].endpoint_body(w["client"].subnet(), w["made"].service + "x"),
        400,
        "InvalidResourceReference",
        ["privateLinkServiceId"],
    ),
    "an endpoint to a service of a subscription that does not exist": (
        lambda w: network(w, "privateEndpoints"),
        lambda w: w["net"].endpoint_body(
            w["client"].subnet(),
            w["made"].service.replace(
                w["net"].subscription, "00000000-0000-0000-0000-00000000dead"
            ),
        ),
        400,
        "",
        ["privateLinkServiceId"],
    ),
    "an endpoint whose address is taken": (
        lambda w: network(w, "privateEndpoints"),
        lambda w: w["net"].endpoint_body(
            w["client"].subnet(), w["made"].service, address="10.0.0.50"
        ),
        400,
        "PrivateIPAddressInUse",
        ["10.0.0.50"],
    ),
    "a request message that is too long": (
        lambda w: network(w, "privateEndpoints"),
        lambda w: w["net"].endpoint_body(
            w["client"].subnet(), w["made"].service, manual=True, message="x" * 141
        ),
        400,
        "",
        ["requestMessage", "140"],
    ),
    "a name that is none": (
        lambda w: network(w, "virtualNetworks", "-bad-"),
        lambda w: vnet_body(),
        400,
        "InvalidResourceName",
        [],
    ),
    "a body over 4 MiB": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: b'{"x": "' + b"x" * (4 << 20) + b'"}',
        413,
        "",
        [],
    ),
    "a body nested too deeply": (
        lambda w: network(w, "virtualNetworks"),
        lambda w: b'{"a":' * 100 + b"1" + b"}" * 100,
        400,
        "",
        [],
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_refuses_and_changes_nothing(net, world, sentence):
    path, body, status, code, words = CASES[sentence]
    before = snapshot(world)
    rest = net.rest.other()
    try:
        answer = rest.call("PUT", path(world), body(world), NETWORK_OLD)
    except ConnectionError:
        assert status == 413, "only a body that is too large may end the connection"
        answer = None
    finally:
        rest.close()
    if answer is not None:
        assert answer.status == status, answer.raw
        assert answer.code and answer.message, answer.raw
        if code:
            assert answer.code == code, answer.raw
        for word in words:
            assert word in answer.raw.decode(), answer.raw
    assert snapshot(world) == before
    assert rest.call("GET", path(world), None, NETWORK).status in (404, 400)
    rest.close()


def test_api_version_is_required_and_must_be_a_date(net, world):
    group = world["made"].group
    assert net.rest.call("GET", group, None, None).code == "MissingApiVersionParameter"
    assert net.rest.call("GET", group, None, "yesterday").code == "InvalidApiVersionParameter"


def test_what_does_not_exist_is_404_and_what_is_unknown_is_said_to_be(net, world):
    group = world["made"].group
    assert net.rest.call("GET", f"{group}none", None, RESOURCES).code == "ResourceGroupNotFound"
    gone = net.rest.call("GET", network(world, "virtualNetworks", "none"))
    assert (gone.status, gone.code) in ((404, "ResourceNotFound"), (404, "NotFound"))
    nobody = net.rest.call(
        "GET", "/subscriptions/00000000-0000-0000-0000-00000000dead/resourceGroups", None, RESOURCES
    )
    assert (nobody.status, nobody.code) in (
        (404, "SubscriptionNotFound"),
        (403, "AuthorizationFailed"),
    )
    kind = net.rest.call("GET", f"{group}/providers/Microsoft.Network/teapots/x")
    assert kind.status in (400, 404) and kind.code in (
        "InvalidResourceType",
        "NoRegisteredProviderFound",
    )


def test_callers_without_a_token_or_with_a_bad_one_learn_nothing(net, world):
    rest = net.rest.other()
    target = f"{world['made'].service}?api-version={NETWORK}"
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}):
        answer = rest.exchange("GET", target, None, headers)
        assert answer.status == 401
        assert answer.code in ("AuthenticationFailed", "InvalidAuthenticationToken")
        assert "bearer" in answer.headers["www-authenticate"].lower()
    rest.close()


def test_what_is_in_use_is_not_deleted(net, world):
    made, client = world["made"], world["client"]
    before = snapshot(world)
    for path, code in (
        (made.service, "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted"),
        (made.balancer, "CannotDeleteLoadBalancerWithPrivateLinkService"),
        (made.subnet(), "InUseSubnetCannotBeDeleted"),
        (client.vnet, ""),
    ):
        answer = net.rest.call("DELETE", path)
        assert answer.status in (400, 409), (path, answer.raw)
        assert not code or answer.code == code, answer.raw
    assert snapshot(world) == before
    assert connects(client.workload, world["address"])


def test_a_flood_of_headers_is_cut_and_others_are_served(net):
    rest = net.rest.other()
    try:
        answer = rest.exchange(
            "GET",
            "/metadata/endpoints?api-version=2022-09-01",
            None,
            {f"X-Flood-{n}": "y" * 100 for n in range(2000)},
        )
        assert answer.status in (400, 413, 431)
    except (ConnectionError, OSError):
        pass
    finally:
        rest.close()
    assert net.rest.exchange("GET", "/metadata/endpoints?api-version=2022-09-01").status == 200


def test_garbage_instead_of_tls_does_no_harm(net):
    for port in (8443, 8444):
        for _ in range(20):
            with inside(net.control), socket.create_connection(
                (net.control_address, port), timeout=5
            ) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
    held = []
    for _ in range(50):  # half-open handshakes
        with inside(net.control):
            held.append(socket.create_connection((net.control_address, 8443), timeout=5))
    assert net.rest.exchange("GET", "/metadata/endpoints?api-version=2022-09-01").status == 200
    for sock in held:
        sock.close()
    for node in net.nodes:
        assert node.wait_ready()["connected"]


def test_a_node_certificate_is_needed_to_hear_intent(net):
    """without one the server ends the connection before it says anything of HTTP/2; the nodes are
    unaffected"""
    context = ssl.create_default_context(cafile=str(net.ca))
    context.set_alpn_protocols(["h2"])
    heard = b""
    with inside(net.control):
        raw = socket.create_connection((net.control_address, 8444), timeout=5)
    with raw, contextlib.suppress(ssl.SSLError, ConnectionError):
        with context.wrap_socket(raw, server_hostname=net.control_address) as sock:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            heard = sock.recv(100)
    assert heard == b""
    for node in net.nodes:
        assert node.status()["connected"]


def test_a_store_that_is_damaged_or_newer_is_refused_by_name(net, tmp_path):
    data = tmp_path / "control"
    data.mkdir()
    store = None
    for existing in (net.folder / "control").iterdir():
        if existing.suffix in (".db", ".sqlite", ".sqlite3") or existing.name == "store":
            store = existing.name
    assert store, "the store's file was not found"
    (data / store).write_bytes(b"this is no database, it only looks like one from far away" * 100)
    done = run(
        "timeout",
        "20",
        BIN / "culvertd",
        "--data-dir",
        data,
        "--listen",
        "127.0.0.1:0",
        "--intent-listen",
        "127.0.0.1:0",
        "--print-bootstrap",
        tmp_path / "b.json",
        check=False,
    )
    assert done.returncode not in (0, 124), "it must not start"
    assert store in done.stderr + done.stdout or "store" in done.stderr + done.stdout
