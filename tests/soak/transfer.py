#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""10 GB through one connection of a private endpoint between two nodes, compared by checksum.

  transfer.py [--bytes N]
"""
import argparse
import hashlib
import os
import pathlib
import socket
import sys
import threading

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "system")]

import culvert_harness  # noqa: E402
from scenes import consumer, provider  # noqa: E402

CHUNK = 1 << 20


def receive(listener, result):
    sock, _ = listener.accept()
    digest, got, buffer = hashlib.sha256(), 0, bytearray(CHUNK)
    while count := sock.recv_into(buffer):
        digest.update(memoryview(buffer)[:count])
        got += count
    result["got"], result["sha"] = got, digest.hexdigest()
    sock.close()


def transfer(net, size):
    """True when what arrived is what was sent"""
    made = provider(net, [net.nodes[1]], rules=((80, 9090),))
    client = consumer(net, net.nodes[0])
    _, address = net.endpoint(client.group, client.subnet(), made.service)
    made.workloads[0].servers[0].close()
    listener = made.workloads[0].socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", 9090))
    listener.listen(1)
    result = {}
    thread = threading.Thread(target=receive, args=(listener, result), daemon=True)
    thread.start()
    digest, sent, told = hashlib.sha256(), 0, 0
    sock = client.workload.connect(address, 80)
    sock.settimeout(60)
    while sent < size:
        part = os.urandom(min(CHUNK, size - sent))
        sock.sendall(part)
        digest.update(part)
        sent += len(part)
        if sent - told >= 1_000_000_000:
            told = sent
            print(f"{sent / 1e9:.0f} of {size / 1e9:.0f} GB", flush=True)
    sock.close()
    thread.join(120)
    listener.close()
    print(f"sent {sent} bytes {digest.hexdigest()}, got {result}")
    return result == {"got": size, "sha": digest.hexdigest()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=10_000_000_000)
    args = parser.parse_args()
    culvert_harness.interrupt_on_signals()  # so that a soak that is stopped leaves nothing
    net = culvert_harness.Topology(nodes=2)
    try:
        return 0 if transfer(net, args.bytes) else 1
    finally:
        net.close()


if __name__ == "__main__":
    sys.exit(main())
