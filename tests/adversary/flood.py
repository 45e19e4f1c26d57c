#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens connections that it never finishes, from a workload's own interface, until it is told to
stop: flood.py SOURCE-MAC SOURCE TARGET PORT FRAMES-A-SECOND"""
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

import packets  # noqa: E402

BATCH = 50


def main():
    mac, source, target = packets.mac_bytes(sys.argv[1]), sys.argv[2], sys.argv[3]
    port, rate = int(sys.argv[4]), int(sys.argv[5])
    frames = [packets.tcp_frame(mac, source, target, 1024 + n, port) for n in range(16000)]
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("eth0", 3))
    print("ready", flush=True)
    due = time.monotonic()
    at = 0
    while True:
        for frame in frames[at : at + BATCH]:
            sock.send(frame)
        at = (at + BATCH) % len(frames)
        due += BATCH / rate
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
