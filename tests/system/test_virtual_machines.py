# SPDX-License-Identifier: Apache-2.0
"""Virtual machines with Debian's own kernel as consumer and as backend: QEMU opens the TAP with the
options that `culvert attach` prints. Two tenants' machines have the same address."""
import signal
from dataclasses import dataclass

import pytest
from culvert_harness import run
from guest import IFNAME, Guest
from scenes import BACKEND_PORT, nat_addresses, provider
from test_ipv6 import addresses, six_endpoint
from test_router import Place
from workload import echoing

pytestmark = pytest.mark.filterwarnings("error")
RULES = ((80, BACKEND_PORT), (53, 5353, "Udp"))
ADDRESS = "10.0.0.20"  # of both machines
MEGABYTES = 4 << 20


@dataclass
class Tenant:
    """A network whose machine asks a service of its own by an endpoint."""

    group: str
    vnet: str
    balancer: str
    made: object  # the service that it asks
    endpoint: str  # its address
    six: str  # of another endpoint of the same service
    guest: Guest


def tenant(net, name):
    group = net.group()
    vnet = net.vnet(group, six="fd00:1::/64")
    subnet = f"{vnet}/subnets/default"
    balancer = net.balancer(group, subnet, RULES)
    made = provider(net, [net.nodes[1]], rules=RULES, names=[name])
    _, endpoint = net.endpoint(group, subnet, made.service, address="10.0.0.30")
    _, _, six = six_endpoint(net, Place(group, subnet), made.service)
    pool = f"{balancer}/backendAddressPools/pool"
    nic, _ = net.nic(group, subnet, ADDRESS, pool, six=True, pool_by_six=False)
    guest = Guest(net, nic, net.nodes[0], ADDRESS)
    return Tenant(group, vnet, balancer, made, endpoint, six, guest)


@pytest.fixture(name="tenants", scope="module")
def _tenants(net):
    """Both machines start before either is waited for."""
    both = []
    try:
        both += [tenant(net, "one"), tenant(net, "two")]
        yield both
    finally:
        for each in both:
            each.guest.close()
            each.guest.node.culvert("detach", "--nic", each.guest.nic, check=False)


def test_machines_of_two_tenants_with_one_address_each_reach_their_own_service(net, tenants):
    ready = [each.guest.post(f"ask_for_address({IFNAME!r})") for each in tenants]
    for each, number in zip(tenants, ready):
        lease = each.guest.answer(number)
        assert (lease["ip"], lease["mask"], lease["router"]) == (ADDRESS, "24", "10.0.0.1")
        assert int(lease["mtu"]) == each.guest.attached["mtu"]
        assert lease["staticroutes"].split()[-2:] == ["0.0.0.0/0", "10.0.0.1"]
    for each, name in zip(tenants, ("one", "two")):
        backend = each.made.workloads[0]
        super_out = net.nodes[0].counters()["SUPER_OUT"]
        who, (source, _) = each.guest.do(f"ask({each.endpoint!r}, 80, {MEGABYTES})")
        assert who == name
        assert source in nat_addresses(net, each.made)
        assert net.nodes[0].counters()["SUPER_OUT"] > super_out, "its segments are not cut"
        with echoing(backend, 5353):
            assert each.guest.do(f"datagrams({each.endpoint!r}, 53, [1, 1400])")
        assert each.guest.do(f"sh('ping', '-c', '2', '-W', '5', {each.endpoint!r})[0]") == 0
        refused = each.guest.do(f"refusal({each.endpoint!r}, 81)")
        assert refused == "ConnectionRefusedError"


def test_machines_find_their_router_and_address_by_ipv6_too(net, tenants):
    """The two have the same one."""
    ready = [each.guest.post(f"ask_for_six({IFNAME!r})") for each in tenants]
    own = {each.guest.answer(number) for each, number in zip(tenants, ready)}
    assert own == {addresses(net, tenants[0].guest.nic)[1]}
    for each, name in zip(tenants, ("one", "two")):
        who, (source, _) = each.guest.do(f"ask({each.six!r}, 80, {MEGABYTES})")
        assert who == name
        assert source in nat_addresses(net, each.made)
        assert each.guest.do(f"sh('ping', '-6', '-c', '2', '-W', '5', {each.six!r})[0]") == 0


def test_a_machine_is_the_backend_of_a_service(net, tenants):
    each = tenants[0]
    service = net.service(each.group, each.balancer, f"{each.vnet}/subnets/default")
    each.guest.do(f"serve({BACKEND_PORT}, 'machine')")
    each.guest.do("echo_datagrams(5353)")
    for node in net.nodes:
        client_group = net.group()
        vnet = net.vnet(client_group)
        subnet = f"{vnet}/subnets/default"
        client = net.workload(client_group, subnet, node, ADDRESS)
        _, endpoint = net.endpoint(client_group, subnet, service)
        assert client.ask(endpoint, 80, bytes(MEGABYTES), timeout=60)[0] == "machine"
        seen = each.guest.do(f"[peer[0] for peer in seen({BACKEND_PORT})]")
        assert set(seen) <= {
            config["properties"]["privateIPAddress"]
            for config in net.rest.get(service)["properties"]["ipConfigurations"]
        }
        assert client.run("ping", "-c", "1", "-W", "10", endpoint)


def test_a_machine_does_not_notice_that_the_agent_is_killed(net, tenants):
    each = tenants[1]
    node, guest = each.guest.node, each.guest
    place = ["ip", "-n", node.namespace, "-j", "link", "show", guest.tap]
    before = run(*place).stdout
    guest.do(f"connect('long', {each.endpoint!r}, 80)")
    assert guest.do("echo('long', 100000)") == "two"
    node.agent.stop(signal.SIGKILL)
    assert guest.do("echo('long', 100000)") == "two"
    assert guest.do(f"ask({each.endpoint!r}, 80, 1000)[0]") == "two", "a new connection"
    assert guest.do(f"ask_for_address({IFNAME!r})['ip']") == ADDRESS, "DHCP needs no agent"
    node.start().wait_ready()
    assert guest.do("echo('long', 100000)") == "two"
    assert run(*place).stdout == before, "the interface is the same"
    (listed,) = [one for one in node.status()["nics"] if one["id"].lower() == guest.nic.lower()]
    assert listed["tap"] and listed["carrying"]
