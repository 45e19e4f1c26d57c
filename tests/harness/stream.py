#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A steady stream of datagrams, in a process of its own so that nothing but the network holds it
up; nothing is sent again, so that a silence is the network's and not the sender's patience.

  stream.py serve PORT            echoes
  stream.py ask ADDRESS PORT FILE sends a number every millisecond until its standard input ends;
                                  writes how many it sent, then when each came back
                                  (CLOCK_MONOTONIC, ns, one a line)
"""
import contextlib
import gc
import select
import socket
import struct
import sys
import time

EVERY_S = 0.001
MESSAGE = struct.Struct("!Q")


def serve(port):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    while True:
        data, peer = sock.recvfrom(65536)
        with contextlib.suppress(OSError):  # the interface is being exchanged
            sock.sendto(data, peer)


def ask(address, port, path):
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.connect((address, port))
    sock.setblocking(False)
    gc.disable()
    sent, came, due = 0, [], time.monotonic()
    while True:
        now = time.monotonic()
        if now >= due:
            with contextlib.suppress(OSError):
                sock.send(MESSAGE.pack(sent))
            sent += 1
            due = max(due + EVERY_S, now - 10 * EVERY_S)
        readable, _, _ = select.select([sock, sys.stdin], [], [], max(0.0, due - time.monotonic()))
        if sock in readable:
            with contextlib.suppress(OSError):
                sock.recv(65536)
                came.append(time.monotonic_ns())
        if sys.stdin in readable and not sys.stdin.readline():
            break
    with open(path, "w", encoding="ascii") as out:
        out.write(f"{sent}\n")
        out.writelines(f"{when}\n" for when in came)


def main():
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    main()
