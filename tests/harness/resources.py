# SPDX-License-Identifier: Apache-2.0
"""ARM resources by one call each; ids are paths."""
import itertools

from rest import NETWORK_OLD, RESOURCES


def of_version(config, six):
    return config | ({"privateIPAddressVersion": "IPv6"} if six else {})


class Resources:
    """What a topology can make: `rest` and `subscription` are the caller's, unless a call names
    others."""

    rest = None
    subscription = ""

    def __init__(self):
        self._names = itertools.count(1)

    def name(self, stem):
        return f"{stem}{next(self._names)}"

    def group(self, name=None, subscription=None, rest=None):
        name = name or self.name("rg")
        path = f"/subscriptions/{subscription or self.subscription}/resourceGroups/{name}"
        (rest or self.rest).put(path, {"location": "local"}, RESOURCES)
        return path

    def customer(self, tenant=False):
        """Another subscription and its owner, of the same tenant or of one of its own:
        (subscription, Rest)."""
        name = self.name("customer")
        where = {}
        if tenant:
            made = self.rest.good("POST", "/culvert/tenants", {"name": self.name("tenant")}, None)
            where["tenant"] = made["id"]
        subscription = self.rest.good(
            "POST", "/culvert/subscriptions", {"name": name} | where, None
        )["id"]
        role = {"name": name, "role": "Owner", "scope": f"/subscriptions/{subscription}"}
        who = self.rest.good("POST", "/culvert/principals", role | where, None)
        credentials = {"client_id": who["clientId"], "client_secret": who["clientSecret"]}
        return subscription, self.rest.other(credentials)

    def vnet(self, group, prefix="10.0.0.0/16", subnets=None, name=None, rest=None, six=None):
        """A VNet; subnets: name -> prefix. Service policies are off in all, so that any may hold
        NAT addresses. `six`: the IPv6 prefix of the VNet and of its one subnet."""
        also = [six] if six else []

        def of(prefix):
            return {"addressPrefixes": [prefix, six]} if six else {"addressPrefix": prefix}

        subnets = subnets or {"default": prefix.rsplit(".", 2)[0] + ".0.0/24"}
        path = f"{group}/providers/Microsoft.Network/virtualNetworks/{name or self.name('vnet')}"
        (rest or self.rest).put(
            path,
            {
                "location": "local",
                "properties": {
                    "addressSpace": {"addressPrefixes": [prefix, *also]},
                    "subnets": [
                        {
                            "name": n,
                            "properties": {
                                **of(p),
                                "privateLinkServiceNetworkPolicies": "Disabled",
                            },
                        }
                        for n, p in subnets.items()
                    ],
                },
            },
        )
        return path

    def nic(
        self,
        group,
        subnet,
        address=None,
        pool=None,
        name=None,
        rest=None,
        six=False,
        pool_by_six=True,
    ):
        """`six`: it has IPv6, and is by that in the pool unless told otherwise."""
        path = f"{group}/providers/Microsoft.Network/networkInterfaces/{name or self.name('nic')}"
        config = {"subnet": {"id": subnet}}
        if address:
            config |= {"privateIPAddress": address, "privateIPAllocationMethod": "Static"}
        configs = [{"name": "ip1", "properties": config}]
        if six:
            also = of_version({"subnet": {"id": subnet}}, six)
            configs.append({"name": "ip6", "properties": also})
        if pool:
            member = configs[-1 if pool_by_six else 0]
            member["properties"]["loadBalancerBackendAddressPools"] = [{"id": pool}]
        made = (rest or self.rest).put(
            path,
            {
                "location": "local",
                "properties": {"ipConfigurations": configs},
            },
        )
        return path, made["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]

    def balancer(
        self,
        group,
        subnet,
        rules,
        name=None,
        sku="Standard",
        frontend=None,
        rest=None,
        probe=None,
        six=False,
    ):
        """rules: (frontend port, backend port[, protocol[, load distribution]]); probe: properties
        of the one that all rules have; `six`: the frontend is of IPv6."""
        path = f"{group}/providers/Microsoft.Network/loadBalancers/{name or self.name('lb')}"
        config = of_version({"subnet": {"id": subnet}}, six)
        if frontend:
            config |= {"privateIPAddress": frontend, "privateIPAllocationMethod": "Static"}
        body = []
        for number, rule in enumerate(rules):
            front, back, *more = rule
            body.append(
                {
                    "name": f"rule{number}",
                    "properties": {
                        "frontendIPConfiguration": {"id": f"{path}/frontendIPConfigurations/fe"},
                        "backendAddressPools": [{"id": f"{path}/backendAddressPools/pool"}],
                        "frontendPort": front,
                        "backendPort": back,
                        "protocol": more[0] if more else "Tcp",
                        "loadDistribution": more[1] if len(more) > 1 else "Default",
                    }
                    | ({"probe": {"id": f"{path}/probes/probe"}} if probe else {}),
                }
            )
        (rest or self.rest).put(
            path,
            {
                "location": "local",
                "sku": {"name": sku},
                "properties": {
                    "frontendIPConfigurations": [{"name": "fe", "properties": config}],
                    "backendAddressPools": [{"name": "pool"}],
                    "loadBalancingRules": body,
                    "probes": [{"name": "probe", "properties": probe}] if probe else [],
                },
            },
        )
        return path

    def service(
        self, group, balancer, subnet, nat=None, name=None, auto=True, rest=None, six=False
    ):
        path = f"{group}/providers/Microsoft.Network/privateLinkServices/{name or self.name('pls')}"
        configs = []
        for number, address in enumerate(nat or [None]):
            config = of_version({"subnet": {"id": subnet}}, six)
            if address:
                config |= {"privateIPAddress": address, "privateIPAllocationMethod": "Static"}
            configs.append({"name": f"nat{number}", "properties": config})
        subscriptions = [self.subscription] if auto else []
        (rest or self.rest).put(
            path,
            {
                "location": "local",
                "properties": {
                    "loadBalancerFrontendIpConfigurations": [
                        {"id": f"{balancer}/frontendIPConfigurations/fe"}
                    ],
                    "ipConfigurations": configs,
                    "visibility": {"subscriptions": ["*"]},
                    "autoApproval": {"subscriptions": subscriptions},
                },
            },
        )
        return path

    def endpoint_body(self, subnet, service, manual=False, address=None, message=""):
        connection = {"name": "connection", "properties": {"privateLinkServiceId": service}}
        if message:
            connection["properties"]["requestMessage"] = message
        kind = "manualPrivateLinkServiceConnections" if manual else "privateLinkServiceConnections"
        properties = {"subnet": {"id": subnet}, kind: [connection]}
        if address:
            properties["ipConfigurations"] = [
                {"name": "ip", "properties": {"privateIPAddress": address}}
            ]
        return {"location": "local", "properties": properties}

    def endpoint(self, group, subnet, service, manual=False, address=None, name=None, rest=None):
        """Makes an endpoint; returns its path and its address."""
        rest = rest or self.rest
        path = f"{group}/providers/Microsoft.Network/privateEndpoints/{name or self.name('pe')}"
        made = rest.put(path, self.endpoint_body(subnet, service, manual, address), NETWORK_OLD)
        return path, self.endpoint_address(made, rest)

    def endpoint_address(self, made, rest=None):
        nic = made["properties"]["networkInterfaces"][0]["id"]
        answer = (rest or self.rest).get(nic)
        return answer["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]

    def connections(self, service):
        return self.rest.get(f"{service}/privateEndpointConnections")["value"]

    def connection_of(self, service, endpoint):
        return next(
            c
            for c in self.connections(service)
            if c["properties"]["privateEndpoint"]["id"].lower() == endpoint.lower()
        )

    def decide(self, service, endpoint, status, rest=None):
        """The owner approves or rejects an endpoint's connection."""
        connection = self.connection_of(service, endpoint)
        return (rest or self.rest).put(
            connection["id"],
            {
                "name": connection["name"],
                "properties": {
                    "privateLinkServiceConnectionState": {
                        "status": status,
                        "description": "by a test",
                    }
                },
            },
        )
