# SPDX-License-Identifier: Apache-2.0
"""Backends that are probed: what their nodes and others say of them, and who answers."""
import json

from culvert_harness import wait_for

LIMIT_S = 60  # generous: what is waited for takes some tenths of a second
PROBE_PORT = 8000
EVERY_MS = 50
FLAGS = ("--probe-interval-ms", str(EVERY_MS))  # of each agent


def http(path="/health", protocol="Http", **more):
    return {
        "protocol": protocol,
        "port": PROBE_PORT,
        "requestPath": path,
        "intervalInSeconds": 5,
        "probeThreshold": 2,
    } | more


def tcp(port=PROBE_PORT, **more):
    return {"protocol": "Tcp", "port": port, "intervalInSeconds": 5, "probeThreshold": 2} | more


def backends(node):
    """What a node says of the backends that it knows, by the lower-case id of their NICs."""
    shown = json.loads(node.culvert("backends", "--output", "json").stdout)
    return {one["nic"].lower(): one for one in shown["backends"]}


def state(node, workload):
    return backends(node).get(workload.nic.lower(), {}).get("state")


def wait_state(node, workload, wanted):
    wait_for(
        lambda: state(node, workload) == wanted,
        LIMIT_S,
        0.02,
        f"{workload.nic} {wanted} at {node.name}",
    )


def answerers(client, address, count=40, port=80):
    """The names of who answered `count` new connections; each must be answered."""
    return {client.ask(address, port, timeout=5.0)[0] for _ in range(count)}
