#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Flows of datagrams by the ten thousand, from a workload's own interface.

    many_datagrams.py serve PORT NAME
        answers each datagram with the name; says "ready"
    many_datagrams.py open MAC SOURCE TARGET PORT FIRST COUNT
        sends one datagram from each of COUNT ports, until all were answered or nothing comes any
        more; prints who answered: {port: name}
"""
import json
import select
import socket
import struct
import sys
import time

import packets

ROOM = 64 << 20
BATCH = 64
SILENCE = 3.0  # then what was not answered is sent again, and after a second time it is refused


def roomy(sock):
    sock.setsockopt(socket.SOL_SOCKET, 33, ROOM)  # SO_RCVBUFFORCE
    return sock


def serve(port, name):
    sock = roomy(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("0.0.0.0", port))
    print("ready", flush=True)
    while True:
        _, peer = sock.recvfrom(100)
        sock.sendto(name, peer)


def frame(mac, source, target, sport, dport):
    datagram = struct.pack("!HHHH", sport, dport, 8 + 4, 0) + b"open"
    ip = packets.ipv4(source, target, socket.IPPROTO_UDP, datagram)
    return packets.ROUTER + mac + b"\x08\x00" + ip


class Flows:
    def __init__(self, mac, source, target, dport, ports):
        self.sock = roomy(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)))
        self.sock.bind(("eth0", 0x0800))
        self.dport = dport
        self.frames = {port: frame(mac, source, target, port, dport) for port in ports}
        self.waiting = set(ports)
        self.answers = {}

    def hear(self, seconds):
        """Takes what has come; whether anything did."""
        heard = False
        while select.select([self.sock], [], [], 0 if heard else seconds)[0]:
            data, where = self.sock.recvfrom(100)
            if where[2] == socket.PACKET_OUTGOING or data[23] != socket.IPPROTO_UDP:
                continue
            sport, dport = struct.unpack_from("!HH", data, 34)
            if sport == self.dport:
                self.waiting.discard(dport)
                length = struct.unpack_from("!H", data, 38)[0]
                self.answers[dport] = data[42 : 34 + length].decode()
                heard = True
        return heard

    def open(self):
        for _ in range(2):
            ports = sorted(self.waiting)
            for at in range(0, len(ports), BATCH):
                for port in ports[at : at + BATCH]:
                    self.sock.send(self.frames[port])
                self.hear(0.001)
            quiet = time.monotonic() + SILENCE
            while self.waiting and time.monotonic() < quiet:
                if self.hear(0.1):
                    quiet = time.monotonic() + SILENCE
        return self.answers


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3].encode())
    mac, source, target = packets.mac_bytes(sys.argv[2]), sys.argv[3], sys.argv[4]
    port, first, count = (int(word) for word in sys.argv[5:8])
    flows = Flows(mac, source, target, port, range(first, first + count))
    print(json.dumps(flows.open()), flush=True)


if __name__ == "__main__":
    main()
