# SPDX-License-Identifier: Apache-2.0
"""The two sides that most tests need: a provider with backends behind a service, and a consumer."""
import copy
import socket
import struct
from dataclasses import dataclass, field

BACKEND_PORT = 8080


@dataclass
class Provider:
    group: str
    vnet: str
    balancer: str
    service: str
    workloads: list = field(default_factory=list)

    def subnet(self, name="default"):
        return f"{self.vnet}/subnets/{name}"

    @property
    def pool(self):
        return f"{self.balancer}/backendAddressPools/pool"


@dataclass
class Consumer:
    group: str
    vnet: str
    workload: object = None

    def subnet(self, name="default"):
        return f"{self.vnet}/subnets/{name}"


def provider(
    net,
    nodes,
    *,
    rules=((80, BACKEND_PORT),),
    nat=None,
    auto=True,
    addresses=None,
    names=None,
    probe=None,
    six=None,
):
    """A VNet 10.0.0.0/16 with a service whose backends are on `nodes`, in order; each says its
    name. `six`: the VNet's IPv6 prefix, by which the backends are reached."""
    group = net.group()
    vnet = net.vnet(group, six=six)
    subnet = f"{vnet}/subnets/default"
    balancer = net.balancer(group, subnet, rules, probe=probe, six=bool(six))
    service = net.service(group, balancer, subnet, nat=nat, auto=auto, six=bool(six))
    made = Provider(group, vnet, balancer, service)
    for number, node in enumerate(nodes):
        address = addresses[number] if addresses else None
        workload = net.workload(group, subnet, node, address, made.pool, six=bool(six))
        for port in sorted({rule[1] for rule in rules}):
            name = names[number] if names else f"backend{number}"
            workload.serve(port, name, socket.AF_INET6 if six else socket.AF_INET)
        made.workloads.append(workload)
    return made


def consumer(net, node, *, address=None, group=None):
    """A VNet 10.0.0.0/16, the same addresses as every provider's, with a workload."""
    group = group or net.group()
    vnet = net.vnet(group)
    return Consumer(group, vnet, net.workload(group, f"{vnet}/subnets/default", node, address))


def nat_addresses(net, made):
    configs = net.rest.get(made.service)["properties"]["ipConfigurations"]
    return {config["properties"]["privateIPAddress"] for config in configs}


def with_nat(net, made, addresses):
    """The service's body with these NAT addresses."""
    body = copy.deepcopy(net.rest.get(made.service))
    body["properties"]["ipConfigurations"] = [
        {
            "name": f"nat-{address}",
            "properties": {
                "subnet": {"id": made.subnet()},
                "privateIPAddress": address,
                "privateIPAllocationMethod": "Static",
                "primary": number == 0,
            },
        }
        for number, address in enumerate(addresses)
    ]
    return body


def set_nat(net, made, addresses):
    net.rest.put(made.service, with_nat(net, made, addresses))
    assert nat_addresses(net, made) == set(addresses)


def link_id(net, made, endpoint):
    return int(net.connection_of(made.service, endpoint)["properties"]["linkIdentifier"])


def index_of(node, workload):
    """The NIC index of a workload on its node."""
    return next(
        nic["index"] for nic in node.status()["nics"] if nic["id"].lower() == workload.nic.lower()
    )


def tcp_info(sock):
    """(retransmissions, bytes received) of a connection (linux/tcp.h struct tcp_info)."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from("I", raw, 100)[0], struct.unpack_from("Q", raw, 128)[0]


def connects(workload, address, port=80, timeout=1.0):
    """Does a new connection come about?"""
    try:
        workload.connect(address, port, timeout).close()
        return True
    except OSError:
        return False


def moved(before, after, names):
    return sum(after.get(name, 0) - before.get(name, 0) for name in names)
