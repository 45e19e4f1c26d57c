# SPDX-License-Identifier: Apache-2.0
"""A small client of the API: one kept-alive HTTPS connection, sign-in with the first principal."""
import http.client
import json
import ssl
import time
import urllib.parse

NETWORK_VERSION = "2024-05-01"
GROUP_VERSION = "2024-11-01"


class ArmError(RuntimeError):
    """an answer of 400 or more, or an operation that failed"""


class Arm:
    """`bootstrap` is what culvertd printed on its first start; `ca` the path of its authority"""

    def __init__(self, control, ca, bootstrap, group):
        url = urllib.parse.urlsplit(control)
        context = ssl.create_default_context(cafile=ca)
        self.http = http.client.HTTPSConnection(url.hostname, url.port, timeout=30, context=context)
        self.group_id = f"/subscriptions/{bootstrap['subscription']}/resourceGroups/{group}"
        form = {
            "grant_type": "client_credentials",
            "client_id": bootstrap["client_id"],
            "client_secret": bootstrap["client_secret"],
            "scope": f"{control}/.default",
        }
        self.headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.call("POST", "/adfs/oauth2/token", urllib.parse.urlencode(form))[1]
        self.headers = {
            "Content-Type": "application/json",
            "Authorization": "Bearer " + answer["access_token"],
        }

    def call(self, method, target, body=None):
        """(headers, document); errors as ArmError with the server's words"""
        if isinstance(body, dict):
            body = json.dumps(body)
        self.http.request(method, target, body=body, headers=self.headers)
        answer = self.http.getresponse()
        data = answer.read()
        document = json.loads(data) if data else None
        if answer.status >= 400:
            raise ArmError(f"{method} {target}: {answer.status} {data.decode()[:400]}")
        return answer.headers, document

    def id_of(self, kind, name):
        return f"{self.group_id}/providers/Microsoft.Network/{kind}/{name}"

    def put_group(self):
        target = f"{self.group_id}?api-version={GROUP_VERSION}"
        return self.call("PUT", target, {"location": "local"})[1]

    def put(self, kind, name, properties, **more):
        """PUTs a network resource and returns it when it is Succeeded"""
        target = f"{self.id_of(kind, name)}?api-version={NETWORK_VERSION}"
        body = {"location": "local", "properties": properties, **more}
        headers, document = self.call("PUT", target, body)
        while document["properties"]["provisioningState"] != "Succeeded":
            if document["properties"]["provisioningState"] == "Failed":
                raise ArmError(f"PUT {target}: Failed: {document}")
            operation = headers.get("Azure-AsyncOperation")
            if operation:
                state = self.call("GET", operation[operation.index("/", 8) :])[1]
                if state["status"] == "Failed":
                    raise ArmError(f"PUT {target}: {state}")
            time.sleep(0.005)
            document = self.call("GET", target)[1]
        return document


def vnet(prefix, **subnets):
    """properties of a virtual network; subnet name: (prefix, may hold a service)"""
    return {
        "addressSpace": {"addressPrefixes": [prefix]},
        "subnets": [
            {
                "name": name,
                "properties": {
                    "addressPrefix": subnet,
                    "privateLinkServiceNetworkPolicies": "Disabled" if service else "Enabled",
                },
            }
            for name, (subnet, service) in subnets.items()
        ],
    }


def address(name, subnet, ip=None, **more):
    """one ipConfiguration of an interface, a frontend or a service"""
    properties = {"subnet": {"id": subnet}, "privateIPAllocationMethod": "Dynamic", **more}
    if ip:
        properties |= {"privateIPAllocationMethod": "Static", "privateIPAddress": ip}
    return {"name": name, "properties": properties}


def balancer(lb_id, subnet, frontend, ports):
    """properties of a load balancer with one frontend, one pool and for each port a rule by TCP and
    one by UDP"""
    front, pool = f"{lb_id}/frontendIPConfigurations/front", f"{lb_id}/backendAddressPools/pool"
    return {
        "frontendIPConfigurations": [address("front", subnet, frontend)],
        "backendAddressPools": [{"name": "pool"}],
        "loadBalancingRules": [
            {
                "name": f"{protocol}{port}",
                "properties": {
                    "frontendIPConfiguration": {"id": front},
                    "backendAddressPool": {"id": pool},
                    "protocol": protocol,
                    "frontendPort": port,
                    "backendPort": port,
                },
            }
            for port in ports
            for protocol in ("Tcp", "Udp")
        ],
    }


def endpoint(subnet, service, ip=None):
    """properties of a private endpoint to a service of one's own subscription"""
    link = {"name": "link", "properties": {"privateLinkServiceId": service}}
    properties = {"subnet": {"id": subnet}, "privateLinkServiceConnections": [link]}
    if ip:
        properties["ipConfigurations"] = [
            {"name": "address", "properties": {"privateIPAddress": ip}}
        ]
    return properties
