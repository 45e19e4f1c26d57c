#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench.py does from inside the node's namespace, where culvertd listens. Prints JSON.

  in_node.py DIRECTORY LISTEN setup PE BACKEND NAT_FROM NAT_COUNT PORT...
  in_node.py DIRECTORY LISTEN provision COUNT CONSUMER_NAMESPACE PORT
"""
import json
import statistics
import subprocess
import sys
import time

from arm import endpoint
from installation import Installation, inside, private_link, sign_in

# runs in the consumer's namespace: one line in, an address; one line out, how the first SYN fared
PROBE = """
import socket, sys
port = int(sys.argv[1])
for line in sys.stdin:
    s = socket.socket()
    s.settimeout(0.9)  # less than TCP's first retransmission, 1 s (RFC 6298 2.1)
    try:
        s.connect((line.strip(), port))
        print("ok", flush=True)
    except OSError as error:
        print(error, flush=True)
    s.close()
"""


def setup(arm, pe, backend, nat_from, nat_count, *ports):
    ports = [int(port) for port in ports]
    client, server = private_link(arm, ports, pe, backend, int(nat_from), int(nat_count))
    return {"client": client, "server": server}


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def provision(arm, count, consumer, port):
    """The latency of each PUT to Succeeded, and whether the first packet after it got through."""
    subnet = arm.id_of("virtualNetworks", "consumer") + "/subnets/many"
    service = arm.id_of("privateLinkServices", "service")
    # a network holds 1,000 endpoints at most: room for exactly ours
    arm.call("DELETE", arm.id_of("privateEndpoints", "pe") + "?api-version=2024-05-01")
    probe = subprocess.Popen(
        inside(consumer, sys.executable, "-c", PROBE, port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    times, lost = [], []
    for i in range(int(count)):
        properties = endpoint(subnet, service)
        start = time.perf_counter()
        made = arm.put("privateEndpoints", f"many{i}", properties)
        times.append((time.perf_counter() - start) * 1e3)
        address = address_of(arm, made)
        print(address, file=probe.stdin, flush=True)
        answer = probe.stdout.readline().strip()
        if answer != "ok":
            lost.append(f"{address}: {answer}")
    probe.stdin.close()
    probe.wait(10)
    hundreds = range(0, len(times), 100)
    return {
        "what": "PUT of a private endpoint to Succeeded, one kept-alive HTTPS connection, fsync",
        "unit": "ms",
        "n": len(times),
        "p50": statistics.median(times),
        "p90": percentile(times, 0.9),
        "p99": percentile(times, 0.99),
        "min": min(times),
        "max": max(times),
        # flat when the cost of one endpoint does not grow with their number
        "p50_of_each_100": [statistics.median(times[i : i + 100]) for i in hundreds],
        "first_packet_passed": len(times) - len(lost),
        "first_packet_lost": lost[:20],
    }


def address_of(arm, made):
    """the address of an endpoint, from its interface"""
    nic = made["properties"]["networkInterfaces"][0]["id"]
    shown = arm.call("GET", f"{nic}?api-version=2024-05-01")[1]
    return shown["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]


def main():
    directory, listen, action, *words = sys.argv[1:]
    arm = sign_in(Installation(directory, "", listen))
    print(json.dumps({"setup": setup, "provision": provision}[action](arm, *words)))


if __name__ == "__main__":
    main()
